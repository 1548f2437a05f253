/* Whose request is it, and may they come in? For everything that becomes a client's connection: a WebSocket, LongPoll, SSE.
 *
 * -- the worker's thread only -- */
#pragma once

#include "../http/http.h"
#include "../auth/auth.h"

/* *id: one reference, or NULL where the request has no token and needs none, or the node reads none. False: what it is refused with. */
FM_MUST_CHECK bool fm_admit(const struct fm_http_request *req, struct fm_identity **id, struct fm_token_fault *fault);
/* The same of a token alone, as a client sends it later. */
FM_MUST_CHECK bool fm_admit_token(struct fm_worker *w, const struct fm_peer *peer, struct fm_slice token, struct fm_identity **id,
                                  struct fm_token_fault *fault);
/* A token is refused, or missing: counts, tells the log once a burst, sets *fault, and is false. why: as fm_limit_tell_token. */
bool fm_admit_refuse(struct fm_worker *w, const struct fm_peer *peer, struct fm_token_fault *fault, enum fm_err err, const char *why);
