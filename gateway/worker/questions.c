/* The worker's side of questions (question.h): what is held back from the hub until somebody else has decided. */
#include "worker_core.h"

#include "../../broker/diag.h"
#include "../hooks/hooks.h"
#include <stdlib.h>

struct fm_held_back {
    UT_hash_handle hh; /* the table keeps the order in which they came, and so that of their time limits */
    uint64_t token;    /* sub->id of a join; else what its answer is expected by */
    uint64_t due_ms;
    size_t bytes;
    struct fm_item *item;     /* fm_join, fm_publish or fm_connect */
    struct fm_socket *socket; /* whose it is: it stays for as long; NULL: a connection that is none yet */
    bool late;                /* the time limit's answer is under way */
};

/* ---- asking ---- */

enum { CLIENT_SHARE = 8 }; /* of what may wait for the backend of hooks one client has at most this part */

struct terms { /* of who decides */
    struct fm_inbox *inbox;
    uint32_t timeout_ms;
    size_t bytes_max;
    size_t client_bytes_max;
    uint32_t client_max; /* pushes */
};

static struct terms terms_of(const struct fm_worker *w, enum fm_decider by)
{
    const struct fm_handlers *program = w->config.handlers;
    const struct fm_hook_config *hook = w->config.hook;
    if (by == FM_BY_PROGRAM)
        return (struct terms){program->program, program->timeout_ms, program->bytes_max, program->client_bytes_max, UINT32_MAX};
    return (struct terms){fm_hooks_inbox(w->config.hooks), hook->timeout_ms, hook->worker_bytes, hook->worker_bytes / CLIENT_SHARE,
                          hook->client_max};
}

static struct fm_question_item *question_new(const struct fm_asking *ask, const struct terms *terms, uint64_t token)
{
    struct fm_msg *msg = fm_msg_new(ask->topic, ask->event, (struct fm_msg_keys){0}, ask->payload, ask->binary ? FM_MSG_BINARY : 0);
    size_t n = ask->client_text.n ? ask->client_text.n : 3; /* three empty ones */
    struct fm_question_item *q = msg ? calloc(1, sizeof *q + n) : NULL;
    if (!q) {
        fm_msg_unref(&msg);
        return NULL;
    }
    q->item.kind = FM_QUESTION;
    q->item.cost = (uint32_t)(sizeof *q + n + fm_msg_size(msg));
    q->kind = ask->kind;
    q->handler = ask->handler;
    q->token = token;
    q->due_ms = fm_mono_ms() + terms->timeout_ms;
    q->client = ask->client;
    q->lane = ask->lane;
    q->msg = msg;
    q->identity = fm_identity_ref(ask->identity);
    fm_peer_text(ask->peer, q->peer);
    if (ask->client_text.n)
        memcpy(q->text, ask->client_text.p, ask->client_text.n);
    return q;
}

/* There is no decision, and the settings may say that it is to go on all the same. What the backend said and nobody understands is none of
 * it. */
static bool goes_on(const struct fm_worker *w, enum fm_decider by, enum fm_err err)
{
    return by == FM_BY_HOOK && err != FM_E_BAD_ANSWER && w->config.hook && w->config.hook->allows;
}

/* by_client: this one has too much waiting. It must not get past the backend by asking too much of it. */
static enum fm_err overloaded(struct fm_worker *w, const struct fm_asking *ask, struct fm_item *held, bool by_client)
{
    fm_stat_add(&w->stats.handler_overloads, 1);
    return !by_client && held->kind != FM_CONNECT && goes_on(w, ask->by, FM_E_BUSY) ? fm_worker_post(w, held) : FM_E_BUSY;
}

enum fm_err fm_question_put(struct fm_worker *w, const struct fm_asking *ask, struct fm_item *held, uint64_t token)
{
    const struct terms terms = terms_of(w, ask->by);
    struct fm_waiting *waiting = &w->waiting[ask->by];
    struct fm_socket *s = ask->socket;
    if (ask->event.n && memchr(ask->event.p, 0, ask->event.n))
        return FM_E_INVALID; /* who decides would read another event than what goes out */
    struct fm_held_back *h = calloc(1, sizeof *h);
    struct fm_question_item *q = h ? question_new(ask, &terms, token) : NULL;
    if (!q) {
        free(h);
        return FM_E_NOMEM;
    }
    *h = (struct fm_held_back){.token = token, .due_ms = q->due_ms, .bytes = sizeof *h + held->cost + q->item.cost, .item = held};
    bool client_full = s && s->held && s->held_bytes + h->bytes > terms.client_bytes_max; /* one is always let in */
    if (client_full)
        fm_socket_limit_reached(s, ask->by == FM_BY_PROGRAM ? FM_LIMIT_HANDLERS : FM_LIMIT_HOOKS);
    client_full = client_full || ask->before >= terms.client_max;
    if (client_full || waiting->bytes + h->bytes > terms.bytes_max) {
        fm_question_item_free(&q->item);
        free(h);
        return overloaded(w, ask, held, client_full);
    }
    HASH_ADD(hh, waiting->held, token, sizeof h->token, h);
    waiting->bytes += h->bytes;
    h->socket = s;
    if (s) {
        s->held++;
        s->held_bytes += h->bytes;
    }
    fm_stat_add(&w->stats.handler_questions, 1);
    fm_stat_add(&w->stats.handler_waiting, 1);
    fm_inbox_post_always(terms.inbox, &q->item); /* bounded by bytes_max */
    return FM_OK;
}

