#include "supabase.h"

#include "../auth/auth.h"
#include "../json/gap_json.h"
#include "supabase_changes.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { KIND_BROADCAST = 4, ENCODING_BYTES = 0, ENCODING_JSON = 1 };
enum { META_MAX = FM_ID_TEXT_MAX + 32 };

uint8_t fm_supabase_flags_of(const struct fm_supabase_config *config)
{
    unsigned flags = FM_SUPABASE;
    flags |= config->ack ? FM_SUPABASE_ACK : 0;
    flags |= config->replay ? FM_SUPABASE_REPLAY : 0;
    flags |= config->changes.type == FM_JSON_ARRAY ? FM_SUPABASE_WANTS : 0;
    flags |= config->presence ? FM_SUPABASE_PRESENCE : 0;
    return (uint8_t)flags;
}

struct fm_supabase_kept *fm_supabase_keep(struct fm_slice key, struct fm_slice wants)
{
    struct fm_supabase_kept *kept = malloc(sizeof *kept + key.n + wants.n);
    if (!kept)
        return NULL;
    kept->key_n = (uint8_t)key.n;
    kept->wants_n = (uint16_t)wants.n;
    if (key.n)
        memcpy(kept->bytes, key.p, key.n);
    if (wants.n)
        memcpy(kept->bytes + key.n, wants.p, wants.n);
    return kept;
}

struct fm_slice fm_supabase_wants_of(const struct fm_sub *sub)
{
    const struct fm_supabase_kept *kept = sub->joined && sub->flags & FM_SUPABASE_WANTS ? sub->proto : NULL;
    return kept ? fm_slice_of(kept->bytes + kept->key_n, kept->wants_n) : (struct fm_slice){0};
}

/* ---- tokens ---- */

static const char *token_reason(enum fm_err err)
{
    switch (err) {
    case FM_E_TOKEN_EXPIRED:
        return "InvalidJWTToken: token_expired";
    case FM_E_TOKEN_REVOKED:
        return "InvalidJWTToken: token_revoked";
    case FM_E_TOKEN_KEY:
        return "InvalidJWTToken: token_key";
    case FM_E_TOKEN_USER:
        return "InvalidJWTToken: token_user";
    case FM_E_NOMEM:
    case FM_E_TOO_MANY_CONNECTIONS:
        return fm_err_code(err);
    default:
        return "InvalidJWTToken: bad_token";
    }
}

const char *fm_supabase_join_token(struct fm_socket *s, const struct fm_phx_in *in)
{
    struct fm_json root, config, v;
    struct fm_slice token;
    struct fm_token_fault fault;
    uint8_t text[FM_TOKEN_MAX];
    if (!fm_worker_config(fm_socket_worker(s))->auth || in->binary)
        return NULL;
    if (fm_json_parse(in->payload, FM_JSON_DEPTH, &root, NULL) != FM_OK || !fm_supabase_asked(in->topic, &root, &config))
        return NULL;
    if (!fm_json_get(&root, FM_LIT("access_token"), &v) || v.type != FM_JSON_STRING)
        return NULL;
    const char *reason = NULL;
    if (fm_json_text(&v, text, sizeof text, &token) != FM_OK)
        reason = token_reason(FM_E_TOKEN);
    else if (fm_jwt_looks(token) && !fm_socket_refresh(s, token, &fault))
        reason = token_reason(fault.err);
    explicit_bzero(text, sizeof text);
    return reason;
}

void fm_supabase_join_params(struct fm_buf *out, struct fm_slice payload)
{
    struct fm_json root, name, value;
    const char *between = "{";
    if (fm_json_parse(payload, FM_JSON_DEPTH, &root, NULL) != FM_OK || root.type != FM_JSON_OBJECT)
        return;
    for (struct fm_json_walk w = fm_json_walk_of(&root); fm_json_next(&w, &name, &value);) {
        if (fm_json_is(&name, FM_LIT("access_token")))
            continue;
        fm_buf_str(out, between);
        fm_buf_slice(out, name.raw);
        fm_buf_u8(out, ':');
        fm_buf_slice(out, value.raw);
        between = ",";
    }
    fm_buf_str(out, *between == '{' ? "{}" : "}");
}

