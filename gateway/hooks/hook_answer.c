/* The backend's answer to a question (hook_wire.h). Strict: a member that is not known or has the wrong type is an answer that can't be
 * understood, and that refuses; a slip of the pen must not let anybody in. */
#include "hook_wire.h"

#include "../json/json_slice.h"

#include "../../broker/base64.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct reading {
    enum fm_question_kind kind;
    uint32_t message_max;
    char *why;
    enum fm_err err;
    /* What it has. */
    bool has_allow, allow;
    struct fm_slice reason, reply; /* raw JSON; n 0: absent */
    char *presence_key, *presence_meta;
    struct fm_msg *instead;
    bool has_who;
    uint8_t user_text[FM_USER_MAX];
    struct fm_identity_spec who; /* its user and grants are slices of user_text, the text, and grants_text */
    struct fm_grant grants[FM_GRANTS_MAX];
    struct fm_buf grants_text; /* those of the topics that have escapes */
};

__attribute__((format(printf, 2, 3))) static bool bad(struct reading *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->why, FM_HOOK_WHY_MAX, fmt, ap);
    va_end(ap);
    r->err = FM_E_BAD_ANSWER;
    return false;
}

static bool no_memory(struct reading *r)
{
    r->err = FM_E_NOMEM;
    return false;
}

/* ---- broadcast ---- */

struct broadcast {
    struct fm_slice event, key, payload;
    uint8_t event_text[FM_EVENT_MAX], key_text[FM_KEY_MAX];
    struct fm_buf bytes;
    bool binary;
};

static bool name_take(struct reading *r, const char *what, const struct fm_json *v, void *out, size_t max, struct fm_slice *text)
{
    if (fm_json_text(v, out, max, text) || text->n == 0 || memchr(text->p, 0, text->n))
        return bad(r, "broadcast.%s is not a text of 1 to %zu bytes", what, max);
    return true;
}

/* It may hold escapes: PHP writes `\/`. */
static bool bytes_take(struct reading *r, struct broadcast *b, const struct fm_json *v)
{
    struct fm_slice text;
    size_t at;
    uint8_t *copy = malloc(v->raw.n);
    if (!copy)
        return no_memory(r);
    b->bytes.n = 0;
    enum fm_err err = fm_json_text(v, copy, v->raw.n, &text);
    if (!err)
        err = fm_base64_decode(text, &b->bytes, &at);
    free(copy);
    if (err)
        return err == FM_E_NOMEM ? no_memory(r) : bad(r, "broadcast.payload_base64 is not base64");
    b->payload = fm_slice_of(b->bytes.p ? b->bytes.p : (const uint8_t *)"", b->bytes.n);
    b->binary = true;
    return true;
}

static bool broadcast_member(struct reading *r, struct broadcast *b, const struct fm_json *name, const struct fm_json *v)
{
    if (fm_json_is(name, FM_LIT("event")))
        return name_take(r, "event", v, b->event_text, sizeof b->event_text, &b->event);
    if (fm_json_is(name, FM_LIT("conflation_key")))
        return name_take(r, "conflation_key", v, b->key_text, sizeof b->key_text, &b->key);
    bool bytes = fm_json_is(name, FM_LIT("payload_base64"));
    if (b->payload.p && b->binary != bytes && (bytes || fm_json_is(name, FM_LIT("payload"))))
        return bad(r, "broadcast has both payload and payload_base64");
    if (fm_json_is(name, FM_LIT("payload"))) {
        b->payload = v->raw;
        b->binary = false;
        return v->type != FM_JSON_NULL || bad(r, "broadcast.payload is null");
    }
    if (bytes)
        return bytes_take(r, b, v);
    return bad(r, "broadcast has a member that is none of event, payload, payload_base64, conflation_key");
}

static bool broadcast_make(struct reading *r, const struct broadcast *b)
{
    if (!b->event.n || !b->payload.p)
        return bad(r, "broadcast needs event and payload");
    if (fm_event_reserved(b->event))
        return bad(r, "broadcast.event is reserved");
    if (b->payload.n > r->message_max)
        return bad(r, "broadcast.payload has more than message_max = %u bytes", r->message_max);
    r->instead =
        fm_msg_new(fm_slice_of(NULL, 0), b->event, (struct fm_msg_keys){.conflation = b->key}, b->payload, b->binary ? FM_MSG_BINARY : 0);
    return r->instead || no_memory(r);
}

