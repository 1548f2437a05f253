/* Fuzz target: bodies of the requests that tell the cluster to do something. The first byte says what the path takes, the second what it
 * needs. */
#include "../../gateway/api/api_told.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* The uppermost bit stands for all members that have none of their own. */
static unsigned members_of(uint8_t bits)
{
    return (bits & 0x7fu) | (bits & 0x80 ? ((1u << FM_API_TOLD_N) - 1) & ~0x7fu : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct fm_rules *rules;
    struct fm_rule *rule;
    if (!rules)
        must(fm_rules_new(&rules) == FM_OK && fm_rules_add(rules, "room:*", &rule) == FM_OK);
    if (n < 2)
        return 0;
    const struct fm_api_limits limits = {.rules = rules, .timeout_ms = 2000, .ttl_ms = 1000, .ttl_max_ms = 60000, .meta_max = 256};
    unsigned takes = members_of(data[0]), needs = members_of(data[1]) & takes;
    struct fm_api_told told;
    struct fm_api_bad bad = {0};
    struct fm_slice body = fm_slice_of(data + 2, n - 2);
    enum fm_err err = fm_api_told_parse(&limits, takes, needs, body, &told, &bad);
    if (err) {
        must(bad.err == err && (!bad.has_at || bad.at <= body.n) && memchr(bad.detail, 0, sizeof bad.detail) != NULL);
        return 0;
    }
    must(told.user.n <= FM_USER_MAX && told.topic.n <= FM_TOPIC_MAX && told.reason.n <= FM_API_REASON_MAX);
    must(told.timeout_ms >= 1 && told.timeout_ms <= FM_API_TIMEOUT_MS_MAX);
    must(!(needs & FM_API_TOLD_USER) || told.user.n);
    must(!(needs & FM_API_TOLD_TOPIC) || fm_rules_match(rules, told.topic));
    must(told.ttl_ms >= 1 && told.ttl_ms <= 60000);
    must(told.key.n <= FM_PRESENCE_KEY_MAX && (!(needs & FM_API_TOLD_KEY) || told.key.n));
    must(told.meta.n >= 2 && told.meta.n <= 256 && told.meta.p[0] == '{' && told.meta.p[told.meta.n - 1] == '}');
    must((takes & FM_API_TOLD_CONNECTION) || told.connection.origin == 0);
    return 0;
}
