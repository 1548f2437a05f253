/* The program's subscriptions (include/fanmesh/subscribe.h).
 *
 * Each has its own position: what a message's origin and seq are held against, so that nothing is told twice; what a read-again begins
 * from; and what fm_notice_cursor writes. There are few of them, so none of a worker's sharing is needed. */
#include "program_core.h"

#include "../json/json_slice.h"

#include "../../broker/diag.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { WARN_EVERY_MS = 10000 };

enum reread { REREAD_NONE, REREAD_WANTED, REREAD_ASKED };

struct end_item { /* FM_PROGRAM_UNSUBSCRIBE */
    struct fm_item item;
    uint64_t id;
};

struct told { /* what a notice is the beginning of */
    struct fm_notice notice;
    const struct fm_subscription *sub;
};

struct fm_subscription {
    struct fm_item item; /* FM_PROGRAM_SUBSCRIBE; first */
    struct fm_program *program;
    struct fm_leave *leave; /* there from the start, so that an end needs no memory */
    struct fm_join *join;   /* until it is posted */
    fm_notice_fn *fn;
    void *ctx;
    /* The callback thread's own. */
    UT_hash_handle hh;
    bool ending;                          /* no notice comes any more but the last */
    struct fm_subscription *next, **link; /* of its topic */
    struct fm_program_topic *topic;       /* NULL until joined */
    uint64_t id;
    enum reread reread;
    bool gap_missed;     /* a gap was declared while messages were left out */
    struct fm_vector at; /* up to here it was told everything */
    char name[];
};

/* ---- telling ---- */

static void tell(const struct fm_subscription *sub, struct fm_notice n)
{
    n.node = sub->program->config.node;
    n.subscription = sub->id;
    n.topic = sub->name;
    const struct told told = {n, sub};
    sub->fn(&told.notice, sub->ctx);
}

static void text_of(struct fm_slice s, char *out)
{
    memcpy(out, s.p, s.n);
    out[s.n] = 0;
}

static void tell_message(struct fm_subscription *sub, const struct fm_msg *m)
{
    char event[FM_EVENT_MAX + 1], key[FM_KEY_MAX + 1], conflation_key[FM_KEY_MAX + 1];
    text_of(fm_msg_event(m), event);
    text_of(fm_msg_key(m), key);
    text_of(fm_msg_conflation_key(m), conflation_key);
    const struct fm_message message = {.topic = sub->name,
                                       .event = event,
                                       .payload = fm_msg_payload(m).p,
                                       .payload_n = m->payload_n,
                                       .binary = (m->flags & FM_MSG_BINARY) != 0,
                                       .key = m->key_n ? key : NULL,
                                       .conflation_key = m->conflation_key_n ? conflation_key : NULL,
                                       .id = m->id,
                                       .ts_ms = m->ts_ms};
    fm_position_raise(&sub->at, m->id);
    tell(sub, (struct fm_notice){.kind = FM_NOTICE_MESSAGE, .message = &message});
    atomic_fetch_add_explicit(&sub->program->stats.deliveries, 1, memory_order_relaxed);
}

/* Once only, and nothing of an origin before what it was told already. */
static void give(struct fm_subscription *sub, const struct fm_msg *m)
{
    if (!sub->ending && m->id.seq > fm_vector_get(&sub->at, m->id.origin))
        tell_message(sub, m);
}

static void raise(struct fm_subscription *sub, const struct fm_vector *to)
{
    for (uint32_t i = 0; i < to->n; i++)
        fm_position_raise(&sub->at, to->at[i]);
}

static void tell_gap(struct fm_subscription *sub, const struct fm_gap *gap, const struct fm_vector *cursor)
{
    raise(sub, cursor);
    if (!!sub->ending)
        return;
    tell(sub, (struct fm_notice){.kind = FM_NOTICE_GAP,
                                 .reason = fm_gap_reason_text(gap->reason),
                                 .origin = gap->origin,
                                 .from = gap->from,
                                 .to = gap->origin ? gap->to : UINT64_MAX});
}

/* ---- life ---- */

static struct fm_subscription *find(struct fm_program *p, uint64_t id)
{
    struct fm_subscription *sub;
    HASH_FIND(hh, p->by_id, &id, sizeof id, sub);
    return sub;
}

