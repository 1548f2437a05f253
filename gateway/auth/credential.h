/* Where a request has its token. The first of these that is there counts:
 *   Authorization: Bearer TOKEN
 *   X-Phoenix-AuthToken: TOKEN                            phoenix.js 1.8, LongPoll
 *   Sec-WebSocket-Protocol: base64url.bearer.phx.TOKEN    phoenix.js 1.8, WebSocket; TOKEN in base64
 *   ?token=TOKEN                                          the name is an option; the first, where there are several
 *   Cookie: NAME=TOKEN                                    where the option names one. Browsers send it by themselves, so the page's Origin
 *                                                         must have been looked at more closely
 *
 * -- any thread -- */
#pragma once

#include "../http/http1.h"
#include "jwt.h"

enum fm_credential_from { FM_CREDENTIAL_NONE, FM_CREDENTIAL_GIVEN, FM_CREDENTIAL_COOKIE };

struct fm_credential {
    enum fm_credential_from from;
    size_t n;
    char token[FM_TOKEN_MAX + 1]; /* wiped by fm_credential_fini */
};

/* head: the request's, as it came, whole. query: raw. param and cookie: names, or empty. False: *why, a static sentence. */
FM_MUST_CHECK bool fm_credential_find(struct fm_slice head, struct fm_slice query, const char *param, const char *cookie,
                                      struct fm_credential *c, const char **why);
void fm_credential_fini(struct fm_credential *c);

/* Appends the query without the parameters of this name. */
void fm_credential_strip(struct fm_buf *out, struct fm_slice query, const char *param);
