/* A socket's subs: joins, leaves and pushes, which a protocol asks of the hub through them, and what the hub answers. */
#include "worker_core.h"

#include "sub_index.h"

#include <assert.h>
#include <stdlib.h>

enum { INDEX_FROM = 32, INDEX_UNTIL = 16 /* subs of a socket */ };

/* ---- which there are ---- */

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

void fm_sub_free(struct fm_sub *sub)
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
        if (!fm_user_sub_back(sub))
            fm_subs_remove(w, sub);
    } else {
        fm_worker_forget(w, sub->id); /* when its answer comes the hub is told that nobody is there */
    }
    sub_unlink(sub);
    fm_sub_free(sub);
}

void fm_socket_subs_end(struct fm_socket *s)
{
    fm_sub_index_free(&s->index); /* nobody looks any more */
    while (s->subs)
        sub_end(s->subs);
    fm_user_sub_end(s);
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

/* ---- for protocols ---- */

struct fm_sub *fm_sub_new(struct fm_socket *s, const struct fm_join_ask *ask)
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
        .chooses = ask->chooses,
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
    struct fm_sub *sub = fm_sub_new(s, ask);
    if (!sub)
        goto fail;
    sub_link(sub);
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
    fm_sub_free(sub);
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
    fm_sub_free(sub);
    fm_user_sub_follow(s); /* it may have waited for this answer */
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
    if (sub->cursor_channel || join->replayed || !fm_user_sub_is(sub))
        fm_subs_added(w, sub, join);
    fm_user_sub_yield(sub);
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
    if (join->err == FM_OK) {
        fm_user_sub_hurry(sub);
        join->err = fm_subs_add(w, sub, join);
    }
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
