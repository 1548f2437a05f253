#include "cli_channel.h"
#include "../json/json_slice.h"

#include "../../broker/base64.h"
#include "../../broker/diag.h"
#include "../../broker/msg.h"

#include <stdio.h>

enum { DEPTH_MAX = 256, REF_TEXT_MAX = 24, BINARY_PUSH = 0, BINARY_BROADCAST = 2 };

void fm_channel_fini(struct fm_channel *c)
{
    fm_vector_fini(&c->cursor);
    fm_buf_fini(&c->lines);
    fm_buf_fini(&c->held);
}

void fm_channel_join(struct fm_channel *c, struct fm_buf *frame)
{
    c->joins++;
    c->state = FM_CHANNEL_JOINING;
    c->holding = false;
    c->held.n = 0;
    fm_buf_printf(frame, "[\"%u\",\"%u\",", c->joins, c->joins);
    fm_buf_json(frame, fm_slice_str(c->topic));
    fm_buf_str(frame, ",\"phx_join\",{\"cursor\":");
    fm_vector_json(frame, &c->cursor);
    if (!c->joined_once && c->last)
        fm_buf_printf(frame, ",\"last\":%llu", (unsigned long long)c->last);
    fm_buf_str(frame, "}]");
}

/* ---- lines ---- */

/* A payload is kept as it was published, and may hold line ends between its members. */
static void put_on_one_line(struct fm_buf *b, struct fm_slice json)
{
    size_t at = b->n;
    fm_buf_slice(b, json);
    for (size_t i = at; i < b->n; i++)
        if (b->p[i] == '\n' || b->p[i] == '\r')
            b->p[i] = ' ';
}

static enum fm_err put_line(struct fm_channel *c, struct fm_slice id, struct fm_slice event, struct fm_slice payload, bool binary)
{
    struct fm_buf *b = c->holding ? &c->held : &c->lines;
    fm_buf_str(b, "{\"id\":");
    fm_buf_slice(b, id);
    fm_buf_str(b, ",\"event\":");
    fm_buf_slice(b, event);
    if (binary) {
        fm_buf_str(b, ",\"payload_base64\":\"");
        fm_base64_encode(b, payload);
        fm_buf_str(b, "\"}\n");
    } else {
        fm_buf_str(b, ",\"payload\":");
        put_on_one_line(b, payload);
        fm_buf_str(b, "}\n");
    }
    return b->failed ? FM_E_NOMEM : FM_OK;
}

/* The held lines may be printed: the position after them is known. */
static enum fm_err held_release(struct fm_channel *c)
{
    fm_buf_slice(&c->lines, fm_buf_view(&c->held));
    c->held.n = 0;
    c->holding = false;
    return c->lines.failed ? FM_E_NOMEM : FM_OK;
}

/* ---- what frames mean ---- */

static bool text_of(const struct fm_json *v, char *out, size_t size)
{
    struct fm_slice text;
    if (fm_json_text(v, out, size - 1, &text) != FM_OK)
        return false;
    memmove(out, text.p, text.n); /* without escapes the text is a slice of the input */
    out[text.n] = 0;
    return true;
}

static enum fm_err cursor_replace(struct fm_channel *c, const struct fm_json *object)
{
    struct fm_json list, item;
    struct fm_vector v = {0};
    if (!fm_json_get(object, FM_LIT("cursor"), &list) || list.type != FM_JSON_ARRAY)
        return FM_E_SYNTAX;
    for (struct fm_json_walk w = fm_json_walk_of(&list); fm_json_next(&w, NULL, &item);) {
        char space[FM_ID_TEXT_MAX + 1];
        struct fm_slice text;
        enum fm_err err = fm_json_text(&item, space, sizeof space, &text);
        if (!err)
            err = fm_vector_add_text(&v, text);
        if (err) {
            fm_vector_fini(&v);
            return err == FM_E_NOMEM ? err : FM_E_SYNTAX;
        }
    }
    fm_vector_fini(&c->cursor);
    c->cursor = v;
    return FM_OK;
}

static enum fm_err on_join_error(struct fm_channel *c, const struct fm_json *response)
{
    static const char *const passing[] = {"draining", "not_ready", "overloaded", "timeout", "out_of_memory"};
    struct fm_json v;
    char reason[128] = "no reason given";
    char quote[200];
    if (fm_json_get(response, FM_LIT("reason"), &v) && !text_of(&v, reason, sizeof reason))
        return FM_E_SYNTAX;
    c->state = FM_CHANNEL_ENDED;
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        if (strcmp(reason, passing[i]) == 0)
            c->state = FM_CHANNEL_AGAIN;
    snprintf(c->why, sizeof c->why, "the node refuses the join: %s", fm_diag_quote(quote, sizeof quote, reason, strlen(reason)));
    return FM_OK;
}

