/* What the log says of commands: one line on the node that was told, and one on each node that did something, how much. (Reasons and texts
 * are their givers' own, and stay out of it.)
 *
 * Most is done by the workers, so a node's line waits until all of them have said what they did, as for who asks over the API (gather.c).
 */
#include "hub_core.h"
#include "command.h"

#include <inttypes.h>

enum { FRESH_MS = 10 * 1000 };

static const struct {
    const char *name, *of;
} kinds[FM_COMMAND_KINDS] = {
    [FM_COMMAND_DISCONNECT] = {"disconnect", "connections"}, [FM_COMMAND_UNSUBSCRIBE] = {"unsubscribe", "channels"},
    [FM_COMMAND_DELETE] = {"delete_history", "messages"},    [FM_COMMAND_REVOKE] = {"revoke", "connections"},
    [FM_COMMAND_UNTRACK] = {"hide_presence", "presences"},   [FM_COMMAND_RECALL] = {NULL, NULL},
};

/* ` name=text`; nothing where it is empty. */
static void member(struct fm_buf *b, const char *name, struct fm_slice text)
{
    char quote[4 * (FM_USER_MAX > FM_TOPIC_MAX ? FM_USER_MAX : FM_TOPIC_MAX) + 3];
    if (text.n)
        fm_buf_printf(b, " %s=%s", name, fm_diag_quote(quote, sizeof quote, (const char *)text.p, text.n));
}

static void say(const char *event, uint32_t kind, struct fm_id id, struct fm_slice user, struct fm_slice topic, struct fm_buf *more)
{
    char text[FM_ID_TEXT_MAX + 1];
    struct fm_buf b = {0};
    fm_id_print(id, text);
    fm_buf_printf(&b, "command=%s id=%s", kinds[kind].name, text);
    member(&b, "user", user);
    member(&b, "topic", topic);
    fm_buf_slice(&b, fm_buf_view(more));
    if (!b.failed && !more->failed)
        fm_diag(FM_INFO, event, "%.*s", (int)b.n, (const char *)b.p);
    fm_buf_fini(&b);
}

void fm_command_say_taken(struct fm_hub *h, const struct fm_cluster_command *c, const struct fm_msg *m)
{
    if (c->kind >= FM_COMMAND_KINDS || !kinds[c->kind].name || !h->ready)
        return; /* a node that takes over learns of many that are long done */
    bool first = m->id.origin == c->id.origin && m->id.seq == c->id.seq;
    if (first && m->id.origin == h->self->id) {
        char text[FM_ID_TEXT_MAX + 1];
        struct fm_buf more = {0};
        if (c->connection.origin) {
            fm_id_print(c->connection, text);
            fm_buf_printf(&more, " connection=%s", text);
        }
        say("command_taken", c->kind, c->id, c->user, c->topic, &more);
        fm_buf_fini(&more);
    }
    bool fresh = first && (int64_t)h->now.mono_ms - fm_command_asked_hub(c, m) < FRESH_MS;
    if (!fm_gather_done(h, c, fresh))
        h->control.unsaid++;
}

void fm_command_say_done(struct fm_hub *h, const struct fm_command_report *r, uint64_t n, bool all)
{
    struct fm_buf more = {0};
    if (n == 0 && !r->fresh)
        return;
    fm_buf_printf(&more, " %s=%" PRIu64, kinds[r->kind].of, n);
    if (!all)
        fm_buf_str(&more, " at_least=true"); /* a worker has not answered yet */
    if (h->control.unsaid)
        fm_buf_printf(&more, " unlogged_before=%" PRIu64, h->control.unsaid);
    h->control.unsaid = 0;
    say("command_done", r->kind, r->id, r->user, r->topic, &more);
    fm_buf_fini(&more);
}
