/* Who else is there: hellos, states, membership. The bus only knows addresses and pipes; which node is behind a pipe is told by the
 * envelopes that come over it. */
#include "hub_core.h"

#include <assert.h>
#include <stdlib.h>

enum {
    HELLO_RARE_MS = 10 * 1000, /* a hello comes at least so often, */
    STATE_RARE_MS = 5 * 1000,  /* ... and a state that names all origins */
    ACK_EVERY = 4,             /* batches of one node */
    ACK_SOON_MS = 2,           /* where somebody waits for it */
    ACK_LATE_PART = 4,         /* of window_live_ms, where nobody does: an acknowledgement goes to all, so each costs n - 1 envelopes */
    /* Each link that comes up makes a hello to everybody due: so many at once when a cluster comes together, and then so often. */
    HELLO_BURST = 16,
    HELLO_COST_MS = 1000,
    PAUSES_EXCUSED = 3, /* of ours, since another was heard: one that hardly ever runs must also notice who is gone */
};

/* ---- the table ---- */

struct fm_peer *fm_peer_find(const struct fm_hub *h, uint64_t incarnation)
{
    for (uint32_t i = 0; i < h->peers_n; i++)
        if (h->peers[i].incarnation == incarnation)
            return (struct fm_peer *)&h->peers[i];
    return NULL;
}

void fm_peer_remove(struct fm_hub *h, uint32_t i)
{
    struct fm_peer *p = &h->peers[i];
    if (p->bus[0])
        h->port.bus_ops->unlink(h->port.bus, p->bus);
    fm_vector_fini(&p->has);
    fm_vector_fini(&p->passed);
    fm_vector_fini(&p->presence);
    h->peers[i] = h->peers[--h->peers_n];
    h->peers[h->peers_n] = (struct fm_peer){0};
}

/* Who makes room: who does not come back, and of those the longest dead. */
static bool goes_before(const struct fm_peer *a, const struct fm_peer *b)
{
    return a->left != b->left ? a->left : a->heard_ms < b->heard_ms;
}

static struct fm_peer *peer_get(struct fm_hub *h, uint64_t incarnation)
{
    struct fm_peer *p = fm_peer_find(h, incarnation);
    if (p)
        return p;
    if (h->peers_n == FM_PEERS_MAX) {
        uint32_t first = FM_PEERS_MAX;
        for (uint32_t i = 0; i < h->peers_n; i++)
            if (!h->peers[i].alive && (first == FM_PEERS_MAX || goes_before(&h->peers[i], &h->peers[first])))
                first = i;
        if (first == FM_PEERS_MAX)
            return NULL;
        fm_peer_remove(h, first);
    }
    p = &h->peers[h->peers_n++];
    *p = (struct fm_peer){.incarnation = incarnation, .heard_ms = h->now.mono_ms, .told_ms = h->now.mono_ms, .alone_ms = h->now.mono_ms};
    return p;
}

void fm_peer_say(const struct fm_peer *p, enum fm_diag_level level, const char *event, const char *more)
{
    char origin[FM_ORIGIN_TEXT_MAX + 1], name[FM_NAME_MAX * 4 + 3];
    fm_origin_print(p->incarnation, origin);
    fm_diag(level, event, "node=%s incarnation=%s mesh=%s%s", fm_diag_quote(name, sizeof name, p->name, strlen(p->name)), origin, p->bus,
            more);
}

bool fm_peer_suspect(const struct fm_hub *h, const struct fm_peer *p)
{
    return p->alive && h->now.mono_ms - p->heard_ms > FM_SUSPECT_AFTER * (uint64_t)h->config.heartbeat_ms;
}

unsigned fm_holder_rank(const struct fm_hub *h, const struct fm_peer *p, uint64_t origin, uint64_t last)
{
    return 1 + (fm_peer_suspect(h, p) ? 0 : 4) + (p->incarnation == last ? 0 : 2) + (p->incarnation == origin);
}

void fm_text_copy(char *to, size_t size, struct fm_slice s)
{
    size_t n = s.n < size - 1 ? s.n : size - 1;
    if (n)
        memcpy(to, s.p, n);
    to[n] = 0;
}

/* ---- sending ---- */

