/* Channels: join, leave, and what the hub says to them.
 *
 * The hub answers later than the client asks, so what Phoenix does in one step happens here in two. Order is kept all the same: a worker's
 * items and the hub's answers are both first in, first out, so a push behind a join reaches the hub behind it, and its answer is behind the
 * join's. A channel that is left or replaced before its join was answered gets an error reply for that join: no request stays open. */
#include "../supabase/supabase.h"
#include "../supabase/supabase_wants.h"
#include "../json/gap_json.h"

#include <assert.h>
#include <stdlib.h>

/* What a sub's `proto` points to. */
struct joining { /* while it joins: the ref that the reply carries, */
    uint8_t ref_n;
    uint8_t ref[FM_PHX_REF_MAX];
    uint8_t key_n;
    uint64_t since_ms; /* and of a Supabase channel: from when on it wants a replay, */
    uint32_t members_n, wants_n;
    uint8_t members[]; /* ... what its reply holds, behind that its presence key and what it wants of changes */
};

struct replayed { /* once it has joined, in V2, if its join replayed something: the position behind the replay. NULL otherwise. (Of a
                   * channel of Supabase's dialect: fm_supabase_kept.) */
    uint32_t n;
    struct fm_id at[];
};

/* ---- the parameters of a join ---- */

struct params {
    bool cursor_channel;
    bool keys; /* it wants digests of keys, and ids of binary messages */
    struct fm_vector cursor;
    bool cut; /* it named more than a cursor holds: it is of no use, and no reason to refuse the client */
    uint32_t last;
    bool supabase; /* the channel is one of Supabase's dialect, and the rest of this is not read */
    struct fm_supabase_config config;
    struct fm_phx_presence presence;
};

/* NULL, or the reason for the error reply. */
static const char *cursor_read(const struct fm_json *list, struct fm_vector *cursor, bool *cut)
{
    if (list->type != FM_JSON_ARRAY)
        return "bad_cursor";
    struct fm_json item;
    for (struct fm_json_walk w = fm_json_walk_of(list); fm_json_next(&w, NULL, &item);) {
        uint8_t out[FM_ID_TEXT_MAX];
        struct fm_slice text;
        if (fm_json_text(&item, out, sizeof out, &text) != FM_OK)
            return "bad_cursor";
        enum fm_err err = fm_vector_add_text(cursor, text);
        *cut |= err == FM_E_TOO_MANY;
        if (err && err != FM_E_TOO_MANY)
            return err == FM_E_NOMEM ? fm_err_code(err) : "bad_cursor";
    }
    return NULL;
}

static const char *params_read(const struct fm_phx_in *in, const struct fm_rule *rule, struct params *params)
{
    struct fm_json root, v, keys, config;
    uint64_t last = 0;
    /* The payload has been validated as a part of its frame; this only finds its type again. */
    if (in->binary || fm_json_parse(in->payload, FM_JSON_DEPTH, &root, NULL) != FM_OK || root.type != FM_JSON_OBJECT)
        return "bad_params";
    if (fm_supabase_asked(in->topic, &root, &config)) {
        params->supabase = true;
        const char *reason = fm_supabase_config_read(in->topic, &config, &params->config);
        params->last = params->config.limit;
        params->presence.watch = params->config.presence && rule->presence != FM_WHO_NOBODY;
        return reason;
    }
    if (fm_json_get(&root, FM_LIT("last"), &v)) {
        if (fm_json_u64(&v, UINT32_MAX, &last) != FM_OK)
            return "bad_last";
        params->last = (uint32_t)last;
    }
    const char *reason = fm_phx_presence_param(&root, rule, &params->presence);
    if (reason || !fm_json_get(&root, FM_LIT("cursor"), &v))
        return reason;
    params->cursor_channel = true;
    params->keys = fm_json_get(&root, FM_LIT("keys"), &keys) && keys.type == FM_JSON_TRUE;
    return cursor_read(&v, &params->cursor, &params->cut);
}

/* ---- join ---- */

/* A channel ends before its join was answered. */
static bool joining_refuse(struct fm_socket *s, const struct fm_sub *sub, const char *reason)
{
    const struct joining *joining = sub->proto;
    struct fm_phx_to to = fm_phx_channel_to(sub);
    to.ref = fm_slice_of(joining->ref, joining->ref_n);
    return fm_phx_send_error(s, &to, reason);
}

