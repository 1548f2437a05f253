/* What a request's body was read into, for the tests of those that read one. */
#pragma once

#include "../../../gateway/api/api_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct fm_rules *rules;
static struct fm_api_limits limits;
static struct fm_api_order order;
static struct fm_api_bad bad;

static inline int tear_down(void **state)
{
    (void)state;
    fm_api_order_fini(&order);
    fm_rules_free(&rules);
    return 0;
}

/* Of exactly its size, so that the sanitizer sees a read past the end; the order before it is gone. To be freed. */
static inline uint8_t *copied(const char *body, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, body, n);
    fm_api_order_fini(&order);
    return copy;
}

/* What was refused left nothing, and points into the n bytes. */
static inline enum fm_err judged(enum fm_err err, size_t n)
{
    if (err) {
        assert_int_equal(bad.err, err);
        assert_int_equal(order.n, 0);
        assert_null(order.msgs);
        assert_true(!bad.has_at || bad.at <= n);
    }
    return err;
}

static inline void assert_message(uint32_t i, const char *topic, const char *event, const char *payload, const char *key)
{
    assert_true(i < order.n);
    assert_true(fm_slice_eq(fm_msg_topic(order.msgs[i]), fm_slice_str(topic)));
    assert_true(fm_slice_eq(fm_msg_event(order.msgs[i]), fm_slice_str(event)));
    assert_true(fm_slice_eq(fm_msg_payload(order.msgs[i]), fm_slice_str(payload)));
    assert_true(fm_slice_eq(fm_msg_key(order.msgs[i]), fm_slice_str(key)));
}
