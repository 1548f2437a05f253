/* The port over the simulated network: places, dialling, questions. Links and packets are in sim_wire.c. */
#include "sim_net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIAL_US_MIN = 100 * FM_SIM_MS, DIAL_US_MAX = 5000 * FM_SIM_MS, STALLED_RETRY_US = 5 * FM_SIM_MS };

static struct fm_sim_net *net_in_use;

/* ---- the network ---- */

struct fm_sim_net *fm_sim_net_new(struct fm_sim_clock *clock, uint64_t seed, const struct fm_sim_faults *faults)
{
    struct fm_sim_net *net = calloc(1, sizeof *net);
    if (!net)
        abort();
    net->clock = clock;
    net->rand = fm_sim_rand_of(seed, "network");
    fm_sim_net_faults_set(net, faults);
    return net;
}

void fm_sim_net_free(struct fm_sim_net **np)
{
    struct fm_sim_net *net = *np;
    *np = NULL;
    if (!net)
        return;
    if (net_in_use == net)
        net_in_use = NULL;
    for (unsigned i = 0; i < net->places_n; i++)
        assert(!net->places[i].bus);
    sim_wires_free(net);
    for (struct dial *d = net->dials, *next; d; d = next) {
        next = d->next;
        free(d);
    }
    for (struct ask *a = net->asks, *next; a; a = next) {
        next = a->next;
        fm_buf_fini(&a->answer);
        free(a);
    }
    free(net);
}

void fm_sim_net_use(struct fm_sim_net *net)
{
    net_in_use = net;
}

void fm_sim_net_faults_set(struct fm_sim_net *net, const struct fm_sim_faults *faults)
{
    assert(faults->delay_us_min <= faults->delay_us_max && faults->detect_us_min <= faults->detect_us_max);
    net->faults = *faults;
}

const struct fm_sim_net_stats *fm_sim_net_stats(const struct fm_sim_net *net)
{
    return &net->stats;
}

struct place *sim_place(struct fm_sim_net *net, const char *address)
{
    for (unsigned i = 0; i < net->places_n; i++)
        if (strcmp(net->places[i].listen, address) == 0)
            return &net->places[i];
    assert(net->places_n < FM_SIM_PLACES_MAX && strlen(address) < sizeof net->places[0].listen);
    struct place *p = &net->places[net->places_n];
    p->index = net->places_n++;
    memcpy(p->listen, address, strlen(address) + 1);
    return p;
}

static struct place *place_of_ask(struct fm_sim_net *net, const char *ask)
{
    for (unsigned i = 0; i < net->places_n; i++)
        if (strcmp(net->places[i].ask, ask) == 0)
            return &net->places[i];
    return NULL;
}

bool sim_open(const struct fm_sim_net *net, const struct place *from, const struct place *to)
{
    return !net->cut[from->index][to->index];
}

uint64_t sim_delay_us(struct fm_sim_net *net)
{
    const struct fm_sim_faults *f = &net->faults;
    uint64_t us = fm_sim_rand_between(&net->rand, f->delay_us_min, f->delay_us_max);
    if (fm_sim_rand_chance(&net->rand, f->spike_ppm))
        us += fm_sim_rand_below(&net->rand, f->spike_us + 1);
    return us;
}

static void cuts_changed(struct fm_sim_net *net)
{
    net->cut_epoch++;
    sim_wires_moved(net);
    sim_wires_cut(net);
}

void fm_sim_net_cut(struct fm_sim_net *net, const char *a, const char *b, bool one_way)
{
    unsigned from = sim_place(net, a)->index, to = sim_place(net, b)->index;
    net->cut[from][to] = true;
    if (!one_way)
        net->cut[to][from] = true;
    cuts_changed(net);
}

void fm_sim_net_lag(struct fm_sim_net *net, const char *a, const char *b, uint64_t us)
{
    net->lag_us[sim_place(net, a)->index][sim_place(net, b)->index] = us;
}

void fm_sim_net_heal(struct fm_sim_net *net, const char *a, const char *b)
{
    unsigned from = sim_place(net, a)->index, to = sim_place(net, b)->index;
    net->cut[from][to] = net->cut[to][from] = false;
    cuts_changed(net);
}

void fm_sim_net_heal_all(struct fm_sim_net *net)
{
    memset(net->cut, 0, sizeof net->cut);
    cuts_changed(net);
}

void fm_sim_net_stall(struct fm_sim_net *net, const char *place, bool stalled)
{
    sim_place(net, place)->stalled = stalled;
    sim_wires_moved(net);
}

/* ---- items ---- */

struct fm_bus_item *sim_item(enum fm_bus_event event, const void *bytes, size_t n)
{
    struct fm_bus_item *item = calloc(1, sizeof *item + n);
    if (!item)
        abort();
    item->item.kind = event;
    item->item.cost = (uint32_t)(sizeof *item + n);
    item->n = (uint32_t)n;
    if (n)
        memcpy(item->bytes, bytes, n);
    return item;
}

