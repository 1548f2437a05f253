#include "mesh_steps.h"

#include "../../broker/hub.h"
#include "mesh_node.h"

#include <stdlib.h>

enum { DRAIN = 400 /* messages, about one batch */, HUBS = 2 };

struct sent { /* what a hub gave to its bus */
    struct fm_item *first, **last;
};

struct fm_bus { /* of one hub: keeps what is published, as items for the other one */
    struct sent sent;
    uint64_t count;
};

struct side {
    struct fm_hub *hub;
    struct fm_bus bus;
    struct fm_seal *seal;
    uint64_t received;
};

/* ---- a bus that goes nowhere ---- */

static struct fm_bus_item *bus_item(enum fm_bus_event kind, struct fm_slice bytes)
{
    struct fm_bus_item *it = malloc(sizeof *it + bytes.n);
    if (!it)
        abort();
    *it = (struct fm_bus_item){.item = {.kind = kind, .cost = (uint32_t)(sizeof *it + bytes.n)}, .pipe = 1, .n = (uint32_t)bytes.n};
    if (bytes.n)
        memcpy(it->bytes, bytes.p, bytes.n);
    return it;
}

static enum fm_err publish(struct fm_bus *b, struct fm_slice bytes)
{
    struct fm_bus_item *it = bus_item(FM_BUS_ENVELOPE, bytes);
    *b->sent.last = &it->item;
    b->sent.last = &it->item.next;
    b->count++;
    return FM_OK;
}

static enum fm_err ask(struct fm_bus *b, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    (void)b, (void)address, (void)id, (void)bytes, (void)timeout_ms;
    return FM_E_ADDRESS;
}

static enum fm_err answer(struct fm_bus *b, uint64_t handle, struct fm_slice bytes)
{
    (void)b, (void)handle, (void)bytes;
    return FM_E_INVALID;
}

static enum fm_err link_to(struct fm_bus *b, const char *address)
{
    (void)b, (void)address;
    return FM_OK;
}

static void unlink_from(struct fm_bus *b, const char *address)
{
    (void)b, (void)address;
}

static void drop(struct fm_bus *b, uint32_t pipe)
{
    (void)b, (void)pipe;
}

static const struct fm_bus_ops bus_ops = {
    .publish = publish, .ask = ask, .answer = answer, .link = link_to, .unlink = unlink_from, .drop = drop};

static struct fm_item *sent_take(struct fm_bus *b)
{
    struct fm_item *first = b->sent.first;
    b->sent = (struct sent){NULL, &b->sent.first};
    return first;
}

/* ---- hubs ---- */

static struct fm_retention retention(void *ctx, struct fm_slice topic)
{
    const struct fm_mesh_options *o = ctx;
    (void)topic;
    return o->history ? (struct fm_retention){(uint32_t)o->history, UINT64_MAX, 3600 * 1000} : (struct fm_retention){0};
}

static void to_worker(void *ctx, unsigned worker, struct fm_item *chain, bool lost)
{
    struct side *s = ctx;
    (void)worker, (void)lost;
    for (struct fm_item *next; chain; chain = next) {
        next = chain->next;
        s->received += chain->kind == FM_HUB_MSG;
        fm_hub_item_free(chain);
    }
}

static bool side_start(struct side *s, const struct fm_mesh_options *o, uint64_t incarnation, struct fm_now now)
{
    static const char *const names[] = {"publisher", "receiver"};
    struct fm_hub_config c;
    fm_hub_config_default(&c);
    s->bus.sent.last = &s->bus.sent.first;
    if (fm_seal_new(&s->seal, FM_LIT("mesh-bench"), o->clear ? (struct fm_slice){0} : FM_LIT("not a secret"), incarnation) != FM_OK)
        return false;
    c.incarnation = incarnation;
    c.name = c.bus_address = c.ask_address = names[incarnation - 1];
    c.log_bytes = o->log_bytes;
    c.retention = retention;
    c.retention_ctx = (void *)o;
    c.seal = s->seal;
    struct fm_hub_port port = {s, to_worker, &bus_ops, &s->bus};
    return fm_hub_new(&s->hub, &c, &port, now) == FM_OK;
}

/* ---- steps ---- */

static uint64_t step(struct fm_hub *hub, struct fm_now now, struct fm_item *chain)
{
    for (struct fm_item *next; chain; chain = next) {
        next = chain->next;
        fm_hub_handle(hub, now, chain);
    }
    return fm_hub_flush(hub, now);
}

/* The functions whose instructions are counted: what they do is `step`, but not for both sides and not for the warm-up. */
uint64_t fm_mesh_step_publisher(struct fm_hub *hub, struct fm_now now, struct fm_item *chain);
uint64_t fm_mesh_step_receiver(struct fm_hub *hub, struct fm_now now, struct fm_item *chain);

