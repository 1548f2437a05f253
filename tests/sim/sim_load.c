/* Publishers: requests of one or many messages to any node, acknowledged locally or replicated, some with an idempotency key and then
 * sometimes sent again: because the node died, or simply twice. */
#include "sim_world.h"

#include <stdio.h>
#include <stdlib.h>

enum { TIMEOUT_MS = 3000, ANSWER_US_MAX = 9000 * FM_SIM_MS };

static void post(struct world *w, struct sim_publish *p, struct node *n)
{
    struct fm_publish *request =
        fm_publish_new((uint32_t)fm_sim_rand_below(&w->load, w->plan.workers), ++w->tokens, p->n, (struct fm_slice){0});
    if (!request)
        abort();
    bool keyed = p->keyed && w->plan.mutation != FM_SIM_KEYS_STRIPPED;
    for (uint32_t i = 0; i < p->n; i++) {
        struct fm_buf payload = {0};
        fm_ledger_payload(&payload, p->what[i].no, p->what[i].no % 17 == 0 ? 2500 : p->what[i].no % 120);
        char key[16] = "";
        int key_n = keyed ? snprintf(key, sizeof key, "k%u", p->what[i].no) : 0;
        request->msgs[i] = fm_msg_new(sim_topic(w, p->what[i].topic), FM_LIT("said"),
                                      (struct fm_msg_keys){.idempotency = fm_slice_of(key, (size_t)key_n)}, fm_buf_view(&payload), 0);
        fm_buf_fini(&payload);
        if (!request->msgs[i])
            abort();
        fm_ledger_posted(w->ledger, p->what[i].no);
    }
    request->ack = p->replicas && w->plan.mutation != FM_SIM_ACK_EARLY ? FM_ACK_REPLICATED : FM_ACK_LOCAL;
    request->replicas = p->replicas;
    request->timeout_ms = TIMEOUT_MS;
    p->token = w->tokens;
    p->posted = fm_ledger_clock(w->ledger);
    p->due_us = fm_sim_now_us(w->clock) + ANSWER_US_MAX;
    if (n->frozen_until_us > fm_sim_now_us(w->clock))
        p->due_us += n->frozen_until_us - fm_sim_now_us(w->clock);
    p->node = n;
    p->life = n->life;
    SIM_TRACE(w, p->what[0].no, "  publish %u..%u on n%u.%u%s replicas %u", p->what[0].no, p->what[p->n - 1].no, n->slot, n->life,
              p->keyed ? " with keys" : "", p->replicas);
    sim_node_post(n, &request->item);
}

static void forget(struct world *w, struct sim_publish *p)
{
    struct sim_publish **at = &w->publishes;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p);
}

/* ---- again ---- */

static void again(void *ctx, uint64_t token)
{
    struct world *w = ctx;
    for (struct sim_publish *p = w->publishes; p; p = p->next) {
        if (p->token != token || p->node)
            continue;
        struct node *n = w->settling ? NULL : sim_node_any(w, &w->load);
        if (n)
            post(w, p, n);
        else
            forget(w, p);
        return;
    }
}

/* Sends the request again later, or forgets it. */
static void retry(struct world *w, struct sim_publish *p, uint32_t ppm)
{
    if (!p->keyed || w->settling || !fm_sim_rand_chance(&w->load, ppm)) {
        forget(w, p);
        return;
    }
    p->node = NULL;
    p->token = ++w->tokens;
    fm_sim_after(w->clock, fm_sim_rand_below(&w->load, 2000 * FM_SIM_MS), again, w, p->token);
}

void sim_load_node_frozen(struct world *w, struct node *n, uint64_t us)
{
    for (struct sim_publish *p = w->publishes; p; p = p->next)
        if (p->node == n)
            p->due_us += us;
}

void sim_load_node_gone(struct world *w, struct node *n)
{
    for (struct sim_publish *p = w->publishes, *next; p; p = next) {
        next = p->next;
        if (p->node == n && p->life == n->life)
            retry(w, p, 700000);
    }
}

/* ---- answers ---- */

static void accepted(struct world *w, struct node *n, const struct sim_publish *p, const struct fm_publish *answer)
{
    uint32_t replicas = 0;
    if (p->replicas && !answer->err)
        replicas = w->plan.mutation == FM_SIM_ACK_EARLY ? p->replicas : answer->confirmed;
    if (p->replicas && !answer->err && replicas < p->replicas)
        fm_ledger_fault(w->ledger, FM_FAULT_REPLICATED, "message %u was acknowledged with %u of %u nodes", p->what[0].no, replicas,
                        p->replicas);
    for (uint32_t i = 0; i < p->n; i++) {
        SIM_TRACE(w, p->what[i].no, "  message %u is %s%s (%s, %u)", p->what[i].no, fm_ledger_id_text(w->ledger, answer->results[i].id),
                  answer->results[i].duplicate ? ", a duplicate" : "", fm_err_code(answer->err), replicas);
        fm_ledger_accepted(w->ledger, n->incarnation, p->posted, p->what[i].no, &answer->results[i], replicas);
    }
}

