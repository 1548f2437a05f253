/* LongPoll's texts and bytes: tokens, the bodies of pushes, and what the worker that has a client's request and the one that has its
 * session say to one another. Pure.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/bytes.h"

/* ---- tokens: which session, of which worker of which node, and how many answers with messages the client has had; and a tag by which who
 * has that node's key knows that the node made it ---- */

enum { FM_POLL_KEY_BYTES = 32, FM_POLL_TAG = 16, FM_POLL_TOKEN_TEXT = 52 };

struct fm_poll_token {
    uint64_t node; /* incarnation */
    uint16_t worker;
    uint64_t id;
    uint32_t seq;
    uint8_t tag[FM_POLL_TAG];
};

/* Sets the tag; false: OpenSSL can't, and the token is good for nothing. */
FM_MUST_CHECK bool fm_poll_token_seal(struct fm_poll_token *t, const uint8_t key[FM_POLL_KEY_BYTES]);
/* Was it sealed with this key, and nothing of it changed since? Takes as long for one that is almost right. */
bool fm_poll_token_good(const struct fm_poll_token *t, const uint8_t key[FM_POLL_KEY_BYTES]);
void fm_poll_token_print(const struct fm_poll_token *t, char out[FM_POLL_TOKEN_TEXT + 1]);
/* Reads exactly what is printed, and does not look at the tag. FM_E_SYNTAX: anything else. */
FM_MUST_CHECK enum fm_err fm_poll_token_read(struct fm_slice text, struct fm_poll_token *t);

/* ---- messages, one after another ---- */

void fm_poll_frame_put(struct fm_buf *b, bool binary, struct fm_slice bytes);
/* Cuts the next one off; false: there is none, or *rest is not made of them (then it is not empty). */
bool fm_poll_frame_next(struct fm_slice *rest, bool *binary, struct fm_slice *bytes);

enum { FM_POLL_LINES_MAX = 100 };

/* The body of a push: lines (application/x-ndjson), each a text message if it begins with [ or {, else a binary one in base64; or, without
 * `lines`, one text message. Empty lines are passed over. Appends the messages to `out`. FM_E_TOO_MANY, FM_E_SYNTAX, FM_E_NOMEM: *why says
 * what was wrong. */
FM_MUST_CHECK enum fm_err fm_poll_body(struct fm_slice body, bool lines, struct fm_buf *out, const char **why);

/* ---- notes: what parcels carry ---- */

enum fm_poll_kind {
    FM_POLL_WAIT = 1,
    FM_POLL_PUSH,
    FM_POLL_ANSWER,
    FM_POLL_CHECK,   /* does the WAIT of this ref wait still? No answer, if so */
    FM_POLL_KEY_ASK, /* what are the node's tokens sealed with? */
    FM_POLL_KEY,     /* ... the answer */
};

struct fm_poll_note {
    enum fm_poll_kind kind;
    uint64_t ref;               /* of the request, the asking worker's own */
    uint32_t from;              /* WAIT, PUSH, CHECK, KEY_ASK: that worker */
    struct fm_poll_token token; /* WAIT, PUSH, CHECK: without node and worker, whose the note is */
    uint32_t status, seq;       /* ANSWER: seq for the next token */
    struct fm_slice key;        /* KEY: FM_POLL_KEY_BYTES */
    struct fm_slice frames;     /* PUSH, ANSWER: messages */
};

void fm_poll_note_write(struct fm_buf *b, const struct fm_poll_note *note);
/* FM_E_SYNTAX. Slices point into `bytes`. */
FM_MUST_CHECK enum fm_err fm_poll_note_read(struct fm_slice bytes, struct fm_poll_note *note);