/* Ends the old channel of a topic that is joined again. *sent gets the position up to which this socket was given it, *replay the sub's
 * `replayed`. The client is told by phx_close with the old join_ref, but only where that can't be taken for the new channel: V1 has no
 * join_ref, and a null or equal one says nothing. */
static bool replace(struct fm_socket *s, struct fm_sub *old, struct fm_slice join_ref, struct fm_vector *sent, struct replayed **replay)
{
    struct fm_phx_to to = fm_phx_channel_to(old);
    bool open = true;
    if (!old->joined) {
        open = joining_refuse(s, old, "replaced");
    } else if (to.version == FM_PHX_V2 && !fm_phx_is_null(to.join_ref) && !fm_phx_ref_eq(to.join_ref, join_ref)) {
        struct fm_frames *f = fm_frames_new();
        to.ref = to.join_ref;
        if (f)
            fm_phx_event(f, &to, FM_LIT("phx_close"), FM_LIT("{}"));
        open = fm_phx_send(s, &f);
    }
    if (!open)
        return false;
    if (old->joined && !fm_supabase_is(old)) {
        *replay = old->proto;
        old->proto = NULL;
    }
    fm_socket_leave(s, old, sent);
    return true;
}

static uint64_t replayed_at(const struct replayed *r, uint64_t origin)
{
    for (uint32_t i = 0; r && i < r->n; i++)
        if (r->at[i].origin == origin)
            return r->at[i].seq;
    return 0;
}

/* A rejoin on one socket resumes from the larger of its cursor and what this socket was sent: live frames that are still under way to the
 * client carry no join_ref, so it will take them. Not so replayed ones: they carry the old join_ref and the client drops them now. So an
 * origin in which the client's cursor has not passed the old replay stays where the client says. */
static enum fm_err resume(struct params *p, const struct fm_vector *sent, const struct replayed *r)
{
    if (p->cursor_channel && p->cursor.n == 0 && r)
        return FM_OK; /* it says that it has nothing, and it may be right */
    if (!p->cursor_channel && p->last)
        return FM_OK; /* it wants the newest again */
    for (uint32_t i = 0; i < sent->n; i++) {
        uint64_t origin = sent->at[i].origin;
        if (p->cursor_channel && fm_vector_get(&p->cursor, origin) < replayed_at(r, origin))
            continue;
        enum fm_err err = fm_vector_raise(&p->cursor, origin, sent->at[i].seq);
        if (err == FM_E_NOMEM)
            return err;
        /* FM_E_TOO_MANY: that origin stays out, and the client may be given something of it twice. */
    }
    return FM_OK;
}

static enum fm_format format_of(enum fm_phx_version version, const struct params *p)
{
    if (p->supabase)
        return version == FM_PHX_V1 ? FM_FORMAT_SUPA1 : FM_FORMAT_SUPA2;
    if (version == FM_PHX_V1)
        return p->cursor_channel ? FM_FORMAT_PHX1_CURSOR : FM_FORMAT_PHX1;
    if (p->keys)
        return FM_FORMAT_PHX2_KEYS;
    return p->cursor_channel ? FM_FORMAT_PHX2_CURSOR : FM_FORMAT_PHX2;
}

static struct joining *joining_new(struct fm_slice ref, const struct params *p)
{
    struct fm_buf members = {0};
    struct fm_slice key = {0};
    uint8_t room[FM_PRESENCE_KEY_MAX];
    if (p->supabase)
        fm_supabase_wants_answer(&members, &p->config.changes);
    if (p->config.presence_key.type == FM_JSON_STRING && fm_json_text(&p->config.presence_key, room, sizeof room, &key) != FM_OK)
        key = (struct fm_slice){0}; /* its length was looked at */
    struct fm_slice wants = fm_buf_view(&p->config.wants);
    struct joining *joining = members.failed ? NULL : calloc(1, sizeof *joining + members.n + key.n + wants.n);
    if (joining) {
        assert(ref.n <= sizeof joining->ref);
        joining->ref_n = (uint8_t)ref.n;
        memcpy(joining->ref, ref.p, ref.n);
        joining->since_ms = p->config.since_ms;
        joining->members_n = (uint32_t)members.n;
        if (members.n)
            memcpy(joining->members, members.p, members.n);
        joining->key_n = (uint8_t)key.n;
        if (key.n)
            memcpy(joining->members + members.n, key.p, key.n);
        joining->wants_n = (uint32_t)wants.n;
        if (wants.n)
            memcpy(joining->members + members.n + key.n, wants.p, wants.n);
    }
    fm_buf_fini(&members);
    return joining;
}

