/* Reads what a client sends over WebSocket (RFC 6455, 5), as it comes: pieces of messages unmasked in place, control frames whole. Pure: no
 * connection, nothing beyond the input is read, nothing is copied but a control frame's payload.
 *
 * What breaks the RFC is told with the code to close with: unknown opcodes, reserved bits, a frame that is not masked, control frames that
 * are long or cut, lengths written longer than needed, a message begun inside another.
 *
 * -- any thread, one owner at a time -- */
#pragma once

#include "../../broker/bytes.h"
#include "ws_kind.h"

struct fm_ws_feed { /* zero, but for `packed`: a fresh connection */
    uint64_t left;  /* of the frame's payload */
    uint8_t header[14], header_n;
    uint8_t mask_at; /* bytes of the payload so far, modulo 4 */
    uint8_t kind;    /* of the message that is under way; 0: none */
    bool payload;    /* the header is whole: payload comes */
    bool begun;      /* a piece of the message was given */
    bool packed;     /* RSV1 is allowed */
    uint8_t control_n;
    uint8_t control[125];
};

enum fm_ws_fed {
    FM_WS_FED_MORE,    /* the input is used up */
    FM_WS_FED_PIECE,   /* of a message */
    FM_WS_FED_CONTROL, /* a whole control frame */
    FM_WS_FED_BAD,     /* the connection is to be closed; it must not be fed again */
};

struct fm_ws_part {
    enum fm_ws_kind kind; /* of the message, or CLOSE, PING, PONG */
    uint8_t *bytes;
    size_t n;
    uint64_t to_come;   /* PIECE: of this frame */
    bool packed;        /* PIECE: the message begins here and is compressed */
    bool last;          /* PIECE: of the message's last frame */
    const char *reason; /* BAD: why, for a close with 1002 */
};

/* Takes one part off the input (which is unmasked in place). To be called again until MORE. */
enum fm_ws_fed fm_ws_feed(struct fm_ws_feed *f, uint8_t **in, size_t *n, struct fm_ws_part *part);

/* May this code come in a close frame (7.4)? */
bool fm_ws_close_code_ok(unsigned code);
enum { FM_WS_CLOSE_FRAME_MAX = 127 };
/* Writes the close frame of a server; reason: at most 123 bytes. Returns its length. */
size_t fm_ws_close_frame(uint8_t out[FM_WS_CLOSE_FRAME_MAX], unsigned code, struct fm_slice reason);