/* ---- the answer ---- */

static struct fm_item *held_take(struct fm_worker *w, enum fm_decider by, struct fm_held_back *h)
{
    struct fm_item *item = h->item;
    HASH_DEL(w->waiting[by].held, h);
    w->waiting[by].bytes -= h->bytes;
    if (h->socket) {
        h->socket->held_bytes -= h->bytes;
        h->socket->held--;
        fm_socket_release(h->socket);
    }
    fm_stat_sub(&w->stats.handler_waiting, 1);
    free(h);
    return item;
}

/* What is said to the client besides (moved). */
static void said_put(struct fm_item *item, char *said)
{
    if (item->kind == FM_HUB_JOIN)
        ((struct fm_join *)item)->said = said;
    else if (item->kind == FM_HUB_PUBLISH)
        ((struct fm_publish *)item)->said = said;
    else
        ((struct fm_connect_held *)item)->said = said;
}

/* In place of the hub. said: moved. */
static void answer_for_hub(struct fm_worker *w, struct fm_item *item, enum fm_err err, char *said)
{
    said_put(item, said);
    if (item->kind == FM_HUB_JOIN)
        ((struct fm_join *)item)->err = err;
    else if (item->kind == FM_HUB_PUBLISH)
        ((struct fm_publish *)item)->err = err;
    else
        ((struct fm_connect_held *)item)->err = err;
    fm_worker_answer(w, item);
}

/* It goes on its way, and what is said (moved) with it. */
static void let_go(struct fm_worker *w, struct fm_item *item, char *said)
{
    if (item->kind == FM_CONNECT) {
        answer_for_hub(w, item, FM_OK, said);
        return;
    }
    said_put(item, said);
    enum fm_err err = fm_worker_post(w, item);
    if (!err)
        return;
    free(said);
    answer_for_hub(w, item, err, NULL);
}

static enum fm_err rewrite(struct fm_worker *w, struct fm_item *item, const struct fm_msg *instead)
{
    if (item->kind != FM_HUB_PUBLISH) {
        fm_diag(FM_ERROR, "handler_rewrote_join",
                "why=\"a handler answered a join with fm_rewrite, which is for pushes\" then=\"the join is refused\"");
        return FM_E_FORBIDDEN;
    }
    struct fm_publish *p = (struct fm_publish *)item;
    struct fm_msg *old = p->msgs[0];
    const struct fm_rule *rule = fm_rules_match(w->config.rules, fm_msg_topic(old));
    if (rule && instead->payload_n > rule->message_max)
        return FM_E_TOO_LARGE;
    struct fm_msg *m = fm_msg_new(fm_msg_topic(old), fm_msg_event(instead), fm_msg_keys(instead), fm_msg_payload(instead), instead->flags);
    if (!m)
        return FM_E_NOMEM;
    m->from = old->from;
    p->item.cost += (uint32_t)fm_msg_size(m) - (uint32_t)fm_msg_size(old);
    p->msgs[0] = m;
    fm_msg_unref(&old);
    return FM_OK;
}

/* The client of a join is shown as the backend says, whatever it asked for itself. */
static enum fm_err show(struct fm_worker *w, struct fm_join *join, const struct fm_answer *a)
{
    struct fm_sub *sub = fm_expect_sub(w, join->sub);
    const struct fm_track_ask ask = {.key = fm_slice_str(a->presence_key), .meta = fm_slice_str(a->presence_meta), .by_backend = true};
    struct fm_track *track;
    if (!sub)
        return FM_E_CLOSED;
    enum fm_err err = fm_track_make(sub->socket, fm_sub_rule(sub), fm_sub_topic(sub), &ask, &track);
    if (err)
        return err;
    free(join->track);
    join->track = track;
    track->holder = join->sub;
    return FM_OK;
}

/* What a client that asks for a presence itself is told then. */
static char *shown_refused(enum fm_err err)
{
    return err == FM_E_FORBIDDEN   ? strdup("{\"reason\":\"presence_forbidden\"}")
           : err == FM_E_TOO_LARGE ? strdup("{\"reason\":\"presence_too_large\"}")
                                   : NULL;
}

