#include "envelope.h"

#include <assert.h>

enum fm_envelope_type fm_env_type(struct fm_slice body)
{
    return body.n ? (enum fm_envelope_type)body.p[0] : (enum fm_envelope_type)0;
}

/* ---- shared by all bodies ---- */

static struct fm_rd begin_read(struct fm_slice body, enum fm_envelope_type type)
{
    struct fm_rd r = fm_rd_of(body);
    if (fm_rd_u8(&r) != type)
        r.bad = true;
    return r;
}

static enum fm_err end_read(const struct fm_rd *r)
{
    return r->bad || fm_rd_left(r) > 0 ? FM_E_SYNTAX : FM_OK;
}

/* Names and addresses reach logs, JSON and C strings: no control characters. */
static struct fm_slice read_text(struct fm_rd *r, size_t max)
{
    struct fm_slice s = fm_rd_sized(r, max);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] == 0x7f)
            r->bad = true;
    return s;
}

static uint64_t read_incarnation(struct fm_rd *r)
{
    uint64_t incarnation = fm_rd_u64(r);
    if (incarnation == 0 || incarnation == FM_CURSOR_ASOF)
        r->bad = true;
    return incarnation;
}

/* A varint that must not exceed `max`. */
static uint32_t read_u32(struct fm_rd *r, uint32_t max)
{
    uint64_t v = fm_rd_varint(r);
    if (v > max)
        r->bad = true;
    return r->bad ? 0 : (uint32_t)v;
}

/* ---- hello ---- */

static void write_peer(struct fm_buf *b, const struct fm_env_peer *p)
{
    assert(p->incarnation != 0 && p->name.n <= FM_NAME_MAX && p->bus.n <= FM_ADDRESS_MAX && p->ask.n <= FM_ADDRESS_MAX);
    fm_buf_u64(b, p->incarnation);
    fm_buf_sized(b, p->name);
    fm_buf_sized(b, p->bus);
    fm_buf_sized(b, p->ask);
}

static void read_peer(struct fm_rd *r, struct fm_env_peer *p)
{
    p->incarnation = read_incarnation(r);
    p->name = read_text(r, FM_NAME_MAX);
    p->bus = read_text(r, FM_ADDRESS_MAX);
    p->ask = read_text(r, FM_ADDRESS_MAX);
}

void fm_env_hello_write(struct fm_buf *b, const struct fm_env_hello *h)
{
    assert(h->n <= FM_PEERS_MAX);
    fm_buf_u8(b, FM_ENV_HELLO);
    write_peer(b, &h->self);
    fm_buf_varint(b, h->n);
    for (uint32_t i = 0; i < h->n; i++)
        write_peer(b, &h->peers[i]);
}

enum fm_err fm_env_hello_read(struct fm_slice body, struct fm_env_hello *h)
{
    struct fm_rd r = begin_read(body, FM_ENV_HELLO);
    read_peer(&r, &h->self);
    h->n = read_u32(&r, FM_PEERS_MAX);
    for (uint32_t i = 0; i < h->n && !r.bad; i++)
        read_peer(&r, &h->peers[i]);
    return end_read(&r);
}

/* ---- state ---- */

void fm_env_state_write(struct fm_buf *b, const struct fm_env_state *s)
{
    assert(s->n <= FM_CURSOR_MAX);
    fm_buf_u8(b, FM_ENV_STATE);
    fm_buf_varint(b, s->flags);
    fm_buf_varint(b, s->time_ms);
    fm_buf_varint(b, s->blind_ms);
    fm_buf_varint(b, s->unnamed_ms);
#define X(name) fm_buf_varint(b, s->load.name);
    FM_ENV_LOAD(X)
#undef X
    fm_buf_varint(b, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        assert(s->at[i].origin != 0 && s->at[i].passed <= s->at[i].contig);
        fm_buf_u64(b, s->at[i].origin);
        fm_buf_varint(b, s->at[i].contig);
        fm_buf_varint(b, s->at[i].passed);
        fm_buf_varint(b, s->at[i].counter);
        fm_buf_varint(b, s->at[i].idle_s);
        fm_buf_varint(b, s->at[i].presence);
        fm_buf_varint(b, s->at[i].near);
    }
}

