/* Commands to the whole cluster, and questions about its clients.
 *
 * A command is published like any message (broker/command.h); then all nodes are asked what it did there, and the answer says which of them
 * have not answered in time. Those do what was asked for when they are in reach again. */
#include "api_told.h"
#include "api_state.h"

#include "../auth/auth.h"

#include "../../broker/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_DEFAULT = 100, CLOSE_FOR_GOOD = 1000 /* the client is not to come back; phoenix 1.7 doesn't by itself */ };

/* ---- what came of a command ---- */

/* The hub's object, with what is known of the command before its members. */
static void on_gathered(struct fm_http_request *req, struct fm_item *item)
{
    struct fm_query *q = (struct fm_query *)item;
    struct fm_buf b = {0};
    if (q->err || q->json.n < 2) {
        fm_http_fail(req, q->err ? q->err : FM_E_NOMEM, q->err == FM_E_BUSY ? "too many questions about clients are under way" : NULL);
        fm_query_free(&q);
        return;
    }
    fm_buf_u8(&b, '{');
    if (q->command.origin) {
        char id[FM_ID_TEXT_MAX + 1];
        fm_id_print(q->command, id);
        fm_buf_printf(&b, "\"id\":\"%s\",%s", id, q->again ? "\"duplicate\":true," : "");
    }
    fm_buf_put(&b, q->json.p + 1, q->json.n - 1);
    fm_buf_u8(&b, '\n');
    fm_api_answer(req, &b);
    fm_query_free(&q);
}

/* Sends a question made with token 0; NULL: there was no memory for it. */
static void gather(struct fm_http_request *req, struct fm_query *q)
{
    if (q)
        q->token = fm_api_wait(req, on_gathered);
    if (q && q->token) {
        fm_api_post(req, &q->item);
        return;
    }
    fm_query_free(&q);
    fm_http_fail(req, FM_E_NOMEM, NULL);
}

static void on_published(struct fm_http_request *req, struct fm_item *item)
{
    struct fm_publish *p = (struct fm_publish *)item;
    if (p->err) {
        fm_http_fail_with(req, &(struct fm_http_error){.err = p->err,
                                                       .status = p->err == FM_E_TOO_MANY ? 503 : 0,
                                                       .detail = p->err == FM_E_TOO_MANY ? "as many deletions and revocations stand as the "
                                                                                           "option commands_bytes has room for"
                                                                                         : NULL});
        fm_publish_free(&p);
        return;
    }
    struct fm_query *q = fm_query_new(fm_worker_config(req->worker)->index, 0, FM_QUERY_GATHER, fm_slice_of(NULL, 0), fm_slice_of(NULL, 0));
    if (q) {
        q->inquiry = FM_INQUIRY_DONE;
        q->timeout_ms = p->timeout_ms;
        q->command = p->results[0].id;
        q->again = p->results[0].duplicate;
    }
    fm_publish_free(&p);
    gather(req, q);
}

void fm_api_command(struct fm_http_request *req, const struct fm_cluster_command *c, struct fm_slice key, uint32_t timeout_ms)
{
    struct fm_publish *p = fm_publish_new(fm_worker_config(req->worker)->index, 0, 1, fm_slice_of(NULL, 0));
    if (p)
        p->msgs[0] = fm_command_message(c, key);
    if (p && p->msgs[0])
        p->token = fm_api_wait(req, on_published);
    if (!p || !p->token) {
        fm_publish_free(&p);
        fm_http_fail(req, FM_E_NOMEM, NULL);
        return;
    }
    p->timeout_ms = timeout_ms;
    p->item.cost += (uint32_t)fm_msg_size(p->msgs[0]);
    fm_api_post(req, &p->item);
}

/* ---- commands ---- */

/* False: the request is answered. */
static bool limits_of(struct fm_http_request *req, struct fm_api_limits *limits)
{
    const struct fm_api_config *c = &fm_api_of(req)->config;
    const struct fm_worker_config *w = fm_worker_config(req->worker);
    *limits = (struct fm_api_limits){.rules = w->rules,
                                     .timeout_ms = c->ack_timeout_ms,
                                     .ttl_ms = c->presence_ttl_ms,
                                     .ttl_max_ms = c->presence_ttl_max_ms,
                                     .meta_max = w->presence_meta_max};
    if (!req->idempotency_key.n || fm_api_key_of(req->idempotency_key, &limits->key) == FM_OK)
        return true;
    fm_http_fail(req, FM_E_INVALID, "the header Idempotency-Key must be 1 to 128 visible ASCII characters");
    return false;
}

