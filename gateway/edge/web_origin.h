/* Which pages a browser may let in: the header Origin, by the host that was asked for and the option `origins`.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/bytes.h"

/* May a page of this Origin open a WebSocket on this Host? allowed: NULL-terminated, "*" for all. */
bool fm_origin_allowed(struct fm_slice origin, struct fm_slice host, const char *const *allowed);
/* The same where the browser adds what lets it in by itself, a cookie: "*" allows nobody. */
bool fm_origin_named(struct fm_slice origin, struct fm_slice host, const char *const *allowed);
