/* New rules, and the subs that are there: what may be pushed, and how, is looked up at the next push (fm_sub_rule); who may not join any
 * more is told to leave, and who may not be shown any more, or told who is there, is not, a slice of the subs in a turn of the loop. The
 * same for the subs of a socket that is somebody else now. */
#include "worker_core.h"

enum { SLICE = 256 };

const struct fm_rule *fm_sub_rule(struct fm_sub *sub)
{
    const struct fm_worker *w = sub->socket->worker;
    if (sub->rules_age != w->rules_age) {
        sub->rule = fm_socket_rule(sub->socket, fm_sub_topic(sub));
        sub->rules_age = w->rules_age;
    }
    return sub->rule;
}

enum fm_err fm_sub_may_join(struct fm_sub *sub)
{
    const struct fm_rule *rule = fm_sub_rule(sub);
    return fm_socket_may(sub->socket, rule ? rule->join : FM_WHO_NOBODY, fm_sub_topic(sub), FM_RIGHT_JOIN);
}

static void judge(struct fm_worker *w, struct fm_sub *sub)
{
    sub->judge = false;
    enum fm_err err = fm_sub_may_join(sub);
    /* Who may stay until its time is over is not sent away because it is: that is the socket's business. */
    if (!err || err == FM_E_TOKEN_EXPIRED) {
        fm_sub_judge_presence(sub);
        return;
    }
    fm_stat_add(&w->stats.forbidden, 1);
    sub->socket->proto->forbidden(sub, err);
}

void fm_subs_rules(struct fm_worker *w)
{
    struct fm_wtopic *t, *next;
    w->rules_age++;
    w->forbidding = false;
    w->given_due = true;
    HASH_ITER (hh, w->topics, t, next) {
        if (t->n == 0)
            continue;
        const struct fm_rule *rule = fm_socket_rule(t->slots[0].socket, fm_slice_of(t->name, t->name_n));
        bool joins = !rule || rule->join != FM_WHO_ANYONE, presences = !rule || rule->presence != FM_WHO_ANYONE;
        t->judging = false;
        for (uint32_t i = 0; i < t->n; i++) {
            struct fm_sub *sub = t->slots[i].sub;
            sub->judge = !sub->given && (joins || (presences && (sub->end || t->slots[i].presence != FM_PRESENCE_NONE)));
            t->judging |= sub->judge;
        }
        w->forbidding |= t->judging;
        if (rule)
            t->slow = (uint8_t)rule->slow;
    }
}

/* Subs that leave, or are given something under way, change places: so it is done only where nobody is found who is to be judged. False:
 * the slice is over. */
static bool judge_some(struct fm_worker *w, struct fm_wtopic *t, uint32_t *left)
{
    bool found;
    do {
        found = false;
        for (uint32_t i = t->n; i > 0; i--) {
            struct fm_sub *sub = i <= t->n ? t->slots[i - 1].sub : NULL;
            if (!sub || !sub->judge)
                continue;
            if ((*left)-- == 0)
                return false;
            found = true;
            judge(w, sub);
        }
    } while (found);
    return true;
}

bool fm_subs_forbid(struct fm_worker *w)
{
    struct fm_wtopic *t, *next;
    uint32_t left = SLICE;
    HASH_ITER (hh, w->topics, t, next) {
        if (t->judging && !judge_some(w, t, &left))
            return true;
        t->judging = false;
    }
    w->forbidding = false;
    return false;
}

void fm_subs_judge(struct fm_socket *s)
{
    struct fm_sub *next;
    for (struct fm_sub *sub = s->subs; sub; sub = next) {
        next = sub->next;
        if (sub->joined) /* else its join is judged when it is answered */
            judge(s->worker, sub);
    }
}
