#include "inquiry.h"

#include <assert.h>
#include <stdlib.h>

enum { TIMEOUT_MS_MAX = 60000 };

/* ---- questions ---- */

static uint32_t number_read(struct fm_rd *r, uint32_t max)
{
    uint64_t v = fm_rd_varint(r);
    r->bad |= v > max;
    return r->bad ? 0 : (uint32_t)v;
}

void fm_inquiry_write(struct fm_buf *b, const struct fm_inquiry *q)
{
    assert(q->kind && q->kind < FM_INQUIRY_KINDS && q->limit <= FM_FOUND_MAX && q->timeout_ms <= TIMEOUT_MS_MAX);
    assert(q->user.n <= FM_USER_MAX && q->topic.n <= FM_TOPIC_MAX);
    fm_buf_u8(b, FM_ENV_INQUIRY);
    fm_buf_varint(b, q->kind);
    fm_buf_varint(b, q->timeout_ms);
    fm_buf_varint(b, q->limit);
    fm_buf_id(b, q->after);
    fm_buf_id(b, q->command);
    fm_buf_sized(b, q->user);
    fm_buf_sized(b, q->topic);
}

enum fm_err fm_inquiry_read(struct fm_slice body, struct fm_inquiry *q)
{
    struct fm_rd r = fm_rd_of(body);
    r.bad |= fm_rd_u8(&r) != FM_ENV_INQUIRY;
    q->kind = number_read(&r, FM_INQUIRY_KINDS - 1);
    q->timeout_ms = number_read(&r, TIMEOUT_MS_MAX);
    q->limit = number_read(&r, FM_FOUND_MAX);
    q->after = fm_rd_id(&r);
    q->command = fm_rd_id(&r);
    q->user = fm_rd_sized(&r, FM_USER_MAX);
    q->topic = fm_rd_sized(&r, FM_TOPIC_MAX);
    return r.bad || q->kind == 0 || fm_rd_left(&r) ? FM_E_SYNTAX : FM_OK;
}

/* ---- answers ---- */

void fm_found_write(struct fm_buf *b, const struct fm_found *f, bool complete)
{
    assert(f->n <= FM_FOUND_MAX);
    fm_buf_u8(b, FM_ENV_FOUND);
    fm_buf_u8(b, complete);
    fm_buf_varint(b, f->count);
    fm_buf_varint(b, f->n);
    for (uint32_t i = 0; i < f->n; i++) {
        const struct fm_found_row *row = &f->at[i];
        fm_buf_id(b, row->connection);
        fm_buf_varint(b, row->open_ms);
        fm_buf_varint(b, row->topics);
        fm_buf_sized(b, row->user);
        fm_buf_sized(b, row->address);
    }
}

enum fm_err fm_found_read(struct fm_slice body, struct fm_found *f, bool *complete)
{
    struct fm_rd r = fm_rd_of(body);
    *f = (struct fm_found){0};
    r.bad |= fm_rd_u8(&r) != FM_ENV_FOUND;
    uint8_t flag = fm_rd_u8(&r);
    *complete = flag;
    r.bad |= flag > 1;
    f->count = fm_rd_varint(&r);
    uint32_t n = number_read(&r, FM_FOUND_MAX);
    if (!r.bad && n) {
        f->at = calloc(n, sizeof *f->at);
        if (!f->at)
            return FM_E_NOMEM;
    }
    for (; f->n < n && !r.bad; f->n++) {
        struct fm_found_row *row = &f->at[f->n];
        row->connection = fm_rd_id(&r);
        row->open_ms = fm_rd_varint(&r);
        row->topics = number_read(&r, UINT32_MAX);
        row->user = fm_rd_sized(&r, FM_USER_MAX);
        row->address = fm_rd_sized(&r, FM_FOUND_ADDRESS_MAX);
        r.bad |= f->n && fm_connection_compare(row[-1].connection, row->connection) >= 0;
    }
    if (!r.bad && fm_rd_left(&r) == 0)
        return FM_OK;
    fm_found_fini(f);
    return FM_E_SYNTAX;
}

int fm_connection_compare(struct fm_id a, struct fm_id b)
{
    if (a.origin != b.origin)
        return a.origin < b.origin ? -1 : 1;
    return (a.seq > b.seq) - (a.seq < b.seq);
}

/* There is room for its texts. */
static struct fm_slice text_take(struct fm_found *to, struct fm_slice text)
{
    size_t at = to->text.n;
    fm_buf_slice(&to->text, text);
    return text.n ? fm_slice_of(to->text.p + at, text.n) : fm_slice_of(NULL, 0);
}

static size_t texts_of(const struct fm_found *f)
{
    size_t n = 0;
    for (uint32_t i = 0; i < f->n; i++)
        n += f->at[i].user.n + f->at[i].address.n;
    return n;
}

enum fm_err fm_found_merge(struct fm_found *to, const struct fm_found *more, uint32_t max)
{
    struct fm_found all = {.count = to->count + more->count};
    uint32_t most = to->n + more->n < max ? to->n + more->n : max, i = 0, k = 0;
    all.at = most ? calloc(most, sizeof *all.at) : NULL;
    if ((most && !all.at) || !fm_buf_reserve(&all.text, texts_of(to) + texts_of(more) + 1)) {
        fm_found_fini(&all);
        return FM_E_NOMEM;
    }
    while (all.n < most) {
        bool first = k == more->n || (i < to->n && fm_connection_compare(to->at[i].connection, more->at[k].connection) < 0);
        struct fm_found_row *row = &all.at[all.n++];
        *row = first ? to->at[i++] : more->at[k++];
        row->user = text_take(&all, row->user);
        row->address = text_take(&all, row->address);
    }
    fm_found_fini(to);
    *to = all;
    return FM_OK;
}

void fm_found_fini(struct fm_found *f)
{
    free(f->at);
    fm_buf_fini(&f->text);
    *f = (struct fm_found){0};
}
