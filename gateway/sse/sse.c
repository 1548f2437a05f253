/* The protocol of event streams: requests in, events out. An event as it goes to all is `event:` and `data:`; before them stands, for the
 * stream alone, where it brings the cursor, from which each stream makes the `id:` of its own. */
#include "sse.h"

#include "../../broker/base64.h"
#include "../edge/front.h"
#include "../json/gap_json.h"

#include <stdio.h>
#include <stdlib.h>

enum { AT_ONCE_BYTES = 32 << 10 };

/* ---- events ---- */

static size_t event_open(struct fm_frames *f, enum fm_sse_move move, struct fm_slice topic, const struct fm_id *ids, uint32_t n,
                         struct fm_slice event)
{
    size_t opened = fm_frames_open(f);
    fm_sse_event_write(&f->bytes, move, topic, ids, n);
    fm_buf_str(&f->bytes, "event: ");
    fm_sse_line(&f->bytes, event);
    fm_buf_str(&f->bytes, "\ndata: {\"topic\":");
    fm_buf_json(&f->bytes, topic);
    return opened;
}

static void event_close(struct fm_frames *f, size_t opened, const struct fm_msg *m)
{
    fm_buf_str(&f->bytes, "}\n");
    fm_frames_close(f, opened, FM_WS_TEXT, m);
}

static void message_write(struct fm_frames *f, const struct fm_msg *m)
{
    struct fm_buf *b = &f->bytes;
    char id[FM_ID_TEXT_MAX + 1];
    size_t opened = event_open(f, FM_SSE_RAISE, fm_msg_topic(m), &m->id, 1, fm_msg_event(m));
    fm_id_print(m->id, id);
    fm_buf_printf(b, ",\"id\":\"%s\",", id);
    if (m->flags & FM_MSG_BINARY) {
        fm_buf_str(b, "\"payload_base64\":\"");
        fm_base64_encode(b, fm_msg_payload(m));
        fm_buf_u8(b, '"');
    } else {
        fm_buf_str(b, "\"payload\":");
        fm_sse_line(b, fm_msg_payload(m));
    }
    event_close(f, opened, m);
}

static void encode(struct fm_frames *f, unsigned format, struct fm_msg *const *msgs, size_t n, const struct fm_vector *at)
{
    (void)format, (void)at;
    for (size_t i = 0; i < n; i++)
        if (!fm_msg_of_presence(msgs[i])) /* no stream has asked for them */
            message_write(f, msgs[i]);
}

static void gap(struct fm_frames *f, const struct fm_sub *sub, const struct fm_gap *g, const struct fm_vector *cursor)
{
    size_t opened = event_open(f, FM_SSE_RAISE, fm_sub_topic(sub), cursor->at, cursor->n, FM_LIT("gap"));
    fm_buf_u8(&f->bytes, ',');
    fm_gap_members(&f->bytes, g);
    event_close(f, opened, NULL);
}

/* ---- a join's answer ---- */

struct replay {              /* a topic's history may be long: it is encoded as the client reads */
    struct fm_source source; /* first */
    struct fm_msg **msgs;    /* references */
    uint32_t next, n;
};

static bool replay_more(struct fm_source *source, struct fm_frames *f, size_t bytes)
{
    struct replay *r = (struct replay *)source;
    while (r->next < r->n && f->bytes.n < bytes && !f->bytes.failed) {
        message_write(f, r->msgs[r->next]);
        fm_msg_unref(&r->msgs[r->next++]);
    }
    return r->next < r->n;
}

static void replay_free(struct fm_source *source)
{
    struct replay *r = (struct replay *)source;
    while (r->next < r->n)
        fm_msg_unref(&r->msgs[r->next++]);
    free(r->msgs);
    free(r);
}

