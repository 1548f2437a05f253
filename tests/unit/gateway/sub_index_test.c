/* The subs of a socket with many topics, found by topic: compared with a plain list of who is there. */
#include "../../../gateway/worker/sub_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALL = 500 };

static struct fm_sub *subs[ALL];
static bool there[ALL];
static struct fm_sub_index *table;

static struct fm_slice topic_of(unsigned i, char text[16])
{
    return fm_slice_of(text, (size_t)snprintf(text, 16, "room:%u", i));
}

static int setup(void **state)
{
    (void)state;
    char text[16];
    memset(there, 0, sizeof there);
    for (unsigned i = 0; i < ALL; i++) {
        struct fm_slice topic = topic_of(i, text);
        subs[i] = calloc(1, sizeof *subs[i] + topic.n);
        assert_non_null(subs[i]);
        memcpy(subs[i]->text, topic.p, topic.n);
        subs[i]->topic_n = (uint16_t)topic.n;
    }
    table = fm_sub_index_new(NULL, 0);
    return table ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    fm_sub_index_free(&table);
    for (unsigned i = 0; i < ALL; i++)
        free(subs[i]);
    return 0;
}

static void holds_those_who_are_there(void)
{
    char text[16];
    for (unsigned i = 0; i < ALL; i++)
        assert_ptr_equal(fm_sub_index_find(table, topic_of(i, text)), there[i] ? subs[i] : NULL);
}

static void each_sub_is_found_by_its_topic_and_no_other(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ALL; i++) {
        holds_those_who_are_there();
        fm_sub_index_add(&table, subs[i]);
        there[i] = true;
    }
    holds_those_who_are_there();
}

static void who_leaves_is_not_found_and_hides_nobody(void **state)
{
    (void)state;
    srand(7);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = (unsigned)rand() % ALL;
        if (there[i])
            fm_sub_index_remove(table, subs[i]);
        else
            fm_sub_index_add(&table, subs[i]);
        there[i] = !there[i];
        if (round % 100 == 0)
            holds_those_who_are_there();
    }
    for (unsigned i = 0; i < ALL; i++)
        if (there[i])
            fm_sub_index_remove(table, subs[i]);
    memset(there, 0, sizeof there);
    holds_those_who_are_there();
}

static void one_is_made_of_a_list(void **state)
{
    (void)state;
    fm_sub_index_free(&table);
    for (unsigned i = 0; i < 33; i++) {
        subs[i]->next = i ? subs[i - 1] : NULL;
        there[i] = true;
    }
    table = fm_sub_index_new(subs[32], 33);
    assert_non_null(table);
    holds_those_who_are_there();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_sub_is_found_by_its_topic_and_no_other, setup, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_is_not_found_and_hides_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(one_is_made_of_a_list, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