static void undecided(struct fm_worker *w, struct fm_item *item, enum fm_decider by, enum fm_err err, char *said)
{
    if (!goes_on(w, by, err)) {
        answer_for_hub(w, item, err, said);
        return;
    }
    free(said);
    let_go(w, item, NULL);
}

static void decide(struct fm_worker *w, struct fm_item *item, enum fm_decider by, struct fm_answer *a)
{
    enum fm_err err = FM_OK;
    char *said = a->said;
    a->said = NULL;
    switch (a->verdict) {
    case FM_VERDICT_REWRITE:
        err = rewrite(w, item, a->instead);
        if (err) {
            free(said);
            answer_for_hub(w, item, err, NULL);
            return;
        }
        break;
    case FM_VERDICT_REFUSE:
        fm_stat_add(&w->stats.handler_refused, 1);
        answer_for_hub(w, item, FM_E_FORBIDDEN, said);
        return;
    case FM_VERDICT_FAILED:
        undecided(w, item, by, a->err, said);
        return;
    case FM_VERDICT_TIMEOUT:
        fm_stat_add(&w->stats.handler_timeouts, 1);
        undecided(w, item, by, FM_E_TIMEOUT, said);
        return;
    case FM_VERDICT_REPLY:
        if (item->kind != FM_HUB_PUBLISH)
            break;
        answer_for_hub(w, item, FM_OK, said); /* without an id: nothing was published */
        return;
    case FM_VERDICT_ALLOW:
        if (a->presence_meta && (err = show(w, (struct fm_join *)item, a)) != FM_OK) {
            free(said);
            answer_for_hub(w, item, err, shown_refused(err));
            return;
        }
        if (item->kind == FM_CONNECT)
            ((struct fm_connect_held *)item)->identity = fm_identity_ref(a->identity);
        break;
    }
    let_go(w, item, said);
}

static struct fm_held_back *held_find(struct fm_worker *w, uint64_t token, enum fm_decider *by)
{
    struct fm_held_back *h = NULL;
    for (unsigned i = 0; i < FM_DECIDERS && !h; i++) {
        *by = (enum fm_decider)i;
        HASH_FIND(hh, w->waiting[i].held, &token, sizeof token, h);
    }
    return h;
}

void fm_question_answered(struct fm_worker *w, struct fm_answer *a)
{
    enum fm_decider by;
    struct fm_held_back *h = held_find(w, a->token, &by);
    if (!h) {
        fm_stat_add(&w->stats.handler_late, a->verdict != FM_VERDICT_TIMEOUT);
    } else {
        struct fm_item *item = held_take(w, by, h);
        if (item->kind != FM_HUB_PUBLISH && !fm_expect_has(w, a->token))
            fm_question_item_free(item); /* the channel was left, or its client is gone */
        else
            decide(w, item, by, a);
    }
    fm_question_item_free(&a->item);
}

static bool is_push_of(const struct fm_held_back *h, const struct fm_socket *s, const struct fm_sub *sub)
{
    if (h->socket != s || h->item->kind != FM_HUB_PUBLISH)
        return false;
    return !sub || fm_slice_eq(fm_msg_topic(((struct fm_publish *)h->item)->msgs[0]), fm_sub_topic(sub));
}

void fm_questions_withdraw(struct fm_worker *w, struct fm_socket *s, const struct fm_sub *sub, enum fm_err why)
{
    struct fm_held_back *h, *tmp;
    for (unsigned i = 0; s->held && i < FM_DECIDERS; i++)
        HASH_ITER (hh, w->waiting[i].held, h, tmp) {
            if (!is_push_of(h, s, sub))
                continue;
            fm_stat_add(&w->stats.handler_withdrawn, 1);
            answer_for_hub(w, held_take(w, (enum fm_decider)i, h), why, NULL);
        }
}

/* The time limit's answer comes by the inbox like every other, so that the sockets it concerns are flushed with the rest. */
static void tick(struct fm_worker *w, struct fm_held_back *table, uint64_t now_ms)
{
    struct fm_held_back *h, *tmp;
    HASH_ITER (hh, table, h, tmp) {
        if (h->due_ms > now_ms)
            return;
        struct fm_answer *a = h->late ? NULL : fm_answer_new(h->token, FM_VERDICT_TIMEOUT);
        if (!a)
            continue; /* without memory the next tick tries again */
        h->late = true;
        fm_inbox_post_always(&w->config.mailbox->inbox, &a->item);
    }
}

void fm_questions_tick(struct fm_worker *w, uint64_t now_ms)
{
    for (unsigned i = 0; i < FM_DECIDERS; i++)
        tick(w, w->waiting[i].held, now_ms);
}

void fm_questions_free_all(struct fm_worker *w)
{
    struct fm_held_back *h, *tmp;
    for (unsigned i = 0; i < FM_DECIDERS; i++)
        HASH_ITER (hh, w->waiting[i].held, h, tmp)
            fm_question_item_free(held_take(w, (enum fm_decider)i, h));
}
