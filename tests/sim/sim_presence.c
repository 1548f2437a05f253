/* Presences in a simulated cluster: every client shows itself on its topic, some under a key that two share, changes its meta now and then,
 * and takes its leave without a word, as a broken connection does. Each worker is told of all topics and keeps what a client of its would
 * have: a diff that does not fit to that is a fault at once. In the end every node must show exactly the clients that are connected. */
#include "sim_world.h"

#include "../../broker/hub_core.h" /* to look into a hub in the end */

#include <stdio.h>
#include <stdlib.h>

enum { REFS = 128, SAID = 400 };

static bool on(const struct world *w)
{
    return w->plan.presence_us > 0;
}

/* ---- clients ---- */

static unsigned key_number(const struct sim_client *c)
{
    return c->index / c->w->plan.topics / 2;
}

static size_t key_of(const struct sim_client *c, char out[24])
{
    return (size_t)snprintf(out, 24, "u%u", key_number(c));
}

static size_t meta_of(const struct sim_client *c, char out[48])
{
    return (size_t)snprintf(out, 48, "{\"client\":%u,\"n\":%u}", c->index, c->meta);
}

static struct fm_track *shown(const struct sim_client *c, uint64_t holder)
{
    char key[24], meta[48];
    const struct fm_track_parts parts = {
        .topic = sim_topic(c->w, c->topic), .key = fm_slice_of(key, key_of(c, key)), .meta = fm_slice_of(meta, meta_of(c, meta))};
    struct fm_track *t = fm_track_new(FM_TRACK, c->worker, holder, &parts);
    if (!t)
        abort();
    return t;
}

static void change(void *ctx, uint64_t serial)
{
    struct sim_client *c = ctx;
    if (c->serial != serial || c->state != CLIENT_IN || c->w->settling)
        return;
    c->meta++;
    sim_node_post(c->node, &shown(c, c->holder)->item);
    fm_sim_after(c->w->clock, sim_around_us(&c->w->show, c->w->plan.presence_us), change, c, serial);
}

/* Whoever is away for less is back in time. */
static uint64_t grace_us(const struct world *w)
{
    return w->plan.presence_grace_ms > 1000 ? (w->plan.presence_grace_ms - 1000) * FM_SIM_MS : 0;
}

void sim_presence_join(struct sim_client *c, struct fm_join *j)
{
    if (on(c->w))
        j->track = shown(c, j->sub);
}

void sim_presence_joined(struct sim_client *c, const struct fm_join *j)
{
    struct world *w = c->w;
    c->holder = j->sub;
    c->excused |= c->away_us && fm_sim_now_us(w->clock) - c->away_us >= grace_us(w);
    c->away_us = 0;
    c->shown = true;
    if (on(w))
        fm_sim_after(w->clock, sim_around_us(&w->show, w->plan.presence_us), change, c, c->serial);
}

void sim_presence_cut(struct sim_client *c)
{
    c->away_us = fm_sim_now_us(c->w->clock);
}

void sim_presence_died(struct node *n)
{
    for (unsigned i = 0; i < n->w->plan.clients; i++) {
        struct sim_client *c = &n->w->clients[i];
        c->excused |= c->node == n && c->life == n->life && (c->state == CLIENT_IN || c->away_us);
    }
}

void sim_presence_end(struct node *n, unsigned worker, uint64_t holder)
{
    if (!on(n->w))
        return;
    struct fm_track *t = fm_track_new(FM_TRACK_LINGER, worker, holder, NULL);
    if (!t)
        abort();
    sim_node_post(n, &t->item);
}

/* ---- what a worker is told ---- */

enum { KEYS = 64, API_KEYS_AT = KEYS - SIM_API_KEYS }; /* clients' are counted from 0 */

struct sim_watch {
    bool known;
    unsigned n;
    struct {
        unsigned key;
        char text[FM_PRESENCE_REF_MAX + 1];
    } refs[REFS];
    unsigned keys[KEYS]; /* how many there are of each */
};

static struct sim_watch *watch_of(struct sim_worker *sw, unsigned topic)
{
    if (!sw->watches)
        sw->watches = calloc(FM_SIM_TOPICS_MAX, sizeof *sw->watches);
    if (!sw->watches)
        abort();
    return &sw->watches[topic];
}

void sim_presence_watch(struct sim_worker *sw)
{
    struct world *w = sw->node->w;
    for (unsigned topic = 0; topic < w->plan.topics && on(w); topic++) {
        const struct fm_track_parts parts = {.topic = sim_topic(w, topic)};
        struct fm_track *t = fm_track_new(FM_PRESENCE_WATCH, sw->index, 0, &parts);
        if (!t)
            abort();
        watch_of(sw, topic)->known = false;
        sim_node_post(sw->node, &t->item);
    }
}

void sim_presence_forget(struct sim_worker *sw)
{
    free(sw->watches);
    sw->watches = NULL;
}

