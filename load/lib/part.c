#include "part.h"

#include <stdio.h>

void fm_part_add(struct fm_part *to, const struct fm_part *from)
{
#define X(name, prose) to->tally.name += from->tally.name;
    FM_TALLY_TABLE(X)
#undef X
#define X(name, prose) to->fleet.name += from->fleet.name;
    FM_FLEET_STATS(X)
#undef X
#define X(name, prose) to->publisher.name += from->publisher.name;
    FM_PUBLISHER_STATS(X)
#undef X
#define LAST(field) \
    if (from->field) \
    to->field = from->field
    LAST(fleet.last_status);
    LAST(fleet.last_close);
    LAST(fleet.last_errno);
    LAST(publisher.last_status);
#undef LAST
    if (from->fleet.last_refusal[0])
        snprintf(to->fleet.last_refusal, sizeof to->fleet.last_refusal, "%s", from->fleet.last_refusal);
    to->tls.handshakes += from->tls.handshakes;
    to->tls.resumed += from->tls.resumed;
    if (from->tls.why[0])
        snprintf(to->tls.why, sizeof to->tls.why, "%s", from->tls.why);
    fm_hdr_merge(&to->latency, &from->latency);
    fm_hdr_merge(&to->stormy, &from->stormy);
    fm_hdr_merge(&to->reach, &from->reach);
    fm_hdr_merge(&to->recovery, &from->recovery);
    fm_hdr_merge(&to->joins, &from->joins);
}
