/* Clients' requests of LongPoll: read, handed to whoever has the session, answered. The HTTP status is 200 (Phoenix clients look at nothing
 * but the JSON's `status`), except where a balancer should try another node. */
#include "polling.h"

#include "../edge/front.h"

#include <stdlib.h>

enum {
    CHECK_MS = 2000,        /* so often it is asked whether the other node still has the poll */
    ANSWER_SLACK_MS = 4000, /* for the mesh, beyond what a poll waits */
    BYTES_MAX = 1 << 20,    /* of the messages of one POST, beyond message_max */
    STATUS_OK = 200,
    STATUS_GONE = 410,
    STATUS_FAILED = 500, /* phoenix.js closes, and connects again */
};

struct fm_poll_ask { /* req->user */
    UT_hash_handle hh;
    uint64_t ref;
    struct fm_http_request *req;
    struct fm_poll_token token;
    uint8_t key[FM_POLL_KEY_BYTES]; /* of the token's node, for the next token */
    bool keyless;                   /* it waits for that key, and its head for the judgement */
    struct fm_poll_timer timer;
    uint32_t left_ms; /* of its time, behind the timer */
};

uint64_t fm_poll_node(const struct fm_worker *w)
{
    return fm_hub_incarnation(w->config.hub);
}

/* ---- answering ---- */

/* phoenix.js 1.7 takes a 410 for the beginning of a session even where it had one, and never joins its channels again. It sends a
 * Content-Type with its polls, which 1.8 doesn't; told of an error it does the right thing. */
static uint32_t status_for(const struct fm_http_request *req, uint32_t status, const struct fm_poll_token *token)
{
    bool lost = status == STATUS_GONE && !token && req->method == FM_HTTP_GET;
    return lost && req->content_type.n ? STATUS_FAILED : status;
}

static void messages_write(struct fm_buf *b, struct fm_slice frames)
{
    struct fm_slice bytes;
    bool binary;
    const char *comma = "";
    fm_buf_str(b, ",\"messages\":[");
    while (fm_poll_frame_next(&frames, &binary, &bytes)) {
        fm_buf_str(b, comma);
        fm_buf_json(b, bytes);
        comma = ",";
    }
    fm_buf_u8(b, ']');
}

/* token: NULL for none. frames: messages of an answer to a poll. error: its text, or NULL. */
static void respond(struct fm_http_request *req, uint32_t status, const struct fm_poll_token *token, struct fm_slice frames,
                    const struct fm_http_error *error)
{
    struct fm_buf b = {0};
    unsigned http = error && error->status ? error->status : STATUS_OK;
    fm_buf_printf(&b, "{\"status\":%u", status_for(req, status, token));
    if (token) {
        char text[FM_POLL_TOKEN_TEXT + 1];
        fm_poll_token_print(token, text);
        fm_buf_printf(&b, ",\"token\":\"%s\"", text);
        b.failed |= text[0] == 0;
    }
    if (req->method == FM_HTTP_GET)
        messages_write(&b, frames);
    if (error) {
        fm_buf_str(&b, ",\"error\":{\"code\":");
        fm_buf_json(&b, fm_slice_str(fm_err_code(error->err)));
        fm_buf_str(&b, ",\"message\":");
        fm_buf_json(&b, fm_slice_str(error->detail && *error->detail ? error->detail : fm_err_text(error->err)));
        fm_buf_u8(&b, '}');
        if (error->members.n) {
            fm_buf_u8(&b, ',');
            fm_buf_slice(&b, error->members);
        }
    }
    fm_buf_str(&b, "}\n");
    /* Without memory: the client connects again. What was lost with it is noticed by the token. */
    fm_http_respond(req, http, "application/json", fm_slice_of(NULL, 0),
                    b.failed ? FM_LIT("{\"status\":500,\"messages\":[]}\n") : fm_buf_view(&b));
    fm_buf_fini(&b);
}

