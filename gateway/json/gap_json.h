/* What every protocol tells of a gap. */
#pragma once

#include "../../broker/hub.h"

/* The members of a JSON object, without its braces: reason, origin, from, to, and skipped where messages were left out. */
void fm_gap_members(struct fm_buf *b, const struct fm_gap *gap);
