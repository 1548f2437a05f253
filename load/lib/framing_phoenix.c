/* Phoenix Channels, V2 text frames. Cursor channels carry the message's id where Phoenix has null. */
#include "framing.h"

static void join(struct fm_buf *out, const struct fm_speech *s, uint32_t seat, struct fm_slice topic, const struct fm_vector *cursor)
{
    (void)seat; /* the topic names it */
    fm_buf_str(out, "[\"j\",\"j\",\"");
    fm_buf_slice(out, topic);
    fm_buf_str(out, "\",\"phx_join\",{");
    if (!s->plain) {
        fm_buf_str(out, "\"cursor\":");
        fm_vector_json(out, cursor);
    }
    fm_buf_str(out, "}]");
}

static void push(struct fm_buf *out, const struct fm_speech *s, struct fm_slice topic, uint64_t number, struct fm_slice payload)
{
    (void)s;
    fm_buf_str(out, "[\"j\",\"");
    fm_buf_dec(out, number);
    fm_buf_str(out, "\",\"");
    fm_buf_slice(out, topic);
    fm_buf_str(out, "\",\"" FM_LOAD_EVENT "\",");
    fm_buf_slice(out, payload);
    fm_buf_u8(out, ']');
}

static void beat(struct fm_buf *out)
{
    fm_buf_str(out, "[null,\"h\",\"phoenix\",\"heartbeat\",{}]");
}

static enum fm_err reply_read(const struct fm_wire *w, struct fm_saying *said)
{
    said->ok = fm_slice_eq(fm_wire_text(w->payload, "status"), FM_LIT("ok"));
    if (fm_slice_eq(w->ref, FM_LIT("h"))) {
        said->what = FM_SAID_BEAT;
        return FM_OK;
    }
    struct fm_slice response = fm_wire_member(w->payload, "response");
    if (fm_slice_eq(w->ref, FM_LIT("j"))) {
        said->what = FM_SAID_JOIN;
        said->detail = said->ok ? response : fm_wire_text(response, "reason");
        return FM_OK;
    }
    said->what = FM_SAID_PUSH;
    said->id = fm_wire_text(response, "id");
    return fm_slice_u64(w->ref, UINT64_MAX, &said->number);
}

static enum fm_err next(struct fm_rd *in, struct fm_saying *said)
{
    struct fm_wire w;
    if (fm_wire_read(fm_rd_bytes(in, fm_rd_left(in)), &w))
        return FM_E_SYNTAX;
    *said = (struct fm_saying){.seat = FM_SEAT_NONE, .topic = w.topic, .detail = w.payload};
    if (fm_slice_eq(w.event, FM_LIT(FM_LOAD_EVENT))) {
        said->what = FM_SAID_MESSAGE;
        said->id = w.ref;
        said->replayed = w.join_ref.n > 0;
        return FM_OK;
    }
    if (fm_slice_eq(w.event, FM_LIT("phx_reply")))
        return reply_read(&w, said);
    if (fm_slice_eq(w.event, FM_LIT("phx_error")) || fm_slice_eq(w.event, FM_LIT("phx_close")))
        said->what = FM_SAID_OVER;
    else if (fm_slice_eq(w.event, FM_LIT("gap")))
        said->what = FM_SAID_GAP;
    else if (fm_slice_eq(w.event, FM_LIT("presence_state")) || fm_slice_eq(w.event, FM_LIT("presence_diff")))
        said->what = FM_SAID_NOTHING; /* a topic that allows presence says who is there to all that join it */
    else
        return FM_E_SYNTAX;
    return FM_OK;
}

const struct fm_framing fm_framing_phoenix = {.name = "phoenix",
                                              .target = "/socket/websocket?vsn=2.0.0",
                                              .carrier = FM_CARRIER_MESSAGES,
                                              .kind = FM_WS_TEXT,
                                              .answers_joins = true,
                                              .answers_pushes = true,
                                              .pushes = true,
                                              .join = join,
                                              .push = push,
                                              .beat = beat,
                                              .next = next};
