#include "poll_wire.h"

#include "../../broker/base64.h"

#include <assert.h>
#include <openssl/hmac.h>

enum { VERSION = 2, TOKEN_BYTES = 39 }; /* a multiple of three, so that its base64 needs no padding */
_Static_assert(TOKEN_BYTES / 3 * 4 == FM_POLL_TOKEN_TEXT, "");
_Static_assert(1 + 8 + 2 + 8 + 4 + FM_POLL_TAG == TOKEN_BYTES, "");

/* ---- tokens ---- */

/* All but the tag. */
static void said_write(struct fm_buf *raw, const struct fm_poll_token *t)
{
    fm_buf_u8(raw, VERSION);
    fm_buf_u64(raw, t->node);
    fm_buf_u16(raw, t->worker);
    fm_buf_u64(raw, t->id);
    fm_buf_u32(raw, t->seq);
}

bool fm_poll_token_seal(struct fm_poll_token *t, const uint8_t key[FM_POLL_KEY_BYTES])
{
    struct fm_buf raw = {0};
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    said_write(&raw, t);
    bool made = !raw.failed && HMAC(EVP_sha256(), key, FM_POLL_KEY_BYTES, raw.p, raw.n, mac, &n) && n >= sizeof t->tag;
    fm_buf_fini(&raw);
    if (made)
        memcpy(t->tag, mac, sizeof t->tag);
    return made;
}

bool fm_poll_token_good(const struct fm_poll_token *t, const uint8_t key[FM_POLL_KEY_BYTES])
{
    struct fm_poll_token own = *t;
    return fm_poll_token_seal(&own, key) && fm_slice_eq_secret(fm_slice_of(own.tag, sizeof own.tag), fm_slice_of(t->tag, sizeof t->tag));
}

void fm_poll_token_print(const struct fm_poll_token *t, char out[FM_POLL_TOKEN_TEXT + 1])
{
    struct fm_buf raw = {0}, text = {0};
    said_write(&raw, t);
    fm_buf_put(&raw, t->tag, sizeof t->tag);
    if (!raw.failed)
        fm_base64_encode(&text, fm_buf_view(&raw));
    bool whole = text.n == FM_POLL_TOKEN_TEXT && !text.failed;
    for (size_t i = 0; whole && i < text.n; i++)
        out[i] = (char)(text.p[i] == '+' ? '-' : text.p[i] == '/' ? '_' : text.p[i]); /* so that it stands in a URL as it is */
    out[whole ? FM_POLL_TOKEN_TEXT : 0] = 0;                                          /* without memory: no token */
    fm_buf_fini(&raw);
    fm_buf_fini(&text);
}

enum fm_err fm_poll_token_read(struct fm_slice text, struct fm_poll_token *t)
{
    struct fm_buf raw = {0};
    size_t at;
    enum fm_err err = text.n == FM_POLL_TOKEN_TEXT ? fm_base64_decode(text, &raw, &at) : FM_E_SYNTAX;
    struct fm_rd r = fm_rd_of(fm_buf_view(&raw));
    if (!err && (raw.n != TOKEN_BYTES || fm_rd_u8(&r) != VERSION))
        err = FM_E_SYNTAX;
    for (size_t i = 0; i < text.n && !err; i++)
        if (text.p[i] == '+' || text.p[i] == '/')
            err = FM_E_SYNTAX;
    if (!err) {
        t->node = fm_rd_u64(&r);
        t->worker = fm_rd_u16(&r);
        t->id = fm_rd_u64(&r);
        t->seq = fm_rd_u32(&r);
        struct fm_slice tag = fm_rd_bytes(&r, FM_POLL_TAG);
        assert(!r.bad);
        memcpy(t->tag, tag.p, FM_POLL_TAG);
    }
    fm_buf_fini(&raw);
    return err;
}

/* ---- messages ---- */

void fm_poll_frame_put(struct fm_buf *b, bool binary, struct fm_slice bytes)
{
    fm_buf_u8(b, binary);
    fm_buf_sized(b, bytes);
}

bool fm_poll_frame_next(struct fm_slice *rest, bool *binary, struct fm_slice *bytes)
{
    struct fm_rd r = fm_rd_of(*rest);
    uint8_t kind = fm_rd_u8(&r);
    *bytes = fm_rd_sized(&r, SIZE_MAX);
    *binary = kind == 1;
    if (r.bad || kind > 1)
        return false;
    *rest = fm_slice_of(r.p, fm_rd_left(&r));
    return true;
}

/* ---- pushes ---- */

