/* The client side of WebSocket (RFC 6455), for `fanmesh subscribe`, the load generator and tests: the upgrade request and its answer, and
 * frames read and written on buffers that the caller owns. Nothing here opens a socket (ws_dial.h does) or draws randomness, so one process
 * holds many thousands of clients at the price of struct fm_ws_in each.
 *
 * A server's frame that breaks the RFC is FM_E_SYNTAX: reserved bits, a mask, an unknown opcode, a control frame that is long or cut, a
 * length written longer than needed, a message begun inside another, a close code that can't travel. Text is not checked for UTF-8 here:
 * its readers parse it as JSON, which checks it.
 *
 * -- any thread, one owner at a time -- */
#pragma once

#include "../../broker/bytes.h"
#include "../http/ws_kind.h"

enum {
    FM_WS_KEY_BYTES = 16,
    FM_WS_KEY_TEXT = 24,                  /* base64 of them */
    FM_WS_RESPONSE_MAX = 16 * 1024,       /* bytes of the answer's headers */
    FM_WS_REASON_MAX = 123,               /* bytes of a close reason */
    FM_WS_MESSAGE_MAX = 16 * 1024 * 1024, /* default of fm_ws_in.message_max */
};

struct fm_url {
    char host[256]; /* without brackets */
    char port[6];   /* digits; "80" where the URL has none */
    char authority[272];
    char target[2048]; /* path and query; "/" where the URL has none */
};

/* `scheme` is "ws" or "http". FM_E_ADDRESS: another scheme, no host, a port out of range, user names, a fragment, spaces or control
 * characters. FM_E_TOO_LARGE: a part does not fit. */
FM_MUST_CHECK enum fm_err fm_url_parse(struct fm_slice text, const char *scheme, struct fm_url *url);

/* ---- upgrade ---- */

struct fm_ws_key {
    char text[FM_WS_KEY_TEXT + 1];
};

void fm_ws_key_make(struct fm_ws_key *key, const uint8_t random[FM_WS_KEY_BYTES]);
/* What a server must answer in Sec-WebSocket-Accept, zero-terminated. */
enum { FM_WS_ACCEPT_TEXT = 28 };
void fm_ws_accept_of(const struct fm_ws_key *key, char out[FM_WS_ACCEPT_TEXT + 1]);
/* Appends the request. `headers` (may be empty) is "Name: value\r\n"...; out->failed tells a lack of memory. */
void fm_ws_request_put(struct fm_buf *out, const struct fm_url *url, const struct fm_ws_key *key, struct fm_slice headers);

struct fm_ws_answer {
    unsigned status;          /* HTTP status, as soon as the first line is read */
    size_t used;              /* bytes of the answer's headers; frames or a body follow */
    struct fm_slice protocol; /* Sec-WebSocket-Protocol, in the input; the caller judges it */
};

/* FM_OK: the connection is open. FM_E_SHORT: more bytes are needed. FM_E_FORBIDDEN: the server answered with another status.
 * FM_E_SYNTAX: not an HTTP answer, or not one to this key. FM_E_TOO_LARGE: headers beyond FM_WS_RESPONSE_MAX. */
FM_MUST_CHECK enum fm_err fm_ws_answer_read(struct fm_slice in, const struct fm_ws_key *key, struct fm_ws_answer *answer);

/* ---- frames from the server ---- */

struct fm_ws_event {
    enum fm_ws_kind kind;
    unsigned code;           /* CLOSE: 1005 where the frame has none */
    struct fm_slice payload; /* CLOSE: the reason */
};

struct fm_ws_in {         /* zero is a fresh connection */
    uint32_t message_max; /* 0: FM_WS_MESSAGE_MAX */
    uint8_t fragment;     /* opcode of the message that is being put together; 0: none */
    bool closed;          /* a CLOSE was read: what follows is not looked at */
};

/* Takes frames off `in` until one event is complete. Payloads point into `in`, or into `parts` for a message that came in several frames;
 * both are good until the next call. FM_E_SHORT: `in` now begins with an incomplete frame; call again with more behind it. FM_E_CLOSED:
 * after a CLOSE. FM_E_TOO_LARGE: the message exceeds message_max. FM_E_NOMEM. After an error other than FM_E_SHORT the connection is
 * to be closed. */
FM_MUST_CHECK enum fm_err fm_ws_next(struct fm_ws_in *ws, struct fm_rd *in, struct fm_buf *parts, struct fm_ws_event *event);

/* ---- frames to the server ---- */

/* Appends one whole masked frame. `mask` should not be predictable to who chose the payload; servers need no more of it. */
void fm_ws_frame_put(struct fm_buf *out, enum fm_ws_kind kind, struct fm_slice payload, uint32_t mask);
/* Code 1005 or 0: a CLOSE without a code. A longer reason is cut to FM_WS_REASON_MAX. */
void fm_ws_close_put(struct fm_buf *out, unsigned code, struct fm_slice reason, uint32_t mask);
