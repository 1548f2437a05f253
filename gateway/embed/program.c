/* The callback thread. Its inbox is a worker's: bounded, taken whole; when it was full, subscriptions read again from the hub. */
#include "program_core.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { REREAD_AGAIN_MS = 50 };

/* Whose callbacks this thread runs: one's, whose thread it is, and inside a callback of that those of nodes that it stops. */
static _Thread_local const struct fm_program *here;

static void item_take(struct fm_program *p, struct fm_item *item, bool overrun)
{
    switch (item->kind) {
    case FM_HUB_MSG:
        if (!overrun) /* behind a hole nobody knows where: all that is lost is read again */
            fm_listen_message(p, ((struct fm_msg_item *)item)->msg);
        break;
    case FM_HUB_GAP:
        fm_listen_gap(p, (const struct fm_gap *)item, overrun);
        break;
    case FM_HUB_JOIN:
        fm_listen_joined(p, (struct fm_join *)item);
        break;
    case FM_HUB_PUBLISH:
        fm_publish_done(p, (struct fm_publish *)item);
        break;
    case FM_QUESTION:
        fm_question_ask(p, (const struct fm_question_item *)item);
        break;
    case FM_PROGRAM_SUBSCRIBE:
        fm_listen_begin(p, item);
        return; /* it is the subscription itself */
    case FM_PROGRAM_UNSUBSCRIBE:
        fm_listen_end(p, item);
        return;
    default:
        break;
    }
    fm_question_item_free(item);
}

static void inbox_drain(struct fm_program *p)
{
    bool overrun;
    struct fm_item *next, *item = fm_inbox_take(&p->config.mailbox->inbox, &overrun);
    for (; item; item = next) {
        next = item->next;
        item_take(p, item, overrun);
    }
    if (overrun)
        fm_listen_overrun(p);
    fm_listen_reread(p);
}

static void *thread_main(void *ctx)
{
    struct fm_program *p = ctx;
    struct pollfd bell = {.fd = p->config.mailbox->bell, .events = POLLIN};
    uint64_t rings;
    here = p;
    pthread_setname_np(pthread_self(), "callbacks");
    while (!atomic_load(&p->stop)) {
        if (poll(&bell, 1, p->rereads ? REREAD_AGAIN_MS : -1) > 0 && read(bell.fd, &rings, sizeof rings) < 0)
            continue;
        inbox_drain(p);
    }
    return NULL;
}

/* ---- life ---- */

enum fm_err fm_program_new(struct fm_program **out, const struct fm_program_config *config)
{
    struct fm_program *p = calloc(1, sizeof *p);
    *out = p;
    if (!p)
        return FM_E_NOMEM;
    p->config = *config;
    return FM_OK;
}

enum fm_err fm_program_run(struct fm_program *p, struct fm_hub_thread *hub)
{
    p->hub = hub;
    if (pthread_create(&p->thread, NULL, thread_main, p) != 0)
        return FM_E_NOMEM;
    p->started = true;
    return FM_OK;
}

void fm_program_stop(struct fm_program *p)
{
    if (!p)
        return;
    if (p->started) {
        atomic_store(&p->stop, true);
        fm_inbox_mark(&p->config.mailbox->inbox); /* wakes it */
        pthread_join(p->thread, NULL);
    }
    p->started = false;
    atomic_store(&p->closed, true);
}

void fm_program_end(struct fm_program **pp)
{
    struct fm_program *p = *pp; /* and the node's until the last callback has returned */
    if (!p)
        return;
    p->around = here;
    here = p;
    struct fm_item *next, *item = fm_inbox_take(&p->config.mailbox->inbox, NULL);
    for (; item; item = next) {
        next = item->next;
        if (item->kind == FM_HUB_PUBLISH || item->kind == FM_PROGRAM_SUBSCRIBE || item->kind == FM_PROGRAM_UNSUBSCRIBE)
            item_take(p, item, true);
        else
            fm_question_item_free(item);
    }
    fm_listen_end_all(p);
    here = p->around;
    *pp = NULL;
    free(p);
}

const struct fm_worker_stats *fm_program_stats(const struct fm_program *p)
{
    return &p->stats;
}

bool fm_program_is_here(const struct fm_program *p)
{
    const struct fm_program *it = p ? here : NULL;
    while (it && it != p)
        it = it->around;
    return it != NULL;
}