static void bus_send(struct fm_hub *h)
{
    if (h->scratch.failed) {
        h->scratch.failed = false;
        return;
    }
    if (h->links_n == 0)
        return;
    if (fm_seal_close(h->config.seal, FM_PLANE_BUS, (struct fm_env_bind){0}, fm_buf_view(&h->scratch), &h->sealed, NULL) != FM_OK)
        return;
    if (h->port.bus_ops->publish(h->port.bus, fm_buf_view(&h->sealed)) != FM_OK)
        fm_diag(FM_DEBUG, "mesh_send_failed", "bytes=%zu", h->sealed.n);
    else
        h->stats.bytes_out += h->sealed.n;
}

bool fm_hello_due(const struct fm_hub *h)
{
    return h->hello_due && h->hello_spent_ms < h->now.mono_ms + HELLO_BURST * HELLO_COST_MS;
}

static void hello_send(struct fm_hub *h)
{
    struct fm_env_hello hello = {
        .self = {h->self->id, fm_slice_str(h->config.name), fm_slice_str(h->config.bus_address), fm_slice_str(h->config.ask_address)}};
    for (uint32_t i = 0; i < h->peers_n && hello.n < FM_PEERS_MAX; i++) {
        const struct fm_peer *p = &h->peers[i];
        /* Also who is out of our reach now: it may be within another's, and the only way to it. Never what was only heard of, else the dead
         * would be handed on for ever. */
        if (p->met && !p->left)
            hello.peers[hello.n++] =
                (struct fm_env_peer){p->incarnation, fm_slice_str(p->name), fm_slice_str(p->bus), fm_slice_str(p->ask)};
    }
    h->scratch.n = 0;
    fm_env_hello_write(&h->scratch, &hello);
    bus_send(h);
    h->hello_rare_ms = h->now.mono_ms + HELLO_RARE_MS;
}

struct fm_env_load fm_load_of(const struct fm_hub *h)
{
    struct fm_env_load load = {0};
    if (h->config.load)
        h->config.load(h->config.load_ctx, &load);
    for (const struct fm_origin *o = h->origins; o; o = o->hh.next)
        load.missing += o->claimed > o->contig ? o->claimed - o->contig : 0;
    load.repaired = h->stats.repaired;
    load.dropped = h->stats.dropped; /* those that found our inbox full are among them: their numbers are missing, too */
    load.gaps = h->stats.gaps;
    return load;
}

void fm_state_send(struct fm_hub *h, bool full)
{
    struct fm_env_state s = {.flags = (h->ready ? FM_STATE_READY : 0) | (h->draining ? FM_STATE_DRAINING : 0) | (full ? FM_STATE_FULL : 0)};
    struct fm_origin *o, *tmp;
    HASH_ITER (hh, h->origins, o, tmp) {
        struct fm_peer *p = fm_peer_find(h, o->id);
        uint64_t idle_ms = o == h->self ? 0 : h->now.mono_ms - o->heard_ms;
        /* Of the long dead nothing is claimed any more, else they would be handed on for ever. */
        if (idle_ms >= h->config.cursor_ttl_ms / 2 && o != h->self && !(p && p->alive))
            s.unnamed_ms = fm_later(s.unnamed_ms, fm_blind_by(h, o));
        else if (full || (p && p->alive) || o == h->self)
            s.at[s.n++] = (struct fm_env_position){.origin = o->id,
                                                   .contig = o->contig,
                                                   .passed = o->passed,
                                                   .counter = p ? p->seen_counter : 0,
                                                   .idle_s = p && p->alive ? 0 : idle_ms / 1000,
                                                   .presence = o == h->self || (p && p->alive) ? fm_presence_version(h, o->id) : 0,
                                                   .near = p && p->alive ? 1 + h->now.mono_ms - p->spoke_ms : 0};
    }
    for (o = full ? h->origins : NULL; o; o = o->hh.next)
        o->said = o->contig;
    if (full) {
        h->said_ready = h->ready;
        h->said_all_ms = h->now.mono_ms;
    }
    s.load = fm_load_of(h);
    s.time_ms = fm_cluster_ms(h);
    s.blind_ms = h->blind_ms;
    s.unnamed_ms = fm_later(s.unnamed_ms, h->unnamed_ms);
    h->scratch.n = 0;
    fm_env_state_write(&h->scratch, &s);
    bus_send(h);
    h->ack_due_ms = 0;
    for (uint32_t i = 0; i < h->peers_n; i++)
        h->peers[i].unacked = 0;
}