/* What the client did wrong, or what can't be done for it now. */
static void refuse_with(struct fm_http_request *req, uint32_t status, const struct fm_http_error *error)
{
    fm_stat_add(&req->worker->stats.poll_refused, 1);
    respond(req, status, NULL, fm_slice_of(NULL, 0), error);
}

static void refuse(struct fm_http_request *req, uint32_t status, enum fm_err err, const char *detail, unsigned http)
{
    refuse_with(req, status, &(struct fm_http_error){.err = err, .detail = detail, .status = http});
}

/* ---- requests that wait ---- */

static void ask_free(struct fm_poll_ask *a)
{
    struct fm_worker *w = a->req->worker;
    fm_wheel_cancel(&w->polls_wheel, &a->timer.timer);
    HASH_DEL(w->poll_asks, a);
    a->req->gone = NULL;
    a->req->user = NULL;
    free(a);
}

static void on_gone(struct fm_http_request *req)
{
    ask_free(req->user);
}

static void ask_end(struct fm_poll_ask *a, uint32_t status, struct fm_slice frames)
{
    struct fm_http_request *req = a->req;
    struct fm_poll_token token = a->token;
    bool next = status != STATUS_GONE && req->method == FM_HTTP_GET;
    if (next && !fm_poll_token_seal(&token, a->key))
        status = STATUS_FAILED; /* without a token for the next poll the client must begin again */
    ask_free(a);
    respond(req, status, next && status != STATUS_FAILED ? &token : NULL, frames, NULL);
}

/* The worker that has the session did not answer: its node is gone, or cut off. */
static void unreached(struct fm_poll_ask *a)
{
    struct fm_http_request *req = a->req;
    fm_stat_add(&req->worker->stats.poll_unreached, 1);
    if (!a->keyless) {
        ask_end(a, STATUS_GONE, fm_slice_of(NULL, 0));
        return;
    }
    ask_free(a);
    refuse(req, STATUS_GONE, FM_E_NOT_FOUND, "the node that this token names is not there, or does not answer", 0);
}

static enum fm_err note_post(struct fm_worker *w, const struct fm_poll_token *to, uint64_t ref, const struct fm_poll_note *note)
{
    struct fm_buf b = {0};
    fm_poll_note_write(&b, note);
    struct fm_parcel *p = b.failed ? NULL : fm_parcel_new(to->node, to->worker, w->config.index, ref, fm_buf_view(&b));
    fm_buf_fini(&b);
    enum fm_err err = p ? fm_worker_post(w, &p->item) : FM_E_NOMEM;
    if (err)
        fm_parcel_free(&p);
    return err;
}

static void timer_set(struct fm_poll_ask *a)
{
    uint32_t ms = a->left_ms < CHECK_MS ? a->left_ms : CHECK_MS;
    a->left_ms -= ms;
    fm_wheel_set(&a->req->worker->polls_wheel, &a->timer.timer, ms);
}

/* Has the other node died meanwhile, or its answer been lost? Then the client is told before its poll's time is over. */
static void on_timer(struct fm_poll_timer *t)
{
    struct fm_poll_ask *a = (struct fm_poll_ask *)((char *)t - offsetof(struct fm_poll_ask, timer));
    struct fm_worker *w = a->req->worker;
    if (a->left_ms == 0) {
        unreached(a);
        return;
    }
    timer_set(a);
    if (!a->keyless && a->req->method == FM_HTTP_GET && a->token.node != fm_poll_node(w)) {
        struct fm_poll_note note = {.kind = FM_POLL_CHECK, .ref = a->ref, .from = w->config.index, .token = a->token};
        (void)!note_post(w, &a->token, a->ref, &note);
    }
}

