/* WebSocket without a protocol of its own: a text joins a topic (or the URL does), a text publishes, and every message that comes is a
 * payload as it was published. */
#include "framing.h"

static void join(struct fm_buf *out, const struct fm_speech *s, uint32_t seat, struct fm_slice topic, const struct fm_vector *cursor)
{
    (void)seat;
    (void)cursor;
    fm_template_put(out, s->join ? s->join : "", topic, (struct fm_slice){0});
}

static void push(struct fm_buf *out, const struct fm_speech *s, struct fm_slice topic, uint64_t number, struct fm_slice payload)
{
    (void)number;
    fm_template_put(out, s->push && *s->push ? s->push : FM_PAYLOAD_MARK, topic, payload);
}

static enum fm_err next(struct fm_rd *in, struct fm_saying *said)
{
    *said = (struct fm_saying){.what = FM_SAID_MESSAGE, .seat = FM_SEAT_NONE, .detail = fm_rd_bytes(in, fm_rd_left(in))};
    return FM_OK;
}

const struct fm_framing fm_framing_websocket = {.name = "websocket",
                                                .target = "/",
                                                .carrier = FM_CARRIER_MESSAGES,
                                                .kind = FM_WS_TEXT,
                                                .pushes = true,
                                                .join = join,
                                                .push = push,
                                                .next = next};
