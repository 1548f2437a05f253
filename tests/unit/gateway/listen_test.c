#include "../../../gateway/edge/listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void workers_share_a_port_that_nobody_else_may_take(void **state)
{
    (void)state;
    int first, second, other;
    char address[32];
    assert_int_equal(fm_listen("127.0.0.1:0", true, &first), FM_OK);
    snprintf(address, sizeof address, "127.0.0.1:%u", fm_listen_port(first));
    assert_int_equal(fm_listen(address, false, &second), FM_OK);
    assert_int_equal(fm_listen(address, true, &other), FM_E_IN_USE);
    close(first);
    close(second);
    assert_int_equal(fm_listen(address, true, &first), FM_OK);
    close(first);
}

static void what_is_no_address_of_this_machine_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "[127.0.0.1:0", "127.0.0.1:70000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd;
        if (fm_listen(bad[i], true, &fd) != FM_E_ADDRESS)
            fail_msg("%s", bad[i]);
    }
    int fd;
    assert_int_equal(fm_listen("192.0.2.1:0", true, &fd), FM_E_ELSEWHERE);
}

static void a_client_is_accepted_with_its_address(void **state)
{
    (void)state;
    int listener, fd;
    struct fm_peer peer;
    char text[FM_PEER_TEXT_MAX], want[FM_PEER_TEXT_MAX];
    assert_int_equal(fm_listen("127.0.0.1:0", true, &listener), FM_OK);
    assert_int_equal(fm_accept(listener, &fd, &peer), FM_E_SHORT);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(fm_listen_port(listener)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fm_accept(listener, &fd, &peer), FM_OK);
    snprintf(want, sizeof want, "127.0.0.1:%u", fm_listen_port(client));
    assert_string_equal(fm_peer_text(&peer, text), want);
    close(client);
    close(fd);
    close(listener);
}

static void an_ipv6_address_is_written_in_brackets(void **state)
{
    (void)state;
    int listener, fd;
    char address[32], text[FM_PEER_TEXT_MAX];
    struct fm_peer peer;
    if (fm_listen("[::1]:0", true, &listener) != FM_OK)
        skip(); /* this machine has no IPv6 */
    snprintf(address, sizeof address, "[::1]:%u", fm_listen_port(listener));
    assert_int_equal(fm_listen(address, false, &fd), FM_OK);
    close(fd);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(fm_listen_port(listener)), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int client = socket(AF_INET6, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fm_accept(listener, &fd, &peer), FM_OK);
    assert_int_equal(strncmp(fm_peer_text(&peer, text), "[::1]:", 6), 0);
    close(client);
    close(fd);
    close(listener);
}

/* Where a kernel has IPv6 and no interface has an address of it (a container without it), [::] takes clients all the same, over IPv4. */
static void a_listener_on_all_addresses_is_reached_over_ipv4_where_it_takes_that(void **state)
{
    (void)state;
    for (int only = 0; only < 2; only++) {
        struct sockaddr_in6 all = {.sin6_family = AF_INET6}, at;
        struct sockaddr_storage to;
        unsigned n;
        int fd, listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
        struct fm_peer peer;
        if (setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) || bind(listener, (struct sockaddr *)&all, sizeof all))
            skip(); /* this machine has no IPv6 */
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(fm_listen_reach(listener, &to, &n), FM_OK);
        memcpy(&at, &to, sizeof at);
        assert_int_equal(!!IN6_IS_ADDR_V4MAPPED(&at.sin6_addr), !only);
        int client = socket(AF_INET6, SOCK_STREAM, 0);
        if (connect(client, (struct sockaddr *)&to, n) == 0) {
            assert_int_equal(fm_accept(listener, &fd, &peer), FM_OK);
            close(fd);
        } else {
            assert_true(only); /* it has no address of IPv6 */
        }
        close(client);
        close(listener);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_share_a_port_that_nobody_else_may_take),
        cmocka_unit_test(what_is_no_address_of_this_machine_is_refused),
        cmocka_unit_test(a_client_is_accepted_with_its_address),
        cmocka_unit_test(an_ipv6_address_is_written_in_brackets),
        cmocka_unit_test(a_listener_on_all_addresses_is_reached_over_ipv4_where_it_takes_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