void sim_load_answered(struct world *w, struct node *n, struct fm_publish *answer)
{
    struct sim_publish *p = w->publishes;
    while (p && (p->token != answer->token || p->node != n))
        p = p->next;
    if (!p || answer->n != p->n) {
        fm_ledger_fault(w->ledger, FM_FAULT_UNANSWERED, "a publish was answered twice, or with another number of results");
    } else if (answer->err == FM_OK || answer->err == FM_E_NOT_REPLICATED) {
        accepted(w, n, p, answer);
        retry(w, p, answer->err ? 500000 : w->plan.retry_ppm);
    } else {
        /* Only a log of a few kilobytes is ever too small for what waits to leave. */
        bool behind = answer->err == FM_E_BUSY && w->plan.evicts;
        if (answer->err != FM_E_DRAINING && answer->err != FM_E_NOT_READY && !behind)
            fm_ledger_fault(w->ledger, FM_FAULT_UNANSWERED, "a publish was answered %s", fm_err_code(answer->err));
        retry(w, p, 500000);
    }
    fm_publish_free(&answer);
}

void sim_load_check(struct world *w)
{
    for (const struct sim_publish *p = w->publishes; p; p = p->next)
        if (p->node && p->due_us < fm_sim_now_us(w->clock))
            fm_ledger_fault(w->ledger, FM_FAULT_UNANSWERED, "the publish of message %u on n%u.%u was never answered", p->what[0].no,
                            p->node->slot, p->life);
}

/* ---- new ones ---- */

static struct sim_publish *request_new(struct world *w, uint32_t n, bool keyed)
{
    struct sim_publish *p = calloc(1, sizeof *p + n * sizeof p->what[0]);
    if (!p)
        abort();
    p->n = n;
    p->keyed = keyed;
    p->next = w->publishes;
    w->publishes = p;
    return p;
}

static void publish(void *ctx, uint64_t arg)
{
    (void)arg;
    struct world *w = ctx;
    if (w->settling)
        return;
    fm_sim_after(w->clock, sim_around_us(&w->load, w->plan.publish_us), publish, w, 0);
    struct node *n = sim_node_any(w, &w->load);
    if (!n)
        return;
    bool burst = fm_sim_rand_chance(&w->load, 60000);
    struct sim_publish *p = request_new(w, burst ? (uint32_t)fm_sim_rand_between(&w->load, 2, w->plan.burst_max) : 1,
                                        fm_sim_rand_chance(&w->load, w->plan.keyed_ppm));
    bool one_topic = fm_sim_rand_chance(&w->load, 500000);
    unsigned topic = (unsigned)fm_sim_rand_below(&w->load, w->plan.topics);
    for (uint32_t i = 0; i < p->n; i++) {
        p->what[i].topic = one_topic ? topic : (unsigned)fm_sim_rand_below(&w->load, w->plan.topics);
        p->what[i].no = fm_ledger_message(w->ledger, sim_topic(w, p->what[i].topic), p->keyed);
    }
    if (fm_sim_rand_chance(&w->load, w->plan.replicated_ppm))
        p->replicas = fm_sim_rand_chance(&w->load, 300000) ? 2 : 1;
    post(w, p, n);
}

void sim_load_start(struct world *w)
{
    fm_sim_after(w->clock, 200 * FM_SIM_MS, publish, w, 0);
}

/* One message of every node on every topic: what comes after the healing must arrive too. */
void sim_load_last_words(struct world *w)
{
    for (unsigned i = 0; i < w->plan.nodes; i++) {
        if (!w->nodes[i].hub || w->nodes[i].draining)
            continue;
        struct sim_publish *p = request_new(w, w->plan.topics, false);
        for (unsigned topic = 0; topic < w->plan.topics; topic++) {
            p->what[topic].topic = topic;
            p->what[topic].no = fm_ledger_message(w->ledger, sim_topic(w, topic), false);
        }
        post(w, p, &w->nodes[i]);
    }
}

void sim_load_free(struct world *w)
{
    while (w->publishes)
        forget(w, w->publishes);
}