static enum fm_err on_reply(struct fm_channel *c, const struct fm_json *ref, const struct fm_json *payload)
{
    struct fm_json status, response, recovered;
    char mine[REF_TEXT_MAX];
    snprintf(mine, sizeof mine, "%u", c->joins);
    if (!fm_json_is(ref, fm_slice_str(mine)) || c->state != FM_CHANNEL_JOINING)
        return FM_OK; /* of a heartbeat, or of a join given up */
    if (!fm_json_get(payload, FM_LIT("status"), &status) || !fm_json_get(payload, FM_LIT("response"), &response))
        return FM_E_SYNTAX;
    if (!fm_json_is(&status, FM_LIT("ok")))
        return on_join_error(c, &response);
    enum fm_err err = cursor_replace(c, &response);
    if (err)
        return err;
    if (!fm_json_get(&response, FM_LIT("recovered"), &recovered) || recovered.type != FM_JSON_TRUE)
        c->unrecovered = true;
    c->state = FM_CHANNEL_OPEN;
    c->joined_once = true;
    return FM_OK;
}

static enum fm_err on_gap(struct fm_channel *c, const struct fm_json *event, const struct fm_json *payload)
{
    enum fm_err err = held_release(c);
    if (!err)
        err = put_line(c, FM_LIT("null"), event->raw, payload->raw, false);
    return err ? err : cursor_replace(c, payload);
}

static enum fm_err on_message(struct fm_channel *c, const struct fm_json *ref, const struct fm_json *event, const struct fm_json *payload)
{
    char space[FM_ID_TEXT_MAX + 1];
    struct fm_slice text;
    struct fm_id id;
    if (fm_json_text(ref, space, sizeof space, &text) || fm_id_parse((const char *)text.p, text.n, &id))
        return FM_E_SYNTAX; /* a cursor channel's messages have ids */
    enum fm_err err = put_line(c, ref->raw, event->raw, payload->raw, false);
    if (err || c->holding)
        return err;
    err = fm_vector_raise(&c->cursor, id.origin, id.seq);
    return err == FM_E_TOO_MANY ? FM_OK : err; /* that origin then comes again after a break */
}

enum fm_err fm_channel_text(struct fm_channel *c, struct fm_slice frame)
{
    struct fm_json root, part[5];
    size_t n = 0;
    char event[FM_EVENT_MAX + 2], mine[REF_TEXT_MAX];
    enum fm_err err = fm_json_parse(frame, DEPTH_MAX, &root, NULL);
    if (err || root.type != FM_JSON_ARRAY || fm_json_count(&root) != 5)
        return FM_E_SYNTAX;
    for (struct fm_json_walk w = fm_json_walk_of(&root); n < 5 && fm_json_next(&w, NULL, &part[n]); n++)
        ;
    if (!text_of(&part[3], event, sizeof event))
        return FM_E_SYNTAX;
    snprintf(mine, sizeof mine, "%u", c->joins);
    if (!fm_json_is(&part[2], fm_slice_str(c->topic)) || (part[0].type != FM_JSON_NULL && !fm_json_is(&part[0], fm_slice_str(mine))))
        return FM_OK; /* the heartbeat's, or of an earlier join */
    if (strcmp(event, "phx_reply") == 0)
        return on_reply(c, &part[1], &part[4]);
    if (strcmp(event, "phx_error") == 0 || strcmp(event, "phx_close") == 0) {
        bool over = strcmp(event, "phx_close") == 0;
        c->state = over ? FM_CHANNEL_ENDED : FM_CHANNEL_AGAIN;
        snprintf(c->why, sizeof c->why, over ? "the node closed the channel" : "the channel failed");
        return FM_OK;
    }
    if (c->state != FM_CHANNEL_OPEN)
        return FM_OK;
    if (strcmp(event, "fm_cursor") == 0) {
        err = held_release(c);
        return err ? err : cursor_replace(c, &part[4]);
    }
    if (strcmp(event, "gap") == 0)
        return on_gap(c, &part[3], &part[4]);
    return fm_event_reserved(fm_slice_str(event)) ? FM_OK : on_message(c, &part[1], &part[3], &part[4]);
}

enum fm_err fm_channel_binary(struct fm_channel *c, struct fm_slice frame)
{
    struct fm_rd r = fm_rd_of(frame);
    struct fm_buf event = {0};
    uint8_t kind = fm_rd_u8(&r);
    if (kind != BINARY_PUSH && kind != BINARY_BROADCAST)
        return r.bad ? FM_E_SYNTAX : FM_OK;
    uint8_t ref_n = kind == BINARY_PUSH ? fm_rd_u8(&r) : 0, topic_n = fm_rd_u8(&r), event_n = fm_rd_u8(&r);
    char mine[REF_TEXT_MAX];
    snprintf(mine, sizeof mine, "%u", c->joins);
    struct fm_slice ref = fm_rd_bytes(&r, ref_n), topic = fm_rd_bytes(&r, topic_n), name = fm_rd_bytes(&r, event_n);
    if (r.bad)
        return FM_E_SYNTAX;
    if (c->state != FM_CHANNEL_OPEN || !fm_slice_eq(topic, fm_slice_str(c->topic)) || (ref_n && !fm_slice_eq(ref, fm_slice_str(mine))))
        return FM_OK;
    c->holding = true;
    fm_buf_json(&event, name);
    enum fm_err err = event.failed ? FM_E_NOMEM : put_line(c, FM_LIT("null"), fm_buf_view(&event), fm_slice_of(r.p, fm_rd_left(&r)), true);
    fm_buf_fini(&event);
    return err;
}
