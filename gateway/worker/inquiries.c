/* What this worker knows of its clients, for who asks the whole cluster (broker/inquiry.h). */
#include "worker_core.h"

#include <stdlib.h>

/* The sockets with the smallest numbers of those that fit: a heap whose root is the largest of them, so that one which does not get in
 * costs a comparison. */
struct page {
    struct fm_socket **at;
    uint32_t n, max;
    struct fm_id after;
    uint64_t count;
};

static void sink(struct page *p, uint32_t i)
{
    for (;;) {
        uint32_t most = i, left = 2 * i + 1;
        for (uint32_t k = left; k < left + 2 && k < p->n; k++)
            if (p->at[k]->number > p->at[most]->number)
                most = k;
        if (most == i)
            return;
        struct fm_socket *s = p->at[i];
        p->at[i] = p->at[most];
        p->at[most] = s;
        i = most;
    }
}

static void rise(struct page *p, uint32_t i)
{
    for (; i && p->at[(i - 1) / 2]->number < p->at[i]->number; i = (i - 1) / 2) {
        struct fm_socket *s = p->at[i];
        p->at[i] = p->at[(i - 1) / 2];
        p->at[(i - 1) / 2] = s;
    }
}

static void consider(struct page *p, struct fm_socket *s)
{
    if (s->probe || s->state != FM_SOCKET_OPEN)
        return;
    p->count++;
    if (p->max == 0 || fm_connection_compare(fm_socket_id(s), p->after) <= 0)
        return;
    if (p->n < p->max) {
        p->at[p->n++] = s;
        rise(p, p->n - 1);
    } else if (s->number < p->at[0]->number) {
        p->at[0] = s;
        sink(p, 0);
    }
}

static int by_number(const void *a, const void *b)
{
    const struct fm_socket *x = *(struct fm_socket *const *)a, *y = *(struct fm_socket *const *)b;
    return (x->number > y->number) - (x->number < y->number);
}

static void row_of(const struct fm_socket *s, uint64_t now, struct fm_found *f)
{
    char address[FM_PEER_TEXT_MAX];
    fm_peer_text(&s->peer, address);
    struct fm_slice user = s->user ? fm_user_name(s->user) : fm_slice_of(NULL, 0);
    struct fm_found_row *row = &f->at[f->n++];
    *row = (struct fm_found_row){.connection = fm_socket_id(s), .open_ms = now - s->opened_ms, .topics = s->subs_n};
    size_t at = f->text.n;
    fm_buf_slice(&f->text, user);
    fm_buf_str(&f->text, address);
    row->user = fm_slice_of(f->text.p + at, user.n);
    row->address = fm_slice_of(f->text.p + at + user.n, f->text.n - at - user.n);
}

static bool rows_of(struct page *p, struct fm_found *f)
{
    size_t text = 1;
    qsort(p->at, p->n, sizeof(struct fm_socket *), by_number);
    for (uint32_t i = 0; i < p->n; i++)
        text += (p->at[i]->user ? p->at[i]->user->name_n : 0) + FM_PEER_TEXT_MAX;
    f->at = calloc(p->n + 1, sizeof *f->at);
    if (!f->at || !fm_buf_reserve(&f->text, text)) /* it does not move any more */
        return false;
    uint64_t now = fm_mono_ms();
    for (uint32_t i = 0; i < p->n; i++)
        row_of(p->at[i], now, f);
    return true;
}

static void look(struct fm_worker *w, const struct fm_inquire *q, struct page *p)
{
    struct fm_slice user = fm_slice_of(q->text, q->user_n), topic = fm_slice_of(q->text + q->user_n, q->topic_n);
    if (q->what == FM_INQUIRY_SUBSCRIBERS) {
        const struct fm_wtopic *t = fm_wtopic_find(w, topic);
        for (uint32_t i = 0; t && i < t->n; i++)
            if (user.n == 0 || (t->slots[i].socket->user && fm_slice_eq(fm_user_name(t->slots[i].socket->user), user)))
                consider(p, t->slots[i].socket);
    } else if (user.n) {
        const struct fm_user *u = fm_user_find(w, user);
        for (struct fm_socket *s = u ? u->first : NULL; s; s = s->user_next)
            consider(p, s);
    } else {
        for (struct fm_socket *s = w->sockets; s; s = s->next)
            consider(p, s);
    }
}

void fm_inquire_answer(struct fm_worker *w, struct fm_inquire *q)
{
    struct page p = {.max = q->limit, .after = q->after};
    if (q->what == FM_INQUIRY_DONE) {
        const struct fm_wtopic *commands = fm_wtopic_find(w, FM_COMMAND_TOPIC);
        p.count = fm_commands_done(w, q->command);
        q->failed = w->overrun || (commands && commands->reread != FM_REREAD_NONE); /* it may be among what is still to be read again */
    } else {
        p.at = p.max ? malloc(p.max * sizeof(struct fm_socket *)) : NULL;
        q->failed = p.max && !p.at;
        if (!q->failed)
            look(w, q, &p);
        if (!q->failed && p.n)
            q->failed = !rows_of(&p, &q->found);
        free(p.at);
    }
    q->found.count = p.count;
    q->item.next = NULL;
    enum fm_err err = fm_hub_post(w->config.hub, &q->item);
    (void)err; /* it is always taken */
}
