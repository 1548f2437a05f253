#include "inbox.h"

#include <assert.h>

enum fm_err fm_inbox_init(struct fm_inbox *in, size_t bytes_max, void (*wake)(void *ctx), void *ctx)
{
    *in = (struct fm_inbox){.bytes_max = bytes_max, .wake = wake, .wake_ctx = ctx};
    in->last = &in->first;
    return pthread_mutex_init(&in->lock, NULL) == 0 ? FM_OK : FM_E_NOMEM;
}

void fm_inbox_fini(struct fm_inbox *in, void (*drop)(struct fm_item *))
{
    struct fm_item *next;
    for (struct fm_item *it = fm_inbox_take(in, NULL); it; it = next) {
        next = it->next;
        assert(drop);
        drop(it);
    }
    pthread_mutex_destroy(&in->lock);
}

enum how { POST, ALWAYS, QUIETLY };

static enum fm_err post(struct fm_inbox *in, struct fm_item *first, enum how how)
{
    size_t bytes = 0;
    struct fm_item *last = first;
    for (struct fm_item *it = first; it; it = it->next) {
        bytes += it->cost;
        last = it;
    }
    if (!first)
        return FM_OK;
    pthread_mutex_lock(&in->lock);
    bool was_empty = in->first == NULL;
    bool fits = how == ALWAYS || was_empty || (in->bytes <= in->bytes_max && bytes <= in->bytes_max - in->bytes);
    if (fits) {
        *in->last = first;
        in->last = &last->next;
        in->bytes += bytes;
    } else {
        in->overrun = true;
    }
    bool due = fits && (was_empty || in->quiet);
    if (fits)
        in->quiet = due && how == QUIETLY;
    pthread_mutex_unlock(&in->lock);
    if (due && how != QUIETLY)
        in->wake(in->wake_ctx);
    return fits ? FM_OK : FM_E_BUSY;
}

enum fm_err fm_inbox_post(struct fm_inbox *in, struct fm_item *first)
{
    return post(in, first, POST);
}

enum fm_err fm_inbox_post_quietly(struct fm_inbox *in, struct fm_item *first)
{
    return post(in, first, QUIETLY);
}

void fm_inbox_wake(struct fm_inbox *in)
{
    pthread_mutex_lock(&in->lock);
    bool due = in->quiet;
    in->quiet = false;
    pthread_mutex_unlock(&in->lock);
    if (due)
        in->wake(in->wake_ctx);
}

void fm_inbox_post_always(struct fm_inbox *in, struct fm_item *first)
{
    enum fm_err err = post(in, first, ALWAYS);
    assert(err == FM_OK);
    (void)err;
}

void fm_inbox_mark(struct fm_inbox *in)
{
    pthread_mutex_lock(&in->lock);
    in->overrun = true;
    pthread_mutex_unlock(&in->lock);
    in->wake(in->wake_ctx);
}

struct fm_item *fm_inbox_take(struct fm_inbox *in, bool *overrun)
{
    pthread_mutex_lock(&in->lock);
    struct fm_item *first = in->first;
    in->first = NULL;
    in->last = &in->first;
    in->bytes = 0;
    in->quiet = false;
    if (overrun)
        *overrun = in->overrun;
    in->overrun = false;
    pthread_mutex_unlock(&in->lock);
    return first;
}
