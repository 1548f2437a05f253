/* Socket.IO 5 on Engine.IO 4, over WebSocket from the start. What an application says to another is its own affair; here a client emits
 * `subscribe` with the topic and waits for the acknowledgement, emits `publish` with topic and payload, and is given `load` with the
 * payload. */
#include "framing.h"

static void hello(struct fm_buf *out, const struct fm_speech *s, uint32_t client)
{
    (void)s;
    (void)client;
    fm_buf_str(out, "40"); /* connect to the main namespace */
}

static void join(struct fm_buf *out, const struct fm_speech *s, uint32_t seat, struct fm_slice topic, const struct fm_vector *cursor)
{
    (void)s;
    (void)cursor;
    fm_buf_printf(out, "42%u[\"subscribe\",\"", seat);
    fm_buf_slice(out, topic);
    fm_buf_str(out, "\"]");
}

static void push(struct fm_buf *out, const struct fm_speech *s, struct fm_slice topic, uint64_t number, struct fm_slice payload)
{
    (void)s;
    (void)number;
    fm_buf_str(out, "42[\"publish\",\"");
    fm_buf_slice(out, topic);
    fm_buf_str(out, "\",");
    fm_buf_slice(out, payload);
    fm_buf_u8(out, ']');
}

static void pong(struct fm_buf *out)
{
    fm_buf_u8(out, '3');
}

static enum fm_err event_read(struct fm_slice text, struct fm_saying *said)
{
    static const char head[] = "[\"" FM_LOAD_EVENT "\",";
    if (!fm_slice_starts(text, FM_LIT(head)) || text.p[text.n - 1] != ']')
        return FM_E_SYNTAX;
    said->what = FM_SAID_MESSAGE;
    said->detail = fm_slice_of(text.p + sizeof head - 1, text.n - sizeof head);
    return FM_OK;
}

/* Digits and a list: the answer to the join that had this number. */
static enum fm_err ack_read(struct fm_slice text, struct fm_saying *said)
{
    uint64_t seat;
    size_t n = 0;
    while (n < text.n && text.p[n] != '[')
        n++;
    if (n == text.n || fm_slice_u64(fm_slice_of(text.p, n), FM_SEAT_NONE - 1, &seat))
        return FM_E_SYNTAX;
    said->what = FM_SAID_JOIN;
    said->ok = true;
    said->seat = (uint32_t)seat;
    return FM_OK;
}

static enum fm_err next(struct fm_rd *in, struct fm_saying *said)
{
    struct fm_slice text = fm_rd_bytes(in, fm_rd_left(in));
    *said = (struct fm_saying){.seat = FM_SEAT_NONE};
    if (fm_slice_starts(text, FM_LIT("42")))
        return event_read(fm_slice_of(text.p + 2, text.n - 2), said);
    if (fm_slice_starts(text, FM_LIT("43")))
        return ack_read(fm_slice_of(text.p + 2, text.n - 2), said);
    said->detail = text;
    if (fm_slice_starts(text, FM_LIT("0")))
        said->what = FM_SAID_HELLO;
    else if (fm_slice_starts(text, FM_LIT("40")))
        said->what = FM_SAID_WELCOME;
    else if (fm_slice_eq(text, FM_LIT("2")))
        said->what = FM_SAID_PING;
    else if (fm_slice_starts(text, FM_LIT("1")) || fm_slice_starts(text, FM_LIT("41")) || fm_slice_starts(text, FM_LIT("44")))
        said->what = FM_SAID_OVER;
    else
        return FM_E_SYNTAX;
    return FM_OK;
}

const struct fm_framing fm_framing_socketio = {.name = "socketio",
                                               .target = "/socket.io/?EIO=4&transport=websocket",
                                               .carrier = FM_CARRIER_MESSAGES,
                                               .kind = FM_WS_TEXT,
                                               .greets = true,
                                               .answers_joins = true,
                                               .pushes = true,
                                               .hello = hello,
                                               .join = join,
                                               .push = push,
                                               .pong = pong,
                                               .next = next};