/* key: NULL where that is what is asked for. */
static struct fm_poll_ask *ask_new(struct fm_http_request *req, const struct fm_poll_token *token, const uint8_t *key)
{
    struct fm_worker *w = req->worker;
    struct fm_poll_ask *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    *a = (struct fm_poll_ask){.ref = ++w->poll_ref, .req = req, .token = *token, .keyless = !key, .timer.fire = on_timer};
    if (key)
        memcpy(a->key, key, sizeof a->key);
    HASH_ADD(hh, w->poll_asks, ref, sizeof a->ref, a);
    a->left_ms = (key && req->method == FM_HTTP_GET ? w->config.poll_wait_ms : 0) + ANSWER_SLACK_MS;
    timer_set(a);
    req->user = a;
    req->gone = on_gone;
    return a;
}

static struct fm_poll_ask *ask_find(struct fm_worker *w, uint64_t ref)
{
    struct fm_poll_ask *a;
    HASH_FIND(hh, w->poll_asks, &ref, sizeof ref, a);
    return a;
}

void fm_longpoll_answer(struct fm_worker *w, const struct fm_poll_note *answer)
{
    struct fm_poll_ask *a = ask_find(w, answer->ref);
    if (!a || a->keyless)
        return;
    a->token.seq = answer->seq;
    ask_end(a, answer->status, answer->frames);
}

static void ask_post(struct fm_poll_ask *a, const struct fm_poll_note *note)
{
    struct fm_http_request *req = a->req;
    enum fm_err err = note_post(req->worker, &a->token, a->ref, note);
    if (!err)
        return;
    ask_free(a);
    refuse(req, STATUS_FAILED, err, NULL, 503);
}

/* To who has the session. */
static void hand_over(struct fm_http_request *req, const struct fm_poll_token *token, enum fm_poll_kind kind, struct fm_slice frames)
{
    struct fm_worker *w = req->worker;
    uint64_t self = fm_poll_node(w);
    const uint8_t *key = fm_poll_key_of(w, token->node);
    struct fm_poll_ask *a = key ? ask_new(req, token, key) : NULL;
    if (!a) {
        refuse(req, STATUS_FAILED, key ? FM_E_NOMEM : FM_E_BUSY, NULL, 503); /* the key was there before the body, and many came since */
        return;
    }
    struct fm_poll_note note = {.kind = kind, .ref = a->ref, .from = w->config.index, .token = *token, .frames = frames};
    if (token->node == self && token->worker == w->config.index) {
        fm_poll_request(w, self, &note);
        return;
    }
    fm_stat_add(token->node == self ? &w->stats.poll_passed : &w->stats.poll_relayed, 1);
    ask_post(a, &note);
}

/* One of ours did not arrive. Of an answer nothing is to be done: its session notices. */
static void came_back(struct fm_worker *w, const struct fm_parcel *p)
{
    struct fm_poll_ask *a = p->token ? ask_find(w, p->token) : NULL;
    if (!a)
        return;
    if (p->err == FM_E_TIMEOUT)
        return; /* it may have arrived; the request has a time of its own */
    if (p->err != FM_E_BUSY && p->err != FM_E_NOMEM && p->err != FM_E_TOO_LARGE) {
        unreached(a);
        return;
    }
    struct fm_http_request *req = a->req;
    ask_free(a);
    refuse(req, STATUS_FAILED, p->err, NULL, p->err == FM_E_TOO_LARGE ? 0 : 503);
}

/* ---- tokens, before anything else of a request is looked at ---- */

static void key_tell(struct fm_worker *w, uint64_t node, const struct fm_poll_note *asked)
{
    const struct fm_poll_note note = {.kind = FM_POLL_KEY, .ref = asked->ref, .key = fm_slice_of(w->config.poll_key, FM_POLL_KEY_BYTES)};
    (void)!note_post(w, &(struct fm_poll_token){.node = node, .worker = (uint16_t)asked->from}, 0, &note);
}

/* No node that is known made it, or not so. */
static void forged(struct fm_http_request *req)
{
    fm_stat_add(&req->worker->stats.poll_forged, 1);
    refuse(req, STATUS_GONE, FM_E_NOT_FOUND, "no node of this cluster has made this token", 0);
}

