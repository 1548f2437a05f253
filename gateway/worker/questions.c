/* The worker's side of questions (question.h): what is held back from the hub until the program has decided. */
#include "worker_core.h"

#include "../../broker/diag.h"
#include <stdlib.h>

struct fm_held_back {
    UT_hash_handle hh; /* the table keeps the order in which they came, and so that of their time limits */
    uint64_t token;    /* sub->id of a join; of a push what its answer is expected by */
    uint64_t due_ms;
    size_t bytes;
    struct fm_item *item;     /* fm_join or fm_publish */
    struct fm_socket *socket; /* whose it is: it stays for as long */
    bool late;                /* the time limit's answer is under way */
};

/* ---- items ---- */

struct fm_answer *fm_answer_new(uint64_t token, enum fm_verdict verdict)
{
    struct fm_answer *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->item.kind = FM_ANSWER;
    a->item.cost = (uint32_t)sizeof *a;
    a->token = token;
    a->verdict = verdict;
    return a;
}

static void answer_free(struct fm_answer *a)
{
    fm_msg_unref(&a->instead);
    free(a->said);
    free(a);
}

void fm_question_item_free(struct fm_item *item)
{
    switch (item->kind) {
    case FM_QUESTION:
        fm_msg_unref(&((struct fm_question_item *)item)->msg);
        free(item);
        break;
    case FM_ANSWER:
        answer_free((struct fm_answer *)item);
        break;
    case FM_FETCHED_KEYS:
        fm_keys_item_free(item);
        break;
    default:
        fm_hub_item_free(item);
    }
}

/* ---- asking ---- */

static struct fm_question_item *question_new(const struct fm_socket *s, const struct fm_rule *handler, uint64_t token, struct fm_msg *msg)
{
    struct fm_question_item *q = calloc(1, sizeof *q + s->client_n);
    if (!q)
        return NULL;
    q->item.kind = FM_QUESTION;
    q->item.cost = (uint32_t)(sizeof *q + s->client_n + fm_msg_size(msg));
    q->handler = handler;
    q->token = token;
    q->due_ms = fm_mono_ms() + s->worker->config.handlers->timeout_ms;
    q->msg = msg;
    fm_peer_text(&s->peer, q->peer);
    memcpy(q->text, s->client, s->client_n); /* there is one wherever there are handlers */
    return q;
}

static struct fm_slice topic_of(const struct fm_item *held)
{
    if (held->kind == FM_HUB_PUBLISH)
        return fm_msg_topic(((const struct fm_publish *)held)->msgs[0]);
    const struct fm_join *join = (const struct fm_join *)held;
    return fm_slice_of(join->topic, join->topic_n);
}

enum fm_err fm_question_put(struct fm_socket *s, const struct fm_rule *handler, struct fm_item *held, uint64_t token, struct fm_slice event,
                            struct fm_slice payload)
{
    struct fm_worker *w = s->worker;
    const struct fm_handlers *handlers = w->config.handlers;
    bool push = held->kind == FM_HUB_PUBLISH;
    if (event.n && memchr(event.p, 0, event.n))
        return FM_E_INVALID; /* the handler would read another event than what goes out */
    /* A copy also of a push: what is published must be the hub's alone when it gets its id, and the handler may still read then. */
    uint32_t flags = push ? ((struct fm_publish *)held)->msgs[0]->flags : 0;
    struct fm_msg *msg = fm_msg_new(topic_of(held), event, (struct fm_msg_keys){0}, payload, flags);
    struct fm_held_back *h = msg ? calloc(1, sizeof *h) : NULL;
    struct fm_question_item *q = h ? question_new(s, handler, token, msg) : NULL;
    if (!q)
        goto fail;
    q->kind = push ? FM_QUESTION_PUSH : FM_QUESTION_JOIN;
    *h = (struct fm_held_back){.token = token, .due_ms = q->due_ms, .bytes = sizeof *h + held->cost + q->item.cost, .item = held};
    bool client_full = s->held && s->held_bytes + h->bytes > handlers->client_bytes_max; /* one is always let in */
    if (client_full)
        fm_socket_limit_reached(s, FM_LIMIT_HANDLERS);
    if (client_full || w->held_bytes + h->bytes > handlers->bytes_max) {
        fm_stat_add(&w->stats.handler_overloads, 1);
        fm_question_item_free(&q->item);
        free(h);
        return FM_E_BUSY;
    }
    HASH_ADD(hh, w->held_back, token, sizeof h->token, h);
    w->held_bytes += h->bytes;
    h->socket = s;
    s->held++;
    s->held_bytes += h->bytes;
    fm_stat_add(&w->stats.handler_questions, 1);
    fm_stat_add(&w->stats.handler_waiting, 1);
    fm_inbox_post_always(handlers->program, &q->item); /* bounded by bytes_max */
    return FM_OK;
fail:
    free(h);
    fm_msg_unref(&msg);
    return FM_E_NOMEM;
}

