/* Any bytes as the params of a join: what they say of presence is a reason that fits an error reply, or a key and a meta that can be shown
 * as they are. The first byte chooses whether the topic has presences. */
#include "../../gateway/phoenix/phoenix.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_json params, meta;
    static struct fm_phx_presence p;
    if (n == 0 || fm_json_parse(fm_slice_of(data + 1, n - 1), FM_JSON_DEPTH, &params, NULL) != FM_OK || params.type != FM_JSON_OBJECT)
        return 0;
    struct fm_rule rule = {.presence = data[0] & 1 ? FM_WHO_ANYONE : FM_WHO_NOBODY};
    p = (struct fm_phx_presence){0};
    const char *reason = fm_phx_presence_param(&params, &rule, &p);
    if (reason) {
        must(*reason && strlen(reason) < 100 && !strpbrk(reason, "\"\\"));
        return 0;
    }
    must(rule.presence != FM_WHO_NOBODY || (!p.watch && !p.track));
    if (!p.track)
        return 0;
    must(p.shown.key.n <= FM_PRESENCE_KEY_MAX && fm_utf8_valid(p.shown.key));
    must(fm_json_parse(p.shown.meta, FM_JSON_DEPTH, &meta, NULL) == FM_OK && meta.type == FM_JSON_OBJECT && meta.raw.n == p.shown.meta.n);
    return 0;
}
