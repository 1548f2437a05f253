/* Questions about clients to all nodes of the cluster: who is connected, who is on a topic, what came of a command. A node's hub asks its
 * own workers and the other nodes' hubs (gather.c); these ask theirs. Both messages cross the ask plane, beside pulls (envelope.h).
 *
 * -- owner only -- */
#pragma once

#include "envelope.h"

enum fm_inquiry_type { FM_ENV_INQUIRY = 32, FM_ENV_FOUND = 33 }; /* beside enum fm_envelope_type */

enum fm_inquiry_kind {
    FM_INQUIRY_CONNECTIONS = 1, /* of `user`; empty: all */
    FM_INQUIRY_SUBSCRIBERS,     /* channels of `topic` */
    FM_INQUIRY_DONE,            /* connections or channels that `command` concerned; answered when it has come there */
    FM_INQUIRY_KINDS
};

enum { FM_FOUND_MAX = 1000, FM_FOUND_ADDRESS_MAX = 63 };

struct fm_inquiry {
    uint32_t kind;        /* enum fm_inquiry_kind */
    uint32_t timeout_ms;  /* at most 60000; for the whole of it */
    uint32_t limit;       /* rows; 0: only the count. At most FM_FOUND_MAX */
    struct fm_id after;   /* rows whose connection comes after this one */
    struct fm_id command; /* DONE */
    struct fm_slice user; /* at most FM_USER_MAX */
    struct fm_slice topic;
};

struct fm_found_row { /* a connection, or a channel and its connection */
    struct fm_id connection;
    uint64_t open_ms; /* since it was opened */
    uint32_t topics;  /* that it has joined */
    struct fm_slice user, address;
};

/* What was found: how many there are, and the first rows by connection. Owned by one thread at a time. */
struct fm_found {
    uint64_t count;
    uint32_t n;
    struct fm_found_row *at; /* ascending; their texts lie in `text` or are somebody else's */
    struct fm_buf text;
};

void fm_inquiry_write(struct fm_buf *b, const struct fm_inquiry *q);
FM_MUST_CHECK enum fm_err fm_inquiry_read(struct fm_slice body, struct fm_inquiry *q);

/* complete: the node has asked all who could know. */
void fm_found_write(struct fm_buf *b, const struct fm_found *f, bool complete);
/* Into an empty *f; texts point into the body. */
FM_MUST_CHECK enum fm_err fm_found_read(struct fm_slice body, struct fm_found *f, bool *complete);

/* As in the order of rows: by node, then by age. */
int fm_connection_compare(struct fm_id a, struct fm_id b);
/* Rows of both, the first `max` of them, with copies of the texts; counts are added. On an error `to` is as it was. */
FM_MUST_CHECK enum fm_err fm_found_merge(struct fm_found *to, const struct fm_found *more, uint32_t max);
void fm_found_fini(struct fm_found *f);