/* ---- the answer ---- */

static struct fm_item *held_take(struct fm_worker *w, struct fm_held_back *h)
{
    struct fm_item *item = h->item;
    HASH_DEL(w->held_back, h);
    w->held_bytes -= h->bytes;
    h->socket->held_bytes -= h->bytes;
    h->socket->held--;
    fm_socket_release(h->socket);
    fm_stat_sub(&w->stats.handler_waiting, 1);
    free(h);
    return item;
}

/* In place of the hub: err, and what is said to the client besides (moved). */
static void answer_for_hub(struct fm_worker *w, struct fm_item *item, enum fm_err err, char *said)
{
    if (item->kind == FM_HUB_JOIN) {
        ((struct fm_join *)item)->err = err;
        ((struct fm_join *)item)->said = said;
    } else {
        ((struct fm_publish *)item)->err = err;
        ((struct fm_publish *)item)->said = said;
    }
    fm_worker_answer(w, item);
}

/* It goes on its way, and what is said (moved) with it. */
static void let_go(struct fm_worker *w, struct fm_item *item, char *said)
{
    if (item->kind == FM_HUB_JOIN)
        ((struct fm_join *)item)->said = said;
    else
        ((struct fm_publish *)item)->said = said;
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

static void decide(struct fm_worker *w, struct fm_item *item, struct fm_answer *a)
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
    case FM_VERDICT_TIMEOUT:
        fm_stat_add(&w->stats.handler_timeouts, 1);
        answer_for_hub(w, item, FM_E_TIMEOUT, said);
        return;
    case FM_VERDICT_REPLY:
        if (item->kind == FM_HUB_JOIN)
            break;
        answer_for_hub(w, item, FM_OK, said); /* without an id: nothing was published */
        return;
    case FM_VERDICT_ALLOW:
        break;
    }
    let_go(w, item, said);
}

void fm_question_answered(struct fm_worker *w, struct fm_answer *a)
{
    struct fm_held_back *h;
    HASH_FIND(hh, w->held_back, &a->token, sizeof a->token, h);
    if (!h) {
        fm_stat_add(&w->stats.handler_late, a->verdict != FM_VERDICT_TIMEOUT);
    } else {
        struct fm_item *item = held_take(w, h);
        if (item->kind == FM_HUB_JOIN && !fm_expect_has(w, a->token))
            fm_hub_item_free(item); /* the channel was left, or its client is gone */
        else
            decide(w, item, a);
    }
    answer_free(a);
}

/* The time limit's answer comes by the inbox like every other, so that the sockets it concerns are flushed with the rest. */
void fm_questions_tick(struct fm_worker *w, uint64_t now_ms)
{
    struct fm_held_back *h, *tmp;
    HASH_ITER (hh, w->held_back, h, tmp) {
        if (h->due_ms > now_ms)
            return;
        struct fm_answer *a = h->late ? NULL : fm_answer_new(h->token, FM_VERDICT_TIMEOUT);
        if (!a)
            continue; /* without memory the next tick tries again */
        h->late = true;
        fm_inbox_post_always(&w->config.mailbox->inbox, &a->item);
    }
}

void fm_questions_free_all(struct fm_worker *w)
{
    struct fm_held_back *h, *tmp;
    HASH_ITER (hh, w->held_back, h, tmp)
        fm_hub_item_free(held_take(w, h));
}
