/* Answers for the HTTP API, as JSON. */
#include "hub_core.h"

#include "base64.h"

#include <stdlib.h>

static void member(struct fm_buf *b, const char *name, bool first)
{
    if (!first)
        fm_buf_u8(b, ',');
    fm_buf_u8(b, '"');
    fm_buf_str(b, name);
    fm_buf_str(b, "\":");
}

static void member_num(struct fm_buf *b, const char *name, uint64_t v)
{
    member(b, name, false);
    fm_buf_dec(b, v);
}

static void member_text(struct fm_buf *b, const char *name, const char *text)
{
    member(b, name, false);
    fm_buf_json(b, fm_slice_str(text));
}

static void member_bool(struct fm_buf *b, const char *name, bool v)
{
    member(b, name, false);
    fm_buf_str(b, v ? "true" : "false");
}

static void member_origin(struct fm_buf *b, const char *name, uint64_t origin, bool first)
{
    char text[FM_ORIGIN_TEXT_MAX + 1];
    fm_origin_print(origin, text);
    member(b, name, first);
    fm_buf_json(b, fm_slice_str(text));
}

/* ---- topics ---- */

static int by_name(const void *a, const void *b)
{
    const struct fm_topic *x = *(struct fm_topic *const *)a, *y = *(struct fm_topic *const *)b;
    size_t n = x->name_n < y->name_n ? x->name_n : y->name_n;
    int c = memcmp(x->name, y->name, n);
    return c ? c : (x->name_n > y->name_n) - (x->name_n < y->name_n);
}

static bool after(const struct fm_topic *t, struct fm_slice name)
{
    size_t n = t->name_n < name.n ? t->name_n : name.n;
    int c = n ? memcmp(t->name, name.p, n) : 0;
    return c > 0 || (c == 0 && t->name_n > name.n);
}

static void topic_json(struct fm_hub *h, struct fm_buf *b, struct fm_topic *t)
{
    uint64_t subs = 0;
    for (unsigned w = 0; w < h->config.workers; w++)
        subs += t->subs[w];
    fm_history_expire(h, t);
    struct fm_vector at = {0};
    fm_topic_vector(h, t, &at);
    b->failed |= fm_asof_mark(h, &at) != FM_OK;
    fm_buf_u8(b, '{');
    member(b, "topic", true);
    fm_buf_json(b, fm_slice_of(t->name, t->name_n));
    member_num(b, "subscribers", subs);
    member_num(b, "history", t->history_n);
    member(b, "cursor", false);
    fm_vector_json(b, &at);
    fm_buf_u8(b, '}');
    fm_vector_fini(&at);
}

static enum fm_err topics(struct fm_hub *h, struct fm_query *q)
{
    struct fm_slice prefix = fm_slice_of(q->text, q->topic_n), last = fm_slice_of(q->text + q->topic_n, q->after_n);
    struct fm_topic **all = malloc((HASH_COUNT(h->topics) + 1) * sizeof(struct fm_topic *));
    if (!all)
        return FM_E_NOMEM;
    size_t n = 0;
    for (struct fm_topic *t = h->topics; t; t = t->hh.next)
        if (!t->commands && fm_slice_starts(fm_slice_of(t->name, t->name_n), prefix) && after(t, last))
            all[n++] = t;
    qsort(all, n, sizeof(struct fm_topic *), by_name);
    size_t show = n < q->limit ? n : q->limit;
    fm_buf_str(&q->json, "{\"topics\":[");
    for (size_t i = 0; i < show; i++) {
        if (i)
            fm_buf_u8(&q->json, ',');
        topic_json(h, &q->json, all[i]);
    }
    fm_buf_u8(&q->json, ']');
    if (show && show < n) {
        member(&q->json, "next", false);
        fm_buf_json(&q->json, fm_slice_of(all[show - 1]->name, all[show - 1]->name_n));
    }
    fm_buf_u8(&q->json, '}');
    free(all);
    return FM_OK;
}

/* ---- history ---- */

static void payload_json(struct fm_buf *b, const struct fm_msg *m)
{
    struct fm_slice payload = fm_msg_payload(m);
    if (!(m->flags & FM_MSG_BINARY)) {
        member(b, "payload", false);
        fm_buf_slice(b, payload);
        return;
    }
    member(b, "payload_base64", false);
    fm_buf_u8(b, '"');
    fm_base64_encode(b, payload);
    fm_buf_u8(b, '"');
}

static void message_json(struct fm_buf *b, const struct fm_msg *m)
{
    char id[FM_ID_TEXT_MAX + 1];
    fm_id_print(m->id, id);
    fm_buf_u8(b, '{');
    member(b, "id", true);
    fm_buf_json(b, fm_slice_str(id));
    member(b, "event", false);
    fm_buf_json(b, fm_msg_event(m));
    payload_json(b, m);
    member_num(b, "ts_ms", m->ts_ms);
    if (m->key_n) {
        member(b, "key", false);
        fm_buf_json(b, fm_msg_key(m));
    }
    if (m->conflation_key_n) {
        member(b, "conflation_key", false);
        fm_buf_json(b, fm_msg_conflation_key(m));
    }
    fm_buf_u8(b, '}');
}

