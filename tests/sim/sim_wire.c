/* Links and their packets. A packet is queued at the sender until the sender had time for it, then under way until it is due; it arrives
 * in the order of the link unless the network is told to reorder. While the way is cut, or the receiver does not read, nothing arrives
 * and everything counts as queued. */
#include "sim_net.h"

#include <assert.h>
#include <stdlib.h>

static uint64_t lag_us(const struct wire *w, unsigned to)
{
    return w->net->lag_us[w->place[!to]->index][w->place[to]->index];
}

/* ---- arriving ---- */

static struct packet *lane_take(struct lane *lane)
{
    struct packet *p = lane->first;
    lane->first = p->next;
    if (!lane->first)
        lane->last = &lane->first;
    return p;
}

static void lane_clear(struct lane *lane)
{
    while (lane->first)
        free(lane_take(lane));
}

static bool stalled(const struct wire *w, unsigned to)
{
    return !sim_open(w->net, w->place[!to], w->place[to]) || w->place[to]->stalled || w->to[to].dead;
}

static void arrive(void *ctx, uint64_t to)
{
    struct wire *w = ctx;
    struct lane *lane = &w->to[to];
    while (w->end[to] && lane->first && lane->first->due_us <= fm_sim_now_us(w->net->clock) && !stalled(w, (unsigned)to)) {
        struct packet *p = lane_take(lane);
        if (p->n > w->end[to]->config.envelope_max) {
            sim_wire_end(w, (unsigned)to, false);
        } else {
            struct fm_bus_item *item = sim_item(FM_BUS_ENVELOPE, p->bytes, p->n);
            item->pipe = w->pipe[to];
            w->net->stats.delivered++;
            sim_deliver(w->end[to], item);
        }
        free(p);
    }
}

/* ---- sending ---- */

static unsigned queued(const struct wire *w, unsigned to)
{
    unsigned n = 0;
    bool all = stalled(w, to);
    for (const struct packet *p = w->to[to].first; p; p = p->next)
        n += all || p->leaves_us > fm_sim_now_us(w->net->clock);
    return n;
}

static void send_one(struct wire *w, unsigned to, struct fm_slice bytes)
{
    struct fm_sim_net *net = w->net;
    struct lane *lane = &w->to[to];
    uint64_t now_us = fm_sim_now_us(net->clock);
    if (!w->end[to]) {
        net->stats.lost++; /* half open: nobody is there */
        return;
    }
    if (queued(w, to) >= FM_SIM_QUEUE) {
        net->stats.overflowed++;
        return;
    }
    if (fm_sim_rand_chance(&net->rand, net->faults.loss_ppm)) {
        net->stats.lost++;
        return;
    }
    struct packet *p = malloc(sizeof *p + bytes.n);
    if (!p)
        abort();
    p->n = (uint32_t)bytes.n;
    if (bytes.n)
        memcpy(p->bytes, bytes.p, bytes.n);
    lane->free_us = (lane->free_us > now_us ? lane->free_us : now_us) + net->faults.send_us;
    p->leaves_us = lane->free_us;
    p->due_us = p->leaves_us + sim_delay_us(net) + lag_us(w, to);
    struct packet **at = lane->last;
    if (net->faults.reorder_in_link) {
        for (at = &lane->first; *at && (*at)->due_us <= p->due_us;)
            at = &(*at)->next;
    } else if (p->due_us < lane->due_us) {
        p->due_us = lane->due_us;
    }
    lane->due_us = p->due_us > lane->due_us ? p->due_us : lane->due_us;
    p->next = *at;
    *at = p;
    if (!p->next)
        lane->last = &p->next;
    fm_sim_after(net->clock, p->due_us - now_us, arrive, w, to);
}

void sim_wire_send(struct wire *w, unsigned to, struct fm_slice bytes)
{
    w->net->stats.sent++;
    send_one(w, to, bytes);
    if (fm_sim_rand_chance(&w->net->rand, w->net->faults.dup_ppm)) {
        w->net->stats.doubled++;
        send_one(w, to, bytes);
    }
}

/* ---- life and death ---- */

static void other_end_learns(void *ctx, uint64_t end)
{
    struct wire *w = ctx;
    if (w->end[end] && !w->end[!end] && !w->half_open && !stalled(w, (unsigned)end))
        sim_wire_end(w, (unsigned)end, false);
}

