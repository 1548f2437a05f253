/* Presences on the mesh: their bytes. */
#include "envelope.h"

#include <assert.h>

enum { RECORD_END = 0, RECORD_SET = 1, RECORD_GONE = 2, RECORD_PASSED_ON = 3, FLAGS_ALL = FM_PRESENCE_WHOLE | FM_PRESENCE_LAST };

void fm_env_presence_begin(struct fm_env_presence_writer *w, struct fm_buf *b, const struct fm_env_presence *p)
{
    assert(p->origin != 0);
    fm_buf_u8(b, FM_ENV_PRESENCE);
    *w = (struct fm_env_presence_writer){.b = b, .flags_at = b->n, .last_ver = p->from};
    fm_buf_u8(b, (uint8_t)p->flags);
    fm_buf_u64(b, p->origin);
    fm_buf_varint(b, p->from);
    w->upto_at = b->n;
    fm_buf_u64(b, p->from);
    fm_buf_varint(b, p->base);
}

void fm_env_presence_put(struct fm_env_presence_writer *w, const struct fm_env_presence_record *rec)
{
    assert(rec->ver > w->last_ver);
    bool passed_on = rec->gone && rec->heir.origin;
    fm_buf_u8(w->b, !rec->gone ? RECORD_SET : passed_on ? RECORD_PASSED_ON : RECORD_GONE);
    fm_buf_varint(w->b, rec->ver - w->last_ver);
    fm_buf_varint(w->b, rec->id);
    w->last_ver = rec->ver;
    if (passed_on) {
        fm_buf_u64(w->b, rec->heir.origin);
        fm_buf_varint(w->b, rec->heir.id);
    }
    if (rec->gone)
        return;
    assert(rec->ref >= 1 && rec->ref <= rec->ver && rec->prev < rec->ref && rec->topic.n && rec->key.n);
    fm_buf_varint(w->b, rec->ver - rec->ref);
    fm_buf_varint(w->b, rec->prev ? rec->ref - rec->prev : 0);
    fm_buf_sized(w->b, fm_slice_eq(rec->topic, w->topic) ? fm_slice_of(NULL, 0) : rec->topic);
    fm_buf_sized(w->b, rec->key);
    fm_buf_sized(w->b, rec->meta);
    w->topic = rec->topic;
}

void fm_env_presence_finish(struct fm_env_presence_writer *w, uint64_t flags, uint64_t upto)
{
    fm_buf_u8(w->b, RECORD_END);
    if (w->b->failed)
        return;
    w->b->p[w->flags_at] = (uint8_t)flags;
    for (unsigned i = 0; i < 8; i++)
        w->b->p[w->upto_at + i] = (uint8_t)(upto >> (8 * i));
}

enum fm_err fm_env_presence_read(struct fm_slice body, struct fm_env_presence *p)
{
    struct fm_rd in = fm_rd_of(body);
    *p = (struct fm_env_presence){0};
    if (fm_rd_u8(&in) != FM_ENV_PRESENCE)
        return FM_E_SYNTAX;
    p->flags = fm_rd_u8(&in);
    p->origin = fm_rd_u64(&in);
    p->from = p->last_ver = fm_rd_varint(&in);
    p->upto = fm_rd_u64(&in);
    p->base = fm_rd_varint(&in);
    p->rest = in;
    bool bad = in.bad || p->origin == 0 || p->origin == FM_CURSOR_ASOF || p->upto < p->from || p->flags & ~(uint64_t)FLAGS_ALL;
    return bad ? FM_E_SYNTAX : FM_OK;
}

static void read_set(struct fm_env_presence *p, struct fm_env_presence_record *rec)
{
    uint64_t back = fm_rd_varint(&p->rest), prev = fm_rd_varint(&p->rest);
    rec->topic = fm_rd_sized(&p->rest, FM_TOPIC_MAX);
    rec->key = fm_rd_sized(&p->rest, FM_PRESENCE_KEY_MAX);
    rec->meta = fm_rd_sized(&p->rest, FM_PRESENCE_META_MAX);
    if (rec->topic.n == 0)
        rec->topic = p->topic;
    else if (fm_slice_eq(rec->topic, p->topic))
        p->rest.bad = true; /* there is one way to write it */
    p->topic = rec->topic;
    struct fm_slice m = rec->meta;
    if (back >= rec->ver || prev >= rec->ver - back || !rec->topic.n || !rec->key.n || m.n < 2 || m.p[0] != '{' || m.p[m.n - 1] != '}')
        p->rest.bad = true;
    if (p->rest.bad)
        return;
    rec->ref = rec->ver - back;
    rec->prev = prev ? rec->ref - prev : 0;
}

enum fm_err fm_env_presence_next(struct fm_env_presence *p, struct fm_env_presence_record *rec, bool *more)
{
    *rec = (struct fm_env_presence_record){0};
    uint8_t kind = fm_rd_u8(&p->rest);
    *more = kind != RECORD_END;
    if (kind == RECORD_END)
        return p->rest.bad || fm_rd_left(&p->rest) ? FM_E_SYNTAX : FM_OK;
    uint64_t step = fm_rd_varint(&p->rest);
    rec->id = fm_rd_varint(&p->rest);
    rec->gone = kind != RECORD_SET;
    if (kind == RECORD_PASSED_ON) {
        rec->heir = (struct fm_pheir){.origin = fm_rd_u64(&p->rest)};
        rec->heir.id = fm_rd_varint(&p->rest);
    }
    bool nobody = kind == RECORD_PASSED_ON && rec->heir.origin == 0;
    if (kind > RECORD_PASSED_ON || nobody || step == 0 || step > p->upto - p->last_ver)
        p->rest.bad = true;
    if (p->rest.bad)
        return FM_E_SYNTAX;
    p->last_ver = rec->ver = p->last_ver + step;
    if (!rec->gone)
        read_set(p, rec);
    return p->rest.bad ? FM_E_SYNTAX : FM_OK;
}

void fm_env_presence_pull_write(struct fm_buf *b, const struct fm_env_presence_pull *p)
{
    assert(p->origin != 0);
    fm_buf_u8(b, FM_ENV_PRESENCE_PULL);
    fm_buf_u64(b, p->origin);
    fm_buf_varint(b, p->since);
    fm_buf_varint(b, p->base);
}

enum fm_err fm_env_presence_pull_read(struct fm_slice body, struct fm_env_presence_pull *p)
{
    struct fm_rd in = fm_rd_of(body);
    bool bad = fm_rd_u8(&in) != FM_ENV_PRESENCE_PULL;
    p->origin = fm_rd_u64(&in);
    p->since = fm_rd_varint(&in);
    p->base = fm_rd_varint(&in);
    return bad || in.bad || fm_rd_left(&in) || p->origin == 0 || p->origin == FM_CURSOR_ASOF ? FM_E_SYNTAX : FM_OK;
}