void fm_supabase_token_refused(struct fm_socket *s, const struct fm_sub *sub, enum fm_err err)
{
    struct fm_frames *f = fm_frames_new();
    if (f)
        fm_supabase_system(f, sub, "system", false, token_reason(err), (struct fm_slice){0});
    fm_phx_send(s, &f);
}

/* ---- messages ---- */

static struct fm_slice meta_print(const struct fm_msg *m, bool replayed, char out[META_MAX])
{
    char id[FM_ID_TEXT_MAX + 1];
    fm_id_print(m->id, id);
    int n = snprintf(out, META_MAX, replayed ? "{\"id\":\"%s\",\"replayed\":true}" : "{\"id\":\"%s\"}", id);
    return fm_slice_of(out, (size_t)n);
}

static void binary_write(struct fm_frames *f, struct fm_slice meta, const struct fm_msg *m)
{
    struct fm_slice topic = fm_msg_topic(m), event = fm_msg_event(m);
    size_t opened = fm_frames_open(f);
    struct fm_buf *b = &f->bytes;
    fm_buf_u8(b, KIND_BROADCAST);
    fm_buf_u8(b, (uint8_t)topic.n);
    fm_buf_u8(b, (uint8_t)event.n);
    fm_buf_u8(b, (uint8_t)meta.n);
    fm_buf_u8(b, m->flags & FM_MSG_BINARY ? ENCODING_BYTES : ENCODING_JSON);
    fm_buf_slice(b, topic);
    fm_buf_slice(b, event);
    fm_buf_slice(b, meta);
    fm_buf_slice(b, fm_msg_payload(m));
    fm_frames_close(f, opened, FM_WS_BINARY, m);
}

/* A broadcast as an object: what the payload of a text frame is. */
static void object_write(struct fm_buf *b, struct fm_slice event, struct fm_slice payload, bool binary, struct fm_slice meta)
{
    fm_buf_slice(b, FM_LIT("{\"type\":\"broadcast\",\"event\":"));
    fm_buf_json(b, event);
    fm_buf_slice(b, FM_LIT(",\"payload\":"));
    fm_phx_payload_write(b, payload, binary);
    fm_buf_slice(b, FM_LIT(",\"meta\":"));
    fm_buf_slice(b, meta);
    fm_buf_u8(b, '}');
}

static void text_write(struct fm_frames *f, struct fm_slice meta, const struct fm_msg *m)
{
    struct fm_phx_to to = {.version = FM_PHX_V1, .join_ref = FM_LIT("null"), .ref = FM_LIT("null"), .topic = fm_msg_topic(m)};
    size_t opened = fm_phx_event_open(f, &to, FM_LIT("broadcast"));
    object_write(&f->bytes, fm_msg_event(m), fm_msg_payload(m), m->flags & FM_MSG_BINARY, meta);
    fm_phx_event_close_with(f, &to, opened, m);
}

bool fm_supabase_text_of(struct fm_buf *b, struct fm_slice binary)
{
    struct fm_rd r = fm_rd_of(binary);
    if (fm_rd_u8(&r) != KIND_BROADCAST)
        return false;
    uint8_t topic_n = fm_rd_u8(&r), event_n = fm_rd_u8(&r), meta_n = fm_rd_u8(&r), encoding = fm_rd_u8(&r);
    struct fm_slice topic = fm_rd_bytes(&r, topic_n), event = fm_rd_bytes(&r, event_n), meta = fm_rd_bytes(&r, meta_n);
    struct fm_slice payload = fm_rd_bytes(&r, fm_rd_left(&r));
    assert(!r.bad); /* it is one of ours */
    fm_buf_slice(b, FM_LIT("[null,null,"));
    fm_buf_json(b, topic);
    fm_buf_slice(b, FM_LIT(",\"broadcast\","));
    object_write(b, event, payload, encoding == ENCODING_BYTES, meta);
    fm_buf_u8(b, ']');
    return true;
}

/* true: that was all. */
static bool change_given(struct fm_frames *f, unsigned format, struct fm_slice wants, const struct fm_msg *m)
{
    struct fm_phx_to to = {.version = format == FM_FORMAT_SUPA2 ? FM_PHX_V2 : FM_PHX_V1,
                           .join_ref = FM_LIT("null"),
                           .ref = FM_LIT("null"),
                           .topic = fm_msg_topic(m)};
    if (!fm_supabase_is_change(to.topic, fm_msg_event(m)))
        return false;
    size_t opened = fm_phx_event_open(f, &to, FM_LIT(FM_SUPABASE_CHANGES));
    enum fm_supabase_given given = fm_supabase_change_write(&f->bytes, wants, m);
    if (given == FM_SUPABASE_WRITTEN)
        fm_phx_event_close_with(f, &to, opened, m);
    else
        fm_frames_abandon(f, opened);
    return given != FM_SUPABASE_NOT_ONE;
}