static struct fm_source *replay_new(struct fm_join *j)
{
    struct replay *r = malloc(sizeof *r);
    if (!r)
        return NULL;
    *r = (struct replay){
        .source = {.cost = (uint32_t)(sizeof *r + j->replayed * sizeof(struct fm_msg *)), .more = replay_more, .free = replay_free},
        .msgs = j->replay,
        .n = j->replayed};
    j->replay = NULL;
    j->replayed = 0;
    return &r->source;
}

/* What a handler has to say besides, a JSON object or NULL. */
static void said_write(struct fm_buf *b, const char *said)
{
    if (!said)
        return;
    fm_buf_str(b, ",\"said\":");
    fm_sse_line(b, fm_slice_str(said));
}

/* The topic's end, or that it does not begin. */
static void end_send(const struct fm_sub *sub, const char *reason, const char *said)
{
    struct fm_frames *f = fm_frames_new();
    if (!f) {
        fm_socket_close(sub->socket, 1013, "out of memory");
        return;
    }
    size_t opened = event_open(f, FM_SSE_STAY, fm_sub_topic(sub), NULL, 0, FM_LIT("fm_refused"));
    fm_buf_printf(&f->bytes, ",\"reason\":\"%s\"", reason);
    said_write(&f->bytes, said);
    event_close(f, opened, NULL);
    fm_socket_send_frames(sub->socket, f);
}

static void refused(struct fm_sub *sub, enum fm_err err, const char *said)
{
    struct fm_socket *s = sub->socket;
    if (fm_stream_fresh(s) && fm_socket_subs(s) == 0)
        fm_stream_refuse(s, err, said);
    else
        end_send(sub, fm_err_code(err), said);
}

static void joined(struct fm_sub *sub, uint64_t tag, struct fm_join *j)
{
    (void)tag;
    struct fm_socket *s = sub->socket;
    if (j->err) {
        refused(sub, j->err, j->said);
        return;
    }
    struct fm_frames *f = fm_frames_new();
    struct fm_source *rest = NULL;
    if (f) {
        size_t opened = event_open(f, FM_SSE_REPLACE, fm_sub_topic(sub), j->cursor.at, j->cursor.n, FM_LIT("fm_joined"));
        fm_buf_printf(&f->bytes, ",\"recovered\":%s,\"replayed\":%u", j->recovered ? "true" : "false", j->replayed);
        said_write(&f->bytes, j->said);
        event_close(f, opened, NULL);
    }
    if (f && j->replayed && !(rest = replay_new(j)))
        f->bytes.failed = true;
    if (rest && !rest->more(rest, f, AT_ONCE_BYTES)) {
        rest->free(rest);
        rest = NULL;
    }
    if (!f || f->bytes.failed) {
        fm_frames_unref(&f);
        fm_socket_close(s, 1013, "out of memory");
    } else {
        fm_socket_send_frames(s, f);
    }
    if (rest)
        fm_socket_send_source(s, rest);
}

static void forbidden(struct fm_sub *sub, enum fm_err why)
{
    refused(sub, why, NULL);
    fm_socket_leave(sub->socket, sub, NULL);
}

/* The stream goes on, if only with comments: if it ended, its client would come again. */
static void unsubscribed(struct fm_sub *sub)
{
    end_send(sub, "unsubscribed", NULL);
    fm_socket_leave(sub->socket, sub, NULL);
}

/* ---- what no client of a stream does ---- */

static bool accept_stream(struct fm_upgrade *up)
{
    up->proto = &fm_sse;
    return true;
}

static void recv_nothing(struct fm_socket *s, bool binary, uint8_t *bytes, size_t n)
{
    (void)s, (void)binary, (void)bytes, (void)n;
}

static void pushed_nothing(struct fm_socket *s, const struct fm_publish *p)
{
    (void)s, (void)p;
}

static void for_user(const struct fm_socket *s, enum fm_format *format, struct fm_slice *join_ref)
{
    (void)s;
    *format = FM_FORMAT_SSE;
    *join_ref = FM_LIT("null");
}

