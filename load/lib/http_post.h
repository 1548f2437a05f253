/* A keep-alive HTTP connection that carries one POST at a time, and comes back by itself when it breaks.
 *
 * -- owner only -- */
#pragma once

#include "loop.h"
#include "node.h"

struct fm_poster;

struct fm_poster_config {
    struct fm_loop *loop;
    const struct fm_node *node;
    struct fm_tls *tls;  /* NULL: the node needs none */
    const char *headers; /* "Name: value\r\n"...; may be NULL */
    uint32_t timeout_ms; /* of connecting, and of an answer: then the connection is given up */
    /* The answer to the POST. status 0: the connection broke before it came, or it took too long: nobody knows whether the request was
     * carried out. */
    void (*answered)(void *ctx, struct fm_poster *poster, unsigned status, struct fm_slice body);
    void *ctx;
};

FM_MUST_CHECK enum fm_err fm_poster_new(struct fm_poster **poster, const struct fm_poster_config *config);
void fm_poster_free(struct fm_poster **poster);
/* Connects where that is due, and gives up what takes too long. Call it every few milliseconds. */
void fm_poster_tick(struct fm_poster *poster, uint64_t now_ns);
/* Connected, and no answer is owed. */
bool fm_poster_idle(const struct fm_poster *poster);
/* To the path and query `target`. Only while idle. `answered` follows. */
void fm_poster_post(struct fm_poster *poster, const char *target, struct fm_slice body);