static void key_told(struct fm_worker *w, uint64_t node, const struct fm_poll_note *note)
{
    struct fm_poll_ask *a = ask_find(w, note->ref);
    if (!a || !a->keyless || a->token.node != node)
        return;
    struct fm_http_request *req = a->req;
    struct fm_poll_token token = a->token;
    ask_free(a);
    if (!fm_poll_key_keep(w, node, note->key))
        refuse(req, STATUS_FAILED, FM_E_NOMEM, NULL, 503);
    else if (!fm_poll_token_good(&token, fm_poll_key_of(w, node)))
        forged(req);
    else
        fm_conn_go_on(req->edge);
}

static enum fm_head_is token_judge(struct fm_http_request *req, const struct fm_poll_token *token)
{
    struct fm_worker *w = req->worker;
    const uint8_t *key = fm_poll_key_of(w, token->node);
    if (key && fm_poll_token_good(token, key))
        return FM_HEAD_GOOD;
    if (key) {
        forged(req);
        return FM_HEAD_TAKEN;
    }
    struct fm_poll_ask *a = ask_new(req, token, NULL);
    if (a)
        ask_post(a, &(struct fm_poll_note){.kind = FM_POLL_KEY_ASK, .ref = a->ref, .from = w->config.index});
    else
        refuse(req, STATUS_FAILED, FM_E_NOMEM, NULL, 503);
    return FM_HEAD_TAKEN;
}

/* ---- parcels ---- */

void fm_poll_parcel(struct fm_worker *w, struct fm_parcel *p)
{
    struct fm_poll_note note;
    if (p->err)
        came_back(w, p);
    else if (fm_poll_note_read(fm_slice_of(p->bytes, p->n), &note))
        fm_stat_add(&w->stats.poll_refused, 1); /* of a node of another version */
    else if (note.kind == FM_POLL_ANSWER)
        fm_longpoll_answer(w, &note);
    else if (note.kind == FM_POLL_KEY_ASK)
        key_tell(w, p->node, &note);
    else if (note.kind == FM_POLL_KEY)
        key_told(w, p->node, &note);
    else
        fm_poll_request(w, p->node, &note);
    fm_parcel_free(&p);
}

/* ---- reading requests ---- */

/* What the client got last: the last `token` that is one of ours, since an application may have a parameter of that name, too. */
static bool token_find(const struct fm_http_request *req, struct fm_poll_token *token)
{
    struct fm_slice header = fm_http_header(req, "x-phoenix-longpoll-token");
    char text[FM_POLL_TOKEN_TEXT + 1];
    if (header.n)
        return fm_poll_token_read(header, token) == FM_OK;
    return fm_query_param(req->query, "token", true, text, sizeof text) == FM_OK && fm_poll_token_read(fm_slice_str(text), token) == FM_OK;
}

static void open_session(struct fm_http_request *req)
{
    struct fm_worker *w = req->worker;
    struct fm_poll_token token;
    struct fm_upgrade up;
    /* A session has no connection of its own that would have been counted when it was accepted. */
    if (atomic_load_explicit(&w->stats.connections, memory_order_relaxed) > w->config.connections_max) {
        refuse(req, STATUS_FAILED, FM_E_BUSY, "connections_max are there already", 503);
        return;
    }
    struct fm_socket *s = fm_conn_admit(req->edge, &fm_phoenix, true, &up);
    if (up.asking)
        return;
    if (!s) {
        /* phoenix.js gives up on 403, and tries again on 500. */
        unsigned http = up.status ? up.status : fm_http_status_of(up.err);
        bool now_only = http >= 502 || http == 429; /* nobody has decided, or it may come again */
        refuse_with(req, now_only ? STATUS_FAILED : 403,
                    &(struct fm_http_error){
                        .err = up.err, .detail = up.reason, .status = now_only ? http : 0, .members = fm_said_members(up.said)});
        return;
    }
    if (!fm_poll_open(s, &token)) {
        refuse(req, STATUS_FAILED, FM_E_NOMEM, NULL, 503);
        return;
    }
    respond(req, STATUS_GONE, &token, fm_slice_of(NULL, 0), NULL);
}