static const char *join_ask(struct fm_socket *s, const struct fm_phx_in *in, const struct fm_phx_to *to, const struct fm_rule *rule,
                            struct params *p)
{
    struct joining *joining = joining_new(to->ref, p);
    if (!joining)
        return fm_err_code(FM_E_NOMEM);
    struct fm_join_ask ask = {
        .topic = in->topic,
        .join_ref = to->join_ref,
        .rule = rule,
        .format = format_of(to->version, p),
        .cursor_channel = p->cursor_channel,
        .own = !p->supabase     ? FM_OWN_BY_RULE
               : p->config.self ? FM_OWN_YES
                                : FM_OWN_NO,
        .flags = p->supabase ? fm_supabase_flags_of(&p->config) : 0,
        .chooses = p->config.wants.n > 0,
        .has_cursor = p->cursor.n > 0,
        .cut = p->cut,
        .cursor = p->cursor,
        .last = p->last,
        .watch = p->presence.watch,
        .track = p->presence.track,
        .shown = p->presence.shown,
        .params = in->payload,
        .proto = joining,
    };
    p->cursor = (struct fm_vector){0};
    struct fm_buf without = {0};
    if (p->supabase && fm_worker_config(fm_socket_worker(s))->auth) { /* nobody who is asked has any business with the token */
        fm_supabase_join_params(&without, in->payload);
        ask.params = without.failed || without.n == 0 ? FM_LIT("{}") : fm_buf_view(&without);
    }
    enum fm_err err = fm_socket_join(s, &ask);
    fm_buf_fini(&without);
    return err ? fm_phx_track_reason(err) : NULL;
}

static const char *too_many(struct fm_socket *s)
{
    fm_socket_limit_reached(s, FM_LIMIT_TOPICS);
    return "too many channels joined"; /* as Phoenix says it */
}

void fm_phx_join(struct fm_socket *s, const struct fm_phx_in *in)
{
    const struct fm_worker_config *config = fm_worker_config(fm_socket_worker(s));
    const struct fm_rule *rule = fm_socket_rule(s, in->topic);
    struct fm_phx_to to = fm_phx_answer_to(s, in);
    if (fm_phx_is_null(to.join_ref))
        to.join_ref = to.ref;
    if (!rule) {
        to.join_ref = FM_LIT("null");
        fm_phx_send_error(s, &to, fm_err_code(FM_E_UNMATCHED_TOPIC));
        return;
    }
    struct params p = {.last = rule->last};
    struct fm_vector sent = {0};
    struct replayed *replay = NULL;
    const char *reason = fm_supabase_join_token(s, in); /* first: other channels may end by it, the topic's old one among them */
    struct fm_sub *old = fm_socket_sub(s, in->topic);
    if (old && !replace(s, old, to.join_ref, &sent, &replay))
        return;
    enum fm_err err = reason ? FM_OK : fm_socket_may(s, rule->join, in->topic, FM_RIGHT_JOIN);
    if (reason)
        ; /* its token is refused */
    else if (err)
        reason = fm_err_code(err);
    else if (fm_socket_subs(s) >= config->topics_per_socket)
        reason = too_many(s);
    else
        reason = params_read(in, rule, &p);
    if (!reason && resume(&p, &sent, replay) != FM_OK)
        reason = fm_err_code(FM_E_NOMEM);
    if (!reason)
        reason = join_ask(s, in, &to, rule, &p);
    fm_supabase_config_fini(&p.config);
    fm_vector_fini(&p.cursor);
    fm_vector_fini(&sent);
    free(replay);
    if (reason)
        fm_phx_send_error(s, &to, reason);
}