/* Is there anything to say that a heartbeat about the live nodes alone would not? */
static bool has_news(const struct fm_hub *h)
{
    if (h->ready != h->said_ready)
        return true;
    for (const struct fm_origin *o = h->origins; o; o = o->hh.next) {
        if (o->said == o->contig || o == h->self)
            continue;
        const struct fm_peer *p = fm_peer_find(h, o->id);
        if (!p || !p->alive)
            return true;
    }
    return false;
}

/* Every start of a node is an origin that is remembered for a day, and nearly all of those are dead and complete: they are named only while
 * links are new, when there is news of them, and now and then, since any envelope may be lost. */
static void heartbeat_send(struct fm_hub *h)
{
    bool links_new = h->now.mono_ms < h->hello_often_ms, rare = h->now.mono_ms >= h->said_all_ms + STATE_RARE_MS;
    fm_state_send(h, links_new || rare || has_news(h));
}

void fm_bye_send(struct fm_hub *h)
{
    h->scratch.n = 0;
    fm_env_bye_write(&h->scratch, h->self->contig);
    bus_send(h);
}

/* ---- receiving ---- */

static void hello_take(struct fm_hub *h, struct fm_peer *p, struct fm_slice body)
{
    struct fm_env_hello hello;
    if (fm_env_hello_read(body, &hello) != FM_OK || hello.self.incarnation != p->incarnation) {
        fm_refusal_tell(h, "envelope_refused", p->bus, FM_E_SYNTAX, 1);
        return;
    }
    bool known = p->met;
    fm_text_copy(p->name, sizeof p->name, hello.self.name);
    fm_text_copy(p->bus, sizeof p->bus, hello.self.bus);
    fm_text_copy(p->ask, sizeof p->ask, hello.self.ask);
    p->met = true;
    for (uint32_t i = 0; i < h->peers_n; i++) { /* the same address under a new incarnation: the old one is dead */
        struct fm_peer *old = &h->peers[i];
        if (old != p && strcmp(old->bus, p->bus) == 0 && !old->left && !fm_peer_linked(h, old)) {
            old->left = true;
            old->alive = false;
        }
    }
    uint64_t self = p->incarnation;
    for (uint32_t i = 0; i < hello.n; i++) {
        const struct fm_env_peer *other = &hello.peers[i];
        if (other->incarnation == h->self->id || other->incarnation == 0 || fm_peer_find(h, other->incarnation))
            continue;
        struct fm_peer *n = peer_get(h, other->incarnation);
        if (!n)
            break;
        fm_text_copy(n->name, sizeof n->name, other->name);
        fm_text_copy(n->bus, sizeof n->bus, other->bus);
        fm_text_copy(n->ask, sizeof n->ask, other->ask);
        n->left = strcmp(n->bus, h->config.bus_address) == 0; /* an earlier life of this node */
        h->links_due_ms = h->now.mono_ms;
    }
    p = fm_peer_find(h, self);
    if (p && !known) {
        h->hello_due = true; /* so that the others learn of it from us */
        fm_peer_say(p, FM_INFO, "peer_met", "");
        if (p->name[0] && fm_slice_eq(fm_slice_str(p->name), fm_slice_str(h->config.name)))
            fm_peer_say(p, FM_WARN, "same_name",
                        " why=\"this node has the same name\" then=\"both work; give each its own `name`, for people to tell them apart\"");
    }
}