static bool broadcast_read(struct reading *r, const struct fm_json *v)
{
    struct broadcast b = {0};
    struct fm_json name, value;
    if (r->kind != FM_QUESTION_PUSH)
        return bad(r, "broadcast is for pushes");
    if (v->type != FM_JSON_OBJECT)
        return bad(r, "broadcast is not an object");
    bool ok = true;
    for (struct fm_json_walk w = fm_json_walk_of(v); ok && fm_json_next(&w, &name, &value);)
        ok = broadcast_member(r, &b, &name, &value);
    fm_msg_unref(&r->instead);
    ok = ok && broadcast_make(r, &b);
    fm_buf_fini(&b.bytes);
    return ok;
}

/* ---- how the client of a join is shown ---- */

static bool presence_member(struct reading *r, const struct fm_json *name, const struct fm_json *v)
{
    uint8_t out[FM_PRESENCE_KEY_MAX];
    struct fm_slice text = v->raw;
    bool key = fm_json_is(name, FM_LIT("key"));
    if (!key && !fm_json_is(name, FM_LIT("meta")))
        return bad(r, "presence has a member that is none of key, meta");
    if (key && (fm_json_text(v, out, sizeof out, &text) || text.n == 0 || memchr(text.p, 0, text.n)))
        return bad(r, "presence.key is not a text of 1 to %d bytes", FM_PRESENCE_KEY_MAX);
    if (!key && (v->type != FM_JSON_OBJECT || text.n > FM_PRESENCE_META_MAX))
        return bad(r, "presence.meta is not an object of at most %u bytes", FM_PRESENCE_META_MAX);
    char **to = key ? &r->presence_key : &r->presence_meta;
    free(*to);
    *to = fm_slice_dup(text);
    return *to || no_memory(r);
}

static bool presence_read(struct reading *r, const struct fm_json *v)
{
    struct fm_json name, value;
    if (r->kind != FM_QUESTION_JOIN)
        return bad(r, "presence is for joins");
    if (v->type != FM_JSON_OBJECT)
        return bad(r, "presence is not an object");
    for (struct fm_json_walk w = fm_json_walk_of(v); fm_json_next(&w, &name, &value);)
        if (!presence_member(r, &name, &value))
            return false;
    if (!r->presence_meta)
        r->presence_meta = strdup("{}");
    return r->presence_meta || no_memory(r);
}

/* ---- whose a connection is ---- */

static bool user_read(struct reading *r, const struct fm_json *v)
{
    if (r->kind != FM_QUESTION_CONNECT)
        return bad(r, "user is for connections");
    r->has_who = true;
    if (fm_json_text(v, r->user_text, sizeof r->user_text, &r->who.user))
        return bad(r, "user is not a text of at most %d bytes", FM_USER_MAX);
    return true;
}

static bool topic_read(struct reading *r, const struct fm_json *v)
{
    struct fm_slice text;
    if (r->who.grants_n == FM_GRANTS_MAX)
        return bad(r, "topics has more than %d entries", FM_GRANTS_MAX);
    /* Room for all of them was made at once, so that none moves. */
    if (fm_json_text(v, r->grants_text.p + r->grants_text.n, FM_TOPIC_MAX, &text) ||
        !fm_grant_of(text, FM_RIGHTS_ALL, &r->grants[r->who.grants_n]))
        return bad(r, "topics has an entry that is neither a topic nor the beginning of one and `*`");
    if (text.p == r->grants_text.p + r->grants_text.n)
        r->grants_text.n += text.n;
    r->who.grants_n++;
    return true;
}

static bool topics_read(struct reading *r, const struct fm_json *v)
{
    struct fm_json item;
    if (r->kind != FM_QUESTION_CONNECT)
        return bad(r, "topics is for connections");
    if (v->type != FM_JSON_ARRAY)
        return bad(r, "topics is not an array");
    r->has_who = true;
    r->who.grants_n = 0;
    r->grants_text.n = 0;
    if (!fm_buf_reserve(&r->grants_text, v->raw.n + FM_TOPIC_MAX))
        return no_memory(r);
    for (struct fm_json_walk w = fm_json_walk_of(v); fm_json_next(&w, NULL, &item);)
        if (!topic_read(r, &item))
            return false;
    return true;
}

static bool identity_make(struct reading *r, struct fm_identity **identity)
{
    *identity = NULL;
    if (!r->has_who)
        return true;
    r->who.grants = r->grants;
    enum fm_err err = fm_identity_new(identity, &r->who);
    return !err || (err == FM_E_NOMEM ? no_memory(r) : bad(r, "user or topics can't be used: %s", fm_err_text(err)));
}

/* ---- the whole ---- */

static bool reply_read(struct reading *r, const struct fm_json *v)
{
    if (r->kind == FM_QUESTION_CONNECT)
        return bad(r, "reply is for joins and pushes");
    if (v->type != FM_JSON_OBJECT)
        return bad(r, "reply is not an object");
    r->reply = v->raw;
    return true;
}