/* ---- a join's answer ---- */

/* sub->skip has no part in the cursor: it may hold the position behind the replay, and the client must not be told so before it has it. */
static void joined_reply(struct fm_frames *f, const struct fm_phx_to *to, const struct fm_sub *sub, const struct joining *joining,
                         const struct fm_join *j)
{
    if (!sub->cursor_channel && !j->track && !joining->members_n) {
        fm_phx_reply(f, to, true, j->said ? fm_slice_str(j->said) : FM_LIT("{}"));
        return;
    }
    size_t opened = fm_phx_reply_open(f, to, true);
    bool comma = fm_phx_said_open(&f->bytes, j->said);
    if (joining->members_n) {
        if (comma)
            fm_buf_u8(&f->bytes, ',');
        fm_buf_put(&f->bytes, joining->members, joining->members_n);
        comma = true;
    }
    if (j->track) {
        fm_buf_slice(&f->bytes, comma ? FM_LIT(",\"presence\":") : FM_LIT("\"presence\":"));
        fm_phx_tracked_write(&f->bytes, j->track);
        comma = true;
    }
    if (sub->cursor_channel) {
        fm_buf_slice(&f->bytes, comma ? FM_LIT(",\"cursor\":") : FM_LIT("\"cursor\":"));
        fm_vector_json(&f->bytes, &j->cursor);
        fm_buf_slice(&f->bytes, j->recovered ? FM_LIT(",\"recovered\":true,\"replayed\":") : FM_LIT(",\"recovered\":false,\"replayed\":"));
        fm_buf_dec(&f->bytes, j->replayed);
    }
    fm_buf_u8(&f->bytes, '}');
    fm_phx_reply_close(f, to, opened);
}

static struct replayed *replayed_of(const struct fm_join *j)
{
    struct replayed *r = malloc(sizeof *r + j->at.n * sizeof r->at[0]);
    if (!r)
        return NULL;
    r->n = j->at.n;
    if (j->at.n)
        memcpy(r->at, j->at.at, j->at.n * sizeof r->at[0]);
    return r;
}

void fm_phx_joined(struct fm_sub *sub, uint64_t tag, struct fm_join *j)
{
    (void)tag;
    struct fm_socket *s = sub->socket;
    struct joining *joining = sub->proto;
    struct fm_phx_to to = fm_phx_channel_to(sub);
    to.ref = fm_slice_of(joining->ref, joining->ref_n);
    if (j->err) {
        fm_phx_send_refusal(s, &to, j->err, j->said);
        return;
    }
    if (sub->flags & FM_SUPABASE_REPLAY)
        fm_supabase_replay_cut(j, joining->since_ms);
    /* In V1 and in Supabase's dialect frames name no channel: a client takes the old channel's replay for the new one's, so nothing is to
     * be remembered. */
    bool remember = j->replayed && to.version == FM_PHX_V2 && !fm_supabase_is(sub);
    bool keep = joining->key_n > 0 || joining->wants_n > 0;
    void *stays = NULL;
    if (remember)
        stays = replayed_of(j);
    else if (keep)
        stays = fm_supabase_keep(fm_slice_of(joining->members + joining->members_n, joining->key_n),
                                 fm_slice_of(joining->members + joining->members_n + joining->key_n, joining->wants_n));
    struct fm_source *rest = NULL;
    struct fm_frames *f = (remember || keep) && !stays ? NULL : fm_frames_new();
    if (f)
        joined_reply(f, &to, sub, joining, j);
    free(joining);
    sub->proto = stays; /* the replay goes by it */
    if (f && fm_supabase_is(sub))
        fm_supabase_welcome(f, sub);
    if (f && !fm_phx_replay(f, sub, j, &rest))
        f->bytes.failed = true;
    if (fm_phx_send(s, &f) && rest)
        fm_socket_send_source(s, rest);
    else if (rest)
        rest->free(rest);
}

/* ---- leave ---- */

bool fm_phx_is_stale(const struct fm_sub *sub, const struct fm_phx_in *in)
{
    return !fm_phx_is_null(in->join_ref) && !fm_phx_ref_eq(in->join_ref, fm_sub_join_ref(sub));
}