static void patience_ends(void *ctx, uint64_t arg)
{
    struct wire *w = ctx;
    unsigned end = arg & 1;
    bool cut = !sim_open(w->net, w->place[0], w->place[1]) || !sim_open(w->net, w->place[1], w->place[0]);
    if (w->end[end] && cut && w->net->cut_epoch == arg >> 1)
        sim_wire_end(w, end, false);
}

static void hears_down(void *ctx, uint64_t arg)
{
    struct fm_bus *bus = ((struct place *)ctx)->bus;
    if (!bus || bus->serial != arg >> 32)
        return; /* stopped, or a newer bus at the same place */
    struct fm_bus_item *item = sim_item(FM_BUS_DOWN, NULL, 0);
    item->pipe = (uint32_t)arg;
    sim_deliver(bus, item);
}

void sim_wire_end(struct wire *w, unsigned end, bool silent)
{
    struct fm_bus *bus = w->end[end];
    if (!bus)
        return;
    w->end[end] = NULL;
    lane_clear(&w->to[end]);
    w->net->stats.links_down++;
    if (!silent)
        fm_sim_after(w->net->clock, 0, hears_down, w->place[end], bus->serial << 32 | w->pipe[end]);
    if (end == 0 && w->dial)
        sim_dial_lost(w->dial);
    if (end == 0)
        w->dial = NULL;
    fm_sim_after(w->net->clock, sim_delay_us(w->net) + lag_us(w, !end), other_end_learns, w, !end); /* behind what was sent before */
}

struct wire *sim_wire_new(struct fm_sim_net *net, struct dial *dial)
{
    struct wire *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    *w = (struct wire){.next = net->wires, .net = net, .dial = dial};
    w->place[0] = dial->bus->place;
    w->place[1] = dial->to;
    for (unsigned i = 0; i < 2; i++) {
        w->end[i] = w->place[i]->bus;
        w->pipe[i] = ++w->end[i]->pipes;
        w->to[i].last = &w->to[i].first;
    }
    net->wires = w;
    net->stats.links++;
    return w;
}

void sim_wires_moved(struct fm_sim_net *net)
{
    for (struct wire *w = net->wires; w; w = w->next)
        for (unsigned end = 0; end < 2; end++) {
            if (!w->end[end])
                continue;
            fm_sim_after(net->clock, sim_delay_us(net), w->end[!end] ? arrive : other_end_learns, w, end);
        }
}

void sim_wires_cut(struct fm_sim_net *net)
{
    for (struct wire *w = net->wires; w; w = w->next) {
        if (sim_open(net, w->place[0], w->place[1]) && sim_open(net, w->place[1], w->place[0]))
            continue;
        for (unsigned end = 0; end < 2; end++)
            if (w->end[end]) {
                uint64_t us = fm_sim_rand_between(&net->rand, net->faults.detect_us_min, net->faults.detect_us_max);
                fm_sim_after(net->clock, us, patience_ends, w, (uint64_t)net->cut_epoch << 1 | end);
            }
    }
}

static bool between(const struct wire *w, const struct place *a, const struct place *b)
{
    return (w->place[0] == a && w->place[1] == b) || (w->place[0] == b && w->place[1] == a);
}

void fm_sim_net_reset(struct fm_sim_net *net, const char *a, const char *b)
{
    for (struct wire *w = net->wires; w; w = w->next)
        if (between(w, sim_place(net, a), sim_place(net, b)))
            sim_wire_end(w, w->end[0] ? 0 : 1, false);
}

void fm_sim_net_half_open(struct fm_sim_net *net, const char *a, const char *b, bool forgotten)
{
    const struct place *from = sim_place(net, a), *to = sim_place(net, b);
    for (struct wire *w = net->wires; w; w = w->next) {
        if (!between(w, from, to) || !w->end[0] || !w->end[1])
            continue;
        w->half_open = forgotten;
        if (forgotten)
            sim_wire_end(w, w->place[0] == from ? 0 : 1, false);
        else
            w->to[w->place[0] == to ? 0 : 1].dead = true;
    }
}

void sim_wires_free(struct fm_sim_net *net)
{
    for (struct wire *w = net->wires, *next; w; w = next) {
        next = w->next;
        for (unsigned i = 0; i < 2; i++)
            lane_clear(&w->to[i]);
        free(w);
    }
    net->wires = NULL;
}
