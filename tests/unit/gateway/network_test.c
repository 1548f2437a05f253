#include "../../../gateway/settings/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static bool holds(const char *network, const char *address)
{
    struct fm_nets nets = {.n = 1};
    struct fm_ip ip;
    if (fm_net_read(network, &nets.at[0]) || fm_ip_read(fm_slice_str(address), &ip))
        fail_msg("%s, %s", network, address);
    return fm_nets_hold(&nets, &ip);
}

static void a_network_holds_the_addresses_that_begin_as_it_says_and_no_others(void **state)
{
    (void)state;
    static const struct {
        const char *network, *in, *out;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", "11.0.0.1"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
        {"192.0.2.128/25", "192.0.2.255", "192.0.2.127"},
        {"172.16.0.0/12", "172.31.255.255", "172.32.0.0"},
        {"0.0.0.0/0", "203.0.113.9", "2001:db8::1"},
        {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
        {"::1", "::1", "::2"},
        {"::/0", "2001:db8::1", NULL},
        {"::/0", "192.0.2.1", NULL},
        {"::ffff:192.0.2.0/120", "192.0.2.99", "192.0.3.0"},
        {"192.0.2.0/24", "::ffff:192.0.2.1", "::192.0.2.1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!holds(cases[i].network, cases[i].in))
            fail_msg("%s is in %s", cases[i].in, cases[i].network);
        if (cases[i].out && holds(cases[i].network, cases[i].out))
            fail_msg("%s is not in %s", cases[i].out, cases[i].network);
    }
}

static void what_is_no_network_or_has_bits_beyond_its_prefix_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "/",           "10.0.0.0/",   "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8",  "10.0.0.0/8/8", "::/129", "2001:db8::1/64",
        "localhost", "10.0.0.0/-1", "10.0.0.0 /8", "[::1]",       "fe80::1%lo", "1.2.3.4:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_net net;
        if (fm_net_read(bad[i], &net) != FM_E_ADDRESS)
            fail_msg("`%s` was taken", bad[i]);
    }
}

static void no_list_holds_nobody(void **state)
{
    (void)state;
    struct fm_ip ip = {0};
    struct fm_nets nets;
    fm_nets_read(&nets, NULL);
    assert_false(fm_nets_hold(&nets, &ip));
    assert_false(fm_nets_hold(NULL, &ip));
    fm_nets_read(&nets, (const char *const[]){"10.0.0.0/8", "::1", NULL});
    assert_int_equal(nets.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_holds_the_addresses_that_begin_as_it_says_and_no_others),
        cmocka_unit_test(what_is_no_network_or_has_bits_beyond_its_prefix_is_refused),
        cmocka_unit_test(no_list_holds_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