static void push(struct fm_http_request *req, const struct fm_poll_token *token)
{
    struct fm_buf frames = {0};
    const char *why = NULL;
    enum fm_err err = fm_poll_body(req->body, fm_http_media_is(req->content_type, "application/x-ndjson"), &frames, &why);
    fm_stat_add(&req->worker->stats.poll_pushes, 1);
    /* What a parcel holds; the messages' own limit is message_max, as of every socket. */
    if (!err && frames.n > BYTES_MAX + req->worker->config.message_max) {
        err = FM_E_TOO_LARGE;
        why = "the messages of one request are larger than 1 MiB and message_max together";
    }
    if (err == FM_OK)
        hand_over(req, token, FM_POLL_PUSH, fm_buf_view(&frames));
    else
        refuse(req, err == FM_E_NOMEM ? STATUS_FAILED : err == FM_E_SYNTAX ? 400 : 413, err, why, 0);
    fm_buf_fini(&frames);
}

static bool is_ours(const struct fm_http_request *req)
{
    const struct fm_worker_config *c = &req->worker->config;
    return c->longpoll && fm_http_mounted(req, c->mount, c->supabase_mount, "/longpoll");
}

/* Of a POST: the messages with what base64 and line ends add. */
static uint64_t body_max(const struct fm_worker *w)
{
    return ((uint64_t)BYTES_MAX + w->config.message_max) / 3 * 4 + 4 * FM_POLL_LINES_MAX;
}

/* false: it was answered. */
static bool body_good(struct fm_http_request *req)
{
    if (req->method == FM_HTTP_POST && req->announced == FM_HTTP_UNKNOWN)
        refuse(req, 400, FM_E_LENGTH_REQUIRED, NULL, 411);
    else if (req->method == FM_HTTP_POST && req->announced > body_max(req->worker))
        refuse(req, 413, FM_E_TOO_LARGE, "the messages of one request have at most 1 MiB and message_max together", 0);
    else if (req->method == FM_HTTP_GET && req->announced > 0)
        refuse(req, 400, FM_E_TOO_LARGE, "a poll has no body", 413);
    else
        return true;
    return false;
}

enum fm_head_is fm_longpoll_head(struct fm_http_request *req)
{
    struct fm_poll_token token;
    if (!is_ours(req))
        return FM_HEAD_OTHER;
    if (!fm_http_page_may(req, "GET, POST, OPTIONS", "Content-Type, X-Phoenix-AuthToken, X-Phoenix-Longpoll-Token"))
        return FM_HEAD_TAKEN;
    if (req->method != FM_HTTP_GET && req->method != FM_HTTP_POST) {
        fm_http_fail_with(req, &(struct fm_http_error){.err = FM_E_METHOD, .headers = FM_LIT("Allow: GET, POST, OPTIONS\r\n")});
        return FM_HEAD_TAKEN;
    }
    bool has_token = token_find(req, &token);
    if (req->method == FM_HTTP_POST && !has_token) {
        refuse(req, STATUS_GONE, FM_E_NOT_FOUND, "there is no session with this token", 0);
        return FM_HEAD_TAKEN;
    }
    if (!body_good(req))
        return FM_HEAD_TAKEN;
    return has_token ? token_judge(req, &token) : FM_HEAD_GOOD;
}

bool fm_longpoll_handle(struct fm_http_request *req)
{
    struct fm_poll_token token;
    if (!is_ours(req))
        return false;
    req->readable_by = req->origin; /* whose page may, as its head said */
    if (!token_find(req, &token)) {
        open_session(req);
    } else if (req->method == FM_HTTP_POST) {
        push(req, &token);
    } else {
        fm_stat_add(&req->worker->stats.polls, 1);
        hand_over(req, &token, FM_POLL_WAIT, fm_slice_of(NULL, 0));
    }
    return true;
}