enum fm_err fm_env_state_read(struct fm_slice body, struct fm_env_state *s)
{
    struct fm_rd r = begin_read(body, FM_ENV_STATE);
    s->flags = read_u32(&r, UINT32_MAX);
    s->time_ms = fm_rd_varint(&r);
    s->blind_ms = fm_rd_varint(&r);
    s->unnamed_ms = fm_rd_varint(&r);
    if (s->time_ms > FM_TIME_MAX || s->blind_ms > FM_TIME_MAX || s->unnamed_ms > FM_TIME_MAX)
        r.bad = true;
#define X(name) s->load.name = fm_rd_varint(&r);
    FM_ENV_LOAD(X)
#undef X
    s->n = read_u32(&r, FM_CURSOR_MAX);
    for (uint32_t i = 0; i < s->n && !r.bad; i++) {
        s->at[i].origin = read_incarnation(&r);
        s->at[i].contig = fm_rd_varint(&r);
        s->at[i].passed = fm_rd_varint(&r);
        if (s->at[i].passed > s->at[i].contig)
            r.bad = true;
        s->at[i].counter = fm_rd_varint(&r);
        s->at[i].idle_s = fm_rd_varint(&r);
        s->at[i].presence = fm_rd_varint(&r);
        s->at[i].near = fm_rd_varint(&r);
    }
    return end_read(&r);
}

/* ---- pull ---- */

void fm_env_pull_write(struct fm_buf *b, const struct fm_env_pull *p)
{
    assert(p->origin != 0 && p->from >= 1 && p->from <= p->to);
    fm_buf_u8(b, FM_ENV_PULL);
    fm_buf_u64(b, p->origin);
    fm_buf_varint(b, p->from);
    fm_buf_varint(b, p->to);
}

enum fm_err fm_env_pull_read(struct fm_slice body, struct fm_env_pull *p)
{
    struct fm_rd r = begin_read(body, FM_ENV_PULL);
    p->origin = read_incarnation(&r);
    p->from = fm_rd_varint(&r);
    p->to = fm_rd_varint(&r);
    if (p->from < 1 || p->from > p->to)
        return FM_E_SYNTAX;
    return end_read(&r);
}

/* ---- parcel ---- */

void fm_env_parcels_begin(struct fm_buf *b)
{
    fm_buf_u8(b, FM_ENV_PARCEL);
}

void fm_env_parcel_write(struct fm_buf *b, const struct fm_env_parcel *p)
{
    fm_buf_varint(b, p->worker);
    fm_buf_sized(b, p->bytes);
}

enum fm_err fm_env_parcel_next(struct fm_slice *rest, struct fm_env_parcel *p)
{
    struct fm_rd r = fm_rd_of(*rest);
    uint64_t worker = fm_rd_varint(&r);
    p->bytes = fm_rd_sized(&r, FM_PARCEL_BYTES_MAX);
    p->worker = (uint32_t)worker;
    if (r.bad || worker > UINT32_MAX)
        return FM_E_SYNTAX;
    *rest = fm_slice_of(r.p, fm_rd_left(&r));
    return FM_OK;
}

enum fm_err fm_env_parcels_read(struct fm_slice body, struct fm_slice *all)
{
    struct fm_rd r = begin_read(body, FM_ENV_PARCEL);
    struct fm_env_parcel p;
    *all = fm_rd_bytes(&r, fm_rd_left(&r));
    struct fm_slice rest = *all;
    enum fm_err err = r.bad || rest.n == 0 ? FM_E_SYNTAX : FM_OK;
    while (!err && rest.n)
        err = fm_env_parcel_next(&rest, &p);
    return err;
}

void fm_env_taken_write(struct fm_buf *b)
{
    fm_buf_u8(b, FM_ENV_TAKEN);
}

enum fm_err fm_env_taken_read(struct fm_slice body)
{
    struct fm_rd r = begin_read(body, FM_ENV_TAKEN);
    return end_read(&r);
}

/* ---- range ---- */

void fm_env_range_begin(struct fm_env_range_writer *w, struct fm_buf *b, const struct fm_env_range *r)
{
    assert(r->origin != 0 && r->from >= 1);
    fm_buf_u8(b, FM_ENV_RANGE);
    fm_buf_varint(b, r->flags);
    fm_buf_u64(b, r->origin);
    fm_buf_varint(b, r->from);
    *w = (struct fm_env_range_writer){.b = b, .upto_at = b->n, .last_seq = r->from - 1};
    fm_buf_u64(b, r->from - 1);
    fm_buf_varint(b, r->contig);
    fm_buf_varint(b, r->forgotten);
    fm_buf_varint(b, r->lost);
}