static void sub_free(struct fm_subscription *sub)
{
    fm_leave_free(&sub->leave);
    fm_join_free(&sub->join);
    fm_vector_fini(&sub->at);
    free(sub);
}

static void topic_leave(struct fm_program *p, struct fm_subscription *sub)
{
    struct fm_program_topic *t = sub->topic;
    *sub->link = sub->next;
    if (sub->next)
        sub->next->link = sub->link;
    sub->topic = NULL;
    atomic_fetch_sub_explicit(&p->stats.subscriptions, 1, memory_order_relaxed);
    if (!t->subs) {
        HASH_DEL(p->topics, t);
        free(t);
    }
}

/* The last notice. If the join is still under way its answer finds nobody, and the hub is told then. */
static void end(struct fm_program *p, struct fm_subscription *sub, enum fm_err err)
{
    if (sub->topic) {
        topic_leave(p, sub);
        if (!atomic_load(&p->closed)) {
            enum fm_err posted = fm_hub_post(p->hub, &sub->leave->item);
            assert(posted == FM_OK); /* a leave is always taken */
            (void)posted;
            sub->leave = NULL;
        }
    }
    HASH_DEL(p->by_id, sub);
    tell(sub, (struct fm_notice){.kind = FM_NOTICE_ENDED, .err = err});
    sub_free(sub);
}

static enum fm_err topic_enter(struct fm_program *p, struct fm_subscription *sub)
{
    struct fm_program_topic *t;
    size_t n = strlen(sub->name);
    HASH_FIND(hh, p->topics, sub->name, n, t);
    if (!t) {
        t = calloc(1, sizeof *t + n + 1);
        if (!t)
            return FM_E_NOMEM;
        t->name_n = (uint32_t)n;
        memcpy(t->name, sub->name, n + 1);
        HASH_ADD_KEYPTR(hh, p->topics, t->name, t->name_n, t);
    }
    sub->topic = t;
    sub->next = t->subs;
    sub->link = &t->subs;
    if (sub->next)
        sub->next->link = &sub->next;
    t->subs = sub;
    atomic_fetch_add_explicit(&p->stats.subscriptions, 1, memory_order_relaxed);
    return FM_OK;
}

void fm_listen_begin(struct fm_program *p, struct fm_item *item)
{
    struct fm_subscription *sub = (struct fm_subscription *)item;
    HASH_ADD(hh, p->by_id, id, sizeof sub->id, sub);
    if (atomic_load(&p->closed)) /* the node stops; see fm_listen_end_all */
        return;
    struct fm_join *join = sub->join;
    sub->join = NULL;
    enum fm_err err = fm_hub_post(p->hub, &join->item);
    if (!err)
        return;
    sub->join = join;
    p->rereads = true; /* the hub's inbox is full: again in a moment */
}

void fm_listen_end(struct fm_program *p, struct fm_item *item)
{
    struct fm_subscription *sub = find(p, ((struct end_item *)item)->id);
    free(item);
    if (sub)
        end(p, sub, FM_OK);
}

void fm_listen_end_all(struct fm_program *p)
{
    struct fm_subscription *sub, *tmp;
    HASH_ITER (hh, p->by_id, sub, tmp)
        end(p, sub, FM_E_CLOSED);
}

/* ---- what the hub says ---- */

static void give_replay(struct fm_subscription *sub, const struct fm_join *join)
{
    for (uint32_t i = 0; i < join->replayed; i++)
        give(sub, join->replay[i]);
    raise(sub, &join->at);
}

static void reread_done(struct fm_subscription *sub, const struct fm_join *join)
{
    if (join->err) {
        /* A hub that shuts down answers no more; the position stays true for the next node. */
        sub->reread = join->err == FM_E_DRAINING ? REREAD_ASKED : REREAD_WANTED;
        sub->program->rereads = true;
        return;
    }
    sub->reread = REREAD_NONE;
    const struct fm_gap gap = {.reason = FM_GAP_OVERRUN};
    if (!join->recovered || sub->gap_missed)
        tell_gap(sub, &gap, &join->cursor);
    sub->gap_missed = false;
    give_replay(sub, join);
}

