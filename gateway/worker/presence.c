/* Which subs of this worker show themselves. What ends that is made beforehand, so that nobody is shown for want of memory. */
#include "worker_core.h"

#include <assert.h>
#include <stdlib.h>

/* Where a token is asked for, its user is the key: nobody shows itself as another. Elsewhere the user is the key of who gives none. */
static enum fm_err key_of(const struct fm_socket *s, const struct fm_rule *rule, bool by_backend, struct fm_slice *key)
{
    const struct fm_slice user = s->identity ? s->identity->user : fm_slice_of(NULL, 0);
    if (user.n && !by_backend && rule->presence == FM_WHO_TOKEN && key->n && !fm_slice_eq(*key, user))
        return FM_E_FORBIDDEN;
    if (user.n && key->n == 0)
        *key = user;
    return FM_OK;
}

static enum fm_err may_show(const struct fm_socket *s, const struct fm_rule *rule, struct fm_slice topic, const struct fm_track_ask *ask)
{
    if (!rule || rule->presence == FM_WHO_NOBODY || (rule->presence == FM_WHO_HOOK && !ask->by_backend))
        return FM_E_FORBIDDEN;
    return ask->by_backend ? FM_OK : fm_socket_may(s, rule->presence, topic, FM_RIGHT_PRESENCE);
}

static enum fm_err judge(const struct fm_worker *w, const struct fm_track_parts *ask)
{
    const struct fm_slice m = ask->meta;
    if (m.n < 2 || m.p[0] != '{' || m.p[m.n - 1] != '}')
        return FM_E_INVALID;
    return m.n > w->config.presence_meta_max || ask->key.n > FM_PRESENCE_KEY_MAX ? FM_E_TOO_LARGE : FM_OK;
}

enum fm_err fm_track_make(const struct fm_socket *s, const struct fm_rule *rule, struct fm_slice topic, const struct fm_track_ask *ask,
                          struct fm_track **out)
{
    const struct fm_worker *w = s->worker;
    struct fm_track_parts parts = {.topic = topic, .key = ask->key, .meta = ask->meta, .cookie = ask->cookie};
    enum fm_err err = may_show(s, rule, topic, ask);
    if (!err)
        err = key_of(s, rule, ask->by_backend, &parts.key);
    if (!err)
        err = judge(w, &parts);
    *out = err ? NULL : fm_track_new(FM_TRACK, w->config.index, 0, &parts);
    if (*out)
        (*out)->by_backend = ask->by_backend;
    return err ? err : *out ? FM_OK : FM_E_NOMEM;
}

/* Under new rules, or by a new token. */
static enum fm_err may_stay(struct fm_sub *sub)
{
    const struct fm_rule *rule = fm_sub_rule(sub);
    const struct fm_track_ask ask = {.by_backend = sub->end->by_backend};
    struct fm_slice key = fm_track_key(sub->end);
    enum fm_err err = may_show(sub->socket, rule, fm_sub_topic(sub), &ask);
    return err ? err : key_of(sub->socket, rule, ask.by_backend, &key);
}

void fm_sub_judge_presence(struct fm_sub *sub)
{
    struct fm_worker *w = sub->socket->worker;
    const struct fm_rule *rule = fm_sub_rule(sub);
    enum fm_err err = sub->end ? may_stay(sub) : FM_OK;
    if (err && err != FM_E_TOKEN_EXPIRED) { /* who may stay until its time is over is shown until then */
        fm_stat_add(&w->stats.presences_forbidden, 1);
        fm_sub_untrack(sub);
    }
    if (!rule || rule->presence == FM_WHO_NOBODY)
        fm_subs_watch_end(w, sub);
}

enum fm_err fm_sub_track(struct fm_sub *sub, const struct fm_track_ask *ask)
{
    struct fm_socket *s = sub->socket;
    struct fm_worker *w = s->worker;
    struct fm_track *t;
    assert(sub->joined);
    enum fm_err err = fm_track_make(s, fm_sub_rule(sub), fm_sub_topic(sub), ask, &t);
    if (err)
        return err;
    struct fm_track *end = fm_track_new(FM_TRACK_LINGER, w->config.index, sub->id, &(struct fm_track_parts){.key = fm_track_key(t)});
    t->holder = sub->id;
    t->token = end ? fm_worker_expect(w, fm_socket_tracked, s) : 0;
    err = t->token ? fm_worker_post(w, &t->item) : FM_E_NOMEM;
    if (err) {
        fm_worker_forget(w, t->token);
        free(t);
        free(end);
        return err;
    }
    free(sub->end);
    sub->end = end;
    s->awaited++;
    return FM_OK;
}

void fm_socket_tracked(void *ctx, struct fm_item *item)
{
    struct fm_track *t = (struct fm_track *)item;
    struct fm_socket *s = ctx;
    assert(s->awaited > 0);
    s->awaited--;
    if (t && s->state == FM_SOCKET_OPEN)
        s->proto->tracked(s, t);
    free(t);
    fm_socket_release(s);
}

void fm_sub_untrack(struct fm_sub *sub)
{
    struct fm_track *end = sub->end;
    sub->end = NULL;
    if (end)
        fm_track_post(sub->socket->worker, end, FM_UNTRACK);
}

void fm_sub_linger(struct fm_sub *sub)
{
    struct fm_track *end = sub->end;
    sub->end = NULL;
    if (end)
        fm_track_post(sub->socket->worker, end, FM_TRACK_LINGER);
}

void fm_join_untrack(struct fm_worker *w, struct fm_join *join)
{
    struct fm_track *end = join->track;
    join->track = NULL;
    if (!end)
        return;
    end->holder = join->sub;
    fm_track_post(w, end, FM_TRACK_LINGER);
}