void fm_supabase_message(struct fm_frames *f, unsigned format, bool replayed, struct fm_slice wants, const struct fm_msg *m)
{
    char text[META_MAX];
    if (change_given(f, format, wants, m))
        return;
    if (fm_msg_of_presence(m)) {
        fm_phx_message(f, format == FM_FORMAT_SUPA2 ? FM_PHX_V2 : FM_PHX_V1, FM_LIT("null"), FM_PHX_NO_ID, m);
        return;
    }
    struct fm_slice meta = meta_print(m, replayed, text);
    if (format == FM_FORMAT_SUPA2)
        binary_write(f, meta, m);
    else
        text_write(f, meta, m);
}

/* ---- what a client is told ---- */

void fm_supabase_system(struct fm_frames *f, const struct fm_sub *sub, const char *extension, bool ok, const char *message,
                        struct fm_slice more)
{
    struct fm_phx_to to = fm_phx_channel_to(sub);
    struct fm_slice topic = fm_sub_topic(sub);
    size_t prefix = sizeof FM_SUPABASE_PREFIX - 1;
    size_t opened = fm_phx_event_open(f, &to, FM_LIT("system"));
    struct fm_buf *b = &f->bytes;
    fm_buf_printf(b, "{\"extension\":\"%s\",\"status\":\"%s\",\"message\":", extension, ok ? "ok" : "error");
    fm_buf_json(b, fm_slice_str(message));
    fm_buf_slice(b, FM_LIT(",\"channel\":"));
    fm_buf_json(b, fm_slice_of(topic.p + prefix, topic.n - prefix));
    fm_buf_slice(b, more);
    fm_buf_u8(b, '}');
    fm_phx_event_close(f, &to, opened);
}

void fm_supabase_gap(struct fm_frames *f, const struct fm_sub *sub, const struct fm_gap *gap)
{
    struct fm_buf more = {0};
    char message[64];
    snprintf(message, sizeof message, "messages are missing here: %s", fm_gap_reason_text(gap->reason));
    fm_buf_str(&more, ",\"gap\":{");
    fm_gap_members(&more, gap);
    fm_buf_u8(&more, '}');
    fm_supabase_system(f, sub, "broadcast", false, message, fm_buf_view(&more));
    f->bytes.failed |= more.failed;
    fm_buf_fini(&more);
}

void fm_supabase_welcome(struct fm_frames *f, const struct fm_sub *sub)
{
    if (sub->flags & FM_SUPABASE_WANTS)
        fm_supabase_system(f, sub, FM_SUPABASE_CHANGES, true,
                           "Subscribed: this server follows no database, what comes is what a backend publishes on this channel",
                           (struct fm_slice){0});
    if (sub->flags & FM_SUPABASE_PRESENCE && !sub->watch)
        fm_supabase_system(f, sub, "presence", false, "PresenceNotAllowed: the rule of this topic has no presence", (struct fm_slice){0});
}

void fm_supabase_replay_cut(struct fm_join *j, uint64_t since_ms)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < j->replayed; i++) {
        struct fm_msg *m = j->replay[i];
        if (m->ts_ms >= since_ms)
            j->replay[kept++] = m;
        else
            fm_msg_unref(&m);
    }
    j->replayed = kept;
}

void fm_supabase_refuse(struct fm_socket *s, const struct fm_sub *sub, const struct fm_phx_to *to, const char *reason)
{
    if (sub->flags & FM_SUPABASE_ACK) {
        fm_phx_send_error(s, to, reason);
        return;
    }
    struct fm_frames *f = fm_frames_new();
    char message[128];
    snprintf(message, sizeof message, "a broadcast was refused: %s", reason);
    if (f)
        fm_supabase_system(f, sub, "broadcast", false, message, (struct fm_slice){0});
    fm_phx_send(s, &f);
}

/* ---- pushes ---- */

