#include "ws_feed.h"

#include <assert.h>

enum { FIN = 0x80, RSV = 0x70, OPCODE = 0x0f, CONTROL = 0x08, MASKED = 0x80, LENGTH = 0x7f, HEADER_MIN = 2, MASK = 4, CONTROL_MAX = 125 };

static enum fm_ws_fed bad(struct fm_ws_part *part, const char *reason)
{
    part->reason = reason;
    return FM_WS_FED_BAD;
}

/* Bytes of the header that begins with these two. */
static size_t header_size(const uint8_t *header)
{
    unsigned length = header[1] & LENGTH;
    return HEADER_MIN + MASK + (length == 126 ? 2 : length == 127 ? 8 : 0);
}

/* The first two bytes tell most; NULL: they are sound. */
static const char *first_wrong(const struct fm_ws_feed *f)
{
    unsigned opcode = f->header[0] & OPCODE, rsv = f->header[0] & RSV;
    bool fin = f->header[0] & FIN, data = opcode == FM_WS_TEXT || opcode == FM_WS_BINARY;
    if (rsv && !(rsv == FM_WS_PACKED && data && f->packed))
        return "reserved bits are set";
    if (!(f->header[1] & MASKED))
        return "a client's frame must be masked";
    if (opcode & CONTROL) {
        if (opcode > FM_WS_PONG)
            return "the opcode is unknown";
        if (!fin || (f->header[1] & LENGTH) > CONTROL_MAX)
            return "a control frame is cut or long";
        return NULL;
    }
    if (opcode == 0)
        return f->kind ? NULL : "a continuation of nothing";
    if (!data)
        return "the opcode is unknown";
    return f->kind ? "a message begins inside another" : NULL;
}

/* The header is whole. */
static const char *header_take(struct fm_ws_feed *f)
{
    unsigned length = f->header[1] & LENGTH, opcode = f->header[0] & OPCODE;
    f->left = length;
    if (length >= 126) {
        f->left = 0;
        for (size_t i = HEADER_MIN; i + MASK < f->header_n; i++)
            f->left = f->left << 8 | f->header[i];
        if (f->left < 126 || (length == 127 && (f->left <= UINT16_MAX || f->left >> 63)))
            return "a length is written longer than it needs";
    }
    if (opcode == FM_WS_TEXT || opcode == FM_WS_BINARY) {
        f->kind = (uint8_t)opcode;
        f->begun = false;
    }
    f->mask_at = 0;
    f->control_n = 0;
    f->payload = true;
    return NULL;
}

static void unmask(struct fm_ws_feed *f, uint8_t *bytes, size_t n)
{
    const uint8_t *mask = f->header + f->header_n - MASK;
    for (size_t i = 0; i < n; i++)
        bytes[i] ^= mask[(f->mask_at + i) & 3];
    f->mask_at = (uint8_t)((f->mask_at + n) & 3);
}

static enum fm_ws_fed control(struct fm_ws_feed *f, uint8_t *bytes, size_t n, struct fm_ws_part *part)
{
    memcpy(f->control + f->control_n, bytes, n);
    f->control_n = (uint8_t)(f->control_n + n);
    if (f->left)
        return FM_WS_FED_MORE;
    *part = (struct fm_ws_part){.kind = (enum fm_ws_kind)(f->header[0] & OPCODE), .bytes = f->control, .n = f->control_n};
    f->payload = false;
    f->header_n = 0;
    return FM_WS_FED_CONTROL;
}

static enum fm_ws_fed piece(struct fm_ws_feed *f, uint8_t *bytes, size_t n, struct fm_ws_part *part)
{
    bool fin = f->header[0] & FIN;
    *part = (struct fm_ws_part){.kind = (enum fm_ws_kind)f->kind,
                                .bytes = bytes,
                                .n = n,
                                .to_come = f->left,
                                .packed = !f->begun && (f->header[0] & FM_WS_PACKED),
                                .last = fin};
    f->begun = true;
    if (f->left == 0) {
        f->payload = false;
        f->header_n = 0;
        if (fin)
            f->kind = 0;
    }
    return FM_WS_FED_PIECE;
}

enum fm_ws_fed fm_ws_feed(struct fm_ws_feed *f, uint8_t **in, size_t *n, struct fm_ws_part *part)
{
    const char *wrong = NULL;
    while (!f->payload) {
        if (*n == 0)
            return FM_WS_FED_MORE;
        f->header[f->header_n++] = *(*in)++;
        (*n)--;
        if (f->header_n == HEADER_MIN)
            wrong = first_wrong(f);
        else if (f->header_n > HEADER_MIN && f->header_n == header_size(f->header))
            wrong = header_take(f);
        if (wrong)
            return bad(part, wrong);
    }
    if (f->left && *n == 0)
        return FM_WS_FED_MORE;
    uint8_t *bytes = *in;
    size_t some = f->left < *n ? (size_t)f->left : *n;
    unmask(f, bytes, some);
    *in += some;
    *n -= some;
    f->left -= some;
    return f->header[0] & CONTROL ? control(f, bytes, some, part) : piece(f, bytes, some, part);
}

bool fm_ws_close_code_ok(unsigned code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) || (code >= 3000 && code <= 4999);
}

size_t fm_ws_close_frame(uint8_t out[FM_WS_CLOSE_FRAME_MAX], unsigned code, struct fm_slice reason)
{
    assert(reason.n <= CONTROL_MAX - 2);
    out[0] = FIN | FM_WS_CLOSE;
    out[1] = (uint8_t)(2 + reason.n);
    out[2] = (uint8_t)(code >> 8);
    out[3] = (uint8_t)code;
    if (reason.n)
        memcpy(out + 4, reason.p, reason.n);
    return 4 + reason.n;
}
