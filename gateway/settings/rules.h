/* Per-topic rules, from the settings: `[topic "room:*"]`. A pattern is an exact name or a prefix with one `*` at its end; the longest
 * matching pattern wins, an exact name before all. A topic that matches none is refused. Immutable once built, shared by all threads. */
#pragma once

#include "../../broker/hub.h"
#include "fanmesh/handler.h"

/* Each in the order of the option's words. */
enum fm_who { FM_WHO_NOBODY, FM_WHO_ANYONE, FM_WHO_TOKEN /* whose token grants it on this topic (fm_who_may) */, FM_WHO_HOOK };
enum fm_push_to { FM_PUSH_ALL, FM_PUSH_OTHERS }; /* who gets what a client pushes */
enum fm_slow { FM_SLOW_DISCONNECT, FM_SLOW_DROP, FM_SLOW_CONFLATE };
enum fm_hook_failed { FM_HOOK_FAILED_REFUSE, FM_HOOK_FAILED_ALLOW };
enum fm_connect { FM_CONNECT_ANYONE, FM_CONNECT_TOKEN };

struct fm_rule {
    char pattern[FM_TOPIC_MAX + 1];
    enum fm_who join, push, presence;
    enum fm_push_to push_to;
    struct fm_retention history;
    uint32_t message_max; /* bytes of a payload, push and publish */
    enum fm_slow slow;
    uint32_t last;         /* messages that a join is given which asks for none itself */
    uint32_t pushes_per_s; /* of one socket to one topic; 0: no limit */
    /* Only in a table of handlers, where nothing above but the pattern counts: who decides. */
    fm_handler_fn *handler;
    void *handler_ctx;
};

struct fm_rules;

FM_MUST_CHECK enum fm_err fm_rules_new(struct fm_rules **rules);
void fm_rules_free(struct fm_rules **rules);
/* A new rule with the defaults (nobody joins, nobody pushes, no history). FM_E_SYNTAX: not a pattern, or it is there already. */
FM_MUST_CHECK enum fm_err fm_rules_add(struct fm_rules *rules, const char *pattern, struct fm_rule **rule);
FM_MUST_CHECK enum fm_err fm_rules_copy(struct fm_rules **rules, struct fm_rules *from);
/* In the order of matching; NULL past the last. For the settings' checks, before the rules are shared. */
struct fm_rule *fm_rules_at(struct fm_rules *rules, size_t i);
/* NULL: no rule matches. O(length of the topic), no allocation. */
const struct fm_rule *fm_rules_match(const struct fm_rules *rules, struct fm_slice topic);
/* For fm_hub_config.retention; ctx is a struct fm_rules. */
struct fm_retention fm_rules_retention(void *ctx, struct fm_slice topic);
/* For fm_hub_config.presence_allowed; likewise. */
bool fm_rules_presence(void *ctx, struct fm_slice topic);
