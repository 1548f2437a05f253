/* What one process of a run found. The parts of all are added.
 *
 * -- owner only -- */
#pragma once

#include "fleet.h"
#include "publisher_stats.h"

struct fm_part {
    struct fm_tally tally;
    struct fm_fleet_stats fleet;
    struct fm_publisher_stats publisher;
    struct fm_tls_stats tls;
    struct fm_hdr latency; /* nanoseconds; without what was published in a storm, which is in: */
    struct fm_hdr stormy;
    struct fm_hdr reach;    /* from a message's stamp until all had it */
    struct fm_hdr recovery; /* fm_fleet_config */
    struct fm_hdr joins;
};

void fm_part_add(struct fm_part *to, const struct fm_part *from);