const struct fm_proto fm_sse = {
    .name = "sse",
    .accept = accept_stream,
    .recv = recv_nothing,
    .joined = joined,
    .pushed = pushed_nothing,
    .forbidden = forbidden,
    .unsubscribed = unsubscribed,
    .gap = gap,
    .for_user = for_user,
    .encode = encode,
};

/* ---- requests ---- */

static void refuse(struct fm_http_request *req, enum fm_err err, unsigned status, const char *why, const char *said)
{
    fm_stat_add(&req->worker->stats.refused, 1);
    fm_http_fail_with(
        req, &(struct fm_http_error){.err = err, .status = status, .detail = why && *why ? why : NULL, .members = fm_said_members(said)});
}

/* A misspelt `last_event_id` would lose in silence what was missed. Where a backend or a program is given the query, its own names stand
 * there, too. */
static bool params_known(struct fm_http_request *req)
{
    const struct fm_worker_config *c = &req->worker->config;
    const char *token = c->auth ? c->auth->param : "token"; /* who brings one where none is read is let in as anybody else */
    struct fm_slice name;
    char why[160];
    if (c->hook || c->handlers || fm_query_known(req->query, "topic last last_event_id lastEventId", token, &name))
        return true;
    snprintf(why, sizeof why, "`%.*s`; a stream takes topic, last and last_event_id", name.n < 64 ? (int)name.n : 64, (const char *)name.p);
    refuse(req, FM_E_UNKNOWN_MEMBER, 0, why, NULL);
    return false;
}

/* Where it goes on: the header, which EventSource sends with what it got last, or the parameter, for who has no say over headers (some
 * stand-ins for EventSource write it as `lastEventId`). */
static enum fm_err position_read(struct fm_http_request *req, struct fm_sse_topics *topics)
{
    char text[FM_SSE_ID_MAX + 64];
    struct fm_slice id = fm_http_header(req, "last-event-id");
    if (!id.n) {
        enum fm_err err = fm_query_param(req->query, "last_event_id", true, text, sizeof text);
        if (err == FM_E_NOT_FOUND)
            err = fm_query_param(req->query, "lastEventId", true, text, sizeof text);
        if (err)
            return err == FM_E_NOT_FOUND ? FM_OK : FM_E_SYNTAX;
        id = fm_slice_str(text);
    }
    return id.n ? fm_sse_id_read(id, topics) : FM_OK;
}

/* *last: -1 where it is not said. */
static bool last_read(const struct fm_http_request *req, int64_t *last)
{
    char text[16];
    uint64_t v = 0;
    enum fm_err err = fm_query_param(req->query, "last", true, text, sizeof text);
    if (err == FM_OK)
        err = fm_slice_u64(fm_slice_str(text), UINT32_MAX, &v);
    *last = err == FM_E_NOT_FOUND ? -1 : (int64_t)v;
    return err == FM_OK || err == FM_E_NOT_FOUND;
}

enum { WHY_MAX = FM_TOPIC_MAX + 3 };

/* Whether all topics may be joined; else *err and, in why, the first that may not. */
static bool topics_judge(const struct fm_socket *s, const struct fm_sse_topics *topics, enum fm_err *err, char why[WHY_MAX])
{
    for (uint32_t i = 0; i < topics->n; i++) {
        struct fm_slice topic = fm_slice_of(topics->of[i].name, topics->of[i].name_n);
        const struct fm_rule *rule = fm_socket_rule(s, topic);
        *err = rule ? fm_socket_may(s, rule->join, topic, FM_RIGHT_JOIN) : FM_E_UNMATCHED_TOPIC;
        if (*err) {
            snprintf(why, WHY_MAX, "`%.*s`", (int)topic.n, (const char *)topic.p);
            return false;
        }
    }
    return true;
}

