/* permessage-deflate (RFC 7692) without a memory of earlier messages, in either direction: so a message is compressed once and the same
 * bytes go to everybody who agreed, and nothing is kept for a connection that is idle. Pure: no connection, no clock.
 *
 * A client may ask for a smaller window (server_max_window_bits). What was compressed with the full one, from nothing, never refers back
 * further than the message is long, so such a client is given what is not longer than its window, and the rest as it is.
 *
 * -- any thread, one owner at a time -- */
#pragma once

#include "../../broker/bytes.h"

enum { FM_DEFLATE_WINDOW_MIN = 8, FM_DEFLATE_WINDOW_MAX = 15 /* as powers of two, of bytes */ };

struct fm_deflate_terms {
    uint8_t window; /* of the client; 0: no compression */
    bool named;     /* it asked for this window, and the answer has to say so */
};

/* What of a Sec-WebSocket-Extensions header is accepted: the first offer of permessage-deflate that is sound. false: none. */
bool fm_deflate_offer(struct fm_slice header, struct fm_deflate_terms *terms);
/* The answer's header value, appended. */
void fm_deflate_answer(struct fm_buf *b, const struct fm_deflate_terms *terms);

struct fm_packer;   /* compresses messages, one after another */
struct fm_unpacker; /* the reverse */

void fm_packer_free(struct fm_packer **p);
void fm_unpacker_free(struct fm_unpacker **u);
/* Appends the compressed payload. *p is made when it is NULL. FM_E_NOMEM: `out` is as it was. */
FM_MUST_CHECK enum fm_err fm_pack(struct fm_packer **p, struct fm_slice payload, struct fm_buf *out);
/* `out` becomes the message. FM_E_TOO_LARGE: it is longer than max; no more than that was ever kept. FM_E_SYNTAX: not what deflate makes.
 * FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_unpack(struct fm_unpacker **u, struct fm_slice packed, size_t max, struct fm_buf *out);
