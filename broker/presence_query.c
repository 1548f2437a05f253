/* Presences for the HTTP API: a page of a topic's keys in their order, and how many there are. */
#include "hub_core.h"

#include <stdlib.h>

static int order(struct fm_slice a, struct fm_slice b)
{
    int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static struct fm_slice name_of(const struct fm_pkey *k)
{
    return fm_slice_of(k->name, k->name_n);
}

/* ---- the first n of many, without sorting them all: a heap whose top is the last of those found so far ---- */

struct page {
    const struct fm_pkey **at;
    uint32_t n, most;
    bool more;
};

static void sift_down(struct page *p, uint32_t i)
{
    for (;;) {
        uint32_t top = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < p->n; child++)
            if (order(name_of(p->at[child]), name_of(p->at[top])) > 0)
                top = child;
        if (top == i)
            return;
        const struct fm_pkey *k = p->at[i];
        p->at[i] = p->at[top];
        p->at[top] = k;
        i = top;
    }
}

static void page_add(struct page *p, const struct fm_pkey *k)
{
    if (p->n == p->most) {
        p->more = true;
        if (order(name_of(k), name_of(p->at[0])) > 0)
            return;
        p->at[0] = k;
        sift_down(p, 0);
        return;
    }
    uint32_t i = p->n++;
    p->at[i] = k;
    for (uint32_t up; i && order(name_of(p->at[i]), name_of(p->at[up = (i - 1) / 2])) > 0; i = up) {
        const struct fm_pkey *above = p->at[up];
        p->at[up] = p->at[i];
        p->at[i] = above;
    }
}

static int by_name(const void *a, const void *b)
{
    return order(name_of(*(const struct fm_pkey *const *)a), name_of(*(const struct fm_pkey *const *)b));
}

/* ---- the answer ---- */

static enum fm_err members(struct fm_buf *b, const struct fm_ptopic *t, struct fm_slice after, uint32_t limit)
{
    struct page p = {.at = malloc(limit * sizeof(const struct fm_pkey *)), .most = limit};
    if (!p.at)
        return FM_E_NOMEM;
    for (const struct fm_pkey *k = t ? t->keys : NULL; k; k = k->hh.next)
        if (k->shown && (after.n == 0 || order(name_of(k), after) > 0))
            page_add(&p, k);
    qsort(p.at, p.n, sizeof(const struct fm_pkey *), by_name);
    fm_buf_str(b, ",\"members\":{");
    for (uint32_t i = 0; i < p.n; i++) {
        if (i)
            fm_buf_u8(b, ',');
        fm_pkey_json(b, p.at[i]);
    }
    fm_buf_u8(b, '}');
    if (p.more) {
        fm_buf_str(b, ",\"next\":");
        fm_buf_json(b, name_of(p.at[p.n - 1]));
    }
    free(p.at);
    return FM_OK;
}

enum fm_err fm_presence_query(struct fm_hub *h, struct fm_query *q)
{
    struct fm_slice name = fm_slice_of(q->text, q->topic_n), after = fm_slice_of(q->text + q->topic_n, q->after_n);
    const struct fm_ptopic *t = fm_ptopic_find(h, name);
    fm_buf_str(&q->json, "{\"topic\":");
    fm_buf_json(&q->json, name);
    fm_buf_str(&q->json, ",\"presences\":");
    fm_buf_dec(&q->json, t ? t->shown : 0);
    fm_buf_str(&q->json, ",\"keys\":");
    fm_buf_dec(&q->json, t ? t->keys_shown : 0);
    enum fm_err err = q->limit ? members(&q->json, t, after, q->limit) : FM_OK;
    fm_buf_u8(&q->json, '}');
    return err;
}
