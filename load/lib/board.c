#include "board.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t aligned(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

enum fm_err fm_board_new(struct fm_board **board, uint32_t shares, uint32_t topics, uint64_t entries)
{
    size_t parts[] = {aligned(sizeof **board), aligned(shares * sizeof(struct fm_share)), aligned(topics * sizeof(uint32_t)),
                      aligned(entries * sizeof(struct fm_entry)), aligned(entries * sizeof(uint32_t))};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        bytes += parts[i];
    *board = NULL;
    /* Only what is written takes memory. */
    uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return FM_E_NOMEM;
    struct fm_board *b = *board = (struct fm_board *)at;
    b->bytes = bytes;
    b->shares = (struct fm_share *)(at += parts[0]);
    b->holders = (_Atomic uint32_t *)(at += parts[1]);
    b->entries = (struct fm_entry *)(at += parts[2]);
    b->list = (_Atomic uint32_t *)(at += parts[3]);
    b->shares_n = shares;
    b->topics = topics;
    b->cap = entries;
    b->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (uint32_t i = 0; i < shares; i++)
        b->shares[i].times.measure_ns = b->shares[i].times.storm_ns = UINT64_MAX;
    if (b->event >= 0)
        return FM_OK;
    fm_board_free(board);
    return FM_E_IO;
}

void fm_board_free(struct fm_board **board)
{
    struct fm_board *b = *board;
    if (!b)
        return;
    if (b->event >= 0)
        close(b->event);
    munmap(b, b->bytes);
    *board = NULL;
}

/* ---- any process ---- */

void fm_board_hold(struct fm_board *b, const struct fm_ledger *ledgers)
{
    for (uint32_t t = 0; t < b->topics; t++)
        if (ledgers[t].views)
            atomic_fetch_add(&b->holders[t], 1);
}

enum fm_err fm_board_follow(const struct fm_board *b, struct fm_ledger *ledgers, uint64_t *seen)
{
    uint64_t n = atomic_load_explicit(&b->n, memory_order_acquire), number;
    for (; *seen < n; ++*seen) {
        const struct fm_entry *e = &b->entries[*seen];
        enum fm_err err = fm_ledger_publish(&ledgers[e->topic], e->stream, e->node, &number);
        if (err)
            return err;
        assert(number == e->number);
        ledgers[e->topic].at[number].place = (uint32_t)*seen;
    }
    return FM_OK;
}

static void entry_close(struct fm_board *b, struct fm_entry *e)
{
    if (!atomic_exchange(&e->closed, true))
        atomic_fetch_sub(&b->open, 1);
}

bool fm_board_reach(struct fm_board *b, const struct fm_record *record)
{
    struct fm_entry *e = &b->entries[record->place];
    uint64_t one = 1;
    if (atomic_fetch_sub(&e->left, 1) != 1)
        return false;
    entry_close(b, e);
    atomic_store(&b->list[atomic_fetch_add(&b->reached, 1)], record->place + 1);
    ssize_t told = write(b->event, &one, sizeof one); /* it can only be full, and then it tells as well */
    (void)told;
    return true;
}

void fm_board_fates(const struct fm_board *b, struct fm_ledger *ledgers, struct fm_tally *t)
{
    for (uint64_t i = 0; i < b->n; i++) {
        const struct fm_entry *e = &b->entries[i];
        struct fm_ledger *l = &ledgers[e->topic];
        switch (e->fate) {
        case FM_FATE_ACKED:
            fm_ledger_ack(l, e->number, e->id, e->replicated, t);
            break;
        case FM_FATE_REFUSED:
            t->undead += l->views - l->at[e->number].left;
            fm_ledger_refuse(l, e->number);
            break;
        default:
            fm_ledger_unanswered(l, e->number);
            break;
        }
    }
}

/* ---- the leader ---- */

bool fm_board_full(const struct fm_board *b)
{
    return b->n == b->cap;
}

void fm_board_publish(struct fm_board *b, struct fm_ledger *l, uint32_t topic, uint64_t number)
{
    uint64_t place = b->n;
    struct fm_record *r = &l->at[number];
    struct fm_entry *e = &b->entries[place];
    assert(place < b->cap);
    *e = (struct fm_entry){.topic = topic, .stream = r->stream, .number = number, .node = r->node};
    e->left = b->holders[topic];
    r->place = (uint32_t)place;
    e->closed = e->left == 0;
    if (e->left)
        atomic_fetch_add(&b->open, 1);
    atomic_store_explicit(&b->n, place + 1, memory_order_release);
}

void fm_board_close(struct fm_board *b, const struct fm_record *record)
{
    entry_close(b, &b->entries[record->place]);
}

void fm_board_reached(struct fm_board *b, uint64_t *taken, void (*each)(void *ctx, uint32_t topic, uint64_t number), void *ctx)
{
    uint64_t told;
    ssize_t n = read(b->event, &told, sizeof told);
    (void)n;
    while (*taken < b->cap) {
        uint32_t place = b->list[*taken];
        if (place == 0)
            return;
        ++*taken;
        each(ctx, b->entries[place - 1].topic, b->entries[place - 1].number);
    }
}

void fm_board_judge(struct fm_board *b, const struct fm_ledger *ledgers)
{
    for (uint64_t i = 0; i < b->n; i++) {
        struct fm_entry *e = &b->entries[i];
        const struct fm_record *r = &ledgers[e->topic].at[e->number];
        e->fate = r->fate;
        e->replicated = r->replicated;
        e->id = r->id;
    }
}
