/* Sockets: their life, their subs, and what a protocol may ask of the hub through them. (Their bytes: socket_io.c.)
 *
 * Nothing here ever ends a connection inside somebody else's call. fm_socket_close only marks it; before the loop waits again its subs
 * leave, and the edge closes it from its own writable call. So whoever walks over sockets or subs never loses them under way. */
#include "worker_core.h"

#include "../../broker/diag.h"
#include "sub_index.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

enum { CLOSE_REASON_MAX = 123, INDEX_FROM = 32, INDEX_UNTIL = 16 /* subs of a socket */ };

/* ---- life ---- */

struct fm_socket *fm_socket_new(struct fm_worker *w, const struct fm_proto *proto, uint32_t variant, bool probe, uint64_t number)
{
    struct fm_socket *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->worker = w;
    s->proto = proto;
    s->variant = variant;
    s->probe = probe;
    s->number = number ? number : fm_socket_number(w);
    s->next = w->sockets;
    s->link = &w->sockets;
    if (s->next)
        s->next->link = &s->next;
    w->sockets = s;
    w->sockets_n++;
    fm_stat_add(&fm_stats_of(w, probe)->connections, 1);
    return s;
}

/* A socket is referred to by its connection, by the worker's lists, and by answers that are under way. */
void fm_socket_release(struct fm_socket *s)
{
    if (s->state != FM_SOCKET_GONE || s->awaited || s->held || s->touched || s->doomed)
        return;
    assert(!s->out && !s->subs);
    free(s->close_reason);
    free(s->client);
    fm_identity_unref(&s->identity);
    free(s);
}

static void sub_link(struct fm_sub *sub)
{
    struct fm_socket *s = sub->socket;
    sub->next = s->subs;
    sub->link = &s->subs;
    if (sub->next)
        sub->next->link = &sub->next;
    s->subs = sub;
    s->subs_n++;
    if (s->index)
        fm_sub_index_add(&s->index, sub);
    else if (s->subs_n > INDEX_FROM)
        s->index = fm_sub_index_new(s->subs, s->subs_n); /* without memory the list does */
}

static void sub_unlink(struct fm_sub *sub)
{
    struct fm_socket *s = sub->socket;
    *sub->link = sub->next;
    if (sub->next)
        sub->next->link = sub->link;
    s->subs_n--;
    if (s->index)
        fm_sub_index_remove(s->index, sub);
    if (s->subs_n <= INDEX_UNTIL)
        fm_sub_index_free(&s->index);
}

static void sub_free(struct fm_sub *sub)
{
    assert(!sub->topic && !sub->skip && !sub->lag && !sub->end);
    free(sub->proto);
    free(sub);
}

static void sub_end(struct fm_sub *sub)
{
    struct fm_worker *w = sub->socket->worker;
    fm_sub_linger(sub);
    if (sub->joined) {
        fm_socket_tell(sub->socket, FM_HOOK_LEAVE, fm_sub_topic(sub));
        fm_subs_remove(w, sub);
    } else {
        fm_worker_forget(w, sub->id); /* when its answer comes the hub is told that nobody is there */
    }
    sub_unlink(sub);
    sub_free(sub);
}

static void subs_end(struct fm_socket *s)
{
    fm_sub_index_free(&s->index); /* nobody looks any more */
    while (s->subs)
        sub_end(s->subs);
}

static void doom(struct fm_socket *s)
{
    if (s->doomed)
        return;
    s->doomed = true;
    s->doomed_next = s->worker->doomed;
    s->worker->doomed = s;
    fm_worker_settle_soon(s->worker);
}

void fm_socket_close(struct fm_socket *s, unsigned code, const char *reason)
{
    if (s->state != FM_SOCKET_OPEN)
        return;
    s->state = FM_SOCKET_CLOSING;
    s->close_code = (uint16_t)code;
    struct fm_slice text = fm_slice_str(reason);
    text.n = text.n > CLOSE_REASON_MAX ? CLOSE_REASON_MAX : text.n;
    s->close_reason = fm_slice_dup(text); /* without memory: a close without a reason */
    doom(s);
}

void fm_socket_bury(struct fm_socket *s)
{
    s->doomed = false;
    if (s->state == FM_SOCKET_GONE) {
        fm_socket_release(s);
        return;
    }
    subs_end(s);
    if (s->discard)
        fm_socket_out_drop(s);
    if (s->close_code == 0) {
        fm_edge_kill(s); /* abandoned: s is gone after this */
        return;
    }
    fm_wheel_set(&s->worker->sockets_wheel, &s->timer, FM_CLOSE_MS);
    fm_edge_want_write(s);
}

