#include "ws_server.h"

#include <strings.h>

static struct fm_slice until(struct fm_rd *r, uint8_t stop)
{
    const uint8_t *at = fm_rd_left(r) ? memchr(r->p, stop, fm_rd_left(r)) : NULL;
    if (!at) {
        r->bad = true;
        return (struct fm_slice){0};
    }
    struct fm_slice s = fm_rd_bytes(r, (size_t)(at - r->p));
    (void)fm_rd_u8(r);
    return s;
}

/* The value of one header line if it is `name`'s. */
static bool header_is(struct fm_slice line, const char *name, struct fm_slice *value)
{
    size_t n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp((const char *)line.p, name, n) != 0)
        return false;
    *value = fm_slice_of(line.p + n + 1, line.n - n - 1);
    while (value->n && value->p[0] == ' ')
        *value = fm_slice_of(value->p + 1, value->n - 1);
    while (value->n && (value->p[value->n - 1] == ' ' || value->p[value->n - 1] == '\r'))
        value->n--;
    return true;
}

enum fm_err fm_request_read(struct fm_slice in, struct fm_request *request)
{
    size_t look = in.n < FM_REQUEST_HEADERS_MAX ? in.n : FM_REQUEST_HEADERS_MAX;
    const uint8_t *end = look ? memmem(in.p, look, "\r\n\r\n", 4) : NULL;
    struct fm_slice value;
    uint64_t length;
    *request = (struct fm_request){0};
    if (!end)
        return in.n < FM_REQUEST_HEADERS_MAX ? FM_E_SHORT : FM_E_TOO_LARGE;
    request->header_bytes = (size_t)(end - in.p) + 4;
    struct fm_rd r = fm_rd_of(fm_slice_of(in.p, request->header_bytes));
    request->method = until(&r, ' ');
    request->target = until(&r, ' ');
    (void)until(&r, '\n');
    if (r.bad || request->method.n == 0 || request->target.n == 0)
        return FM_E_SYNTAX;
    while (fm_rd_left(&r)) {
        struct fm_slice line = until(&r, '\n');
        if (header_is(line, "Sec-WebSocket-Key", &value))
            request->ws_key = value;
        if (header_is(line, "Content-Length", &value)) {
            if (fm_slice_u64(value, FM_WS_MESSAGE_MAX, &length))
                return FM_E_SYNTAX;
            request->body_bytes = (size_t)length;
        }
    }
    return FM_OK;
}

enum fm_err fm_ws_accept_put(struct fm_buf *out, struct fm_slice key)
{
    struct fm_ws_key text = {0};
    char accept[FM_WS_ACCEPT_TEXT + 1];
    if (key.n != FM_WS_KEY_TEXT)
        return FM_E_SYNTAX;
    memcpy(text.text, key.p, key.n);
    fm_ws_accept_of(&text, accept);
    fm_buf_printf(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                  accept);
    return FM_OK;
}

static uint64_t big_endian(struct fm_slice s)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | s.p[i];
    return v;
}

enum fm_err fm_ws_client_frame_read(uint8_t *in, size_t n, size_t max, struct fm_ws_client_frame *f, size_t *used)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(in, n));
    uint8_t first = fm_rd_u8(&r), second = fm_rd_u8(&r);
    if (r.bad)
        return FM_E_SHORT;
    if ((first & 0xf0) != 0x80 || !(second & 0x80) || (first & 0x0f) == 0)
        return FM_E_SYNTAX;
    uint64_t length = second & 0x7f;
    if (length >= 126)
        length = big_endian(fm_rd_bytes(&r, length == 126 ? 2 : 8));
    struct fm_slice key = fm_rd_bytes(&r, 4);
    if (r.bad)
        return FM_E_SHORT;
    if (length > max)
        return FM_E_TOO_LARGE;
    size_t at = (size_t)(r.p - in);
    struct fm_slice payload = fm_rd_bytes(&r, (size_t)length);
    if (r.bad)
        return FM_E_SHORT;
    for (size_t i = 0; i < payload.n; i++)
        in[at + i] ^= key.p[i & 3];
    *f = (struct fm_ws_client_frame){first & 0x0f, payload};
    *used = at + payload.n;
    return FM_OK;
}

void fm_ws_server_frame_put(struct fm_buf *out, enum fm_ws_kind kind, struct fm_slice payload)
{
    uint8_t head[10] = {(uint8_t)(0x80 | kind)};
    size_t n = 2, length_bytes = payload.n > 65535 ? 8 : payload.n > 125 ? 2 : 0;
    head[1] = (uint8_t)(length_bytes == 8 ? 127 : length_bytes == 2 ? 126 : payload.n);
    for (size_t i = length_bytes; i > 0; i--)
        head[n++] = (uint8_t)((uint64_t)payload.n >> (8 * (i - 1)));
    fm_buf_put(out, head, n);
    fm_buf_slice(out, payload);
}