void fm_phx_leave(struct fm_socket *s, const struct fm_phx_in *in)
{
    struct fm_sub *sub = fm_socket_sub(s, in->topic);
    struct fm_phx_to to = fm_phx_answer_to(s, in);
    if (!sub) {
        fm_phx_send_reply(s, &to, true, FM_LIT("{}"));
        return;
    }
    if (fm_phx_is_stale(sub, in))
        return;
    if (!sub->joined && !joining_refuse(s, sub, "left"))
        return;
    struct fm_frames *f = fm_frames_new();
    if (f) {
        to.join_ref = fm_sub_join_ref(sub);
        fm_phx_reply(f, &to, true, FM_LIT("{}"));
        to.ref = to.join_ref;
        /* phoenix.js sends a leave and the next channel's join together. In V1 a phx_close would then hit that next one; the reply alone
         * closes the old one. */
        if (to.version == FM_PHX_V2)
            fm_phx_event(f, &to, FM_LIT("phx_close"), FM_LIT("{}"));
    }
    fm_socket_leave(s, sub, NULL);
    fm_phx_send(s, &f);
}

/* phx_error, not phx_close: the client goes on trying, as one does whose join is refused, and is back when it is allowed again. */
void fm_phx_forbidden(struct fm_sub *sub, enum fm_err why)
{
    struct fm_socket *s = sub->socket;
    struct fm_phx_to to = fm_phx_channel_to(sub);
    struct fm_frames *f = fm_frames_new();
    if (f) {
        size_t opened = fm_phx_event_open(f, &to, FM_LIT("phx_error"));
        fm_buf_printf(&f->bytes, "{\"reason\":\"%s\"}", fm_err_code(why));
        fm_phx_event_close(f, &to, opened);
    }
    fm_socket_leave(s, sub, NULL);
    fm_phx_send(s, &f);
}

/* phx_close, which for a client is the end of the channel: it does not join again by itself. In V1, too: it names no channel there, but
 * neither is another one of the topic being joined. */
void fm_phx_unsubscribed(struct fm_sub *sub)
{
    struct fm_socket *s = sub->socket;
    struct fm_phx_to to = fm_phx_channel_to(sub);
    if (!sub->joined && !joining_refuse(s, sub, "unsubscribed"))
        return;
    struct fm_frames *f = fm_frames_new();
    to.ref = to.join_ref;
    if (f)
        fm_phx_event(f, &to, FM_LIT("phx_close"), FM_LIT("{\"reason\":\"unsubscribed\"}"));
    fm_socket_leave(s, sub, NULL);
    fm_phx_send(s, &f);
}

/* ---- gap ---- */

/* The cursor as JSON, never before what the client has from elsewhere (skip, may be NULL). */
static void cursor_write(struct fm_buf *b, const struct fm_vector *at, const struct fm_vector *skip)
{
    struct fm_vector v = {0};
    if (!skip || skip->n == 0) {
        fm_vector_json(b, at);
        return;
    }
    enum fm_err err = fm_vector_copy(&v, at);
    /* Beyond FM_CURSOR_MAX origins one stays out: the client is given something twice rather than not at all. */
    for (uint32_t i = 0; i < skip->n && err != FM_E_NOMEM; i++)
        err = fm_vector_raise(&v, skip->at[i].origin, skip->at[i].seq);
    b->failed |= err == FM_E_NOMEM;
    fm_vector_json(b, &v);
    fm_vector_fini(&v);
}

void fm_phx_gap(struct fm_frames *f, const struct fm_sub *sub, const struct fm_gap *gap, const struct fm_vector *cursor)
{
    if (fm_supabase_is(sub)) {
        fm_supabase_gap(f, sub, gap);
        return;
    }
    struct fm_phx_to to = fm_phx_channel_to(sub);
    size_t opened = fm_phx_event_open(f, &to, FM_LIT("gap"));
    struct fm_buf *b = &f->bytes;
    fm_buf_u8(b, '{');
    fm_gap_members(b, gap);
    fm_buf_slice(b, FM_LIT(",\"cursor\":"));
    cursor_write(b, cursor, sub->skip);
    fm_buf_u8(b, '}');
    fm_phx_event_close(f, &to, opened);
}