/* The edge failed to write, or had no way to close: no word to the client is possible. */
void fm_socket_abandon(struct fm_socket *s)
{
    if (s->state == FM_SOCKET_OPEN)
        s->state = FM_SOCKET_CLOSING;
    s->discard = true;
    doom(s);
}

void fm_socket_kill(struct fm_worker *w, bool all)
{
    struct fm_socket *next;
    for (struct fm_socket *s = w->sockets; s; s = next) {
        next = s->next;
        if (s->tls || s->carrier || ((s->probe || all) && s->wsi))
            fm_edge_kill(s);
    }
}

void fm_socket_identify(struct fm_socket *s, struct fm_identity *identity)
{
    struct fm_identity *before = s->identity;
    s->identity = fm_identity_ref(identity);
    fm_identity_unref(&before);
    if (!fm_user_join(s, identity ? identity->user : fm_slice_of(NULL, 0))) {
        fm_socket_close(s, 1013, "out of memory");
        return;
    }
    s->token_told = false;
    fm_subs_judge(s);
    if (s->state == FM_SOCKET_OPEN)
        fm_socket_watch(s);
}

/* ---- for protocols ---- */

const struct fm_identity *fm_socket_identity(const struct fm_socket *s)
{
    return s->identity;
}

enum fm_err fm_socket_may(const struct fm_socket *s, enum fm_who who, struct fm_slice topic, enum fm_right right)
{
    return fm_who_may(who, s->identity, topic, right, who == FM_WHO_TOKEN ? (uint64_t)time(NULL) : 0);
}

const struct fm_rule *fm_socket_rule(const struct fm_socket *s, struct fm_slice topic)
{
    static const struct fm_rule own = {.join = FM_WHO_ANYONE, .push = FM_WHO_ANYONE, .push_to = FM_PUSH_ALL, .message_max = 1024};
    if (s->probe)
        return fm_topic_of_probe(topic) ? &own : NULL;
    return fm_rules_match(s->worker->config.rules, topic);
}

uint32_t fm_socket_variant(const struct fm_socket *s)
{
    return s->variant;
}

struct fm_worker *fm_socket_worker(const struct fm_socket *s)
{
    return s->worker;
}

struct fm_sub *fm_socket_sub(struct fm_socket *s, struct fm_slice topic)
{
    if (s->index)
        return fm_sub_index_find(s->index, topic);
    struct fm_sub *sub = s->subs;
    while (sub && !fm_slice_eq(fm_sub_topic(sub), topic))
        sub = sub->next;
    return sub;
}

uint32_t fm_socket_subs(const struct fm_socket *s)
{
    return s->subs_n;
}

static struct fm_sub *sub_new(struct fm_socket *s, struct fm_join_ask *ask)
{
    struct fm_sub *sub = malloc(sizeof *sub + ask->topic.n + ask->join_ref.n);
    if (!sub)
        return NULL;
    *sub = (struct fm_sub){
        .socket = s,
        .format = (uint8_t)ask->format,
        .cursor_channel = ask->cursor_channel,
        .own = (uint8_t)ask->own,
        .flags = ask->flags,
        .tag = ask->tag,
        .watch = ask->watch,
        .rule = ask->rule,
        .rules_age = s->worker->rules_age,
        .asked_ms = fm_mono_ms(),
        .proto = ask->proto,
        .topic_n = (uint16_t)ask->topic.n,
        .join_ref_n = (uint16_t)ask->join_ref.n,
    };
    memcpy(sub->text, ask->topic.p, ask->topic.n);
    if (ask->join_ref.n)
        memcpy(sub->text + ask->topic.n, ask->join_ref.p, ask->join_ref.n);
    sub_link(sub);
    return sub;
}

static enum fm_err join_post(struct fm_sub *sub, struct fm_join *join, struct fm_slice params)
{
    struct fm_asking asking;
    if (!fm_socket_asking(sub->socket, FM_QUESTION_JOIN, fm_sub_topic(sub), sub->rule, &asking))
        return fm_worker_post(sub->socket->worker, &join->item);
    asking.event = FM_LIT("phx_join");
    asking.payload = params;
    return fm_question_put(sub->socket->worker, &asking, &join->item, sub->id);
}

