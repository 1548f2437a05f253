/* What is refused is counted, and told in the log with its reason; but whoever sends garbage must not fill the log: each reason is told
 * once a second at most, with the number of times since. */
#include "hub_core.h"

#include "diag.h"

#include <inttypes.h>

enum { TELL_EVERY_MS = 1000 };

void fm_refusal_tell(struct fm_hub *h, const char *event, const char *from, enum fm_err err)
{
    struct fm_told *r = &h->refusals[err];
    h->stats.envelopes_bad++;
    r->untold++;
    if (h->now.mono_ms < r->quiet_until_ms)
        return;
    fm_diag(FM_WARN, event, "from=%s code=%s times=%" PRIu64 " why=\"%s\"", from ? from : "?", fm_err_code(err), r->untold,
            fm_err_text(err));
    r->quiet_until_ms = h->now.mono_ms + TELL_EVERY_MS;
    r->untold = 0;
}