static enum fm_err line_take(struct fm_slice line, struct fm_buf *decoded, struct fm_buf *out, const char **why)
{
    if (line.p[0] == '[' || line.p[0] == '{') {
        fm_poll_frame_put(out, false, line);
        return FM_OK;
    }
    size_t at;
    decoded->n = 0;
    enum fm_err err = fm_base64_decode(line, decoded, &at);
    if (err)
        *why = "a line is neither a text frame nor a binary one in base64";
    else
        fm_poll_frame_put(out, true, fm_buf_view(decoded));
    return err;
}

static enum fm_err lines_take(struct fm_slice body, struct fm_buf *out, const char **why)
{
    struct fm_buf decoded = {0};
    enum fm_err err = FM_OK;
    unsigned lines = 0;
    while (body.n && !err) {
        const uint8_t *end = memchr(body.p, '\n', body.n);
        struct fm_slice line = fm_slice_of(body.p, end ? (size_t)(end - body.p) : body.n);
        body = fm_slice_of(body.p + line.n + (end ? 1 : 0), body.n - line.n - (end ? 1 : 0));
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0)
            continue;
        if (++lines > FM_POLL_LINES_MAX) {
            *why = "more than 100 messages in one request";
            err = FM_E_TOO_MANY;
        } else {
            err = line_take(line, &decoded, out, why);
        }
    }
    fm_buf_fini(&decoded);
    return err;
}

enum fm_err fm_poll_body(struct fm_slice body, bool lines, struct fm_buf *out, const char **why)
{
    enum fm_err err = FM_OK;
    if (lines)
        err = lines_take(body, out, why);
    else if (body.n)
        fm_poll_frame_put(out, false, body);
    if (!err && !out->failed)
        return FM_OK;
    if (!err)
        *why = NULL;
    return err ? err : FM_E_NOMEM;
}

/* ---- notes ---- */

static bool of_session(enum fm_poll_kind kind)
{
    return kind == FM_POLL_WAIT || kind == FM_POLL_PUSH || kind == FM_POLL_CHECK;
}

void fm_poll_note_write(struct fm_buf *b, const struct fm_poll_note *n)
{
    fm_buf_u8(b, (uint8_t)n->kind);
    fm_buf_u64(b, n->ref);
    if (n->kind == FM_POLL_ANSWER) {
        fm_buf_varint(b, n->status);
        fm_buf_u32(b, n->seq);
    } else if (n->kind == FM_POLL_KEY) {
        assert(n->key.n == FM_POLL_KEY_BYTES);
        fm_buf_slice(b, n->key);
    } else {
        fm_buf_varint(b, n->from);
    }
    if (of_session(n->kind)) {
        fm_buf_u64(b, n->token.id);
        fm_buf_u32(b, n->token.seq);
        fm_buf_put(b, n->token.tag, sizeof n->token.tag);
    }
    fm_buf_slice(b, n->frames);
}

static uint32_t small(struct fm_rd *r, uint32_t max)
{
    uint64_t v = fm_rd_varint(r);
    r->bad = r->bad || v > max;
    return r->bad ? 0 : (uint32_t)v;
}

enum fm_err fm_poll_note_read(struct fm_slice bytes, struct fm_poll_note *n)
{
    struct fm_rd r = fm_rd_of(bytes);
    *n = (struct fm_poll_note){.kind = (enum fm_poll_kind)fm_rd_u8(&r)};
    n->ref = fm_rd_u64(&r);
    if (n->kind < FM_POLL_WAIT || n->kind > FM_POLL_KEY)
        return FM_E_SYNTAX;
    if (n->kind == FM_POLL_ANSWER) {
        n->status = small(&r, 999);
        n->seq = fm_rd_u32(&r);
    } else if (n->kind == FM_POLL_KEY) {
        n->key = fm_rd_bytes(&r, FM_POLL_KEY_BYTES);
    } else {
        n->from = small(&r, UINT16_MAX);
    }
    if (of_session(n->kind)) {
        n->token.id = fm_rd_u64(&r);
        n->token.seq = fm_rd_u32(&r);
        struct fm_slice tag = fm_rd_bytes(&r, FM_POLL_TAG);
        if (!r.bad)
            memcpy(n->token.tag, tag.p, FM_POLL_TAG);
    }
    n->frames = fm_rd_bytes(&r, fm_rd_left(&r));
    if (r.bad || (n->frames.n && n->kind != FM_POLL_PUSH && n->kind != FM_POLL_ANSWER))
        return FM_E_SYNTAX;
    bool binary;
    struct fm_slice one, rest = n->frames;
    while (fm_poll_frame_next(&rest, &binary, &one))
        ;
    return rest.n ? FM_E_SYNTAX : FM_OK;
}
