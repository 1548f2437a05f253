/* New rules, and the subs that are there: what may be pushed, and how, is looked up at the next push (fm_sub_rule); what may not be joined
 * any more is left, a slice of the subs in a turn of the loop. */
#include "worker_core.h"

enum { SLICE = 256 };

static bool may_join(const struct fm_rule *rule)
{
    return rule && rule->join != FM_WHO_NOBODY;
}

const struct fm_rule *fm_sub_rule(struct fm_sub *sub)
{
    const struct fm_worker *w = sub->socket->worker;
    if (sub->rules_age != w->rules_age) {
        sub->rule = fm_socket_rule(sub->socket, fm_sub_topic(sub));
        sub->rules_age = w->rules_age;
    }
    return sub->rule;
}

bool fm_sub_may_join(struct fm_sub *sub)
{
    return may_join(fm_sub_rule(sub));
}

void fm_subs_rules(struct fm_worker *w)
{
    struct fm_wtopic *t, *next;
    w->rules_age++;
    w->forbidding = false;
    HASH_ITER (hh, w->topics, t, next) {
        if (t->n == 0)
            continue;
        const struct fm_rule *rule = fm_socket_rule(t->slots[0].socket, fm_slice_of(t->name, t->name_n));
        t->forbidden = !may_join(rule);
        w->forbidding |= t->forbidden;
        if (rule)
            t->slow = (uint8_t)rule->slow;
    }
}

bool fm_subs_forbid(struct fm_worker *w)
{
    struct fm_wtopic *t, *next;
    uint32_t left = SLICE;
    HASH_ITER (hh, w->topics, t, next) {
        for (; t->forbidden && t->n > 0; left--) {
            if (left == 0)
                return true;
            struct fm_sub *sub = t->slots[t->n - 1].sub;
            fm_stat_add(&w->stats.forbidden, 1);
            sub->socket->proto->forbidden(sub);
        }
        t->forbidden = false;
    }
    w->forbidding = false;
    return false;
}