void sim_deliver(struct fm_bus *bus, struct fm_bus_item *item)
{
    bus->config.deliver(bus->config.ctx, item);
}

/* ---- dialling ---- */

static void dial_try(void *ctx, uint64_t arg);

static void dial_later(struct dial *d)
{
    struct fm_sim_net *net = d->bus->net;
    fm_sim_after(net->clock, d->backoff_us + fm_sim_rand_below(&net->rand, d->backoff_us / 4 + 1), dial_try, d, 0);
    d->backoff_us = d->backoff_us * 2 < DIAL_US_MAX ? d->backoff_us * 2 : DIAL_US_MAX;
}

static void up(struct wire *w, unsigned end)
{
    struct fm_bus_item *item = sim_item(FM_BUS_UP, NULL, 0);
    item->pipe = w->pipe[end];
    item->dialled = end == 0;
    if (end == 0)
        memcpy(item->address, w->place[1]->listen, sizeof item->address);
    else
        (void)snprintf(item->address, sizeof item->address, "from-%u:%u", w->place[0]->index, w->pipe[0]);
    sim_deliver(w->end[end], item);
}

static void dial_try(void *ctx, uint64_t arg)
{
    (void)arg;
    struct dial *d = ctx;
    if (!d->bus || d->wire)
        return;
    const struct fm_sim_net *net = d->bus->net;
    if (!d->to->bus || d->to->stalled || !sim_open(net, d->bus->place, d->to) || !sim_open(net, d->to, d->bus->place)) {
        dial_later(d);
        return;
    }
    d->backoff_us = DIAL_US_MIN;
    d->wire = sim_wire_new(d->bus->net, d);
    up(d->wire, 1);
    if (d->wire && d->wire->end[0])
        up(d->wire, 0);
}

void sim_dial_lost(struct dial *d)
{
    d->wire = NULL;
    if (d->bus)
        dial_later(d);
}

static struct dial *dial_find(struct fm_bus *bus, const char *address)
{
    for (struct dial *d = bus->net->dials; d; d = d->next)
        if (d->bus == bus && strcmp(d->to->listen, address) == 0)
            return d;
    return NULL;
}

static bool is_address(const char *address)
{
    return strchr(address, ':') && strlen(address) < sizeof((struct place *)NULL)->listen;
}

static enum fm_err bus_link(struct fm_bus *bus, const char *address)
{
    if (!is_address(address))
        return FM_E_ADDRESS;
    if (dial_find(bus, address))
        return FM_OK;
    struct dial *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    *d = (struct dial){.next = bus->net->dials, .bus = bus, .to = sim_place(bus->net, address), .backoff_us = DIAL_US_MIN};
    bus->net->dials = d;
    fm_sim_after(bus->net->clock, sim_delay_us(bus->net), dial_try, d, 0);
    return FM_OK;
}

static void bus_unlink(struct fm_bus *bus, const char *address)
{
    struct dial *d = dial_find(bus, address);
    if (!d)
        return;
    d->bus = NULL;
    if (d->wire)
        sim_wire_end(d->wire, 0, false);
}

static void bus_drop(struct fm_bus *bus, uint32_t pipe)
{
    for (struct wire *w = bus->net->wires; w; w = w->next)
        for (unsigned end = 0; end < 2; end++)
            if (w->end[end] == bus && w->pipe[end] == pipe)
                sim_wire_end(w, end, false);
}

/* ---- publish ---- */

static enum fm_err bus_publish(struct fm_bus *bus, struct fm_slice bytes)
{
    if (bytes.n > bus->config.envelope_max)
        return FM_E_TOO_LARGE;
    for (struct wire *w = bus->net->wires; w; w = w->next)
        for (unsigned end = 0; end < 2; end++)
            if (w->end[end] == bus)
                sim_wire_send(w, !end, bytes);
    return FM_OK;
}

/* ---- asking ---- */

static void ask_ends(struct ask *a, enum fm_err err, struct fm_slice bytes)
{
    a->ended = true;
    if (!a->from)
        return;
    struct fm_bus_item *item = sim_item(FM_BUS_ANSWERED, bytes.p, bytes.n);
    item->err = err;
    item->handle = a->id;
    sim_deliver(a->from, item);
}

static void ask_times_out(void *ctx, uint64_t arg)
{
    (void)arg;
    struct ask *a = ctx;
    if (!a->ended)
        ask_ends(a, FM_E_TIMEOUT, (struct fm_slice){0});
}

static bool ask_way(const struct ask *a)
{
    return sim_open(a->net, a->from_place, a->to_place) && sim_open(a->net, a->to_place, a->from_place);
}

static void question_arrives(void *ctx, uint64_t copy)
{
    struct ask *a = ctx;
    struct fm_bus *to = a->to_place->bus;
    if (a->ended || !to || to != a->to || !ask_way(a) || a->n > to->config.envelope_max)
        return;
    if (a->to_place->stalled) {
        fm_sim_after(a->net->clock, STALLED_RETRY_US, question_arrives, a, copy);
        return;
    }
    a->handle[copy] = ++a->net->handles;
    struct fm_bus_item *item = sim_item(FM_BUS_ASKED, a->bytes, a->n);
    item->handle = a->handle[copy];
    sim_deliver(to, item);
}

