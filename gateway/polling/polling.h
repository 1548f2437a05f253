/* LongPoll, the transport that phoenix.js falls back to: messages are fetched by GETs that wait and pushed by POSTs.
 *
 * A session is a socket like any other and lives on the worker where it was opened. Requests come to any worker of any node, since a
 * balancer (or the kernel, among the workers of one node) sends each where it likes. Whoever gets one (longpoll.c) reads it, hands it to
 * the worker that the token names, as a parcel of the hub's, and answers the client when the answer comes; the other one (poll_session.c)
 * keeps no connection, only the name of the request that waits. So a node that dies takes only its own sessions along.
 *
 * A token carries a seal of the node that made it, and is looked at before anything of the request's body is read (poll_keys.c): what
 * somebody made up goes no further than the worker where it arrived.
 *
 * A token says how many answers with messages its bearer had. A poll that comes with an older one says that an answer was lost on the way
 * (a proxy or a browser sent the request again): its session is ended, so that the client comes back with its cursor and misses nothing.
 *
 * -- the worker's thread only -- */
#pragma once

#include "../worker/worker_core.h"
#include "poll_wire.h"

/* ---- longpoll.c: clients' requests ---- */

/* A request for <mount>/longpoll of the public listener, before its body is read. */
enum fm_head_is fm_longpoll_head(struct fm_http_request *req);
/* The same, which is good and has its body: it is answered, now or later. false: it is for another path. */
bool fm_longpoll_handle(struct fm_http_request *req);
/* The answer to a request of this worker; one that nobody awaits any more is dropped. */
void fm_longpoll_answer(struct fm_worker *w, const struct fm_poll_note *answer);

/* ---- poll_session.c: sessions ---- */

/* Makes the session of a socket, which is open after it. false: no memory, and *s is gone. */
FM_MUST_CHECK bool fm_poll_open(struct fm_socket *s, struct fm_poll_token *token);
/* A request for a session of this worker; node: whose worker note->from awaits the answer. */
void fm_poll_request(struct fm_worker *w, uint64_t node, const struct fm_poll_note *note);

/* ---- poll_keys.c ---- */

/* FM_POLL_KEY_BYTES, until the next fm_poll_key_keep. NULL: that node has to be asked. */
const uint8_t *fm_poll_key_of(const struct fm_worker *w, uint64_t node);
/* false: no memory. */
FM_MUST_CHECK bool fm_poll_key_keep(struct fm_worker *w, uint64_t node, struct fm_slice key);
void fm_poll_keys_free(struct fm_worker *w);

/* ---- both, for worker.c ---- */

/* A note has arrived, or one of this worker's came back. Takes it. */
void fm_poll_parcel(struct fm_worker *w, struct fm_parcel *p);
/* Before the loop waits: sessions that have something to do. */
void fm_polls_settle(struct fm_worker *w);
/* The worker stood still: polls that have waited since then have an answer soon. */
void fm_polls_thaw(struct fm_worker *w);
void fm_poll_timeout(void *worker, struct fm_timer *t); /* fires w->polls_wheel */
uint64_t fm_poll_node(const struct fm_worker *w);       /* the own incarnation */

struct fm_poll_timer { /* on polls_wheel */
    struct fm_timer timer;
    void (*fire)(struct fm_poll_timer *t);
};
