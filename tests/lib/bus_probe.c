#include "bus_probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { STEP_MS = 5 };

struct probe probes[PROBES];
static const struct bus_adapter *adapter;
static void *env;

/* ---- life ---- */

static void deliver(void *ctx, struct fm_bus_item *item)
{
    struct probe *p = ctx;
    pthread_mutex_lock(&p->lock);
    if (p->stopped || p->n == PROBE_LOG_MAX)
        abort(); /* on a thread of the adapter: cmocka can't fail the test from there */
    p->log[p->n++] = item;
    pthread_mutex_unlock(&p->lock);
}

void probes_open(const struct bus_adapter *a)
{
    adapter = a;
    env = a->open();
    for (unsigned i = 0; i < PROBES; i++) {
        memset(&probes[i], 0, sizeof probes[i]);
        pthread_mutex_init(&probes[i].lock, NULL);
        a->address(env, i, probes[i].listen, probes[i].listen_ask);
    }
}

void probes_close(void)
{
    for (unsigned i = 0; i < PROBES; i++) {
        if (probes[i].bus)
            probe_stop(&probes[i]);
        pthread_mutex_destroy(&probes[i].lock);
    }
    adapter->close(env);
}

enum fm_err probe_try_start(struct probe *p, const char **what)
{
    const struct fm_bus_config config = {.listen = p->listen,
                                         .listen_ask = p->listen_ask,
                                         .envelope_max = PROBE_ENVELOPE_MAX,
                                         .tls = adapter->tls,
                                         .deliver = deliver,
                                         .ctx = p};
    p->stopped = false;
    enum fm_err err = adapter->ops->start(&p->bus, &config, what);
    assert_true((err == FM_OK) == (p->bus != NULL));
    return err;
}

struct probe *probe_start(unsigned number)
{
    const char *what = NULL;
    assert_int_equal(probe_try_start(&probes[number], &what), FM_OK);
    return &probes[number];
}

static bool is_of_pipe(const struct fm_bus_item *item)
{
    return item->item.kind == FM_BUS_ENVELOPE || item->item.kind == FM_BUS_UP || item->item.kind == FM_BUS_DOWN;
}

static void check_item(const struct probe *p, unsigned at)
{
    const struct fm_bus_item *item = p->log[at];
    unsigned ups = 0, downs = 0, answers = 0;
    for (unsigned i = 0; i < at; i++) {
        const struct fm_bus_item *before = p->log[i];
        if (is_of_pipe(before) && before->pipe == item->pipe) {
            ups += before->item.kind == FM_BUS_UP;
            downs += before->item.kind == FM_BUS_DOWN;
        }
        answers += before->item.kind == FM_BUS_ANSWERED && before->handle == item->handle;
    }
    assert_int_equal(item->item.cost, sizeof *item + item->n);
    if (is_of_pipe(item)) {
        assert_int_not_equal(item->pipe, 0);
        assert_int_equal(ups, item->item.kind == FM_BUS_UP ? 0 : 1);
        assert_int_equal(downs, 0);
    } else if (item->item.kind == FM_BUS_ANSWERED) {
        assert_int_equal(answers, 0);
    }
}

void probe_stop_bus(struct probe *p)
{
    adapter->ops->stop(&p->bus);
    assert_null(p->bus);
    pthread_mutex_lock(&p->lock);
    p->stopped = true;
    pthread_mutex_unlock(&p->lock);
}

void probe_stop(struct probe *p)
{
    if (p->bus)
        probe_stop_bus(p);
    for (unsigned i = 0; i < p->n; i++)
        check_item(p, i);
    for (unsigned i = 0; i < p->n; i++)
        free(p->log[i]);
    memset(p->taken, 0, sizeof p->taken);
    p->n = 0;
}

/* ---- what the tests say ---- */

void probe_run(unsigned ms)
{
    adapter->run(env, ms);
}

const struct fm_bus_item *probe_next_within(struct probe *p, enum fm_bus_event kind, unsigned ms)
{
    for (unsigned waited = 0;; waited += STEP_MS) {
        const struct fm_bus_item *found = NULL;
        pthread_mutex_lock(&p->lock);
        for (unsigned i = 0; i < p->n && !found; i++) {
            if (p->taken[i] || p->log[i]->item.kind != (uint32_t)kind)
                continue;
            p->taken[i] = true;
            found = p->log[i];
        }
        pthread_mutex_unlock(&p->lock);
        if (found || waited >= ms)
            return found;
        probe_run(STEP_MS);
    }
}

const struct fm_bus_item *probe_next(struct probe *p, enum fm_bus_event kind)
{
    const struct fm_bus_item *item = probe_next_within(p, kind, PROBE_SOON_MS);
    assert_non_null(item);
    return item;
}

void probe_none(struct probe *p, enum fm_bus_event kind)
{
    assert_null(probe_next_within(p, kind, PROBE_QUIET_MS));
}

void probe_assert_bytes(const struct fm_bus_item *item, struct fm_slice bytes)
{
    assert_true(fm_slice_eq(fm_slice_of(item->bytes, item->n), bytes));
}

void probe_assert_failed(const struct fm_bus_item *item, uint64_t id)
{
    assert_non_null(item);
    assert_int_equal(item->handle, id);
    assert_int_equal(item->n, 0);
    assert_true(item->err == FM_E_TIMEOUT || item->err == FM_E_CLOSED || item->err == FM_E_IO);
}

void probe_link(struct probe *from, const struct probe *to)
{
    assert_int_equal(adapter->ops->link(from->bus, to->listen), FM_OK);
}

uint32_t probe_linked(struct probe *from, struct probe *to)
{
    probe_link(from, to);
    uint32_t pipe = probe_next(from, FM_BUS_UP)->pipe;
    (void)probe_next(to, FM_BUS_UP);
    return pipe;
}

void probe_publish(struct probe *p, struct fm_slice bytes)
{
    assert_int_equal(adapter->ops->publish(p->bus, bytes), FM_OK);
}

void probe_ask(struct probe *from, const struct probe *to, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    assert_int_equal(adapter->ops->ask(from->bus, to->listen_ask, id, bytes, timeout_ms), FM_OK);
}

void probe_answer(struct probe *p, uint64_t handle, struct fm_slice bytes)
{
    assert_int_equal(adapter->ops->answer(p->bus, handle, bytes), FM_OK);
}

void probe_asked_once(struct probe *from, struct probe *to)
{
    const uint64_t id = UINT32_MAX;
    probe_ask(from, to, id, FM_LIT("first"), PROBE_SOON_MS);
    probe_answer(to, probe_next(to, FM_BUS_ASKED)->handle, FM_LIT("first"));
    const struct fm_bus_item *answered = probe_next(from, FM_BUS_ANSWERED);
    assert_true(answered->err == FM_OK && answered->handle == id);
}
