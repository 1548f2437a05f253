#include "../../../gateway/node/node.h"

#include "free_ports.h"
#include "settings_load.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORTS = 4 };

struct ports { /* free a moment ago */
    unsigned at[PORTS];
};

static struct ports ports_free(void)
{
    struct ports p;
    free_ports(p.at, PORTS);
    return p;
}

/* Loads --dev settings on these ports; `extra` (may be NULL) is one more argument. */
static void settings_of(struct settings_load *l, const struct ports *p, char *extra)
{
    static const char *const names[PORTS] = {"listen", "api_listen", "mesh_listen", "mesh_ask_listen"};
    static char *no_env[] = {NULL};
    char words[PORTS][64];
    char *argv[PORTS + 4] = {"--dev", "--workers=2", words[0], words[1], words[2], words[3], extra, NULL};
    for (unsigned i = 0; i < PORTS; i++)
        snprintf(words[i], sizeof words[i], "--%s=127.0.0.1:%u", names[i], p->at[i]);
    if (!settings_whole_load(l, argv, no_env))
        fail_msg("%s", settings_load_errors(l));
}

static bool connects(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return ok;
}

static void a_node_listens_on_all_four_ports_until_it_is_stopped(void **state)
{
    (void)state;
    struct ports p = ports_free();
    struct settings_load l;
    struct fm_node *node;
    struct fm_buf why = {0};
    settings_of(&l, &p, NULL);
    assert_int_equal(fm_node_start(&node, &l.s, NULL, &why), FM_OK);
    assert_true(fm_node_incarnation(node) != 0);
    for (unsigned i = 0; i < PORTS; i++)
        assert_true(connects(p.at[i]));
    bool alone = false;
    assert_true(fm_node_leave(node, &alone));
    assert_true(alone); /* nobody else is there */
    fm_node_stop(&node);
    assert_null(node);
    for (unsigned i = 0; i < PORTS; i++)
        assert_false(connects(p.at[i]));
    fm_buf_fini(&why);
    settings_load_end(&l);
}

static void a_port_in_use_is_named_and_what_was_started_is_stopped(void **state)
{
    (void)state;
    static const char *const names[PORTS] = {"listen", "api_listen", "mesh_listen", "mesh_ask_listen"};
    for (unsigned taken = 0; taken < PORTS; taken++) {
        struct ports p = ports_free();
        struct settings_load l;
        struct fm_node *node;
        struct fm_buf why = {0};
        char want[128];
        int fd = port_listener(&p.at[taken]);
        settings_of(&l, &p, NULL);
        assert_int_equal(fm_node_start(&node, &l.s, NULL, &why), FM_E_IN_USE);
        assert_null(node);
        snprintf(want, sizeof want, "%s = 127.0.0.1:%u: another process listens on this address", names[taken], p.at[taken]);
        fm_buf_u8(&why, 0);
        assert_int_equal(strncmp((const char *)why.p, want, strlen(want)), 0);
        for (unsigned i = 0; i < PORTS; i++)
            assert_true(i == taken || !connects(p.at[i]));
        close(fd);
        fm_buf_fini(&why);
        settings_load_end(&l);
    }
}

static void a_role_that_is_none_has_no_listener(void **state)
{
    (void)state;
    static char *const none[] = {"--listen=none", "--api_listen=none", "--mesh_listen=none"};
    for (unsigned role = 0; role < 3; role++) {
        struct ports p = ports_free();
        struct settings_load l;
        struct fm_node *node;
        struct fm_buf why = {0};
        settings_of(&l, &p, none[role]);
        assert_int_equal(fm_node_start(&node, &l.s, NULL, &why), FM_OK);
        for (unsigned i = 0; i < PORTS; i++)
            assert_int_equal(connects(p.at[i]), i != role && (role != 2 || i != 3));
        fm_node_drain(node);
        assert_int_equal(fm_node_connections(node), 0);
        fm_node_stop(&node);
        fm_buf_fini(&why);
        settings_load_end(&l);
    }
}

static void descriptors_are_kept_for_what_is_no_client(void **state)
{
    (void)state;
    assert_true(fm_node_connections_for(20000, 2) < 20000 - 128);
    assert_true(fm_node_connections_for(20000, 2) > 19000);
    assert_true(fm_node_connections_for(20000, 32) < fm_node_connections_for(20000, 2));
    assert_int_equal(fm_node_connections_for(100, 2), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_listens_on_all_four_ports_until_it_is_stopped),
        cmocka_unit_test(a_port_in_use_is_named_and_what_was_started_is_stopped),
        cmocka_unit_test(a_role_that_is_none_has_no_listener),
        cmocka_unit_test(descriptors_are_kept_for_what_is_no_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
