/* What an event stream's client says and hears: the topics of its query, and the ids of events, each of which is the whole cursor. Pure.
 *
 * An id has one cursor for each topic, in the order of the query, with a semicolon between: `k3fa9Qz-1234,asof-99;k3fa9Qz-88,asof-99`. One
 * that a header might not hold any more is `full`: who comes back with it is told that more may be missing.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/msg.h"
#include "../../broker/vector.h"

enum { FM_SSE_ID_MAX = 6144 }; /* bytes; nginx takes 8 KiB for a header */

struct fm_sse_topic {
    struct fm_vector at; /* the position of the client; empty: none */
    bool cut;            /* it named one that can't be used */
    uint8_t name_n;
    uint8_t name[FM_TOPIC_MAX];
};

struct fm_sse_topics {
    struct fm_sse_topic *of;
    uint32_t n;
};

void fm_sse_topics_fini(struct fm_sse_topics *t);
/* Those of the query's `topic` parameters, at least one and at most max, none of them twice. FM_E_INVALID, FM_E_SYNTAX, FM_E_TOO_LARGE,
 * FM_E_TOO_MANY, FM_E_NOMEM: *why says more. */
FM_MUST_CHECK enum fm_err fm_sse_topics_read(struct fm_slice query, uint32_t max, struct fm_sse_topics *t, const char **why);
struct fm_sse_topic *fm_sse_topic_find(const struct fm_sse_topics *t, struct fm_slice name);

/* Sets the topics' positions. FM_E_SYNTAX: it is no id of a stream with these topics. */
FM_MUST_CHECK enum fm_err fm_sse_id_read(struct fm_slice id, struct fm_sse_topics *t);
void fm_sse_id_write(struct fm_buf *b, const struct fm_sse_topics *t);

/* ---- between protocol and stream: an event as it goes to all, and where it brings its topic ---- */

enum fm_sse_move { FM_SSE_STAY, FM_SSE_RAISE, FM_SSE_REPLACE };

struct fm_sse_event {
    enum fm_sse_move move;
    struct fm_slice topic;
    struct fm_rd ids;      /* reading: the pairs origin, seq */
    struct fm_slice lines; /* `event:` and `data:` */
};

/* Writes the head; the lines follow it. */
void fm_sse_event_write(struct fm_buf *b, enum fm_sse_move move, struct fm_slice topic, const struct fm_id *ids, uint32_t n);
/* false: no writer wrote that. */
bool fm_sse_event_read(struct fm_slice bytes, struct fm_sse_event *e);
/* The next of e->ids. */
bool fm_sse_event_id(struct fm_sse_event *e, struct fm_id *id);
/* A line can't hold line ends: they become spaces, which in JSON mean the same where they may stand. */
void fm_sse_line(struct fm_buf *b, struct fm_slice text);
