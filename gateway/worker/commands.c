/* Commands to the cluster (broker/command.h), as they concern the clients of this worker.
 *
 * The worker subscribes to their topic like a client would, with everything that the topic remembers, so what an overrun loses is read
 * again and a worker that starts learns what stands. One table says what is done for which kind; each row answers how many it concerned,
 * and the worker remembers that for a while, for who asks what came of a command. */
#include "worker_core.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <stdlib.h>

enum { CLOSE_SENT_AWAY = 1001, WARN_EVERY_MS = 10000 };

/* ---- what is done ---- */

static bool concerns(const struct fm_cluster_command *c, const struct fm_socket *s, int64_t asked_ms)
{
    if (s->state != FM_SOCKET_OPEN || (int64_t)s->opened_ms > asked_ms)
        return false; /* it came after the command, however late that is */
    struct fm_id id = fm_socket_id(s);
    return c->connection.origin == 0 || (c->connection.origin == id.origin && c->connection.seq == id.seq);
}

/* The user's sockets, or the one that is named alone. */
static struct fm_socket *first_of(const struct fm_worker *w, const struct fm_cluster_command *c)
{
    if (c->user.n) {
        struct fm_user *u = fm_user_find(w, c->user);
        return u ? u->first : NULL;
    }
    struct fm_socket *s = c->connection.origin == fm_hub_incarnation(w->config.hub) ? w->sockets : NULL;
    while (s && (s->number != c->connection.seq || s->probe))
        s = s->next;
    return s;
}

static struct fm_socket *next_of(const struct fm_cluster_command *c, const struct fm_socket *s)
{
    return c->user.n ? s->user_next : NULL;
}

static uint32_t disconnect(struct fm_worker *w, const struct fm_cluster_command *c, int64_t asked_ms)
{
    char *reason = c->text.n ? fm_slice_dup(c->text) : NULL;
    uint32_t n = 0;
    for (struct fm_socket *s = first_of(w, c); s; s = next_of(c, s)) {
        if (!concerns(c, s, asked_ms))
            continue;
        fm_questions_withdraw(w, s, NULL, FM_E_CLOSED);
        fm_socket_close(s, c->number ? (unsigned)c->number : CLOSE_SENT_AWAY, reason ? reason : "disconnected by the server");
        n++;
    }
    free(reason);
    fm_stat_add(&w->stats.disconnected, n);
    return n;
}

static uint32_t unsubscribe(struct fm_worker *w, const struct fm_cluster_command *c, int64_t asked_ms)
{
    uint32_t n = 0;
    for (struct fm_socket *s = first_of(w, c); s; s = next_of(c, s)) {
        struct fm_sub *sub = concerns(c, s, asked_ms) ? fm_socket_sub(s, c->topic) : NULL;
        if (!sub || (int64_t)sub->asked_ms > asked_ms)
            continue;
        fm_questions_withdraw(w, s, sub, FM_E_UNMATCHED_TOPIC);
        s->proto->unsubscribed(sub);
        n++;
    }
    fm_stat_add(&w->stats.unsubscribed, n);
    return n;
}

/* number: until when the tokens were made, in seconds of the wall clock. Whoever connected since did so by a later one, or not at all. */
static uint32_t revoke_tokens(struct fm_worker *w, const struct fm_cluster_command *c, int64_t asked_ms)
{
    int64_t until_ms = asked_ms + (int64_t)c->keep_ms;
    return until_ms > 0 ? fm_worker_revoke(w, c->user, c->number, (uint64_t)until_ms) : 0;
}

/* asked_ms: when it was asked for, by this worker's clock. The answer: how many connections or channels it concerned here. It may come
 * again, and late; messages of other topics may come before or after it. */
static const struct {
    enum fm_command_kind kind;
    uint32_t (*take)(struct fm_worker *w, const struct fm_cluster_command *c, int64_t asked_ms);
} takers[] = {
    {FM_COMMAND_DISCONNECT, disconnect},
    {FM_COMMAND_UNSUBSCRIBE, unsubscribe},
    {FM_COMMAND_REVOKE, revoke_tokens},
};

static void remember(struct fm_worker *w, struct fm_id id, uint32_t n)
{
    w->commands.done[w->commands.done_n++ % FM_COMMANDS_DONE] = (struct fm_command_done){id, n};
}

uint32_t fm_commands_done(const struct fm_worker *w, struct fm_id id)
{
    for (uint32_t i = 0; i < FM_COMMANDS_DONE; i++)
        if (w->commands.done[i].id.origin == id.origin && w->commands.done[i].id.seq == id.seq)
            return w->commands.done[i].n;
    return 0;
}

static void take(struct fm_worker *w, const struct fm_msg *m)
{
    struct fm_cluster_command c;
    if (fm_command_read(fm_msg_payload(m), &c))
        return; /* the hub has counted and told it */
    for (size_t i = 0; i < sizeof takers / sizeof takers[0]; i++)
        if (takers[i].kind == c.kind)
            remember(w, c.id, takers[i].take(w, &c, fm_command_asked(&c, m)));
    fm_command_fini(&c);
}

void fm_commands_take(struct fm_worker *w, struct fm_wtopic *t, struct fm_msg *m)
{
    fm_position_raise(&t->at, m->id);
    take(w, m);
    fm_msg_unref(&m);
}

void fm_commands_lost(struct fm_worker *w)
{
    uint64_t now = fm_mono_ms();
    fm_stat_add(&w->stats.commands_lost, 1);
    if (w->commands.warned_ms && now - w->commands.warned_ms < WARN_EVERY_MS)
        return;
    w->commands.warned_ms = now;
    fm_diag(FM_WARN, "commands_lost",
            "worker=%u why=\"the worker was overrun, and commands of then are not remembered any more\" then=\"who was to be disconnected "
            "or unsubscribed may still be there: ask for it again; raise commands_bytes and worker_inbox_bytes\"",
            w->config.index);
}

/* ---- the subscription ---- */

static void joined(void *ctx, struct fm_item *item)
{
    struct fm_worker *w = ctx;
    struct fm_join *join = (struct fm_join *)item;
    struct fm_wtopic *t = join->err ? NULL : fm_wtopic_new(w, FM_COMMAND_TOPIC);
    if (t && fm_vector_copy(&t->at, &join->at)) {
        fm_wtopic_free(w, t);
        t = NULL;
    }
    if (!join->err && !t)
        fm_subs_leave_hub(w, FM_COMMAND_TOPIC, 1);
    w->commands.wanted = !t && join->err != FM_E_DRAINING; /* the next tick asks again */
    if (t) {
        t->commands = true;
        for (uint32_t i = 0; i < join->replayed; i++)
            take(w, join->replay[i]);
    }
    fm_join_free(&join);
}

void fm_commands_join(struct fm_worker *w)
{
    w->commands.wanted = false;
    uint64_t token = fm_worker_expect(w, joined, w);
    struct fm_join *join = token ? fm_join_new(w->config.index, token, FM_COMMAND_TOPIC) : NULL;
    if (join) {
        join->last = UINT32_MAX;
        if (fm_hub_post(w->config.hub, &join->item) == FM_OK)
            return;
        fm_join_free(&join);
    }
    fm_worker_forget(w, token);
    w->commands.wanted = true;
}

void fm_commands_free(struct fm_worker *w)
{
    struct fm_wtopic *t = fm_wtopic_find(w, FM_COMMAND_TOPIC);
    if (!t)
        return;
    t->leavers = 0;
    fm_wtopic_free(w, t);
}