__attribute__((noinline)) uint64_t fm_mesh_step_publisher(struct fm_hub *hub, struct fm_now now, struct fm_item *chain)
{
    return step(hub, now, chain);
}

__attribute__((noinline)) uint64_t fm_mesh_step_receiver(struct fm_hub *hub, struct fm_now now, struct fm_item *chain)
{
    return step(hub, now, chain) + 1; /* so that the two are not folded into one */
}

static struct fm_item *chain_of_publishes(const struct fm_mesh_options *o, uint64_t number)
{
    struct fm_item *first = NULL, **last = &first;
    uint32_t n = o->batch < DRAIN ? (uint32_t)o->batch : DRAIN;
    for (uint32_t i = 0; i < DRAIN; i += n) {
        struct fm_publish *p = fm_mesh_publish(o, FM_NO_WORKER, number + i, i + n <= DRAIN ? n : DRAIN - i, 0);
        if (!p)
            abort();
        *last = &p->item;
        last = &p->item.next;
    }
    return first;
}

/* One drain of publishes, the way of its batches to the other hub, and the way of the acknowledgement back. */
static void round_trip(struct side s[HUBS], const struct fm_mesh_options *o, struct fm_now *at, uint64_t number, bool counted)
{
    at->mono_ms++, at->wall_ms++;
    const struct fm_now now = *at;
    struct fm_item *publishes = chain_of_publishes(o, number);
    (counted ? fm_mesh_step_publisher : step)(s[0].hub, now, publishes);
    struct fm_item *batches = sent_take(&s[0].bus);
    (counted ? fm_mesh_step_receiver : step)(s[1].hub, now, batches);
    (void)(counted ? fm_mesh_step_publisher : step)(s[0].hub, now, sent_take(&s[1].bus));
}

static bool meet(struct side s[HUBS], const struct fm_mesh_options *o, struct fm_now *now)
{
    for (unsigned i = 0; i < HUBS; i++) {
        struct fm_bus_item *up = bus_item(FM_BUS_UP, (struct fm_slice){0});
        up->dialled = i == 0;
        fm_hub_start(s[i].hub, *now);
        fm_hub_handle(s[i].hub, *now, &up->item);
    }
    for (uint64_t t = 0; t < o->topics; t++) {
        char topic[32];
        fm_mesh_topic(t, topic);
        for (unsigned i = o->silent ? HUBS : 1; i < HUBS; i++) {
            struct fm_join *j = fm_join_new(0, t, fm_slice_str(topic));
            if (!j)
                return false;
            fm_hub_handle(s[i].hub, *now, &j->item);
        }
    }
    for (unsigned round = 0; round < 20; round++) {
        now->mono_ms += 100, now->wall_ms += 100;
        for (unsigned i = 0; i < HUBS; i++) {
            step(s[i].hub, *now, sent_take(&s[1 - i].bus));
            fm_hub_tick(s[i].hub, *now);
        }
    }
    return fm_hub_stats(s[0].hub)->peers == 1 && fm_hub_stats(s[1].hub)->peers == 1;
}

enum fm_err fm_mesh_steps_run(const struct fm_mesh_options *o, struct fm_mesh_steps_result *result)
{
    struct side s[HUBS] = {0};
    struct fm_now now = {FM_AGE_MAX, 1700000000000};
    enum fm_err err = FM_E_NOMEM;
    if (!side_start(&s[0], o, 1, now) || !side_start(&s[1], o, 2, now) || !meet(s, o, &now))
        goto end;
    /* Logs and histories are full before it counts, so that every message pays for one that goes. */
    uint64_t number = 0, warm_up = o->log_bytes / (sizeof(struct fm_msg) + o->payload) + o->history * o->topics;
    uint64_t counted = (o->messages + DRAIN - 1) / DRAIN * DRAIN;
    for (; number < warm_up; number += DRAIN)
        round_trip(s, o, &now, number, false);
    uint64_t had = s[1].received, sent = s[0].bus.count;
    for (uint64_t until = number + counted; number < until; number += DRAIN)
        round_trip(s, o, &now, number, true);
    const struct fm_hub_stats *b = fm_hub_stats(s[1].hub);
    *result = (struct fm_mesh_steps_result){counted, o->silent ? counted : s[1].received - had, s[0].bus.count - sent};
    err = b->dispatched == number && b->holes == 0 && result->received == counted ? FM_OK : FM_E_IO;
end:
    for (unsigned i = 0; i < HUBS; i++) {
        for (struct fm_item *next, *it = s[i].bus.sent.first; it; it = next) {
            next = it->next;
            fm_hub_item_free(it);
        }
        fm_hub_free(&s[i].hub);
        fm_seal_free(&s[i].seal);
    }
    return err;
}
