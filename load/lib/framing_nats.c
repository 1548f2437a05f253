/* The text protocol of NATS, in WebSocket messages. A subscription's number is its seat's plus one. NATS answers neither SUB nor PUB; a
 * PING behind them is answered in their order. */
#include "framing.h"

enum { LINE_MAX = 64 * 1024 }; /* an INFO lists the cluster's addresses */

static void hello(struct fm_buf *out, const struct fm_speech *s, uint32_t client)
{
    (void)s;
    (void)client;
    fm_buf_str(out, "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"lang\":\"c\",\"version\":\"1\",\"protocol\":1,"
                    "\"echo\":true}\r\nPING\r\n");
}

static void join(struct fm_buf *out, const struct fm_speech *s, uint32_t seat, struct fm_slice topic, const struct fm_vector *cursor)
{
    (void)s;
    (void)cursor;
    fm_buf_str(out, "SUB ");
    fm_buf_slice(out, topic);
    fm_buf_printf(out, " %u\r\n", seat + 1);
}

static void push(struct fm_buf *out, const struct fm_speech *s, struct fm_slice topic, uint64_t number, struct fm_slice payload)
{
    (void)s;
    (void)number;
    fm_buf_str(out, "PUB ");
    fm_buf_slice(out, topic);
    fm_buf_printf(out, " %zu\r\n", payload.n);
    fm_buf_slice(out, payload);
    fm_buf_str(out, "\r\n");
}

static void beat(struct fm_buf *out)
{
    fm_buf_str(out, "PING\r\n");
}

static void pong(struct fm_buf *out)
{
    fm_buf_str(out, "PONG\r\n");
}

static struct fm_slice word(struct fm_slice *line)
{
    size_t n = 0, from;
    while (n < line->n && line->p[n] != ' ')
        n++;
    struct fm_slice w = fm_slice_of(line->p, n);
    for (from = n; from < line->n && line->p[from] == ' ';)
        from++;
    *line = fm_slice_of(line->p + from, line->n - from);
    return w;
}

/* MSG subject sid [reply] bytes, and the payload behind the line. */
static enum fm_err message_read(struct fm_slice line, struct fm_rd *r, struct fm_saying *said)
{
    uint64_t sid, bytes;
    said->topic = word(&line);
    struct fm_slice sid_text = word(&line), size = word(&line);
    if (line.n)
        size = word(&line);
    if (line.n || fm_slice_u64(sid_text, UINT32_MAX, &sid) || sid == 0 || fm_slice_u64(size, FM_ITEM_MAX, &bytes))
        return FM_E_SYNTAX;
    said->what = FM_SAID_MESSAGE;
    said->seat = (uint32_t)sid - 1;
    said->detail = fm_rd_bytes(r, (size_t)bytes);
    struct fm_slice end = fm_rd_bytes(r, 2);
    if (r->bad)
        return FM_E_SHORT;
    return fm_slice_eq(end, FM_LIT("\r\n")) ? FM_OK : FM_E_SYNTAX;
}

static enum fm_err next(struct fm_rd *in, struct fm_saying *said)
{
    struct fm_rd r = *in;
    size_t left = fm_rd_left(&r);
    const uint8_t *lf = left ? memchr(r.p, '\n', left < LINE_MAX ? left : LINE_MAX) : NULL;
    if (!lf)
        return left < LINE_MAX ? FM_E_SHORT : FM_E_SYNTAX;
    struct fm_slice line = fm_rd_bytes(&r, (size_t)(lf - r.p) + 1);
    line.n -= line.n >= 2 && line.p[line.n - 2] == '\r' ? 2 : 1;
    struct fm_slice op = word(&line);
    enum fm_err err = FM_OK;
    *said = (struct fm_saying){.seat = FM_SEAT_NONE, .detail = line};
    if (fm_slice_eq(op, FM_LIT("MSG")))
        err = message_read(line, &r, said);
    else if (fm_slice_eq(op, FM_LIT("PING")))
        said->what = FM_SAID_PING;
    else if (fm_slice_eq(op, FM_LIT("PONG")))
        said->what = FM_SAID_BEAT;
    else if (fm_slice_eq(op, FM_LIT("INFO")))
        said->what = FM_SAID_HELLO;
    else if (fm_slice_eq(op, FM_LIT("-ERR")))
        said->what = FM_SAID_OVER;
    else if (!fm_slice_eq(op, FM_LIT("+OK")))
        err = FM_E_SYNTAX;
    if (!err)
        *in = r;
    return err;
}

const struct fm_framing fm_framing_nats = {.name = "nats",
                                           .target = "/",
                                           .carrier = FM_CARRIER_STREAM,
                                           .kind = FM_WS_BINARY,
                                           .greets = true,
                                           .beat_answers_joins = true,
                                           .pushes = true,
                                           .hello = hello,
                                           .join = join,
                                           .push = push,
                                           .beat = beat,
                                           .pong = pong,
                                           .next = next};