static void state_take(struct fm_hub *h, struct fm_peer *p, struct fm_slice body)
{
    struct fm_env_state s;
    if (fm_env_state_read(body, &s) != FM_OK) {
        fm_refusal_tell(h, "envelope_refused", p->bus, FM_E_SYNTAX, 1);
        return;
    }
    p->ready = s.flags & FM_STATE_READY;
    p->draining = s.flags & FM_STATE_DRAINING;
    p->load = s.load;
    if (s.flags & FM_STATE_FULL)
        p->has.n = p->passed.n = p->presence.n = 0; /* what it does not claim any more it can't give */
    fm_blind_heard(h, &s);
    for (uint32_t i = 0; i < s.n; i++) {
        const struct fm_env_position *at = &s.at[i];
        fm_presence_claimed(h, p, at);
        if (at->passed && fm_vector_set(&p->passed, at->origin, at->passed) != FM_OK)
            continue;
        if (fm_vector_set(&p->has, at->origin, at->contig) != FM_OK)
            continue;
        if (at->origin == h->self->id) {
            if (at->counter > p->acked_counter) {
                p->acked_counter = at->counter;
                p->lag_ms = h->now.mono_ms;
            }
            continue;
        }
        struct fm_origin *o = fm_origin_find(h, at->origin);
        uint64_t idle_ms = fm_least(at->idle_s, FM_AGE_MAX / 1000) * 1000;
        if (!o)
            o = fm_origin_get(h, at->origin, h->now.mono_ms > idle_ms ? h->now.mono_ms - idle_ms : 0);
        if (o)
            fm_origin_claim(o, at->contig);
        else
            fm_origin_refused(h, at->origin, at->contig);
    }
    p->told |= (s.flags & FM_STATE_FULL) != 0;
    fm_in_flight_settle(h);
    if (h->in_flight_n == 0 || p->acked_counter >= h->in_flight[(h->in_flight_head + h->in_flight_n - 1) % 16])
        p->lag_ms = 0;
    if (!h->ready && !h->target_known && p->ready && p->met && s.flags & FM_STATE_FULL)
        h->target_known = fm_vector_copy(&h->target, &p->has) == FM_OK && fm_vector_copy(&h->presence.target, &p->presence) == FM_OK;
}

static void peer_heard(struct fm_hub *h, struct fm_peer *p)
{
    p->heard_ms = p->spoke_ms = h->now.mono_ms;
    if (p->told)
        p->told_ms = h->now.mono_ms;
    struct fm_origin *o = fm_origin_find(h, p->incarnation);
    if (o)
        o->heard_ms = h->now.mono_ms; /* one that publishes nothing is not dead for that */
    p->left &= p->bye;
    p->excused = 0;
    if (p->alive || p->left || !p->met)
        return;
    p->alive = true;
    p->lag_ms = 0;
    fm_peer_say(p, FM_INFO, "peer_up", "");
}

/* Older than what that node was heard to say. */
static void old_take(struct fm_hub *h, const struct fm_bus_item *it, const struct fm_peer *p, bool again)
{
    struct fm_link *l = fm_link_find(h, it->pipe);
    if (l && l->peer != p->incarnation)
        fm_stranger_late(h, l);
    else if (l && again)
        fm_link_refuse(h, it->pipe, FM_E_REPLAY, 1); /* no link brings the same twice */
}

static void ack_owe(struct fm_hub *h, struct fm_peer *p, bool soon)
{
    uint64_t wait_ms = soon ? ACK_SOON_MS : h->config.window_live_ms / ACK_LATE_PART;
    if (++p->unacked >= ACK_EVERY)
        wait_ms = 0;
    uint64_t due_ms = h->now.mono_ms + wait_ms;
    h->ack_due_ms = h->ack_due_ms ? fm_least(h->ack_due_ms, due_ms) : due_ms;
}

void fm_envelope_handle(struct fm_hub *h, struct fm_bus_item *it)
{
    struct fm_env env;
    enum fm_err err = fm_seal_open(h->config.seal, FM_PLANE_BUS, (struct fm_env_bind){0}, it->bytes, it->n, &env);
    h->stats.envelopes_in++;
    h->stats.bytes_in += it->n;
    if (err) {
        fm_link_refuse(h, it->pipe, err, 1);
        return;
    }
    if (env.incarnation == h->self->id) {
        fm_link_to_self(h, it->pipe);
        return;
    }
    struct fm_peer *p = peer_get(h, env.incarnation);
    if (!p)
        return;
    bool again = !fm_link_heard(h, it->pipe, env.incarnation, env.counter);
    /* Over a second link everything comes again with the same counter: that is how a pair is noticed. */
    if (env.counter < p->seen_counter) {
        old_take(h, it, p, again);
        return;
    }
    fm_link_of(h, it->pipe, p);
    if (env.counter == p->seen_counter)
        return;
    p->seen_counter = env.counter;
    switch (fm_env_type(env.body)) {
    case FM_ENV_HELLO:
        hello_take(h, p, env.body);
        break;
    case FM_ENV_STATE:
        state_take(h, p, env.body);
        break;
    case FM_ENV_RANGE:
        h->live = true;
        ack_owe(h, p, fm_range_apply(h, p, env.body, false));
        break;
    case FM_ENV_PRESENCE:
        fm_presence_apply(h, p, env.body);
        break;
    case FM_ENV_BYE:
        fm_presence_bye(h, p->incarnation);
        p->left = p->bye = true;
        p->alive = false;
        fm_peer_say(p, FM_INFO, "peer_left", "");
        h->port.bus_ops->unlink(h->port.bus, p->bus);
        break;
    case FM_ENV_PULL:
    case FM_ENV_PRESENCE_PULL:
    default:
        fm_refusal_tell(h, "envelope_refused", p->bus, FM_E_SYNTAX, 1);
        break;
    }
    p = fm_peer_find(h, env.incarnation);
    if (p)
        peer_heard(h, p);
}

