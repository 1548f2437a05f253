#include "sse_wire.h"

#include "../http/http.h"

#include <stdlib.h>

/* ---- topics ---- */

void fm_sse_topics_fini(struct fm_sse_topics *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        fm_vector_fini(&t->of[i].at);
    free(t->of);
    *t = (struct fm_sse_topics){0};
}

struct fm_sse_topic *fm_sse_topic_find(const struct fm_sse_topics *t, struct fm_slice name)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (fm_slice_eq(fm_slice_of(t->of[i].name, t->of[i].name_n), name))
            return &t->of[i];
    return NULL;
}

static bool is_topic(struct fm_slice name)
{
    char text[8];
    return fm_query_decode(name, text, sizeof text, NULL) == FM_OK && strcmp(text, "topic") == 0;
}

static enum fm_err topic_add(struct fm_sse_topics *t, struct fm_slice value, uint32_t max, const char **why)
{
    char name[FM_TOPIC_MAX + 1];
    size_t n = 0;
    enum fm_err err = fm_query_decode(value, name, sizeof name, &n);
    *why = "a parameter `topic` is 1 to 255 bytes, percent-encoded, without zero bytes";
    if (err || n == 0)
        return err ? err : FM_E_INVALID;
    *why = "a topic stands there twice";
    if (fm_sse_topic_find(t, fm_slice_of(name, n)))
        return FM_E_INVALID;
    *why = "more topics than topics_per_socket allows";
    if (t->n == max)
        return FM_E_TOO_MANY;
    struct fm_sse_topic *of = realloc(t->of, (t->n + 1) * sizeof *of);
    *why = NULL;
    if (!of)
        return FM_E_NOMEM;
    t->of = of;
    of[t->n] = (struct fm_sse_topic){.name_n = (uint8_t)n};
    memcpy(of[t->n++].name, name, n);
    return FM_OK;
}

enum fm_err fm_sse_topics_read(struct fm_slice query, uint32_t max, struct fm_sse_topics *t, const char **why)
{
    struct fm_slice name, value;
    *t = (struct fm_sse_topics){0};
    while (fm_query_next(&query, &name, &value)) {
        enum fm_err err = is_topic(name) ? topic_add(t, value, max, why) : FM_OK;
        if (err) {
            fm_sse_topics_fini(t);
            return err;
        }
    }
    *why = "name a topic, as in /sse?topic=room:lobby, or several";
    return t->n ? FM_OK : FM_E_INVALID;
}

/* ---- ids ---- */

/* Cuts off what stands before the next `c`. */
static struct fm_slice part_take(struct fm_slice *rest, uint8_t c)
{
    const uint8_t *end = rest->n ? memchr(rest->p, c, rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    struct fm_slice part = fm_slice_of(rest->p, n);
    *rest = end ? fm_slice_of(end + 1, rest->n - n - 1) : fm_slice_of(NULL, 0);
    return part;
}

static enum fm_err cursor_read(struct fm_slice text, struct fm_sse_topic *t)
{
    t->at.n = 0;
    t->cut = false;
    for (bool more = text.n > 0; more;) {
        more = memchr(text.p, ',', text.n) != NULL;
        struct fm_slice id = part_take(&text, ',');
        if (id.n == 0)
            return FM_E_SYNTAX;
        enum fm_err err = fm_vector_add_text(&t->at, id);
        t->cut |= err == FM_E_TOO_MANY;
        if (err && err != FM_E_TOO_MANY)
            return err;
        if (more && text.n == 0)
            return FM_E_SYNTAX;
    }
    return FM_OK;
}

enum fm_err fm_sse_id_read(struct fm_slice id, struct fm_sse_topics *t)
{
    bool full = fm_slice_eq(id, FM_LIT("full"));
    for (uint32_t i = 0; i < t->n; i++) {
        if (full) {
            t->of[i].at.n = 0;
            t->of[i].cut = true;
            continue;
        }
        bool last = !id.n || !memchr(id.p, ';', id.n);
        if (last != (i + 1 == t->n))
            return FM_E_SYNTAX;
        enum fm_err err = cursor_read(part_take(&id, ';'), &t->of[i]);
        if (err)
            return err;
    }
    return FM_OK;
}

void fm_sse_id_write(struct fm_buf *b, const struct fm_sse_topics *t)
{
    size_t begun = b->n;
    for (uint32_t i = 0; i < t->n && b->n - begun <= FM_SSE_ID_MAX; i++) {
        const struct fm_vector *v = &t->of[i].at;
        if (i)
            fm_buf_u8(b, ';');
        for (uint32_t k = 0; k < v->n; k++) {
            char text[FM_ID_TEXT_MAX + 1];
            size_t n = fm_id_print(v->at[k], text);
            if (k)
                fm_buf_u8(b, ',');
            fm_buf_put(b, text, n);
        }
    }
    if (b->n - begun <= FM_SSE_ID_MAX)
        return;
    b->n = begun;
    fm_buf_str(b, "full");
}

/* ---- events ---- */

void fm_sse_event_write(struct fm_buf *b, enum fm_sse_move move, struct fm_slice topic, const struct fm_id *ids, uint32_t n)
{
    fm_buf_u8(b, (uint8_t)move);
    fm_buf_sized(b, topic);
    fm_buf_varint(b, n);
    for (uint32_t i = 0; i < n; i++) {
        fm_buf_u64(b, ids[i].origin);
        fm_buf_u64(b, ids[i].seq);
    }
}

bool fm_sse_event_read(struct fm_slice bytes, struct fm_sse_event *e)
{
    struct fm_rd r = fm_rd_of(bytes);
    e->move = (enum fm_sse_move)fm_rd_u8(&r);
    e->topic = fm_rd_sized(&r, FM_TOPIC_MAX);
    uint64_t n = fm_rd_varint(&r);
    if (r.bad || n > FM_CURSOR_MAX || e->move > FM_SSE_REPLACE)
        return false;
    e->ids = fm_rd_of(fm_rd_bytes(&r, (size_t)n * 16));
    e->lines = fm_rd_bytes(&r, fm_rd_left(&r));
    return !r.bad;
}

bool fm_sse_event_id(struct fm_sse_event *e, struct fm_id *id)
{
    if (fm_rd_left(&e->ids) == 0)
        return false;
    id->origin = fm_rd_u64(&e->ids);
    id->seq = fm_rd_u64(&e->ids);
    return !e->ids.bad;
}

void fm_sse_line(struct fm_buf *b, struct fm_slice text)
{
    size_t from = b->n;
    fm_buf_slice(b, text);
    for (size_t i = from; i < b->n && !b->failed; i++)
        if (b->p[i] == '\n' || b->p[i] == '\r' || b->p[i] == 0)
            b->p[i] = ' ';
}
