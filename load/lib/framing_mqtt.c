/* MQTT 3.1.1 in WebSocket messages, QoS 0. The packet number of a SUBSCRIBE is its seat's plus one. */
#include "framing.h"

enum packet { CONNECT = 1, CONNACK = 2, PUBLISH = 3, SUBSCRIBE = 8, SUBACK = 9, PINGREQ = 12, PINGRESP = 13 };

static void be16_put(struct fm_buf *out, uint64_t v)
{
    fm_buf_u8(out, (uint8_t)(v >> 8));
    fm_buf_u8(out, (uint8_t)v);
}

static void text_put(struct fm_buf *out, struct fm_slice s)
{
    be16_put(out, s.n);
    fm_buf_slice(out, s);
}

static void head_put(struct fm_buf *out, enum packet type, unsigned flags, uint64_t length)
{
    fm_buf_u8(out, (uint8_t)(type << 4 | flags));
    fm_buf_varint(out, length); /* seven bits a byte, lowest first, as everywhere */
}

static void hello(struct fm_buf *out, const struct fm_speech *s, uint32_t client)
{
    char id[24];
    static const char hex[] = "0123456789abcdef";
    for (unsigned i = 0; i < 8; i++) {
        id[i] = hex[s->word >> (28 - 4 * i) & 15];
        id[8 + i] = hex[client >> (28 - 4 * i) & 15];
    }
    head_put(out, CONNECT, 0, 6 + 1 + 1 + 2 + 2 + 16);
    text_put(out, FM_LIT("MQTT"));
    fm_buf_u8(out, 4);    /* 3.1.1 */
    fm_buf_u8(out, 0x02); /* clean session */
    be16_put(out, 0);     /* no keep-alive: whoever wants heartbeats says so */
    text_put(out, fm_slice_of(id, 16));
}

static void join(struct fm_buf *out, const struct fm_speech *s, uint32_t seat, struct fm_slice topic, const struct fm_vector *cursor)
{
    (void)s;
    (void)cursor;
    head_put(out, SUBSCRIBE, 2, 2 + 2 + topic.n + 1);
    be16_put(out, seat + 1);
    text_put(out, topic);
    fm_buf_u8(out, 0);
}

static void push(struct fm_buf *out, const struct fm_speech *s, struct fm_slice topic, uint64_t number, struct fm_slice payload)
{
    (void)s;
    (void)number;
    head_put(out, PUBLISH, 0, 2 + topic.n + payload.n);
    text_put(out, topic);
    fm_buf_slice(out, payload);
}

static void beat(struct fm_buf *out)
{
    head_put(out, PINGREQ, 0, 0);
}

static uint16_t be16(struct fm_rd *r)
{
    unsigned high = fm_rd_u8(r);
    return (uint16_t)(high << 8 | fm_rd_u8(r));
}

static enum fm_err packet_read(unsigned first, struct fm_slice body, struct fm_saying *said)
{
    struct fm_rd r = fm_rd_of(body);
    unsigned code, number;
    switch (first >> 4) {
    case CONNACK:
        (void)fm_rd_u8(&r);
        code = fm_rd_u8(&r);
        said->what = code ? FM_SAID_OVER : FM_SAID_WELCOME;
        said->detail = code ? FM_LIT("the broker refused the CONNECT") : (struct fm_slice){0};
        break;
    case SUBACK:
        number = be16(&r);
        said->ok = fm_rd_u8(&r) == 0;
        said->what = FM_SAID_JOIN;
        said->seat = number - 1;
        said->detail = said->ok ? (struct fm_slice){0} : FM_LIT("the broker refused the SUBSCRIBE");
        r.bad |= number == 0;
        break;
    case PUBLISH:
        r.bad |= (first & 0x06) != 0; /* another QoS than was asked for */
        said->topic = fm_rd_bytes(&r, be16(&r));
        said->what = FM_SAID_MESSAGE;
        said->detail = fm_rd_bytes(&r, fm_rd_left(&r));
        break;
    case PINGRESP:
        said->what = FM_SAID_BEAT;
        break;
    default:
        return FM_E_SYNTAX;
    }
    return r.bad || fm_rd_left(&r) ? FM_E_SYNTAX : FM_OK;
}

static enum fm_err next(struct fm_rd *in, struct fm_saying *said)
{
    struct fm_rd r = *in;
    unsigned first = fm_rd_u8(&r);
    uint64_t length = 0;
    uint8_t byte = 0x80;
    for (unsigned i = 0; (byte & 0x80) && !r.bad; i++) {
        if (i == 4)
            return FM_E_SYNTAX;
        byte = fm_rd_u8(&r);
        length |= (uint64_t)(byte & 0x7f) << (7 * i);
    }
    if (length > FM_ITEM_MAX)
        return FM_E_SYNTAX;
    struct fm_slice body = fm_rd_bytes(&r, (size_t)length);
    if (r.bad)
        return FM_E_SHORT;
    *in = r;
    *said = (struct fm_saying){.seat = FM_SEAT_NONE};
    return packet_read(first, body, said);
}

const struct fm_framing fm_framing_mqtt = {.name = "mqtt",
                                           .target = "/mqtt",
                                           .subprotocol = "mqtt",
                                           .carrier = FM_CARRIER_STREAM,
                                           .kind = FM_WS_BINARY,
                                           .greets = true,
                                           .answers_joins = true,
                                           .pushes = true,
                                           .hello = hello,
                                           .hello_first = true,
                                           .join = join,
                                           .push = push,
                                           .beat = beat,
                                           .next = next};
