/* What is for a user reaches every connection of theirs, also one whose client joins nothing.
 *
 * The server subscribes each connection that is somebody's to the topic of its user (the option user_topic, where a rule matches it): from
 * the connect, live only, without a cursor, and whatever the rule lets clients do. That is no channel: nothing can be pushed on it, and it
 * counts in no limit.
 *
 * The tension: a client that joins the topic itself must get each message once. So its channel takes the place of this subscription, from
 * the hub's answer to its join on, and when it leaves, this one takes the channel's place where it stands. And what came before the answer
 * must not be taken for the channel's by its client, which will get it, with what it missed before, by its cursor: so the protocol marks
 * what is the connection's (fm_proto.for_user). */
#include "worker_core.h"

#include "../settings/user_topic.h"

#include <assert.h>
#include <stdlib.h>

enum { SLICE = 1024 /* sockets that are looked at in one go */, AGAIN_MS = 1000 };

/* The topic of the socket's user; false: there is none. */
static bool topic_of(const struct fm_socket *s, uint8_t text[FM_TOPIC_MAX], struct fm_slice *topic)
{
    const char *pattern = s->worker->config.user_topic;
    return s->user && !s->probe && fm_user_topic(pattern, fm_user_name(s->user), text, topic) && fm_socket_rule(s, *topic);
}

static bool is_topic_of(const struct fm_socket *s, const struct fm_sub *sub)
{
    uint8_t text[FM_TOPIC_MAX];
    struct fm_slice topic;
    return topic_of(s, text, &topic) && fm_slice_eq(topic, fm_sub_topic(sub));
}

/* NULL without memory. */
static struct fm_sub *given_new(struct fm_socket *s, struct fm_slice topic)
{
    struct fm_join_ask ask = {.topic = topic, .rule = fm_socket_rule(s, topic)};
    s->proto->for_user(s, &ask.format, &ask.join_ref);
    struct fm_sub *sub = fm_sub_new(s, &ask);
    if (sub)
        sub->given = true;
    return sub;
}

static void again_soon(struct fm_socket *s)
{
    s->given_age = s->worker->rules_age - 1;
    s->worker->given_due = true;
    s->worker->given_again_ms = fm_mono_ms() + AGAIN_MS; /* the hub may have no room for long: topics_max */
}

static void answered(void *ctx, struct fm_item *item)
{
    struct fm_join *join = (struct fm_join *)item;
    struct fm_sub *sub = ctx;
    struct fm_socket *s = sub->socket;
    struct fm_worker *w = s->worker;
    enum fm_err err = join->err;
    if (!err)
        err = fm_sub_rule(sub) ? fm_subs_add(w, sub, join) : FM_E_UNMATCHED_TOPIC; /* the rules may have changed since */
    sub->joined = err == FM_OK;
    if (!join->err && err)
        fm_subs_leave_hub(w, fm_sub_topic(sub), 1);
    if (sub->joined)
        fm_subs_added(w, sub, join);
    else
        fm_user_sub_end(s);
    if (err && err != FM_E_DRAINING)
        again_soon(s);
    fm_join_free(&join);
}

static bool begin(struct fm_socket *s, struct fm_slice topic)
{
    struct fm_worker *w = s->worker;
    struct fm_sub *sub = given_new(s, topic);
    if (!sub)
        return false;
    sub->id = fm_worker_expect(w, answered, sub);
    struct fm_join *join = sub->id ? fm_join_new(w->config.index, sub->id, topic) : NULL;
    if (join)
        join->promised = true;
    if (join && fm_worker_post(w, &join->item) == FM_OK) {
        s->given = sub;
        return true;
    }
    fm_join_free(&join);
    fm_worker_forget(w, sub->id);
    fm_sub_free(sub);
    return false;
}

void fm_user_sub_end(struct fm_socket *s)
{
    struct fm_sub *sub = s->given;
    if (!sub)
        return;
    s->given = NULL;
    if (sub->joined)
        fm_subs_remove(s->worker, sub);
    else
        fm_worker_forget(s->worker, sub->id); /* when its answer comes the hub is told that nobody is there */
    fm_sub_free(sub);
}

void fm_user_sub_follow(struct fm_socket *s)
{
    uint8_t text[FM_TOPIC_MAX];
    struct fm_slice topic;
    if (s->given && !is_topic_of(s, s->given))
        fm_user_sub_end(s);
    s->given_age = s->worker->rules_age;
    if (s->given || s->state > FM_SOCKET_OPEN || !topic_of(s, text, &topic) || fm_socket_sub(s, topic))
        return;
    if (!begin(s, topic))
        again_soon(s);
}

bool fm_user_sub_is(const struct fm_sub *to)
{
    const struct fm_socket *s = to->socket;
    return s->given && fm_slice_eq(fm_sub_topic(s->given), fm_sub_topic(to));
}

void fm_user_sub_hurry(const struct fm_sub *to)
{
    struct fm_socket *s = to->socket;
    if (fm_user_sub_is(to) && s->given->topic)
        fm_subs_finish(s->worker, s->given->topic);
}

void fm_user_sub_yield(const struct fm_sub *to)
{
    if (fm_user_sub_is(to))
        fm_user_sub_end(to->socket);
}

bool fm_user_sub_back(struct fm_sub *from)
{
    struct fm_socket *s = from->socket;
    assert(from->joined && from->topic);
    if (s->given || s->state != FM_SOCKET_OPEN || !is_topic_of(s, from))
        return false;
    struct fm_sub *sub = given_new(s, fm_sub_topic(from));
    if (!sub) {
        again_soon(s);
        return false;
    }
    sub->id = from->id; /* what the client pushed to the others is still not for itself */
    sub->joined = true;
    fm_subs_replace(s->worker, from, sub);
    s->given = sub;
    return true;
}

void fm_user_subs_tend(struct fm_worker *w)
{
    struct fm_user *u, *next;
    uint32_t left = SLICE;
    if (!w->given_due || fm_mono_ms() < w->given_again_ms)
        return;
    w->given_due = false;
    HASH_ITER (hh, w->users, u, next) {
        for (struct fm_socket *s = u->first; s; s = s->user_next) {
            if (s->state != FM_SOCKET_OPEN || s->given_age == w->rules_age)
                continue;
            if (left-- == 0) {
                w->given_due = true;
                return;
            }
            fm_user_sub_follow(s);
            if (s->given_age != w->rules_age)
                return; /* there is no memory, or no room in the hub's inbox: it goes on a little later */
        }
    }
}