bool fm_api_told(struct fm_http_request *req, unsigned takes, unsigned needs, struct fm_api_limits *limits, struct fm_api_told *told)
{
    struct fm_api_bad bad;
    if (!fm_http_media_is(req->content_type, "application/json")) {
        fm_http_fail(req, FM_E_MEDIA_TYPE, "send `Content-Type: application/json`");
        return false;
    }
    if (!limits_of(req, limits))
        return false;
    enum fm_err err = fm_api_told_parse(limits, takes, needs, req->body, told, &bad);
    if (err)
        fm_http_fail_with(req, &(struct fm_http_error){.err = err, .detail = bad.detail, .has_at = bad.has_at, .at = bad.at});
    return !err;
}

/* Of whom? False: the request is answered. */
static bool whose(struct fm_http_request *req, const struct fm_api_told *told)
{
    if (told->user.n || told->connection.origin)
        return true;
    fm_http_fail(req, FM_E_INVALID, "`user` or `connection` is missing: whose it is, or which one, as /api/connections names it");
    return false;
}

void fm_api_disconnect(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_api_limits limits;
    struct fm_api_told told;
    if (!fm_api_told(req, FM_API_TOLD_USER | FM_API_TOLD_CONNECTION | FM_API_TOLD_RECONNECT | FM_API_TOLD_REASON | FM_API_TOLD_TIMEOUT_MS,
                     0, &limits, &told) ||
        !whose(req, &told))
        return;
    const struct fm_cluster_command c = {.kind = FM_COMMAND_DISCONNECT,
                                         .user = told.user,
                                         .connection = told.connection,
                                         .number = told.reconnect ? 0 : CLOSE_FOR_GOOD,
                                         .text = told.reason};
    fm_api_command(req, &c, limits.key, told.timeout_ms);
}

void fm_api_unsubscribe(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    struct fm_api_limits limits;
    struct fm_api_told told;
    if (!fm_api_told(req, FM_API_TOLD_USER | FM_API_TOLD_TOPIC | FM_API_TOLD_CONNECTION | FM_API_TOLD_TIMEOUT_MS, FM_API_TOLD_TOPIC,
                     &limits, &told) ||
        !whose(req, &told))
        return;
    const struct fm_cluster_command c = {
        .kind = FM_COMMAND_UNSUBSCRIBE, .user = told.user, .topic = told.topic, .connection = told.connection};
    fm_api_command(req, &c, limits.key, told.timeout_ms);
}

/* Kept until no token that it is about can be alive. */
void fm_api_revoke(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    const struct fm_auth *auth = fm_worker_config(req->worker)->auth;
    struct fm_api_limits limits;
    struct fm_api_told told;
    uint64_t now_s = fm_unix_s();
    if (!fm_api_told(req, FM_API_TOLD_USER | FM_API_TOLD_ISSUED_UNTIL | FM_API_TOLD_TIMEOUT_MS, FM_API_TOLD_USER, &limits, &told))
        return;
    if (!auth) {
        fm_http_fail(req, FM_E_INVALID, "this node takes no tokens; see the option token_secret");
        return;
    }
    if (told.issued_until_s > now_s + auth->rules.leeway_s) {
        fm_http_fail(req, FM_E_INVALID, "`issued_until` lies in the future: tokens that are not made yet can't be revoked");
        return;
    }
    const struct fm_cluster_command c = {.kind = FM_COMMAND_REVOKE,
                                         .user = told.user,
                                         .number = told.issued_until_s ? told.issued_until_s : now_s,
                                         .keep_ms = 1000 * (auth->rules.lifetime_max_s + 2 * auth->rules.leeway_s)};
    fm_api_command(req, &c, limits.key, told.timeout_ms);
}

bool fm_api_topic_good(struct fm_http_request *req, struct fm_slice topic)
{
    if (topic.n <= FM_TOPIC_MAX && fm_rules_match(fm_worker_config(req->worker)->rules, topic))
        return true;
    fm_http_fail(req, topic.n > FM_TOPIC_MAX ? FM_E_INVALID : FM_E_UNMATCHED_TOPIC,
                 topic.n > FM_TOPIC_MAX ? "a topic has at most 255 bytes" : NULL);
    return false;
}

/* ---- presences ---- */

static bool presence_good(struct fm_http_request *req, struct fm_slice topic)
{
    if (!fm_api_topic_good(req, topic))
        return false;
    const struct fm_rule *rule = fm_rules_match(fm_worker_config(req->worker)->rules, topic);
    if (rule->presence != FM_WHO_NOBODY)
        return true;
    fm_http_fail(req, FM_E_FORBIDDEN, "the rule of this topic has no presence");
    return false;
}

