/* Commands that were lost on their way. A hole that no reachable node could fill is given up (repair.c), and may have held some; whoever
 * has them may be in reach again a moment later, and sees no reason to send them once more: its own log holds them.
 *
 * So the node that gave up publishes that it did, as a command: which messages of which origin. It reaches everybody, also who is cut off
 * now, as every command does. Those of them that stand somewhere are published again there, in turn as always (control.c), with their old
 * id and age. What does not stand (a disconnect, the end of a subscription) is over by then, and can't be had again. */
#include "hub_core.h"
#include "command.h"

void fm_recall_missed(struct fm_hub *h, uint64_t origin, uint64_t from, uint64_t to)
{
    struct fm_control *c = &h->control;
    h->stats.commands_missed++;
    fm_control_tell(h, "commands_missed", "what another node accepted is lost, and may have held commands",
                    "deletions and revocations among them are asked of the others; who was to be disconnected or unsubscribed by one may "
                    "still be there: ask for it again");
    if (fm_mutation(COMMANDS_NOT_RECALLED))
        return;
    for (uint32_t i = 0; i < c->missed_n; i++)
        if (c->missed[i].origin == 0)
            return;
    if (origin == 0 || c->missed_n == FM_MISSED_MAX) {
        c->missed[0] = (struct fm_missed){0};
        c->missed_n = 1;
        return;
    }
    c->missed[c->missed_n++] = (struct fm_missed){origin, from, to};
}

/* A node that takes over learns of many that are long answered, and holds nothing that those do not hold who answered them. */
void fm_recall_take(struct fm_hub *h, const struct fm_cluster_command *c, const struct fm_msg *m)
{
    const struct fm_missed missed = {c->connection.origin, c->connection.seq, c->number};
    if (!h->ready)
        return;
    h->stats.commands_recalled++;
    fm_control_recall(h, &missed, fm_command_asked_hub(c, m));
}

static enum fm_err ask(struct fm_hub *h, const struct fm_missed *missed)
{
    const struct fm_cluster_command c = {
        .kind = FM_COMMAND_RECALL, .at_ms = fm_cluster_ms(h), .connection = {missed->origin, missed->from}, .number = missed->to};
    struct fm_msg *m = fm_command_message(&c, fm_slice_of(NULL, 0));
    return m ? fm_publish_own(h, m, NULL) : FM_E_NOMEM;
}

void fm_recall_tend(struct fm_hub *h)
{
    struct fm_control *c = &h->control;
    if (!h->ready || h->draining || fm_backlog_full(h))
        return; /* later */
    while (c->missed_n && ask(h, &c->missed[c->missed_n - 1]) == FM_OK)
        c->missed_n--;
}