static enum fm_err join(struct fm_socket *s, struct fm_sse_topic *t, int64_t last)
{
    struct fm_slice topic = fm_slice_of(t->name, t->name_n);
    const struct fm_rule *rule = fm_socket_rule(s, topic);
    struct fm_join_ask ask = {
        .topic = topic,
        .rule = rule,
        .format = FM_FORMAT_SSE,
        .cursor_channel = true,
        .has_cursor = t->at.n > 0 || t->cut,
        .cut = t->cut,
        .last = last < 0 ? rule->last : (uint32_t)last,
        .params = FM_LIT("{}"),
    };
    enum fm_err err = fm_vector_copy(&ask.cursor, &t->at); /* the stream's own goes on meanwhile from here */
    if (err) {
        fm_vector_fini(&ask.cursor);
        return err;
    }
    return fm_socket_join(s, &ask);
}

static void stream(struct fm_http_request *req, struct fm_sse_topics *topics, int64_t last)
{
    struct fm_upgrade up;
    enum fm_err err = FM_OK;
    struct fm_socket *s = fm_conn_admit(req->edge, &fm_sse, false, &up);
    char why[WHY_MAX];
    if (!s || !topics_judge(s, topics, &err, why)) {
        fm_sse_topics_fini(topics);
        if (s) {
            fm_conn_take_back(req->edge, s);
            fm_socket_gone(s);
        }
        if (!up.asking)
            refuse(req, s ? err : up.err, s ? 0 : up.status, s ? why : up.reason, up.said);
        return;
    }
    uint32_t n = topics->n;
    if (!fm_stream_open(s, req, topics)) {
        refuse(req, FM_E_NOMEM, 0, NULL, NULL);
        return;
    }
    for (uint32_t i = 0; i < n && !err; i++)
        err = join(s, fm_stream_topic(s, i), last);
    if (err)
        fm_stream_refuse(s, err, NULL);
    else
        fm_user_sub_follow(s); /* now that it is known which topics are its own */
}

static bool is_ours(const struct fm_http_request *req)
{
    return req->worker->config.sse && fm_slice_eq(req->path, FM_LIT("/sse"));
}

enum fm_head_is fm_sse_head(struct fm_http_request *req)
{
    if (!is_ours(req))
        return FM_HEAD_OTHER;
    if (!fm_http_page_may(req, "GET, OPTIONS", "Authorization, Last-Event-ID"))
        return FM_HEAD_TAKEN;
    if (req->method == FM_HTTP_GET && req->announced == 0)
        return FM_HEAD_GOOD;
    if (req->method == FM_HTTP_GET)
        refuse(req, FM_E_TOO_LARGE, 0, "this path takes no body", NULL);
    else
        fm_http_fail_with(req, &(struct fm_http_error){.err = FM_E_METHOD, .headers = FM_LIT("Allow: GET, OPTIONS\r\n")});
    return FM_HEAD_TAKEN;
}

bool fm_sse_handle(struct fm_http_request *req)
{
    struct fm_sse_topics topics = {0};
    const char *why = NULL;
    int64_t last = -1;
    if (!is_ours(req))
        return false;
    req->readable_by = req->origin; /* whose page may, as its head said */
    if (!params_known(req))
        return true;
    enum fm_err err = fm_sse_topics_read(req->query, req->worker->config.topics_per_socket, &topics, &why);
    if (!err && !last_read(req, &last)) {
        err = FM_E_INVALID;
        why = "`last` is a whole number from 0 to 4294967295";
    }
    if (!err && (err = position_read(req, &topics)))
        why = "the Last-Event-ID (or `last_event_id`) is no id of a stream with these topics in this order";
    if (err == FM_E_TOO_MANY)
        fm_limit_reached(req->worker, FM_LIMIT_TOPICS, &req->client, fm_slice_of(NULL, 0));
    if (err) {
        fm_sse_topics_fini(&topics);
        refuse(req, err, err == FM_E_NOMEM ? 0 : 400, why, NULL);
    } else {
        stream(req, &topics, last);
    }
    return true;
}
