#include "run.h"

uint64_t fm_run_joined(const struct fm_run *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->options.processes; i++)
        sum += r->board->shares[i].joined;
    return sum;
}

uint64_t fm_run_deliveries(const struct fm_run *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->options.processes; i++)
        sum += r->board->shares[i].deliveries;
    return sum;
}

/* Why clients don't get in: the leader may have to say so before the process has ended. */
static void note_failures(struct fm_run *r)
{
    if (fm_fleet_stats(r->fleet)->joined == fm_fleet_clients(r->fleet))
        return;
    r->share->part.fleet = *fm_fleet_stats(r->fleet);
    if (r->tls)
        r->share->part.tls = *fm_tls_stats(r->tls);
}

uint64_t fm_run_step(struct fm_run *r)
{
    fm_loop_step(&r->loop, 1);
    uint64_t now = fm_mono_ns();
    fm_fleet_tick(r->fleet, now);
    if (r->pushers)
        fm_fleet_tick(r->pushers, now);
    note_failures(r);
    atomic_store_explicit(&r->share->joined, fm_fleet_stats(r->fleet)->joined, memory_order_relaxed);
    atomic_store_explicit(&r->share->deliveries, r->share->part.tally.deliveries, memory_order_relaxed);
    if (r->publisher)
        atomic_store_explicit(&r->share->sent, fm_publisher_stats(r->publisher)->sent, memory_order_relaxed);
    uint64_t deliveries = r->role == FM_ROLE_LEADER ? fm_run_deliveries(r) : r->share->part.tally.deliveries;
    if (r->last_deliveries != deliveries) {
        r->last_deliveries = deliveries;
        r->last_ns = now;
    }
    return now;
}

bool fm_run_complete(const struct fm_run *r)
{
    bool all = true, unanswered = r->options.api.n == 0 && !r->framing->answers_pushes;
    if (r->common && r->board->open)
        return false;
    for (uint64_t t = 0; t < r->options.topics; t++)
        all = all && r->ledgers[t].open == 0 && (r->ledgers[t].silent == 0 || unanswered);
    return all;
}

uint64_t fm_run_settle_ns(const struct fm_run *r)
{
    bool leader = r->role == FM_ROLE_LEADER;
    bool pending = r->publisher && fm_publisher_pending(r->publisher);
    bool away =
        (leader ? fm_run_joined(r) < r->options.connections : fm_fleet_stats(r->fleet)->joined < fm_fleet_clients(r->fleet)) || pending;
    uint64_t ms = away && r->options.connect_ms > r->options.settle_ms ? r->options.connect_ms : r->options.settle_ms;
    return ms * 1000000u;
}

void fm_run_judge(struct fm_run *r)
{
    struct fm_part *part = &r->share->part;
    if (r->publisher)
        fm_publisher_settle(r->publisher);
    if (r->common && r->role == FM_ROLE_LEADER)
        fm_board_judge(r->board, r->ledgers);
    if (r->role != FM_ROLE_STORM && !r->options.no_verify)
        fm_fleet_judge(r->fleet, &r->gone);
    part->fleet = *fm_fleet_stats(r->fleet);
    if (r->publisher)
        part->publisher = *fm_publisher_stats(r->publisher);
    if (r->tls)
        part->tls = *fm_tls_stats(r->tls);
}
