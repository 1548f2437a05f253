/* What is published here goes out: in batches, of which only so many are under way at once. */
#include "hub_core.h"

/* ---- writing ranges ---- */

/* Is it of use to know soon who has what is sent now? Else the acknowledgement may wait for what comes with it. */
static uint64_t soon(const struct fm_hub *h)
{
    return h->waiters || h->draining || h->in_flight_n >= h->config.window / 2 ? FM_RANGE_SOON : 0;
}

uint64_t fm_range_write(struct fm_hub *h, struct fm_origin *o, uint64_t from, uint64_t to, size_t bytes, uint64_t *size)
{
    struct fm_env_range_writer w;
    struct fm_buf *b = &h->scratch;
    b->n = 0;
    fm_env_range_begin(
        &w, b,
        &(struct fm_env_range){
            .flags = soon(h), .origin = o->id, .from = from, .contig = o->contig, .forgotten = o->forgotten, .lost = o->lost});
    struct fm_log_iter it = fm_log_from(&o->log, from);
    uint64_t upto = to;
    for (struct fm_log_entry *e = fm_log_next(&it); e && e->seq <= to; e = fm_log_next(&it)) {
        if (b->n >= bytes) {
            upto = e->seq - 1;
            break;
        }
        if (e->msg) {
            fm_env_range_msg(&w, e->msg, fm_msg_age_ms(h, e->msg));
            *size += fm_msg_size(e->msg);
        } else {
            fm_env_range_tomb(&w, fm_slice_of(e->pos->topic->name, e->pos->topic->name_n), e->seq);
        }
    }
    /* With authority only up to contig: behind it are holes of our own. */
    if (upto > o->contig)
        upto = o->contig;
    if (upto < from - 1)
        upto = from - 1;
    fm_env_range_finish(&w, upto);
    return upto;
}

/* ---- pacing: batches in flight ---- */

static uint64_t in_flight_at(const struct fm_hub *h, uint32_t i)
{
    return h->in_flight[(h->in_flight_head + i) % 16];
}

/* A peer holds the window while it acknowledges; one that doesn't within window_live_ms drops out of it, notices its hole, and pulls. */
static bool holds(const struct fm_hub *h, const struct fm_peer *p)
{
    return p->alive && p->met && fm_peer_linked(h, p) && (p->lag_ms == 0 || h->now.mono_ms - p->lag_ms <= h->config.window_live_ms);
}

bool fm_in_flight_settle(struct fm_hub *h)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < h->peers_n; i++)
        if (holds(h, &h->peers[i]) && h->peers[i].acked_counter < least)
            least = h->peers[i].acked_counter;
    while (h->in_flight_n && in_flight_at(h, 0) <= least) {
        h->in_flight_head = (h->in_flight_head + 1) % 16;
        h->in_flight_n--;
    }
    return h->in_flight_n < h->config.window;
}

static void batch_sent(struct fm_hub *h, uint64_t counter)
{
    h->in_flight[(h->in_flight_head + h->in_flight_n++) % 16] = counter;
    h->stats.batches_out++;
    h->stats.bytes_out += h->sealed.n;
    for (uint32_t i = 0; i < h->peers_n; i++)
        if (h->peers[i].lag_ms == 0)
            h->peers[i].lag_ms = h->now.mono_ms;
}

static void sent_up_to(struct fm_hub *h, uint64_t seq, uint64_t size)
{
    h->sent = seq;
    /* What was evicted before it left is in no batch. */
    h->backlog = seq == h->self->contig || size > h->backlog ? 0 : h->backlog - size;
}

bool fm_backlog_full(const struct fm_hub *h)
{
    return h->backlog >= h->config.backlog_bytes || h->backlog >= h->config.log_bytes / 2;
}

static void batches_send(struct fm_hub *h)
{
    struct fm_origin *o = h->self;
    if (h->links_n == 0) { /* who comes later pulls */
        sent_up_to(h, o->contig, 0);
        return;
    }
    while (h->sent < o->contig) {
        if (!fm_in_flight_settle(h)) {
            h->stats.window_waits++;
            return;
        }
        uint64_t size = 0, upto = fm_range_write(h, o, h->sent + 1, o->contig, h->config.batch_bytes, &size);
        uint64_t counter;
        if (h->scratch.failed ||
            fm_seal_close(h->config.seal, FM_PLANE_BUS, (struct fm_env_bind){0}, fm_buf_view(&h->scratch), &h->sealed, &counter) != FM_OK) {
            h->scratch.failed = false;
            return; /* no memory: the heartbeat's claim makes the others pull */
        }
        if (h->port.bus_ops->publish(h->port.bus, fm_buf_view(&h->sealed)) != FM_OK)
            return;
        batch_sent(h, counter);
        sent_up_to(h, upto, size);
    }
}

void fm_batches_send(struct fm_hub *h)
{
    batches_send(h);
    fm_stat_set(&h->stats.backlog_bytes, h->backlog);
}
