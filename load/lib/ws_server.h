/* The server side of WebSocket as far as the baseline broadcaster (floor.c) needs it: one request, then whole masked frames.
 *
 * -- any thread, one owner at a time -- */
#pragma once

#include "../../gateway/client/ws_client.h"

enum { FM_REQUEST_HEADERS_MAX = 16 * 1024 };

struct fm_request { /* slices of the input */
    struct fm_slice method, target;
    struct fm_slice ws_key; /* empty: not an upgrade */
    size_t header_bytes;
    size_t body_bytes;
};

/* The headers of a request. FM_E_SHORT: not complete yet. FM_E_SYNTAX, FM_E_TOO_LARGE. */
FM_MUST_CHECK enum fm_err fm_request_read(struct fm_slice in, struct fm_request *request);
/* Appends the answer that opens the connection. FM_E_SYNTAX: the key is none. */
FM_MUST_CHECK enum fm_err fm_ws_accept_put(struct fm_buf *out, struct fm_slice key);

struct fm_ws_client_frame {
    enum fm_ws_kind kind;
    struct fm_slice payload; /* unmasked, in the input */
};

/* One whole frame of a client at in[0..n), unmasked in place; *used becomes its length. FM_E_SHORT: not complete yet. FM_E_SYNTAX: not
 * masked, a fragment (this server takes none), or broken. FM_E_TOO_LARGE: a payload over `max`. */
FM_MUST_CHECK enum fm_err fm_ws_client_frame_read(uint8_t *in, size_t n, size_t max, struct fm_ws_client_frame *f, size_t *used);
/* Appends one frame of a server. */
void fm_ws_server_frame_put(struct fm_buf *out, enum fm_ws_kind kind, struct fm_slice payload);