enum fm_err fm_socket_join(struct fm_socket *s, struct fm_join_ask *ask)
{
    assert(ask->topic.n > 0 && ask->topic.n <= FM_TOPIC_MAX && ask->join_ref.n <= UINT16_MAX);
    assert(!fm_socket_sub(s, ask->topic));
    struct fm_worker *w = s->worker;
    enum fm_err err = FM_E_NOMEM;
    struct fm_sub *sub = sub_new(s, ask);
    if (!sub)
        goto fail;
    sub->id = fm_worker_expect(w, fm_socket_joined, sub);
    struct fm_join *join = sub->id ? fm_join_new(w->config.index, sub->id, ask->topic) : NULL;
    if (!join)
        goto fail_after_sub;
    err = ask->track ? fm_track_make(s, ask->rule, ask->topic, &ask->shown, &join->track) : FM_OK;
    if (err) {
        fm_join_free(&join);
        goto fail_after_sub;
    }
    if (join->track)
        join->track->holder = sub->id;
    join->last = ask->last;
    join->has_cursor = ask->has_cursor;
    join->cut = ask->cut;
    join->cursor = ask->cursor;
    ask->cursor = (struct fm_vector){0};
    err = join_post(sub, join, ask->params);
    if (err == FM_OK)
        return FM_OK;
    fm_join_free(&join);
fail_after_sub:
    fm_worker_forget(w, sub->id);
    sub_unlink(sub);
    sub->proto = NULL;
    sub_free(sub);
fail:
    free(ask->proto);
    fm_vector_fini(&ask->cursor);
    return err;
}

void fm_socket_leave(struct fm_socket *s, struct fm_sub *sub, struct fm_vector *at)
{
    assert(sub->socket == s);
    fm_subs_hurry(s->worker, sub);
    if (!at)
        fm_sub_untrack(sub); /* it does not come back */
    if (at && fm_subs_position(sub, at))
        at->n = 0; /* without memory: a rejoin resumes from what the client itself says */
    sub_end(sub);
}

bool fm_sub_undecided(const struct fm_sub *sub)
{
    struct fm_socket *s = sub->socket;
    struct fm_slice topic = fm_sub_topic(sub);
    struct fm_asking asking;
    return !sub->joined && fm_socket_asking(s, FM_QUESTION_JOIN, topic, fm_socket_rule(s, topic), &asking);
}

/* The one subscription that a push does not go to, 0: none. */
static uint64_t push_from(struct fm_sub *sub)
{
    const struct fm_rule *rule = fm_sub_rule(sub);
    bool others = sub->own == FM_OWN_NO || (sub->own == FM_OWN_BY_RULE && rule && rule->push_to == FM_PUSH_OTHERS);
    return others ? sub->id : 0;
}

enum fm_err fm_socket_push(struct fm_socket *s, struct fm_sub *sub, struct fm_slice event, struct fm_slice payload, bool binary,
                           struct fm_slice cookie)
{
    struct fm_worker *w = s->worker;
    struct fm_msg *m = fm_msg_new(fm_sub_topic(sub), event, (struct fm_msg_keys){0}, payload, binary ? FM_MSG_BINARY : 0);
    if (!m)
        return FM_E_NOMEM;
    m->from = push_from(sub);
    uint64_t token = fm_worker_expect(w, fm_socket_pushed, s);
    struct fm_publish *p = token ? fm_publish_new(w->config.index, token, 1, cookie) : NULL;
    if (!p) {
        fm_worker_forget(w, token);
        fm_msg_unref(&m);
        return FM_E_NOMEM;
    }
    p->msgs[0] = m;
    p->item.cost += (uint32_t)fm_msg_size(m);
    struct fm_asking asking;
    enum fm_err err;
    if (fm_socket_asking(s, FM_QUESTION_PUSH, fm_sub_topic(sub), fm_sub_rule(sub), &asking)) {
        asking.event = event;
        asking.payload = payload;
        asking.binary = binary;
        asking.lane = sub->id; /* what a client pushes on a topic is decided in its order */
        asking.before = s->awaited;
        err = fm_question_put(w, &asking, &p->item, token);
    } else {
        err = fm_worker_post(w, &p->item);
    }
    if (err) {
        fm_worker_forget(w, token);
        fm_publish_free(&p);
        return err;
    }
    s->awaited++;
    return FM_OK;
}

/* ---- answers of the hub ---- */

static void join_refused(struct fm_sub *sub, struct fm_join *join)
{
    struct fm_socket *s = sub->socket;
    sub_unlink(sub);
    if (s->state == FM_SOCKET_OPEN)
        s->proto->joined(sub, sub->tag, join);
    sub_free(sub);
}

/* Is it still there? The protocol may have ended it. */
static bool is_sub(struct fm_socket *s, const struct fm_sub *sub, const struct fm_join *join)
{
    const struct fm_sub *it = fm_socket_sub(s, fm_slice_of(join->topic, join->topic_n));
    return it == sub && it->id == join->sub;
}

