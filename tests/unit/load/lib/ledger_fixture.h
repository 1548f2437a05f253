/* What the tests of the ledger share: one topic and two subscribers of it, a and b. */
#pragma once

#include "../../../../load/lib/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ORIGIN = 77 };

static struct fm_ledger ledger;
static struct fm_view a, b;
static struct fm_tally tally;
static struct fm_gone gone;

static inline int begin(void **state)
{
    (void)state;
    ledger = (struct fm_ledger){0};
    tally = (struct fm_tally){0};
    fm_view_init(&a, &ledger);
    fm_view_init(&b, &ledger);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    fm_view_fini(&a);
    fm_view_fini(&b);
    fm_ledger_fini(&ledger);
    fm_gone_fini(&gone);
    return 0;
}

static inline struct fm_id id_of(uint64_t number)
{
    return (struct fm_id){ORIGIN, number + 1};
}

static inline void publish(unsigned n, bool acked)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t k;
        assert_int_equal(fm_ledger_publish(&ledger, 1, FM_NODE_UNKNOWN, &k), FM_OK);
        if (acked)
            fm_ledger_ack(&ledger, k, id_of(k), false, &tally);
    }
}

static inline enum fm_take give(struct fm_view *v, uint64_t k)
{
    return fm_view_take(v, k, id_of(k), true, &tally);
}

static inline void judge(void)
{
    fm_view_finish(&a, &gone, &tally);
    fm_view_finish(&b, &gone, &tally);
}

static inline struct fm_vector cursor_at(uint64_t seq)
{
    struct fm_vector v = {0};
    assert_int_equal(fm_vector_set(&v, ORIGIN, seq), FM_OK);
    return v;
}

enum { HERE, ELSEWHERE };

static inline void kill_origin(void)
{
    char text[FM_ORIGIN_TEXT_MAX + 1];
    unsigned line;
    size_t n = fm_origin_print(ORIGIN, text);
    assert_int_equal(fm_gone_read(&gone, fm_slice_of((const uint8_t *)text, n), &line), FM_OK);
}

#define LEDGER_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