/* The hub counts a subscription that nobody has any more. */
static void leave_late(struct fm_program *p, const struct fm_join *join)
{
    struct fm_leave *leave = fm_leave_new(p->config.index, 1, fm_slice_of(join->topic, join->topic_n));
    if (!leave) {
        fm_diag(FM_ERROR, "leave_lost", "err=%s subs=1 then=\"the hub goes on sending this topic here; give the node more memory\"",
                fm_err_code(FM_E_NOMEM));
        return;
    }
    enum fm_err err = fm_hub_post(p->hub, &leave->item);
    assert(err == FM_OK); /* a leave is always taken */
    (void)err;
}

void fm_listen_joined(struct fm_program *p, struct fm_join *join)
{
    struct fm_subscription *sub = find(p, join->sub);
    if (!sub) {
        if (!join->reread && join->err == FM_OK)
            leave_late(p, join);
        return;
    }
    if (join->reread) {
        reread_done(sub, join);
        return;
    }
    enum fm_err err = join->err;
    if (!err && (err = topic_enter(p, sub)) != FM_OK)
        leave_late(p, join);
    if (err) {
        end(p, sub, err);
        return;
    }
    raise(sub, &join->cursor);
    if (!sub->ending)
        tell(sub, (struct fm_notice){.kind = FM_NOTICE_JOINED, .recovered = join->recovered});
    give_replay(sub, join);
}

void fm_listen_message(struct fm_program *p, struct fm_msg *m)
{
    struct fm_program_topic *t;
    HASH_FIND(hh, p->topics, fm_msg_topic(m).p, m->topic_n, t);
    for (struct fm_subscription *sub = t ? t->subs : NULL; sub; sub = sub->next)
        if (sub->reread == REREAD_NONE)
            give(sub, m);
}

void fm_listen_gap(struct fm_program *p, const struct fm_gap *gap, bool overrun)
{
    struct fm_program_topic *t;
    HASH_FIND(hh, p->topics, gap->topic, gap->topic_n, t);
    for (struct fm_subscription *sub = t ? t->subs : NULL; sub; sub = sub->next) {
        if (overrun || sub->reread != REREAD_NONE)
            sub->gap_missed = true; /* told with the answer; its cursor would be ahead of what was told */
        else
            tell_gap(sub, gap, &gap->cursor);
    }
}

/* ---- overrun ---- */

void fm_listen_overrun(struct fm_program *p)
{
    struct fm_subscription *sub, *tmp;
    unsigned n = 0;
    HASH_ITER (hh, p->by_id, sub, tmp) {
        if (sub->topic && sub->reread == REREAD_NONE)
            sub->reread = REREAD_WANTED;
        n += sub->topic != NULL;
    }
    if (atomic_load(&p->stop)) /* not full, only woken to end */
        return;
    p->rereads = true;
    atomic_fetch_add_explicit(&p->stats.overruns, 1, memory_order_relaxed);
    uint64_t now = fm_mono_ms();
    if (p->overrun_warned_ms && now - p->overrun_warned_ms < WARN_EVERY_MS)
        return;
    p->overrun_warned_ms = now;
    fm_diag(FM_WARN, "program_overrun",
            "subscriptions=%u overruns=%" PRIu64 " why=\"the program's callbacks take longer than messages need to come: more than "
            "worker_inbox_bytes waited\" then=\"what is missing is read again from the histories, or told as a gap\"",
            n, atomic_load_explicit(&p->stats.overruns, memory_order_relaxed));
}

static enum fm_err ask(struct fm_program *p, struct fm_subscription *sub)
{
    struct fm_join *join = sub->join;
    if (!join) {
        join = fm_join_new(p->config.index, sub->id, fm_slice_str(sub->name));
        if (!join)
            return FM_E_NOMEM;
        join->reread = join->has_cursor = true;
        enum fm_err err = fm_vector_copy(&join->cursor, &sub->at);
        if (err) {
            fm_join_free(&join);
            return err;
        }
    }
    enum fm_err err = fm_hub_post(p->hub, &join->item);
    if (err && !sub->join)
        fm_join_free(&join);
    else if (!err && sub->join)
        sub->join = NULL;
    else if (!err)
        sub->reread = REREAD_ASKED;
    return err;
}

void fm_listen_reread(struct fm_program *p)
{
    struct fm_subscription *sub, *tmp;
    if (!p->rereads || atomic_load(&p->stop))
        return;
    HASH_ITER (hh, p->by_id, sub, tmp) {
        if ((sub->join || sub->reread == REREAD_WANTED) && ask(p, sub))
            return; /* again in a moment */
    }
    p->rereads = false;
}

/* ---- the public calls ---- */

