/* What a client sees of a worker: the upgrade, frames, limits and ends. Real sockets on loopback, a real hub. */
#include "edge_node.h"
#include "raw_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

static struct edge_node node;

static int start(void **state)
{
    (void)state;
    edge_node_defaults(&node);
    edge_node_start(&node);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    edge_node_stop(&node, 0);
    return 0;
}

static void a_client_joins_pushes_and_gets_what_it_pushed(void **state)
{
    (void)state;
    struct raw_client c;
    raw_connect(&c, node.port);
    raw_text(&c, "[\"1\",\"1\",\"room:a\",\"phx_join\",{}]");
    raw_expect(&c, "[\"1\",\"1\",\"room:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]");
    raw_text(&c, "[\"1\",\"2\",\"room:a\",\"hello\",{\"n\":1}]");
    raw_expect(&c, "[null,null,\"room:a\",\"hello\",{\"n\":1}]");
    struct raw_message m = raw_next(&c);
    assert_non_null(strstr((const char *)m.bytes, "\"phx_reply\""));
    free(m.bytes);
    raw_close(&c);
    edge_node_await(&fm_worker_stats(node.worker)->connections, 0);
    edge_node_await(&fm_worker_stats(node.worker)->subscriptions, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_client_joins_pushes_and_gets_what_it_pushed, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
