#include "../../../../load/lib/spread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

/* clients, nodes, topics, per_client */
static const struct fm_spread shapes[] = {
    {1000, 3, 5, 1, 0}, {10, 3, 10, 1, 0}, {6, 3, 4, 2, 0}, {100, 2, 100, 100, 0}, {7, 2, 50, 9, 0}, {40, 3, 8, 1, 5}, {1, 1, 1, 1, 0},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void a_client_finds_the_seat_of_each_of_its_topics_and_of_no_other(void **state)
{
    (void)state;
    for (size_t k = 0; k < SHAPES; k++) {
        const struct fm_spread *s = &shapes[k];
        for (uint32_t i = 0; i < s->clients; i++) {
            uint32_t seats = 0;
            for (uint32_t j = 0; j < s->per_client; j++)
                assert_int_equal(fm_spread_seat(s, i, fm_spread_topic(s, i, j)), j);
            for (uint32_t t = 0; t < s->topics; t++)
                seats += fm_spread_seat(s, i, t) != FM_SEAT_NONE;
            assert_int_equal(seats, s->per_client);
            assert_int_equal(fm_spread_seat(s, i, s->topics), FM_SEAT_NONE);
            assert_int_equal(fm_spread_seat(s, i, UINT32_MAX), FM_SEAT_NONE);
        }
    }
}

static void topics_and_nodes_have_nearly_equal_shares(void **state)
{
    (void)state;
    for (size_t k = 0; k < SHAPES; k++) {
        const struct fm_spread *s = &shapes[k];
        uint32_t *topics = calloc(s->topics, sizeof *topics), *nodes = calloc(s->nodes, sizeof *nodes), least = UINT32_MAX, most = 0;
        for (uint32_t i = 0; i < s->clients; i++) {
            nodes[fm_spread_node(s, i)]++;
            for (uint32_t j = 0; j < s->per_client; j++)
                topics[fm_spread_topic(s, i, j)]++;
        }
        for (uint32_t t = 0; t < s->topics; t++) {
            least = topics[t] < least ? topics[t] : least;
            most = topics[t] > most ? topics[t] : most;
        }
        assert_true(least > 0 && most - least <= s->nodes);
        for (uint32_t n = 0; n < s->nodes; n++)
            assert_true(abs((int)nodes[n] - (int)(s->clients / s->nodes)) <= 2);
        free(topics);
        free(nodes);
    }
}

static void members_of_a_room_stand_together_on_all_nodes(void **state)
{
    (void)state;
    const struct fm_spread s = {.clients = 40, .nodes = 3, .topics = 8, .per_client = 1, .members = 5};
    for (uint32_t i = 0; i < s.clients; i++)
        assert_int_equal(fm_spread_topic(&s, i, 0), i / 5);
    assert_int_not_equal(fm_spread_node(&s, 0), fm_spread_node(&s, 1));
}

static void with_enough_clients_each_topic_has_one_on_each_node(void **state)
{
    (void)state;
    const struct fm_spread even[] = {{15, 3, 5, 1, 0}, {30, 3, 20, 2, 0}};
    for (size_t k = 0; k < 2; k++) {
        const struct fm_spread *s = &even[k];
        uint32_t seen[64] = {0};
        for (uint32_t i = 0; i < s->clients; i++)
            for (uint32_t j = 0; j < s->per_client; j++)
                seen[fm_spread_topic(s, i, j) * s->nodes + fm_spread_node(s, i)]++;
        for (uint32_t x = 0; x < s->topics * s->nodes; x++)
            assert_true(seen[x] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_finds_the_seat_of_each_of_its_topics_and_of_no_other),
        cmocka_unit_test(topics_and_nodes_have_nearly_equal_shares),
        cmocka_unit_test(members_of_a_room_stand_together_on_all_nodes),
        cmocka_unit_test(with_enough_clients_each_topic_has_one_on_each_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