static uint8_t *put_sized(uint8_t *to, struct fm_slice s)
{
    to = fm_varint_put(to, s.n);
    if (s.n)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

/* Room is made once for all that it may need: this is done for every message that leaves. */
void fm_env_range_msg(struct fm_env_range_writer *w, const struct fm_msg *m, uint64_t age_ms)
{
    assert(m->id.seq > w->last_seq && m->prev < m->id.seq && age_ms <= FM_AGE_MAX);
    enum { NUMBERS = 5, PARTS = 5 };
    if (!fm_buf_reserve(w->b, 1 + (NUMBERS + PARTS) * FM_VARINT_MAX + fm_msg_size(m) - sizeof *m))
        return;
    uint8_t *to = w->b->p + w->b->n;
    *to++ = FM_RECORD_MSG;
    const uint64_t numbers[NUMBERS] = {m->id.seq - w->last_seq, m->id.seq - m->prev, m->ts_ms, age_ms, m->flags};
    for (unsigned i = 0; i < NUMBERS; i++)
        to = fm_varint_put(to, numbers[i]);
    to = put_sized(to, fm_msg_topic(m));
    to = put_sized(to, fm_msg_event(m));
    to = put_sized(to, fm_msg_key(m));
    to = put_sized(to, fm_msg_conflation_key(m));
    to = put_sized(to, fm_msg_payload(m));
    w->b->n = (size_t)(to - w->b->p);
    w->last_seq = m->id.seq;
}

void fm_env_range_tomb(struct fm_env_range_writer *w, struct fm_slice topic, uint64_t seq)
{
    assert(topic.n <= FM_TOPIC_MAX && seq >= 1);
    fm_buf_u8(w->b, FM_RECORD_TOMB);
    fm_buf_sized(w->b, topic);
    fm_buf_varint(w->b, seq);
}

void fm_env_range_finish(struct fm_env_range_writer *w, uint64_t upto)
{
    fm_buf_u8(w->b, FM_RECORD_END);
    if (w->b->failed)
        return;
    for (unsigned i = 0; i < 8; i++)
        w->b->p[w->upto_at + i] = (uint8_t)(upto >> (8 * i));
}

enum fm_err fm_env_range_read(struct fm_slice body, struct fm_env_range *r)
{
    struct fm_rd in = begin_read(body, FM_ENV_RANGE);
    r->flags = fm_rd_varint(&in);
    r->origin = read_incarnation(&in);
    r->from = fm_rd_varint(&in);
    r->upto = fm_rd_u64(&in);
    r->contig = fm_rd_varint(&in);
    r->forgotten = fm_rd_varint(&in);
    r->lost = fm_rd_varint(&in);
    r->last_seq = r->from - 1;
    r->rest = in;
    return in.bad || r->from < 1 || r->upto < r->from - 1 ? FM_E_SYNTAX : FM_OK;
}

static void read_msg(struct fm_env_range *r, struct fm_env_record_view *rec)
{
    uint64_t step = fm_rd_varint(&r->rest);
    uint64_t back = fm_rd_varint(&r->rest);
    if (step == 0 || __builtin_add_overflow(r->last_seq, step, &rec->seq) || back == 0 || back > rec->seq) {
        r->rest.bad = true;
        return;
    }
    rec->prev = rec->seq - back;
    rec->ts_ms = fm_rd_varint(&r->rest);
    rec->age_ms = fm_rd_varint(&r->rest);
    if (rec->age_ms > FM_AGE_MAX)
        r->rest.bad = true;
    rec->flags = read_u32(&r->rest, UINT32_MAX);
    rec->topic = fm_rd_sized(&r->rest, FM_TOPIC_MAX);
    rec->event = fm_rd_sized(&r->rest, FM_EVENT_MAX);
    rec->keys.idempotency = fm_rd_sized(&r->rest, FM_KEY_MAX);
    rec->keys.conflation = fm_rd_sized(&r->rest, FM_KEY_MAX);
    rec->payload = fm_rd_sized(&r->rest, FM_PAYLOAD_MAX);
    r->last_seq = rec->seq;
}

static void read_tomb(struct fm_env_range *r, struct fm_env_record_view *rec)
{
    rec->topic = fm_rd_sized(&r->rest, FM_TOPIC_MAX);
    rec->seq = fm_rd_varint(&r->rest);
    if (rec->seq == 0)
        r->rest.bad = true;
}

enum fm_err fm_env_range_next(struct fm_env_range *r, struct fm_env_record_view *rec)
{
    struct fm_rd at_start = r->rest;
    *rec = (struct fm_env_record_view){0};
    switch (fm_rd_u8(&r->rest)) {
    case FM_RECORD_MSG:
        rec->kind = FM_RECORD_MSG;
        read_msg(r, rec);
        break;
    case FM_RECORD_TOMB:
        rec->kind = FM_RECORD_TOMB;
        read_tomb(r, rec);
        break;
    case FM_RECORD_END:
        if (end_read(&r->rest))
            r->rest.bad = true;
        else
            r->rest = at_start; /* so that asking again gives END again */
        break;
    default:
        r->rest.bad = true;
    }
    return r->rest.bad ? FM_E_SYNTAX : FM_OK;
}

/* ---- bye ---- */

void fm_env_bye_write(struct fm_buf *b, uint64_t seq)
{
    fm_buf_u8(b, FM_ENV_BYE);
    fm_buf_varint(b, seq);
}

enum fm_err fm_env_bye_read(struct fm_slice body, uint64_t *seq)
{
    struct fm_rd r = begin_read(body, FM_ENV_BYE);
    *seq = fm_rd_varint(&r);
    return end_read(&r);
}