static enum fm_err bus_ask(struct fm_bus *bus, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    struct fm_sim_net *net = bus->net;
    if (!is_address(address))
        return FM_E_ADDRESS;
    if (bytes.n > bus->config.envelope_max)
        return FM_E_TOO_LARGE;
    struct ask *a = calloc(1, sizeof *a + bytes.n);
    if (!a)
        abort();
    *a = (struct ask){.next = net->asks, .net = net, .from = bus, .from_place = bus->place, .id = id, .n = (uint32_t)bytes.n};
    if (bytes.n)
        memcpy(a->bytes, bytes.p, bytes.n);
    net->asks = a;
    net->stats.asks++;
    fm_sim_after(net->clock, (uint64_t)timeout_ms * FM_SIM_MS, ask_times_out, a, 0);
    a->to_place = place_of_ask(net, address);
    if (!a->to_place || !a->to_place->bus || fm_sim_rand_chance(&net->rand, net->faults.ask_loss_ppm)) {
        net->stats.asks_lost++;
        return FM_OK;
    }
    a->to = a->to_place->bus;
    fm_sim_after(net->clock, sim_delay_us(net), question_arrives, a, 0);
    if (fm_sim_rand_chance(&net->rand, net->faults.ask_dup_ppm))
        fm_sim_after(net->clock, sim_delay_us(net), question_arrives, a, 1);
    return FM_OK;
}

static void answer_arrives(void *ctx, uint64_t arg)
{
    (void)arg;
    struct ask *a = ctx;
    if (!a->ended && a->from && ask_way(a)) {
        bool fits = a->answer.n <= a->from->config.envelope_max;
        ask_ends(a, fits ? FM_OK : FM_E_CLOSED, fits ? fm_buf_view(&a->answer) : (struct fm_slice){0});
    }
    fm_buf_fini(&a->answer);
}

static enum fm_err bus_answer(struct fm_bus *bus, uint64_t handle, struct fm_slice bytes)
{
    struct fm_sim_net *net = bus->net;
    struct ask *a = net->asks;
    while (a && (a->to != bus || handle == 0 || (a->handle[0] != handle && a->handle[1] != handle)))
        a = a->next;
    if (!a || a->answered)
        return FM_E_INVALID;
    if (bytes.n > bus->config.envelope_max)
        return FM_E_TOO_LARGE;
    if (a->ended || net->faults.deaf_to_pulls)
        return FM_OK;
    a->answered = true;
    if (fm_sim_rand_chance(&net->rand, net->faults.ask_loss_ppm)) {
        net->stats.asks_lost++;
        return FM_OK;
    }
    fm_buf_slice(&a->answer, bytes);
    fm_sim_after(net->clock, sim_delay_us(net), answer_arrives, a, 0);
    return FM_OK;
}

/* ---- life ---- */

static enum fm_err bus_start(struct fm_bus **bus, const struct fm_bus_config *config, const char **what)
{
    struct fm_sim_net *net = net_in_use;
    assert(net && config->deliver);
    *what = "the publish plane's address";
    if (!is_address(config->listen))
        return FM_E_ADDRESS;
    struct place *place = sim_place(net, config->listen);
    if (place->bus)
        return FM_E_IN_USE;
    *what = "the ask plane's address";
    if (!is_address(config->listen_ask))
        return FM_E_ADDRESS;
    const struct place *other = place_of_ask(net, config->listen_ask);
    if (other && other->bus)
        return FM_E_IN_USE;
    struct fm_bus *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    *b = (struct fm_bus){.net = net, .place = place, .config = *config, .serial = ++net->serials};
    memcpy(place->ask, config->listen_ask, strlen(config->listen_ask) + 1);
    place->bus = b;
    *bus = b;
    return FM_OK;
}

static void bus_stop(struct fm_bus **bp)
{
    struct fm_bus *bus = *bp;
    *bp = NULL;
    if (!bus)
        return;
    for (struct dial *d = bus->net->dials; d; d = d->next)
        if (d->bus == bus)
            d->bus = NULL;
    for (struct wire *w = bus->net->wires; w; w = w->next)
        for (unsigned end = 0; end < 2; end++)
            if (w->end[end] == bus)
                sim_wire_end(w, end, true);
    for (struct ask *a = bus->net->asks; a; a = a->next) {
        if (a->from == bus && !a->ended)
            ask_ends(a, FM_E_CLOSED, (struct fm_slice){0});
        if (a->from == bus)
            a->from = NULL;
        if (a->to == bus)
            a->to = NULL;
    }
    bus->place->bus = NULL;
    free(bus);
}

const struct fm_bus_ops fm_bus_sim = {
    .start = bus_start,
    .publish = bus_publish,
    .ask = bus_ask,
    .answer = bus_answer,
    .link = bus_link,
    .unlink = bus_unlink,
    .drop = bus_drop,
    .stop = bus_stop,
};