static bool member_read(struct reading *r, const struct fm_json *name, const struct fm_json *v)
{
    if (fm_json_is(name, FM_LIT("allow"))) {
        r->has_allow = true;
        r->allow = v->type == FM_JSON_TRUE;
        return v->type == FM_JSON_TRUE || v->type == FM_JSON_FALSE || bad(r, "allow is neither true nor false");
    }
    if (fm_json_is(name, FM_LIT("reason"))) {
        r->reason = v->raw;
        return v->type == FM_JSON_STRING || bad(r, "reason is not a text");
    }
    if (fm_json_is(name, FM_LIT("reply")))
        return reply_read(r, v);
    if (fm_json_is(name, FM_LIT("broadcast")))
        return broadcast_read(r, v);
    if (fm_json_is(name, FM_LIT("presence")))
        return presence_read(r, v);
    if (fm_json_is(name, FM_LIT("user")))
        return user_read(r, v);
    if (fm_json_is(name, FM_LIT("topics")))
        return topics_read(r, v);
    return bad(r, "it has a member that is none of allow, reason, reply, broadcast, presence, user, topics");
}

/* Do the members make sense together? */
static bool judge(struct reading *r)
{
    bool refuses = r->has_allow && !r->allow;
    if (!r->has_allow && !r->instead && !(r->reply.n && r->kind == FM_QUESTION_PUSH))
        return bad(r, "it has no member allow");
    if (refuses && r->instead)
        return bad(r, "it refuses and has a broadcast all the same");
    if (r->reason.n && !refuses)
        return bad(r, "it has a reason and does not refuse");
    if (refuses && (r->has_who || r->presence_meta))
        return bad(r, "it refuses and has user, topics or presence all the same");
    if (r->reason.n && r->reply.n)
        return bad(r, "it has both reason and reply");
    return true;
}

static char *said_make(const struct reading *r)
{
    struct fm_buf b = {0};
    if (r->reply.n)
        return fm_slice_dup(r->reply);
    fm_buf_str(&b, "{\"reason\":");
    fm_buf_slice(&b, r->reason);
    fm_buf_str(&b, "}");
    fm_buf_u8(&b, 0);
    if (b.failed)
        fm_buf_fini(&b);
    return (char *)b.p;
}

static enum fm_verdict verdict_of(const struct reading *r)
{
    if (r->has_allow && !r->allow)
        return FM_VERDICT_REFUSE;
    if (r->instead)
        return FM_VERDICT_REWRITE;
    return r->has_allow ? FM_VERDICT_ALLOW : FM_VERDICT_REPLY;
}

/* Everything but the making of the answer. */
static bool read_all(struct reading *r, struct fm_slice text)
{
    struct fm_json root, name, value;
    struct fm_json_error error;
    if (fm_json_parse(text, FM_JSON_DEPTH, &root, &error) != FM_OK)
        return bad(r, "it is not JSON: %s at byte %zu", error.what, error.at);
    if (root.type != FM_JSON_OBJECT)
        return bad(r, "it is not a JSON object");
    for (struct fm_json_walk w = fm_json_walk_of(&root); fm_json_next(&w, &name, &value);)
        if (!member_read(r, &name, &value))
            return false;
    return judge(r);
}

enum fm_err fm_hook_answer_read(enum fm_question_kind kind, struct fm_slice text, uint32_t message_max, uint64_t now_s,
                                struct fm_answer *out, char why[FM_HOOK_WHY_MAX])
{
    struct fm_identity *identity = NULL;
    char *said = NULL;
    struct reading *r = calloc(1, sizeof *r); /* too much for a stack, with all its grants */
    why[0] = 0;
    if (!r)
        return FM_E_NOMEM;
    r->kind = kind;
    r->message_max = message_max;
    r->why = why;
    r->who.issued_s = now_s;
    bool ok = read_all(r, text) && identity_make(r, &identity);
    if (ok && (r->reason.n || r->reply.n) && !(said = said_make(r)))
        ok = no_memory(r);
    enum fm_err err = ok ? FM_OK : r->err;
    if (ok) {
        out->verdict = verdict_of(r);
        out->said = said;
        out->instead = r->instead;
        out->identity = identity;
        out->presence_key = r->presence_key;
        out->presence_meta = r->presence_meta;
    } else {
        free(r->presence_key);
        free(r->presence_meta);
        fm_msg_unref(&r->instead);
        fm_identity_unref(&identity);
    }
    fm_buf_fini(&r->grants_text);
    free(r);
    return err;
}