static unsigned find(const struct sim_watch *v, const char *ref)
{
    unsigned i = 0;
    while (i < v->n && strcmp(v->refs[i].text, ref) != 0)
        i++;
    return i;
}

static void ref_take(struct sim_worker *sw, struct sim_watch *v, const char *ref, unsigned key, bool joins)
{
    unsigned i = find(v, ref);
    bool there = i < v->n;
    if (there == joins || (joins && v->n == REFS)) {
        fm_ledger_fault(sw->node->w->ledger, FM_FAULT_PRESENCE, "n%u.%u told a worker that %s %s, which was %s", sw->node->slot,
                        sw->node->life, ref, joins ? "came" : "went", there ? "there" : "not there");
        return;
    }
    if (joins) {
        v->refs[v->n].key = key;
        memcpy(v->refs[v->n++].text, ref, sizeof v->refs[0].text);
        v->keys[key]++;
    } else {
        v->keys[v->refs[i].key]--;
        v->refs[i] = v->refs[--v->n];
    }
}

/* "u12", or "a1": of the API. The quote behind it is given. */
static unsigned key_before(const char *quote)
{
    const char *p = quote;
    while (p[-1] != '"')
        p--;
    unsigned n = (unsigned)strtoul(p + 1, NULL, 10);
    return *p == 'a' ? API_KEYS_AT + n : n;
}

/* Each phx_ref of a part of the payload joins, or leaves. Metas hold no such member, and no quotes within quotes. */
static void refs_take(struct sim_worker *sw, struct sim_watch *v, struct fm_slice part, bool joins)
{
    static const char name[] = "\"phx_ref\":\"", metas[] = "\":{\"metas\":[";
    const char *p = (const char *)part.p, *end = p + part.n, *key = p;
    while ((p = memmem(p, (size_t)(end - p), name, sizeof name - 1)) != NULL) {
        const char *next = key;
        while ((next = memmem(next, (size_t)(p - next), metas, sizeof metas - 1)) != NULL)
            key = next++;
        p += sizeof name - 1;
        char ref[FM_PRESENCE_REF_MAX + 1] = "";
        size_t n = (size_t)((const char *)memchr(p, '"', (size_t)(end - p)) - p);
        memcpy(ref, p, n < FM_PRESENCE_REF_MAX ? n : FM_PRESENCE_REF_MAX);
        ref_take(sw, v, ref, key_before(key), joins);
    }
}

/* Was a node taken for dead here a moment ago that lives, since all its heartbeats were lost, or that left unheard, since the two never
 * met? Whoever was on it is hidden then. */
static bool doubts(struct node *n)
{
    const struct world *w = n->w;
    for (const struct fm_porigin *o = n->hub->presence.origins; o; o = o->hh.next) {
        const struct fm_peer *p = fm_peer_find(n->hub, o->id);
        bool wrong = !p || !p->spoke_ms;
        for (unsigned i = 0; i < w->plan.nodes; i++)
            wrong |= w->nodes[i].hub && w->nodes[i].incarnation == o->id;
        if (wrong && o->hidden_ms && (o->state == FM_PORIGIN_HIDDEN || n->hub->now.mono_ms - o->hidden_ms < 1000))
            return true;
    }
    return false;
}

/* Has somebody gone who may not be seen to? */
static void leaves_judge(struct sim_worker *sw, unsigned topic, const struct sim_watch *v, const unsigned were[KEYS])
{
    struct world *w = sw->node->w;
    for (unsigned i = 0; w->clients && i < w->plan.clients && w->plan.presence_stays; i++) {
        const struct sim_client *c = &w->clients[i];
        unsigned key = key_number(c);
        bool back = !c->away_us || fm_sim_now_us(w->clock) - c->away_us < grace_us(w);
        if (c->topic == topic && were[key] && !v->keys[key] && c->shown && !c->excused && back && !doubts(sw->node))
            fm_ledger_fault(w->ledger, FM_FAULT_PRESENCE, "n%u.%u told a worker that u%u of client %u left %s, which was away %llu ms",
                            sw->node->slot, sw->node->life, key, i, w->topics[topic],
                            c->away_us ? (unsigned long long)(fm_sim_now_us(w->clock) - c->away_us) / FM_SIM_MS : 0);
    }
}

void sim_presence_told(struct sim_worker *sw, unsigned topic, const struct fm_msg *m)
{
    static const char leaves[] = "},\"leaves\":{";
    struct sim_watch *v = watch_of(sw, topic);
    struct fm_slice all = fm_msg_payload(m);
    unsigned were[KEYS];
    memcpy(were, v->keys, sizeof were);
    if (fm_slice_eq(fm_msg_event(m), FM_LIT("presence_state"))) {
        *v = (struct sim_watch){.known = true};
        refs_take(sw, v, all, true);
        leaves_judge(sw, topic, v, were);
        return;
    }
    if (!v->known)
        return;
    const uint8_t *at = memmem(all.p, all.n, leaves, sizeof leaves - 1);
    if (!at)
        abort();
    /* A key may leave under one ref and come under another, so the order does not matter. */
    refs_take(sw, v, fm_slice_of(all.p, (size_t)(at - all.p)), true);
    refs_take(sw, v, fm_slice_of(at, all.n - (size_t)(at - all.p)), false);
    leaves_judge(sw, topic, v, were);
}