/* {"type":"broadcast","event","payload"}: how a broadcast comes as text. What else the object holds belongs to no message of ours, and a
 * client of protocol version 2 would not send it either. NULL, or the reason for refusing it. */
static const char *broadcast_read(const struct fm_phx_in *in, uint8_t room[FM_EVENT_MAX], struct fm_phx_push *push)
{
    struct fm_json root, v;
    if (in->binary || fm_json_parse(in->payload, FM_JSON_DEPTH, &root, NULL) != FM_OK || root.type != FM_JSON_OBJECT)
        return "a broadcast is an object with `event` and `payload`";
    if (!fm_json_get(&root, FM_LIT("event"), &v) || fm_json_text(&v, room, FM_EVENT_MAX, &push->event) != FM_OK)
        return "bad_event";
    push->payload = FM_LIT("{}");
    if (fm_json_get(&root, FM_LIT("payload"), &v) && v.type != FM_JSON_NULL)
        push->payload = v.raw;
    return NULL;
}

/* `persist` in a broadcast's metadata: its sender counts on a later replay. */
static bool wants_stored(struct fm_slice meta)
{
    struct fm_json root, v;
    return meta.n && fm_json_parse(meta, FM_JSON_DEPTH, &root, NULL) == FM_OK && fm_json_get(&root, FM_LIT("persist"), &v) &&
           (v.type == FM_JSON_TRUE || v.type == FM_JSON_OBJECT);
}

/* {"type":"presence","event":"track","payload"}, or "untrack". */
static void presence_take(struct fm_socket *s, struct fm_sub *sub, const struct fm_phx_in *in, const struct fm_phx_to *to)
{
    const struct fm_supabase_kept *kept = sub->joined ? sub->proto : NULL;
    struct fm_track_ask ask = {.key = kept ? fm_slice_of(kept->bytes, kept->key_n) : (struct fm_slice){0}, .meta = FM_LIT("{}")};
    struct fm_json root, v;
    const char *reason = "presence is an object with `event`, track or untrack, and `payload`, an object";
    bool good = !in->binary && fm_json_parse(in->payload, FM_JSON_DEPTH, &root, NULL) == FM_OK && fm_json_get(&root, FM_LIT("event"), &v);
    if (good && fm_json_is(&v, FM_LIT("untrack"))) {
        fm_sub_untrack(sub);
        fm_phx_send_reply(s, to, true, FM_LIT("{}"));
        return;
    }
    good = good && fm_json_is(&v, FM_LIT("track"));
    if (good && fm_json_get(&root, FM_LIT("payload"), &v) && v.type != FM_JSON_NULL) {
        good = v.type == FM_JSON_OBJECT;
        ask.meta = v.raw;
    }
    if (good && !sub->joined) {
        reason = fm_err_code(FM_E_UNMATCHED_TOPIC);
    } else if (good) {
        uint8_t cookie[FM_PHX_COOKIE_MAX];
        ask.cookie = fm_phx_cookie(cookie, sub, in->ref);
        enum fm_err err = fm_sub_track(sub, &ask);
        reason = err ? fm_phx_track_reason(err) : NULL;
    }
    if (reason)
        fm_phx_send_error(s, to, reason);
}

bool fm_supabase_push_read(struct fm_socket *s, struct fm_sub *sub, const struct fm_phx_in *in, uint8_t room[FM_EVENT_MAX],
                           struct fm_phx_push *push)
{
    struct fm_phx_to to = fm_phx_answer_to(s, in);
    to.join_ref = fm_sub_join_ref(sub);
    if (in->broadcast) {
        const struct fm_rule *rule = wants_stored(in->meta) ? fm_sub_rule(sub) : NULL;
        if (!rule || rule->history.count)
            return true;
        fm_supabase_refuse(s, sub, &to, FM_SUPABASE_NOT_STORED);
        return false;
    }
    if (fm_slice_eq(in->event, FM_LIT("presence"))) {
        presence_take(s, sub, in, &to);
        return false;
    }
    if (!fm_slice_eq(in->event, FM_LIT("broadcast"))) {
        fm_phx_send_error(s, &to, "a Supabase channel knows the events broadcast, presence and access_token");
        return false;
    }
    const char *reason = broadcast_read(in, room, push);
    if (reason)
        fm_supabase_refuse(s, sub, &to, reason);
    return !reason;
}
