/* What is drawn for a run from its seed, before it begins. */
#include "sim_world.h"

static unsigned troubles_draw(struct fm_sim_rand *r)
{
    static const unsigned kinds[] = {
        FM_SIM_SPLIT | FM_SIM_ISOLATE,
        FM_SIM_CUT_PAIR | FM_SIM_CUT_ONE_WAY | FM_SIM_CHAIN,
        FM_SIM_RESET | FM_SIM_HALF_OPEN | FM_SIM_DELAY,
        FM_SIM_KILL,
        FM_SIM_KILL | FM_SIM_LEAVE | FM_SIM_SPLIT,
        FM_SIM_ROLLING,
        FM_SIM_COLD_START | FM_SIM_KILL | FM_SIM_CUT_ONE_WAY,
        FM_SIM_CLOCK, /* with the hubs as honest as in a calm run: nothing is lost by it */
        FM_SIM_CLOCK | FM_SIM_KILL | FM_SIM_SPLIT,
        FM_SIM_FREEZE | FM_SIM_OVERRUN,
        FM_SIM_LEAVE | FM_SIM_FREEZE | FM_SIM_CUT_PAIR,
        (1u << FM_SIM_TROUBLES) - 1,
    };
    return kinds[fm_sim_rand_below(r, sizeof kinds / sizeof kinds[0])];
}

void fm_sim_plan_draw(struct fm_sim_plan *plan, uint64_t seed)
{
    struct fm_sim_rand r = fm_sim_rand_of(seed, "plan");
    *plan = (struct fm_sim_plan){
        .nodes = 5,
        .workers = (unsigned)fm_sim_rand_between(&r, 1, FM_SIM_WORKERS_MAX),
        .topics = (unsigned)fm_sim_rand_between(&r, 2, 6),
        .clients = 20,
        .run_ms = fm_sim_rand_between(&r, 8000, 20000),
        .publish_us = fm_sim_rand_between(&r, 15, 80) * FM_SIM_MS,
        .burst_max = (uint32_t)fm_sim_rand_between(&r, 3, 60),
        .move_us = fm_sim_rand_between(&r, 1500, 8000) * FM_SIM_MS,
        .batch_bytes = fm_sim_rand_chance(&r, 300000) ? 1500 : 64 << 10,
        .gap_ms = (uint32_t)fm_sim_rand_between(&r, 3000, 7000),
        .repair_after_ms = (uint32_t)fm_sim_rand_between(&r, 20, 120),
        .window = (uint32_t)fm_sim_rand_between(&r, 4, 15),
        .keyed_ppm = 300000,
        .retry_ppm = 250000,
        .replicated_ppm = 250000,
        .faults = {.delay_us_min = 100,
                   .delay_us_max = fm_sim_rand_between(&r, 300, 15000),
                   .spike_us = fm_sim_rand_between(&r, 10, 400) * FM_SIM_MS,
                   .spike_ppm = (uint32_t)fm_sim_rand_below(&r, 3000),
                   .loss_ppm = (uint32_t)fm_sim_rand_below(&r, 50000),
                   .dup_ppm = (uint32_t)fm_sim_rand_below(&r, 30000),
                   .ask_loss_ppm = (uint32_t)fm_sim_rand_below(&r, 30000),
                   .ask_dup_ppm = (uint32_t)fm_sim_rand_below(&r, 30000),
                   .send_us = fm_sim_rand_below(&r, 200),
                   .detect_us_min = 100 * FM_SIM_MS,
                   .detect_us_max = fm_sim_rand_between(&r, 200, 9000) * FM_SIM_MS,
                   .reorder_in_link = fm_sim_rand_chance(&r, 100000)},
    };
    if (fm_sim_rand_chance(&r, 250000))
        return; /* calm */
    plan->trouble_us = fm_sim_rand_between(&r, 700, 4000) * FM_SIM_MS;
    plan->troubles = troubles_draw(&r);
    if (fm_sim_rand_chance(&r, 150000)) {
        plan->apart = (unsigned)fm_sim_rand_between(&r, 1, (1u << plan->nodes) - 2);
        plan->apart_ms = fm_sim_rand_between(&r, 4000, 9000);
    }
    plan->evicts = fm_sim_rand_chance(&r, 300000);
    plan->short_lived = plan->evicts && fm_sim_rand_chance(&r, 400000);
    if (plan->evicts && fm_sim_rand_chance(&r, 400000)) {
        plan->capped = (unsigned)fm_sim_rand_between(&r, 1, (1u << plan->nodes) - 1);
        plan->memory_bytes = fm_sim_rand_between(&r, 2, 40) << 10;
    }
}