static enum fm_err cursor_read(const char *text, struct fm_join *join)
{
    struct fm_json root, item;
    enum fm_err err = fm_json_parse(fm_slice_str(text), 1, &root, NULL);
    if (err || root.type != FM_JSON_ARRAY)
        return FM_E_SYNTAX;
    for (struct fm_json_walk w = fm_json_walk_of(&root); fm_json_next(&w, NULL, &item);) {
        uint8_t out[FM_ID_TEXT_MAX];
        struct fm_slice id;
        if (fm_json_text(&item, out, sizeof out, &id))
            return FM_E_SYNTAX;
        err = fm_vector_add_text(&join->cursor, id);
        join->cut |= err == FM_E_TOO_MANY;
        if (err && err != FM_E_TOO_MANY)
            return err == FM_E_NOMEM ? err : FM_E_SYNTAX;
    }
    join->has_cursor = join->cursor.n > 0;
    return FM_OK;
}

static enum fm_err topic_check(const struct fm_program *p, const char *topic)
{
    size_t n = topic ? strlen(topic) : 0;
    if (n == 0 || n > FM_TOPIC_MAX || topic[n - 1] == '*')
        return FM_E_INVALID;
    return fm_rules_match(p->config.settings->rules, fm_slice_of(topic, n)) ? FM_OK : FM_E_UNMATCHED_TOPIC;
}

static struct fm_subscription *sub_new(struct fm_program *p, const char *topic)
{
    size_t n = strlen(topic);
    struct fm_subscription *sub = calloc(1, sizeof *sub + n + 1);
    if (!sub)
        return NULL;
    memcpy(sub->name, topic, n + 1);
    sub->item.kind = FM_PROGRAM_SUBSCRIBE;
    sub->item.cost = (uint32_t)sizeof *sub;
    sub->program = p;
    sub->id = atomic_fetch_add(&p->next_id, 1) + 1;
    sub->leave = fm_leave_new(p->config.index, 1, fm_slice_of(topic, n));
    sub->join = fm_join_new(p->config.index, sub->id, fm_slice_of(topic, n));
    if (sub->leave && sub->join)
        return sub;
    sub_free(sub);
    return NULL;
}

enum fm_err fm_subscribe(struct fm_node *node, const char *topic, const char *cursor, unsigned last, fm_notice_fn *fn, void *ctx,
                         uint64_t *out)
{
    struct fm_program *p = fm_node_program(node);
    if (!fn)
        return FM_E_INVALID;
    if (atomic_load(&p->closed))
        return FM_E_CLOSED;
    enum fm_err err = topic_check(p, topic);
    if (err)
        return err;
    struct fm_subscription *sub = sub_new(p, topic);
    if (!sub)
        return FM_E_NOMEM;
    err = cursor ? cursor_read(cursor, sub->join) : FM_OK;
    if (err) {
        sub_free(sub);
        return err;
    }
    sub->join->last = last;
    sub->fn = fn;
    sub->ctx = ctx;
    if (out)
        *out = sub->id;
    fm_inbox_post_always(&p->config.mailbox->inbox, &sub->item);
    return FM_OK;
}

enum fm_err fm_unsubscribe(struct fm_node *node, uint64_t subscription)
{
    struct fm_program *p = fm_node_program(node);
    if (atomic_load(&p->closed))
        return FM_E_CLOSED;
    struct end_item *item = malloc(sizeof *item);
    if (!item)
        return FM_E_NOMEM;
    *item = (struct end_item){.item = {.kind = FM_PROGRAM_UNSUBSCRIBE, .cost = (uint32_t)sizeof *item}, .id = subscription};
    struct fm_subscription *sub = fm_program_is_here(p) ? find(p, subscription) : NULL;
    if (sub)
        sub->ending = true;
    fm_inbox_post_always(&p->config.mailbox->inbox, &item->item);
    return FM_OK;
}

size_t fm_notice_cursor(const struct fm_notice *n, char *out, size_t out_size)
{
    struct fm_buf b = {0};
    fm_vector_json(&b, &((const struct told *)n)->sub->at);
    size_t length = b.failed ? 0 : b.n;
    if (out_size > 0 && length < out_size && length > 0)
        memcpy(out, b.p, length);
    if (out_size > 0)
        out[length < out_size ? length : 0] = 0;
    fm_buf_fini(&b);
    return length;
}
