#include "ws_client.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <strings.h>

/* ---- URLs ---- */

static bool copy_text(char *out, size_t size, struct fm_slice s)
{
    if (s.n >= size)
        return false;
    if (s.n)
        memcpy(out, s.p, s.n);
    out[s.n] = 0;
    return true;
}

/* Splits "host", "host:port" and "[v6]:port". */
static enum fm_err authority_split(struct fm_slice a, struct fm_slice *host, struct fm_slice *port)
{
    const uint8_t *end = a.p + a.n;
    const uint8_t *after;
    if (a.n && a.p[0] == '[') {
        const uint8_t *close = memchr(a.p, ']', a.n);
        if (!close)
            return FM_E_ADDRESS;
        *host = fm_slice_of(a.p + 1, (size_t)(close - a.p) - 1);
        after = close + 1;
    } else {
        const uint8_t *colon = a.n ? memchr(a.p, ':', a.n) : NULL;
        after = colon ? colon : end;
        *host = fm_slice_of(a.p, (size_t)(after - a.p));
    }
    *port = FM_LIT("80");
    if (after < end) {
        if (*after != ':')
            return FM_E_ADDRESS;
        *port = fm_slice_of(after + 1, (size_t)(end - after) - 1);
    }
    uint64_t n;
    if (host->n == 0 || fm_slice_u64(*port, 65535, &n) || n == 0 || port->n > 5)
        return FM_E_ADDRESS;
    return FM_OK;
}

enum fm_err fm_url_parse(struct fm_slice text, const char *scheme, struct fm_url *url)
{
    struct fm_slice name = fm_slice_str(scheme), host, port;
    if (text.n < name.n + 3 || strncasecmp((const char *)text.p, scheme, name.n) != 0 || memcmp(text.p + name.n, "://", 3) != 0)
        return FM_E_ADDRESS;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] == 0x7f || text.p[i] == '#' || text.p[i] == '@')
            return FM_E_ADDRESS;
    struct fm_slice rest = fm_slice_of(text.p + name.n + 3, text.n - name.n - 3);
    size_t cut = 0;
    while (cut < rest.n && rest.p[cut] != '/' && rest.p[cut] != '?')
        cut++;
    struct fm_slice authority = fm_slice_of(rest.p, cut);
    struct fm_slice target = fm_slice_of(rest.p + cut, rest.n - cut);
    enum fm_err err = authority_split(authority, &host, &port);
    if (err)
        return err;
    bool slash = target.n && target.p[0] == '/';
    url->target[0] = '/';
    if (!copy_text(url->host, sizeof url->host, host) || !copy_text(url->port, sizeof url->port, port) ||
        !copy_text(url->authority, sizeof url->authority, authority) || !copy_text(url->target + !slash, sizeof url->target - 1, target))
        return FM_E_TOO_LARGE;
    return FM_OK;
}

/* ---- upgrade ---- */

void fm_ws_key_make(struct fm_ws_key *key, const uint8_t random[FM_WS_KEY_BYTES])
{
    EVP_EncodeBlock((unsigned char *)key->text, random, FM_WS_KEY_BYTES);
}

void fm_ws_request_put(struct fm_buf *out, const struct fm_url *url, const struct fm_ws_key *key, struct fm_slice headers)
{
    fm_buf_printf(out,
                  "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
                  url->target, url->authority, key->text);
    fm_buf_slice(out, headers);
    fm_buf_str(out, "\r\n");
}