/* It is a subscriber, and its client knows. */
static void joined(struct fm_worker *w, struct fm_sub *sub, struct fm_join *join)
{
    sub->end = join->track; /* what showed it will end it */
    join->track = NULL;
    fm_subs_added(w, sub, join);
    if (sub->watch)
        fm_subs_watch(w, sub);
    if (sub->end || sub->watch)
        fm_sub_judge_presence(sub); /* as it was with the join */
}

void fm_socket_joined(void *ctx, struct fm_item *item)
{
    struct fm_join *join = (struct fm_join *)item;
    struct fm_sub *sub = ctx;
    struct fm_socket *s = sub->socket;
    struct fm_worker *w = s->worker;
    fm_socket_cork(s);
    bool counted = join->err == FM_OK;
    if (join->err == FM_OK && s->state != FM_SOCKET_OPEN)
        join->err = FM_E_CLOSED;
    if (join->err == FM_OK)
        join->err = fm_sub_may_join(sub); /* the rules may have changed since it asked */
    if (join->err == FM_OK)
        join->err = fm_subs_add(w, sub, join);
    sub->joined = join->err == FM_OK;
    if (counted && !sub->joined) {
        fm_subs_leave_hub(w, fm_sub_topic(sub), 1);
        fm_join_untrack(w, join);
    }
    if (sub->joined) {
        fm_socket_tell(s, FM_HOOK_JOIN, fm_sub_topic(sub));
        s->proto->joined(sub, sub->tag, join);
        if (is_sub(s, sub, join))
            joined(w, sub, join);
        else
            fm_join_untrack(w, join);
    } else {
        join_refused(sub, join);
    }
    fm_join_free(&join);
}

void fm_socket_pushed(void *ctx, struct fm_item *item)
{
    struct fm_publish *p = (struct fm_publish *)item;
    struct fm_socket *s = ctx;
    assert(s->awaited > 0);
    s->awaited--;
    if (p && s->state == FM_SOCKET_OPEN)
        s->proto->pushed(s, p);
    fm_publish_free(&p);
    fm_socket_release(s);
}

/* ---- called by the edge ---- */

void fm_socket_opened(struct fm_socket *s, struct lws *wsi, int fd)
{
    assert(s->state == FM_SOCKET_OPENING);
    s->wsi = wsi;
    s->fd = fd;
    s->state = FM_SOCKET_OPEN;
    s->opened_ms = fm_mono_ms();
    s->heard_tick = s->worker->sockets_wheel.tick;
    fm_socket_watch(s);
    fm_client_say(&s->peer, "socket_opened", s->probe ? "the node itself" : "a client");
    fm_socket_tell(s, FM_HOOK_CONNECT, fm_slice_of(NULL, 0));
    if (s->worker->draining)
        fm_socket_close(s, 1012, "the node is shutting down");
}

void fm_socket_closing(struct fm_socket *s)
{
    if (s->state == FM_SOCKET_GONE)
        return;
    /* libwebsockets closes by itself where a frame breaks the protocol, and then waits for the client's answer, however long. */
    if (s->state == FM_SOCKET_OPEN)
        fm_wheel_set(&s->worker->sockets_wheel, &s->timer, FM_CLOSE_MS);
    s->state = FM_SOCKET_CLOSING;
    s->discard = true;
    subs_end(s);
    fm_socket_out_drop(s);
}

static void gone_say(const struct fm_socket *s)
{
    char peer[FM_PEER_TEXT_MAX], why[2 * CLOSE_REASON_MAX];
    if (s->state == FM_SOCKET_OPENING || fm_diag_level_get() > FM_DEBUG)
        return;
    const char *reason = s->close_reason ? s->close_reason : "the client closed it, or the connection broke";
    fm_diag(FM_DEBUG, "socket_closed", "peer=%s code=%u why=%s", fm_peer_text(&s->peer, peer), s->close_code,
            fm_diag_quote(why, sizeof why, reason, strlen(reason)));
}

void fm_socket_gone(struct fm_socket *s)
{
    struct fm_worker *w = s->worker;
    gone_say(s);
    bool was_open = s->state != FM_SOCKET_OPENING;
    fm_socket_closing(s);
    if (was_open)
        fm_socket_tell(s, FM_HOOK_DISCONNECT, fm_slice_of(NULL, 0));
    fm_socket_io_fini(s);
    fm_wheel_cancel(&w->sockets_wheel, &s->timer);
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    w->sockets_n--;
    fm_socket_dismiss(s);
    fm_user_leave(s);
    fm_stat_sub(&fm_stats_of(w, s->probe)->connections, 1);
    s->wsi = NULL;
    s->state = FM_SOCKET_GONE;
    fm_socket_release(s);
    fm_worker_breathe(w);
}
