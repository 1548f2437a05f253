/* Questions: each is one request, answered to the worker that asked.
 *
 * A request that did not leave is put again while its time lasts; one that may have left is not, since the backend may have acted on it.
 * (What libcurl repeats by itself, on a kept connection that the backend had closed meanwhile, has the same id.) */
#include "hooks_core.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <stdlib.h>

enum { REST_MS = 100 /* the same for all, so that who rests is in the order of time */ };

/* ---- lists ---- */

static void append(struct fm_asks *l, struct fm_ask *a)
{
    a->next = NULL;
    *l->last = a;
    l->last = &a->next;
    l->n++;
}

static struct fm_ask *take_first(struct fm_asks *l)
{
    struct fm_ask *a = l->first;
    if (!a)
        return NULL;
    l->first = a->next;
    if (!l->first)
        l->last = &l->first;
    l->n--;
    return a;
}

/* ---- lanes ---- */

static struct fm_lane *lane_find(struct fm_hooks *h, uint64_t name)
{
    struct fm_lane *lane;
    HASH_FIND(hh, h->lanes, &name, sizeof name, lane);
    return lane;
}

/* The next one of the lane has its turn. */
static void lane_next(struct fm_hooks *h, uint64_t name)
{
    struct fm_lane *lane = name ? lane_find(h, name) : NULL;
    struct fm_ask *a = lane ? take_first(&lane->waiting) : NULL;
    if (a) {
        append(&h->ready, a);
    } else if (lane) {
        HASH_DEL(h->lanes, lane);
        free(lane);
    }
}

/* True: it has to wait. */
static bool lane_enter(struct fm_hooks *h, struct fm_ask *a)
{
    uint64_t name = a->q->lane;
    struct fm_lane *lane = name ? lane_find(h, name) : NULL;
    if (lane) {
        append(&lane->waiting, a);
        return true;
    }
    if (name && (lane = calloc(1, sizeof *lane))) { /* without memory it goes side by side with others */
        lane->name = name;
        lane->waiting.last = &lane->waiting.first;
        HASH_ADD(hh, h->lanes, name, sizeof lane->name, lane);
    }
    return false;
}

/* ---- life ---- */

static void ask_free(struct fm_ask *a)
{
    a->hooks->asks_n--;
    fm_question_item_free(&a->q->item);
    fm_fetch_fini(&a->fetch);
    fm_buf_fini(&a->body);
    free(a);
}

/* It has its answer, or needs none any more. */
static void ask_end(struct fm_hooks *h, struct fm_ask *a)
{
    uint64_t lane = a->q->lane;
    ask_free(a);
    lane_next(h, lane);
}

static void answer_post(struct fm_hooks *h, struct fm_answer *answer)
{
    uint64_t worker = (answer->token >> 48) - 1; /* see fm_worker_expect */
    if (worker < h->config.workers_n)
        fm_inbox_post_always(&h->config.workers[worker].inbox, &answer->item); /* bounded by what waits for it */
    else
        fm_question_item_free(&answer->item);
}

/* Without memory for an answer the worker's time limit gives it. */
static void fail(struct fm_hooks *h, const struct fm_ask *a, enum fm_err err, uint32_t retry_after_ms)
{
    struct fm_answer *answer = fm_answer_new(a->q->token, FM_VERDICT_FAILED);
    struct fm_buf said = {0};
    if (!answer)
        return;
    answer->err = err;
    if (retry_after_ms) {
        fm_buf_printf(&said, "{\"reason\":\"%s\",\"retry_after_ms\":%u}", fm_err_code(err), retry_after_ms);
        fm_buf_u8(&said, 0);
        if (said.failed)
            fm_buf_fini(&said);
        answer->said = (char *)said.p;
    }
    answer_post(h, answer);
}

void fm_ask_put(struct fm_hooks *h, struct fm_question_item *q)
{
    struct fm_ask *a = calloc(1, sizeof *a);
    if (!a) {
        fm_question_item_free(&q->item);
        return;
    }
    a->hooks = h;
    h->asks_n++;
    a->q = q;
    a->id = ++h->next_id;
    a->ts_ms = fm_unix_ms();
    if (!lane_enter(h, a))
        append(&h->ready, a);
}

/* ---- answers ---- */

/* One line for many. */
static void seldom_say(struct fm_hooks *h, const struct fm_ask *a, struct fm_diag_pause *pause, const char *event, const char *why,
                       const char *then)
{
    static const char *const kinds[] = {[FM_QUESTION_JOIN] = "join", [FM_QUESTION_PUSH] = "push", [FM_QUESTION_CONNECT] = "connect"};
    uint64_t now = fm_mono_ms();
    pause->untold++;
    if (now < pause->quiet_until_ms)
        return;
    char quote[2 * FM_HOOK_WHY_MAX], topic[FM_TOPIC_MAX + 32];
    struct fm_slice name = fm_msg_topic(a->q->msg);
    fm_diag(FM_WARN, event, "asked=%s topic=%s why=%s %s=%" PRIu64 " then=\"%s\"", kinds[a->q->kind],
            fm_diag_quote(topic, sizeof topic, (const char *)name.p, name.n), fm_diag_quote(quote, sizeof quote, why, strlen(why)),
            pause == &h->bad ? "answers" : "questions", pause->untold, then);
    *pause = (struct fm_diag_pause){.quiet_until_ms = now + FM_HOOK_WARN_MS};
}