/* ---- the end ---- */

static unsigned wanted_count(const struct world *w, unsigned topic)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->plan.clients; i++)
        n += w->clients[i].topic == topic && w->clients[i].state == CLIENT_IN;
    for (unsigned key = 0; key < SIM_API_KEYS; key++)
        n += w->api_keys[topic][key].there;
    return n;
}

/* Is the key shown with this meta, once? */
static bool shows(struct fm_ptopic *t, struct fm_slice key, struct fm_slice meta)
{
    struct fm_pkey *k = t ? fm_pkey_find(t, key) : NULL;
    unsigned n = 0;
    for (const struct fm_pentry *e = k ? k->first : NULL; e; e = e->next)
        n += e->shown && fm_slice_eq(fm_slice_of(e->shown->json, e->shown->n), meta);
    return n == 1;
}

/* Is the client there as it shows itself now? */
static bool is_shown(const struct sim_client *c, struct fm_ptopic *t)
{
    char key[24], meta[48];
    return shows(t, fm_slice_of(key, key_of(c, key)), fm_slice_of(meta, meta_of(c, meta)));
}

static bool api_agrees(struct node *n, unsigned topic, struct fm_ptopic *t, char *why)
{
    struct world *w = n->w;
    for (unsigned key = 0; key < SIM_API_KEYS; key++) {
        const struct sim_api_key *k = &w->api_keys[topic][key];
        char name[24], meta[48];
        if (!k->there || shows(t, fm_slice_of(name, sim_api_key(key, name)), fm_slice_of(meta, sim_api_meta(k, meta))))
            continue;
        (void)snprintf(why, SAID, "n%u.%u does not show %s of the API on %s as %s", n->slot, n->life, name, w->topics[topic], meta);
        return false;
    }
    return true;
}

static bool node_agrees(struct node *n, char *why)
{
    struct world *w = n->w;
    for (unsigned topic = 0; topic < w->plan.topics; topic++) {
        struct fm_ptopic *t = fm_ptopic_find(n->hub, sim_topic(w, topic));
        unsigned wanted = wanted_count(w, topic), shown_n = t ? t->shown : 0;
        for (unsigned i = 0; i < w->plan.clients; i++)
            if (w->clients[i].topic == topic && w->clients[i].state == CLIENT_IN && !is_shown(&w->clients[i], t)) {
                (void)snprintf(why, SAID, "n%u.%u does not show client %u on %s as it is, which is at n%u.%u", n->slot, n->life, i,
                               w->topics[topic], w->clients[i].node->slot, w->clients[i].life);
                return false;
            }
        if (!api_agrees(n, topic, t, why))
            return false;
        if (shown_n != wanted) {
            (void)snprintf(why, SAID, "n%u.%u shows %u on %s, and %u are there", n->slot, n->life, shown_n, w->topics[topic], wanted);
            return false;
        }
        for (unsigned i = 0; i < w->plan.workers; i++) {
            const struct sim_watch *v = watch_of(&n->workers[i], topic);
            if (!v->known || v->n != wanted) {
                (void)snprintf(why, SAID, "worker %u of n%u.%u knows of %u on %s (%s), and %u are there", i, n->slot, n->life, v->n,
                               w->topics[topic], v->known ? "as told" : "was told nothing", wanted);
                return false;
            }
        }
    }
    return true;
}

void sim_presence_judge(struct world *w, struct fm_verdict *v)
{
    char why[SAID];
    w->report->kept = 0;
    for (unsigned i = 0; i < w->plan.clients; i++)
        w->report->kept += w->plan.presence_stays && !w->clients[i].excused;
    for (unsigned i = 0; i < w->plan.nodes && on(w); i++) {
        if (!w->nodes[i].hub || node_agrees(&w->nodes[i], why))
            continue;
        v->faults++;
        if (v->count[FM_FAULT_PRESENCE]++ == 0)
            (void)snprintf(v->first[FM_FAULT_PRESENCE], sizeof v->first[0], "%.230s", why);
    }
}

void sim_presence_traffic(const struct world *w, struct fm_sim_presence *sum)
{
    *sum = (struct fm_sim_presence){0};
    for (unsigned i = 0; i < w->plan.nodes; i++) {
        if (!w->nodes[i].hub)
            continue;
        const struct fm_hub_stats *s = fm_hub_stats(w->nodes[i].hub);
        sum->changes += s->presence_changes;
        sum->batches += s->presence_batches_out;
        sum->pulls += s->presence_pulls;
        sum->whole += s->presence_whole;
        sum->diffs += s->presence_diffs;
    }
}