static enum fm_err history(struct fm_hub *h, struct fm_query *q)
{
    struct fm_topic *t = fm_topic_find(h, fm_slice_of(q->text, q->topic_n));
    static struct fm_topic nothing; /* a topic that nobody used: an empty history */
    if (t)
        fm_history_expire(h, t);
    else
        t = &nothing;
    struct fm_resume r = {0};
    struct fm_vector floor = {0};
    enum fm_err err = FM_OK;
    struct fm_origin *o, *tmp;
    HASH_ITER (hh, h->origins, o, tmp) {
        if (!err && fm_topic_floor(t, o))
            err = fm_vector_set(&floor, o->id, fm_topic_floor(t, o));
    }
    /* Without a cursor: all that is there, from its beginning. */
    bool sighted = true;
    if (!err && q->has_cursor)
        sighted = fm_asof_take(h, &q->cursor);
    else if (!err)
        err = fm_vector_copy(&q->cursor, &floor);
    if (!err)
        err = fm_resume(h, t, &q->cursor, q->limit, &r);
    fm_buf_u8(&q->json, '{');
    member(&q->json, "recovered", true);
    fm_buf_str(&q->json, r.recovered && sighted ? "true" : "false");
    member(&q->json, "messages", false);
    fm_buf_u8(&q->json, '[');
    for (uint32_t i = 0; i < r.n; i++) {
        if (i)
            fm_buf_u8(&q->json, ',');
        message_json(&q->json, r.replay[i]);
        /* The cursor in the answer is the one to ask with next. */
        if (!err)
            err = fm_vector_raise(&r.start, r.replay[i]->id.origin, r.replay[i]->id.seq);
        fm_msg_unref(&r.replay[i]);
    }
    fm_buf_u8(&q->json, ']');
    if (!err)
        err = fm_asof_mark(h, &r.start);
    member(&q->json, "cursor", false);
    fm_vector_json(&q->json, &r.start);
    member(&q->json, "floor", false);
    fm_vector_json(&q->json, &floor);
    fm_buf_u8(&q->json, '}');
    free(r.replay);
    fm_vector_fini(&r.start);
    fm_vector_fini(&r.skip);
    fm_vector_fini(&floor);
    return err;
}

/* ---- cluster ---- */

static void load_json(struct fm_buf *b, const struct fm_env_load *load)
{
    const char *comma = "";
    member(b, "load", false);
    fm_buf_u8(b, '{');
#define X(name) \
    fm_buf_printf(b, "%s\"" #name "\":", comma); \
    fm_buf_dec(b, load->name); \
    comma = ",";
    FM_ENV_LOAD(X)
#undef X
    fm_buf_u8(b, '}');
}

static void peer_json(struct fm_hub *h, struct fm_buf *b, const struct fm_peer *p)
{
    fm_buf_u8(b, '{');
    member_origin(b, "incarnation", p->incarnation, true);
    member_text(b, "name", p->name);
    member_text(b, "mesh", p->bus);
    member_text(b, "ask", p->ask);
    member_text(b, "state", p->left ? "left" : fm_peer_suspect(h, p) ? "suspect" : p->alive ? "up" : p->met ? "down" : "heard of");
    member_bool(b, "linked", fm_peer_linked(h, p));
    member_bool(b, "ready", p->ready && p->alive); /* what it said of itself holds no longer than it is heard */
    member_bool(b, "draining", p->draining);
    member_num(b, "heard_ms_ago", h->now.mono_ms - p->heard_ms);
    uint64_t has = fm_vector_get(&p->has, h->self->id);
    member_num(b, "lag", h->self->contig > has ? h->self->contig - has : 0);
    load_json(b, &p->load);
    fm_buf_u8(b, '}');
}

static void origin_json(struct fm_hub *h, struct fm_buf *b, const struct fm_origin *o)
{
    fm_buf_u8(b, '{');
    member_origin(b, "origin", o->id, true);
    member_bool(b, "self", o == h->self);
    member_num(b, "seq", o->contig);
    member_num(b, "missing", o->claimed > o->contig ? o->claimed - o->contig : 0);
    member_num(b, "idle_ms", o == h->self ? 0 : h->now.mono_ms - o->heard_ms);
    fm_buf_u8(b, '}');
}

static enum fm_err cluster(struct fm_hub *h, struct fm_query *q)
{
    struct fm_buf *b = &q->json;
    fm_buf_str(b, "{\"self\":{");
    member_origin(b, "incarnation", h->self->id, true);
    member_text(b, "name", h->config.name);
    member_text(b, "mesh", h->config.bus_address);
    member_text(b, "ask", h->config.ask_address);
    member_bool(b, "ready", h->ready);
    member_bool(b, "draining", h->draining);
    member_num(b, "seq", h->self->contig);
    member_num(b, "uptime_ms", h->now.mono_ms - h->started_ms);
    member_num(b, "topics", h->stats.topics);
    const struct fm_env_load load = fm_load_of(h);
    load_json(b, &load);
    fm_buf_str(b, "},\"peers\":[");
    for (uint32_t i = 0; i < h->peers_n; i++) {
        if (i)
            fm_buf_u8(b, ',');
        peer_json(h, b, &h->peers[i]);
    }
    fm_buf_str(b, "],\"origins\":[");
    for (const struct fm_origin *o = h->origins; o; o = o->hh.next) {
        if (o != h->origins)
            fm_buf_u8(b, ',');
        origin_json(h, b, o);
    }
    fm_buf_str(b, "]}");
    return FM_OK;
}

void fm_query_handle(struct fm_hub *h, struct fm_query *q)
{
    switch (q->what) {
    case FM_QUERY_TOPICS:
        q->err = topics(h, q);
        break;
    case FM_QUERY_HISTORY:
        q->err = history(h, q);
        break;
    case FM_QUERY_CLUSTER:
        q->err = cluster(h, q);
        break;
    case FM_QUERY_GATHER:
        fm_gather_query(h, q);
        return;
    case FM_QUERY_PRESENCE:
        q->err = fm_presence_query(h, q);
        break;
    }
    if (q->json.failed)
        q->err = FM_E_NOMEM;
    fm_hub_out(h, q->worker, &q->item);
}