static void bad_say(struct fm_hooks *h, const struct fm_ask *a, const char *why)
{
    fm_hook_count(&h->stats.bad_answers, 1);
    seldom_say(h, a, &h->bad, "hook_answer_bad", why, "the client is refused; docs/hooks.md says what an answer looks like");
}

/* Where the breaker is open hook_down has said it. */
static void failed_say(struct fm_hooks *h, const struct fm_ask *a)
{
    char why[FM_HOOK_WHY_MAX];
    fm_hook_why(&a->fetch, why);
    if (h->breaker.state == FM_BREAKER_CLOSED)
        seldom_say(h, a, &h->failed, "hook_failed", why,
                   h->now->allows ? "it is allowed (hook_failed)" : "the client is refused, and may try again");
}

static void decide(struct fm_hooks *h, struct fm_ask *a)
{
    char why[FM_HOOK_WHY_MAX];
    struct fm_answer *answer = fm_answer_new(a->q->token, FM_VERDICT_FAILED);
    if (!answer)
        return;
    answer->err = fm_hook_answer_read(a->q->kind, fm_buf_view(&a->fetch.answer), h->now->message_max, fm_unix_s(), answer, why);
    if (answer->err == FM_E_BAD_ANSWER)
        bad_say(h, a, why);
    answer_post(h, answer);
}

/* The backend answered, but not with a decision. */
static void bad(struct fm_hooks *h, struct fm_ask *a)
{
    char why[FM_HOOK_WHY_MAX];
    fm_hook_why(&a->fetch, why);
    bad_say(h, a, why);
    fail(h, a, FM_E_BAD_ANSWER, 0);
}

/* True: it is put again later. */
static bool rest(struct fm_hooks *h, struct fm_ask *a)
{
    uint64_t at = fm_mono_ms() + REST_MS;
    if (a->fetch.end != FM_FETCH_UNSENT || a->tried > h->now->retries || at >= a->q->due_ms || h->breaker.state != FM_BREAKER_CLOSED)
        return false;
    a->rest_until_ms = at;
    append(&h->resting, a);
    return true;
}

static void done(struct fm_fetch *fetch)
{
    struct fm_ask *a = fetch->ctx;
    struct fm_hooks *h = a->hooks;
    h->asks_under_way--;
    if (fetch->end == FM_FETCH_ENDED) {
        ask_end(h, a);
        return;
    }
    bool works = fm_hook_judge(h, fetch);
    if (!works && rest(h, a))
        return;
    if (works && fetch->end == FM_FETCH_ANSWERED && fm_hook_confirms(fetch))
        decide(h, a);
    else if (works)
        bad(h, a);
    else {
        failed_say(h, a);
        fail(h, a, fetch->end == FM_FETCH_TIMEOUT ? FM_E_TIMEOUT : FM_E_UNAVAILABLE, fm_breaker_rest_ms(&h->breaker, fm_mono_ms()));
    }
    ask_end(h, a);
}

/* ---- asking ---- */

static void ask(struct fm_hooks *h, struct fm_ask *a, uint64_t now_ms)
{
    const struct fm_hook_sender from = fm_hooks_sender(h);
    if (!fm_breaker_may(&h->breaker, now_ms)) {
        fm_hook_count(&h->stats.rests, 1);
        fail(h, a, FM_E_UNAVAILABLE, fm_breaker_rest_ms(&h->breaker, now_ms));
        ask_end(h, a);
        return;
    }
    if (a->body.n == 0)
        fm_hook_write_ask(&a->body, &from, a->q, a->id, a->ts_ms);
    a->fetch.ctx = a;
    a->fetch.done = done;
    enum fm_err err = fm_hook_send(h, &a->fetch, &a->body, (uint32_t)(a->q->due_ms - now_ms));
    if (err) {
        (void)fm_breaker_failed(&h->breaker, now_ms); /* it may be the one that was to try */
        fail(h, a, err, 0);
        ask_end(h, a);
        return;
    }
    if (a->tried++)
        fm_hook_count(&h->stats.retries, 1);
    h->asks_under_way++;
}

/* Over its time: its worker has refused it, or allowed it, by now. */
static bool is_over(const struct fm_ask *a, uint64_t now_ms)
{
    return now_ms >= a->q->due_ms;
}

uint32_t fm_asks_go(struct fm_hooks *h, uint64_t now_ms)
{
    while (h->resting.first && h->resting.first->rest_until_ms <= now_ms)
        append(&h->ready, take_first(&h->resting));
    while (h->ready.first) {
        if (is_over(h->ready.first, now_ms))
            ask_end(h, take_first(&h->ready));
        else if (h->asks_under_way < h->now->concurrency)
            ask(h, take_first(&h->ready), now_ms);
        else
            break;
    }
    fm_hook_gauge(&h->stats.under_way, h->asks_under_way);
    fm_hook_gauge(&h->stats.waiting, h->asks_n - h->asks_under_way);
    return h->resting.first ? (uint32_t)(h->resting.first->rest_until_ms - now_ms) : UINT32_MAX;
}

static void list_free(struct fm_asks *l)
{
    for (struct fm_ask *a; (a = take_first(l));)
        ask_free(a);
}

void fm_asks_free_all(struct fm_hooks *h)
{
    struct fm_lane *lane, *tmp;
    list_free(&h->ready);
    list_free(&h->resting);
    HASH_ITER (hh, h->lanes, lane, tmp) {
        list_free(&lane->waiting);
        HASH_DEL(h->lanes, lane);
        free(lane);
    }
}