void fm_ws_accept_of(const struct fm_ws_key *key, char out[FM_WS_ACCEPT_TEXT + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[FM_WS_KEY_TEXT + sizeof guid - 1], sum[SHA_DIGEST_LENGTH];
    memcpy(text, key->text, FM_WS_KEY_TEXT);
    memcpy(text + FM_WS_KEY_TEXT, guid, sizeof guid - 1);
    SHA1(text, sizeof text, sum);
    EVP_EncodeBlock((unsigned char *)out, sum, sizeof sum);
}

static bool same_word(struct fm_slice s, const char *word)
{
    size_t n = strlen(word);
    return s.n == n && strncasecmp((const char *)s.p, word, n) == 0;
}

static struct fm_slice trim(struct fm_slice s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = fm_slice_of(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

static bool list_has(struct fm_slice list, const char *word)
{
    while (list.n) {
        const uint8_t *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (same_word(trim(fm_slice_of(list.p, n)), word))
            return true;
        size_t skip = comma ? n + 1 : n;
        list = fm_slice_of(list.p + skip, list.n - skip);
    }
    return false;
}

/* One line without its CRLF. FM_E_SHORT: there is no whole line yet. */
static enum fm_err line_read(struct fm_rd *r, struct fm_slice *line)
{
    const uint8_t *lf = fm_rd_left(r) ? memchr(r->p, '\n', fm_rd_left(r)) : NULL;
    if (!lf)
        return FM_E_SHORT;
    *line = fm_rd_bytes(r, (size_t)(lf - r->p) + 1);
    if (line->n < 2 || line->p[line->n - 2] != '\r')
        return FM_E_SYNTAX;
    line->n -= 2;
    return FM_OK;
}

static enum fm_err status_read(struct fm_slice line, unsigned *status)
{
    uint64_t v;
    if (line.n < 12 || !fm_slice_starts(line, FM_LIT("HTTP/1.1 ")) || (line.n > 12 && line.p[12] != ' '))
        return FM_E_SYNTAX;
    if (fm_slice_u64(fm_slice_of(line.p + 9, 3), 999, &v) || v < 100)
        return FM_E_SYNTAX;
    *status = (unsigned)v;
    return FM_OK;
}

struct seen { /* what a good answer must hold, each once */
    bool upgrade, connection, accept;
};

static enum fm_err header_read(struct fm_slice line, const char *accept, struct seen *seen, struct fm_ws_answer *answer)
{
    const uint8_t *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
    if (!colon || colon == line.p)
        return FM_E_SYNTAX;
    struct fm_slice name = fm_slice_of(line.p, (size_t)(colon - line.p));
    struct fm_slice value = trim(fm_slice_of(colon + 1, line.n - name.n - 1));
    if (same_word(name, "upgrade"))
        seen->upgrade = same_word(value, "websocket");
    else if (same_word(name, "connection"))
        seen->connection |= list_has(value, "upgrade");
    else if (same_word(name, "sec-websocket-accept"))
        seen->accept = fm_slice_eq(value, fm_slice_str(accept));
    else if (same_word(name, "sec-websocket-protocol"))
        answer->protocol = value;
    else if (same_word(name, "sec-websocket-extensions") && answer->status == 101)
        return FM_E_SYNTAX; /* none was offered */
    return FM_OK;
}

enum fm_err fm_ws_answer_read(struct fm_slice in, const struct fm_ws_key *key, struct fm_ws_answer *answer)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(in.p, in.n < FM_WS_RESPONSE_MAX ? in.n : FM_WS_RESPONSE_MAX));
    struct seen seen = {0};
    struct fm_slice line;
    char accept[FM_WS_ACCEPT_TEXT + 1];
    *answer = (struct fm_ws_answer){0};
    fm_ws_accept_of(key, accept);
    enum fm_err err = line_read(&r, &line);
    if (!err)
        err = status_read(line, &answer->status);
    while (!err && !(err = line_read(&r, &line)) && line.n)
        err = header_read(line, accept, &seen, answer);
    if (err)
        return err == FM_E_SHORT && in.n >= FM_WS_RESPONSE_MAX ? FM_E_TOO_LARGE : err;
    answer->used = (size_t)(r.p - in.p);
    if (answer->status != 101)
        return FM_E_FORBIDDEN;
    return seen.upgrade && seen.connection && seen.accept ? FM_OK : FM_E_SYNTAX;
}

/* ---- frames from the server ---- */

struct frame {
    bool fin;
    uint8_t opcode;
    struct fm_slice payload;
};

static uint64_t read_be(struct fm_rd *r, size_t n)
{
    struct fm_slice s = fm_rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = v << 8 | s.p[i];
    return v;
}

/* The length behind the second byte; an over-long form is refused as the RFC demands. */
static enum fm_err length_read(struct fm_rd *r, uint8_t second, uint64_t *n)
{
    uint64_t at_least = 0;
    *n = second & 0x7f;
    if (*n == 126) {
        *n = read_be(r, 2);
        at_least = 126;
    } else if (*n == 127) {
        *n = read_be(r, 8);
        at_least = 65536;
    }
    if (r->bad)
        return FM_E_SHORT;
    return *n < at_least || *n >> 63 ? FM_E_SYNTAX : FM_OK;
}

/* Judges a header as soon as it is there, so that a hostile length is refused before its bytes are waited for. */
static enum fm_err frame_read(struct fm_rd *r, uint64_t max, struct frame *f)
{
    uint8_t first = fm_rd_u8(r), second = fm_rd_u8(r);
    uint64_t n;
    if (r->bad)
        return FM_E_SHORT;
    f->fin = first & 0x80;
    f->opcode = first & 0x0f;
    bool control = f->opcode & 8;
    if ((first & 0x70) || (second & 0x80) || (control ? f->opcode > FM_WS_PONG : f->opcode > FM_WS_BINARY))
        return FM_E_SYNTAX;
    if (control && (!f->fin || (second & 0x7f) > 125))
        return FM_E_SYNTAX;
    enum fm_err err = length_read(r, second, &n);
    if (err)
        return err;
    if (!control && n > max)
        return FM_E_TOO_LARGE;
    f->payload = fm_rd_bytes(r, (size_t)n);
    return r->bad ? FM_E_SHORT : FM_OK;
}

static enum fm_err close_read(struct fm_slice payload, struct fm_ws_event *event)
{
    *event = (struct fm_ws_event){.kind = FM_WS_CLOSE, .code = 1005};
    if (payload.n == 0)
        return FM_OK;
    struct fm_rd r = fm_rd_of(payload);
    event->code = (unsigned)read_be(&r, 2);
    if (r.bad)
        return FM_E_SYNTAX;
    event->payload = fm_slice_of(r.p, fm_rd_left(&r));
    bool reserved = event->code < 1000 || event->code == 1004 || event->code == 1005 || event->code == 1006 ||
                    (event->code > 1014 && event->code < 3000) || event->code > 4999;
    return reserved ? FM_E_SYNTAX : FM_OK;
}

/* A data frame: *whole is set when it completes a message. */
static enum fm_err data_take(struct fm_ws_in *ws, const struct frame *f, struct fm_buf *parts, struct fm_ws_event *event, bool *whole)
{
    if ((f->opcode == 0) != (ws->fragment != 0))
        return FM_E_SYNTAX; /* a continuation of nothing, or a message begun inside another */
    if (f->opcode && f->fin) {
        *event = (struct fm_ws_event){.kind = f->opcode, .payload = f->payload};
        *whole = true;
        return FM_OK;
    }
    if (f->opcode)
        ws->fragment = f->opcode;
    fm_buf_slice(parts, f->payload);
    if (parts->failed)
        return FM_E_NOMEM;
    if (f->fin) {
        *event = (struct fm_ws_event){.kind = ws->fragment, .payload = fm_buf_view(parts)};
        ws->fragment = 0;
        *whole = true;
    }
    return FM_OK;
}

enum fm_err fm_ws_next(struct fm_ws_in *ws, struct fm_rd *in, struct fm_buf *parts, struct fm_ws_event *event)
{
    uint64_t max = ws->message_max ? ws->message_max : FM_WS_MESSAGE_MAX;
    bool whole = false;
    if (ws->closed)
        return FM_E_CLOSED;
    if (!ws->fragment)
        parts->n = 0; /* the message given at the last call is done with */
    while (!whole) {
        struct fm_rd r = *in;
        struct frame f;
        enum fm_err err = frame_read(&r, max - (ws->fragment ? parts->n : 0), &f);
        if (err)
            return err;
        *in = r;
        if (f.opcode == FM_WS_CLOSE) {
            ws->closed = true;
            return close_read(f.payload, event);
        }
        if (f.opcode & 8) {
            *event = (struct fm_ws_event){.kind = f.opcode, .payload = f.payload};
            return FM_OK;
        }
        if ((err = data_take(ws, &f, parts, event, &whole)))
            return err;
    }
    return FM_OK;
}

/* ---- frames to the server ---- */

void fm_ws_frame_put(struct fm_buf *out, enum fm_ws_kind kind, struct fm_slice payload, uint32_t mask)
{
    uint8_t head[14] = {(uint8_t)(0x80 | kind)}, key[4];
    size_t n = 2, length_bytes = payload.n > 65535 ? 8 : payload.n > 125 ? 2 : 0;
    head[1] = (uint8_t)(0x80 | (length_bytes == 8 ? 127 : length_bytes == 2 ? 126 : payload.n));
    for (size_t i = length_bytes; i > 0; i--)
        head[n++] = (uint8_t)((uint64_t)payload.n >> (8 * (i - 1)));
    memcpy(key, &mask, 4);
    memcpy(head + n, key, 4);
    n += 4;
    if (!fm_buf_reserve(out, n + payload.n))
        return;
    fm_buf_put(out, head, n);
    uint8_t *to = out->p + out->n;
    for (size_t i = 0; i < payload.n; i++)
        to[i] = payload.p[i] ^ key[i & 3];
    out->n += payload.n;
}

void fm_ws_close_put(struct fm_buf *out, unsigned code, struct fm_slice reason, uint32_t mask)
{
    uint8_t payload[2 + FM_WS_REASON_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    if (code == 0 || code == 1005) {
        fm_ws_frame_put(out, FM_WS_CLOSE, (struct fm_slice){0}, mask);
        return;
    }
    size_t n = reason.n < FM_WS_REASON_MAX ? reason.n : FM_WS_REASON_MAX;
    if (n)
        memcpy(payload + 2, reason.p, n);
    fm_ws_frame_put(out, FM_WS_CLOSE, fm_slice_of(payload, n + 2), mask);
}