/* ---- time ---- */

void fm_peers_start(struct fm_hub *h)
{
    if (h->port.bus_ops)
        fm_seeds_link(h);
}

static void peers_expire(struct fm_hub *h)
{
    uint64_t alive = 0;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        struct fm_peer *p = &h->peers[i];
        if (p->alive && h->now.mono_ms - p->heard_ms > h->config.down_ms) {
            p->alive = false;
            fm_peer_say(p, FM_WARN, "peer_down",
                        " why=\"nothing was heard of it for down_ms\" then=\"it is dialled again until it is back\"");
            /* The connection may be half open: only closing it makes the dialler try again. */
            for (uint32_t k = 0; k < h->links_n; k++)
                if (h->links[k].peer == p->incarnation)
                    fm_link_drop(h, &h->links[k]);
        }
        alive += p->alive;
    }
    h->stats.peers = alive;
}

void fm_peers_tick(struct fm_hub *h)
{
    if (!h->port.bus_ops)
        return;
    if (fm_hello_due(h)) {
        h->hello_due = false;
        h->hello_spent_ms = fm_later(h->hello_spent_ms, h->now.mono_ms) + HELLO_COST_MS;
        /* The heartbeat stays due when it was: a stranger that dials and is refused again and again must not keep us from noticing who is
         * silent. */
        hello_send(h);
        fm_state_send(h, true);
    }
    if (h->now.mono_ms >= h->heartbeat_due_ms) {
        h->heartbeat_due_ms = h->now.mono_ms + h->config.heartbeat_ms;
        peers_expire(h);
        fm_origins_settle(h);
        fm_isolation_check(h);
        fm_strangers_expire(h);
        /* A hello may be lost, and who never got it takes us for nobody: none of our messages could be pulled from us. */
        if (h->now.mono_ms < h->hello_often_ms || h->now.mono_ms >= h->hello_rare_ms)
            hello_send(h);
        heartbeat_send(h);
    }
    if (h->ack_due_ms && h->now.mono_ms >= h->ack_due_ms)
        fm_state_send(h, false);
    if (h->now.mono_ms >= h->links_due_ms)
        fm_links_tend(h);
    if (!fm_everyone_linked(h))
        h->doubted_ms = h->now.mono_ms;
}

void fm_peers_paused(struct fm_hub *h, uint64_t ms)
{
    h->paused_ms = h->now.mono_ms;
    for (uint32_t i = 0; i < h->peers_n; i++) {
        struct fm_peer *p = &h->peers[i];
        p->heard_ms += p->excused++ < PAUSES_EXCUSED ? ms : 0;
        p->told = false; /* what they have now is not what they said then */
    }
    for (uint32_t i = 0; i < h->links_n; i++) {
        struct fm_link *l = &h->links[i];
        l->heard_ms += l->excused++ < PAUSES_EXCUSED ? ms : 0;
    }
}

void fm_peers_free(struct fm_hub *h)
{
    for (uint32_t i = 0; i < h->peers_n; i++) {
        fm_vector_fini(&h->peers[i].has);
        fm_vector_fini(&h->peers[i].passed);
        fm_vector_fini(&h->peers[i].presence);
    }
    free(h->links);
}
