/* WebSocket frames as a server sends them (RFC 6455, 5.2), built in place.
 *
 * The length in a frame's header is known only when its payload is written, and takes 2, 4 or 10 bytes. A gap for the middle size is left
 * before the payload: nearly all messages fit it or are so short that moving them costs nothing. */
#include "proto.h"

#include <assert.h>
#include <stdlib.h>

enum { HEADER_SHORT = 2, HEADER_MIDDLE = 4, HEADER_LONG = 10, FIN = 0x80 };

struct fm_frames *fm_frames_new(void)
{
    struct fm_frames *f = calloc(1, sizeof *f);
    if (f)
        f->refs = 1;
    return f;
}

struct fm_frames *fm_frames_ref(struct fm_frames *f)
{
    assert(f->refs > 0);
    f->refs++;
    return f;
}

void fm_frames_unref(struct fm_frames **fp)
{
    struct fm_frames *f = *fp;
    *fp = NULL;
    if (!f)
        return;
    assert(f->refs > 0);
    if (--f->refs > 0)
        return;
    fm_frames_fini(f);
    free(f);
}

void fm_frames_reset(struct fm_frames *f)
{
    for (uint32_t i = 0; i < f->n; i++)
        fm_msg_unref(&f->marks[i].msg);
    f->n = 0;
    f->bytes.n = 0;
    f->bytes.failed = false;
}

void fm_frames_fini(struct fm_frames *f)
{
    fm_frames_reset(f);
    free(f->marks);
    f->marks = NULL;
    f->cap = 0;
    fm_buf_fini(&f->bytes);
}

static bool mark_reserve(struct fm_frames *f)
{
    if (f->n < f->cap)
        return true;
    uint32_t cap = f->cap ? f->cap * 2 : 8;
    struct fm_frame_mark *marks = realloc(f->marks, cap * sizeof *marks);
    if (!marks) {
        f->bytes.failed = true;
        return false;
    }
    f->marks = marks;
    f->cap = cap;
    return true;
}

/* Writes the header for n payload bytes and returns its length. */
static size_t header_write(uint8_t out[HEADER_LONG], unsigned opcode, size_t n)
{
    size_t at = 0;
    out[at++] = (uint8_t)(FIN | opcode);
    if (n < 126) {
        out[at++] = (uint8_t)n;
        return at;
    }
    int bytes = n <= UINT16_MAX ? 2 : 8;
    out[at++] = bytes == 2 ? 126 : 127;
    for (int i = bytes - 1; i >= 0; i--)
        out[at++] = (uint8_t)((uint64_t)n >> (8 * i));
    return at;
}

size_t fm_frames_open(struct fm_frames *f)
{
    size_t opened = f->bytes.n;
    if (fm_buf_reserve(&f->bytes, HEADER_MIDDLE))
        f->bytes.n += HEADER_MIDDLE;
    return opened;
}

void fm_frames_close(struct fm_frames *f, size_t opened, unsigned opcode, const struct fm_msg *msg)
{
    assert((opcode & ~(unsigned)FM_WS_PACKED) <= FM_WS_PONG);
    if (!f->bytes.failed) {
        assert(f->bytes.n >= opened + HEADER_MIDDLE);
        size_t n = f->bytes.n - opened - HEADER_MIDDLE;
        uint8_t header[HEADER_LONG];
        size_t header_n = header_write(header, opcode, n);
        if (mark_reserve(f) && fm_buf_reserve(&f->bytes, HEADER_LONG) && opened + header_n + n <= UINT32_MAX) {
            uint8_t *frame = f->bytes.p + opened;
            if (header_n != HEADER_MIDDLE)
                memmove(frame + header_n, frame + HEADER_MIDDLE, n);
            memcpy(frame, header, header_n);
            f->bytes.n = opened + header_n + n;
            f->marks[f->n++] = (struct fm_frame_mark){.end = (uint32_t)f->bytes.n, .msg = msg ? fm_msg_ref((struct fm_msg *)msg) : NULL};
            return;
        }
        f->bytes.failed = true;
    }
    f->bytes.n = opened; /* half a frame must never stay */
}

void fm_frames_abandon(struct fm_frames *f, size_t opened)
{
    f->bytes.n = opened;
}

void fm_frames_add(struct fm_frames *f, unsigned opcode, struct fm_slice payload, const struct fm_msg *msg)
{
    size_t opened = fm_frames_open(f);
    fm_buf_slice(&f->bytes, payload);
    fm_frames_close(f, opened, opcode, msg);
}
