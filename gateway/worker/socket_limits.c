/* What the limits (limits.h) mean for a socket. */
#include "worker_core.h"

enum { CLOSE_POLICY = 1008 };

static struct fm_slice user_of(const struct fm_socket *s)
{
    return s->user ? fm_user_name(s->user) : fm_slice_of(NULL, 0);
}

static _Atomic uint64_t *counter_of(struct fm_worker *w, enum fm_limit limit)
{
    _Atomic uint64_t *const counters[FM_LIMITS_N] = {
        [FM_LIMIT_ADDRESS] = &w->stats.limited_address, [FM_LIMIT_USER] = &w->stats.limited_user,
        [FM_LIMIT_JOINS] = &w->stats.limited_joins,     [FM_LIMIT_PUSHES] = &w->stats.limited_pushes,
        [FM_LIMIT_BYTES] = &w->stats.limited_bytes,     [FM_LIMIT_TOPICS] = &w->stats.limited_topics,
        [FM_LIMIT_SIZE] = &w->stats.limited_size,       [FM_LIMIT_HANDLERS] = &w->stats.limited_handlers,
        [FM_LIMIT_HOOKS] = &w->stats.limited_hooks,
    };
    return counters[limit];
}

void fm_limit_reached(struct fm_worker *w, enum fm_limit limit, const struct fm_peer *peer, struct fm_slice user)
{
    fm_stat_add(counter_of(w, limit), 1);
    fm_limit_tell(w->config.limits, limit, peer, user, fm_mono_ms());
}

void fm_socket_limit_reached(struct fm_socket *s, enum fm_limit limit)
{
    fm_limit_reached(s->worker, limit, &s->peer, user_of(s));
}

/* ---- connections ---- */

enum fm_err fm_socket_admit(struct fm_socket *s, bool *counted)
{
    struct fm_limits *limits = s->worker->config.limits;
    if (s->probe || !limits)
        return FM_OK;
    s->counted_address = *counted; /* the connection that it becomes, or lives by */
    *counted = false;
    enum fm_err err = s->counted_address ? FM_OK : fm_limits_address_take(limits, &s->peer.ip, &s->counted_address);
    if (err == FM_E_TOO_MANY_CONNECTIONS)
        fm_socket_limit_reached(s, FM_LIMIT_ADDRESS);
    if (err)
        return err;
    return fm_socket_user_take(s, user_of(s), &s->counted_user);
}

enum fm_err fm_socket_user_take(struct fm_socket *s, struct fm_slice user, bool *held)
{
    enum fm_err err = fm_limits_user_take(s->worker->config.limits, user, held);
    if (err == FM_E_TOO_MANY_CONNECTIONS)
        fm_limit_reached(s->worker, FM_LIMIT_USER, &s->peer, user);
    return err;
}

void fm_socket_user_leaves(struct fm_socket *s)
{
    if (s->counted_user)
        fm_limits_user_give(s->worker->config.limits, user_of(s));
    s->counted_user = false;
}

void fm_socket_dismiss(struct fm_socket *s)
{
    fm_socket_user_leaves(s);
    if (s->counted_address)
        fm_limits_address_give(s->worker->config.limits, &s->peer.ip);
    s->counted_address = false;
}

/* ---- rates ---- */

static enum fm_err rate(struct fm_socket *s, struct fm_bucket *b, struct fm_rate rate, uint64_t n, enum fm_limit limit, uint32_t *retry_ms)
{
    if (rate.per_s == 0 || s->probe)
        return FM_OK;
    /* What is read now may have been sent at any time since the worker stood still: it counts as if all were sent when that began, by one
     * who may send at once what is allowed in all the time since. */
    uint32_t unread_ms = s->worker->unread_ms;
    rate.burst_ms += unread_ms;
    switch (fm_bucket_take(b, &s->refused, rate, n, fm_mono_ms() - unread_ms, retry_ms)) {
    case FM_BUCKET_GIVES:
        return FM_OK;
    case FM_BUCKET_WAITS:
        fm_socket_limit_reached(s, limit);
        return FM_E_RATE_LIMITED;
    case FM_BUCKET_ABUSED:
        break;
    }
    fm_socket_limit_reached(s, limit);
    fm_stat_add(&s->worker->stats.limited_closed, 1);
    fm_socket_close(s, CLOSE_POLICY, "it went on sending faster than the node's limits allow");
    return FM_E_CLOSED;
}

enum fm_err fm_socket_limit_join(struct fm_socket *s, uint32_t *retry_ms)
{
    const struct fm_worker_config *c = &s->worker->config;
    return rate(s, &s->joins, c->joins, 1, FM_LIMIT_JOINS, retry_ms);
}

enum fm_err fm_socket_limit_push(struct fm_socket *s, size_t bytes, uint32_t *retry_ms)
{
    const struct fm_worker_config *c = &s->worker->config;
    enum fm_err err = rate(s, &s->pushes, c->pushes, 1, FM_LIMIT_PUSHES, retry_ms);
    return err ? err : rate(s, &s->push_bytes, c->push_bytes, bytes, FM_LIMIT_BYTES, retry_ms);
}

enum fm_err fm_sub_limit_push(struct fm_sub *sub, uint32_t *retry_ms)
{
    const struct fm_rule *rule = fm_sub_rule(sub);
    const struct fm_rate of_rule = {rule ? rule->pushes_per_s : 0, sub->socket->worker->config.pushes.burst_ms};
    return rate(sub->socket, &sub->pushes, of_rule, 1, FM_LIMIT_PUSHES, retry_ms);
}

/* ---- without a socket ---- */

static enum fm_err sender_rate(struct fm_worker *w, uint64_t turn, const struct fm_sender *who, struct fm_slice topic, enum fm_limit limit,
                               struct fm_rate rate, uint64_t n, uint32_t *retry_ms)
{
    enum fm_err err = fm_senders_take(w->config.limits->senders, turn, who, topic, limit, rate, n, fm_mono_ms(), retry_ms);
    if (err == FM_E_RATE_LIMITED)
        fm_limit_reached(w, limit, who->peer, who->user);
    return err;
}

enum fm_err fm_worker_limit_sender(struct fm_worker *w, const struct fm_sender *who, struct fm_msg *const *msgs, uint32_t n,
                                   uint32_t *retry_ms)
{
    const struct fm_worker_config *c = &w->config;
    const struct fm_slice all = {0};
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += msgs[i]->payload_n;
    *retry_ms = 0;
    if (!c->limits)
        return FM_OK;
    uint64_t turn = fm_senders_turn(c->limits->senders);
    enum fm_err err = sender_rate(w, turn, who, all, FM_LIMIT_PUSHES, c->pushes, n, retry_ms);
    if (!err)
        err = sender_rate(w, turn, who, all, FM_LIMIT_BYTES, c->push_bytes, bytes, retry_ms);
    for (uint32_t i = 0; !err && i < n; i++) {
        struct fm_slice topic = fm_msg_topic(msgs[i]);
        const struct fm_rule *rule = fm_rules_match(c->rules, topic);
        const struct fm_rate of_rule = {rule ? rule->pushes_per_s : 0, c->pushes.burst_ms};
        err = sender_rate(w, turn, who, topic, FM_LIMIT_PUSHES, of_rule, 1, retry_ms);
    }
    return err;
}