static void on_shown(struct fm_http_request *req, struct fm_item *item)
{
    struct fm_track *t = (struct fm_track *)item;
    struct fm_buf b = {0};
    if (t->err) {
        fm_http_fail(req, t->err, NULL);
        free(t);
        return;
    }
    fm_buf_str(&b, "{\"topic\":");
    fm_buf_json(&b, fm_track_topic(t));
    fm_buf_str(&b, ",\"key\":");
    fm_buf_json(&b, fm_track_key(t));
    fm_buf_printf(&b, ",\"phx_ref\":\"%s\",\"ttl_ms\":%llu}\n", t->ref, (unsigned long long)t->ttl_ms);
    free(t);
    fm_api_answer(req, &b);
}

void fm_api_show(struct fm_http_request *req, struct fm_slice topic)
{
    struct fm_api_limits limits;
    struct fm_api_told told;
    if (!presence_good(req, topic) ||
        !fm_api_told(req, FM_API_TOLD_KEY | FM_API_TOLD_META | FM_API_TOLD_TTL_MS, FM_API_TOLD_KEY, &limits, &told))
        return;
    const struct fm_track_parts parts = {.topic = topic, .key = told.key, .meta = told.meta};
    struct fm_track *t = fm_track_new(FM_TRACK, fm_worker_config(req->worker)->index, 0, &parts);
    if (t)
        t->token = fm_api_wait(req, on_shown);
    if (!t || !t->token) {
        free(t);
        fm_http_fail(req, FM_E_NOMEM, NULL);
        return;
    }
    t->ttl_ms = told.ttl_ms;
    fm_api_post(req, &t->item);
}

static bool timeout_read(struct fm_http_request *req, uint32_t *ms)
{
    return fm_api_number(req, "timeout_ms", FM_API_TIMEOUT_MS_MAX, fm_api_of(req)->config.ack_timeout_ms, ms);
}

void fm_api_delete_history(struct fm_http_request *req, struct fm_slice topic)
{
    struct fm_api_limits limits;
    uint32_t timeout_ms;
    if (!fm_api_topic_good(req, topic) || !limits_of(req, &limits) || !timeout_read(req, &timeout_ms))
        return;
    fm_api_command(req, &(struct fm_cluster_command){.kind = FM_COMMAND_DELETE, .topic = topic}, limits.key, timeout_ms);
}

void fm_api_hide(struct fm_http_request *req, struct fm_slice topic)
{
    struct fm_api_limits limits;
    char key[FM_PRESENCE_KEY_MAX + 1];
    bool has;
    uint32_t timeout_ms;
    if (!fm_api_topic_good(req, topic) || !limits_of(req, &limits) || !fm_api_text(req, "key", key, sizeof key, &has) ||
        !timeout_read(req, &timeout_ms))
        return;
    if (!has || !key[0]) {
        fm_http_fail(req, FM_E_INVALID, "the parameter `key` is missing");
        return;
    }
    fm_api_command(req, &(struct fm_cluster_command){.kind = FM_COMMAND_UNTRACK, .topic = topic, .text = fm_slice_str(key)}, limits.key,
                   timeout_ms);
}

/* ---- questions ---- */

/* limit=0 asks for counts alone. */
static bool page_read(struct fm_http_request *req, uint32_t *limit, struct fm_id *after)
{
    char text[FM_ID_TEXT_MAX + 1];
    bool has;
    *after = (struct fm_id){0};
    *limit = 0;
    if (!fm_api_text(req, "after", text, sizeof text, &has))
        return false;
    if (has && fm_id_parse(text, strlen(text), after)) {
        fm_http_fail(req, FM_E_INVALID, "the parameter `after` must be the `next` of the page before");
        return false;
    }
    char number[8];
    if (fm_query_param(req->query, "limit", true, number, sizeof number) == FM_OK && strcmp(number, "0") == 0)
        return true;
    return fm_api_number(req, "limit", FM_FOUND_MAX, LIMIT_DEFAULT, limit);
}

static void ask(struct fm_http_request *req, enum fm_inquiry_kind kind, struct fm_slice topic)
{
    char user[FM_USER_MAX + 1];
    bool has;
    uint32_t limit, timeout_ms;
    struct fm_id after;
    if (!fm_api_text(req, "user", user, sizeof user, &has) || !page_read(req, &limit, &after) || !timeout_read(req, &timeout_ms))
        return;
    struct fm_query *q = fm_query_new(fm_worker_config(req->worker)->index, 0, FM_QUERY_GATHER, topic, fm_slice_str(user));
    if (q) {
        q->inquiry = kind;
        q->limit = limit;
        q->after_id = after;
        q->timeout_ms = timeout_ms;
    }
    gather(req, q);
}

void fm_api_connections(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    ask(req, FM_INQUIRY_CONNECTIONS, fm_slice_of(NULL, 0));
}

void fm_api_subscribers(struct fm_http_request *req, struct fm_slice topic)
{
    if (fm_api_topic_good(req, topic))
        ask(req, FM_INQUIRY_SUBSCRIBERS, topic);
}
