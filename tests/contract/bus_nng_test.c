/* The real mesh against the contract, and against what only a real network holds: strangers, broken handshakes, volume. */
#include "bus_contract.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pem.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- the adapter: real time, on a loopback address of this process alone, so that runs side by side don't meet ---- */

enum { PORT_FIRST = 21000, PORT_LAST = 21999 };

static char host[INET_ADDRSTRLEN];

static struct sockaddr_in address_of(unsigned port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    assert_int_equal(inet_pton(AF_INET, host, &sa.sin_addr), 1);
    return sa;
}

/* Never twice in a run: a port just closed may still hold connections. */
static unsigned free_port(void)
{
    static unsigned port = PORT_FIRST;
    for (; port <= PORT_LAST; port++) {
        struct sockaddr_in sa = address_of(port);
        int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        bool ok = bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
        close(fd);
        if (ok)
            return port++;
    }
    fail_msg("no free port");
    return 0;
}

static unsigned ports[PROBES][2];

static void *nng_open(void)
{
    unsigned pid = (unsigned)getpid();
    (void)snprintf(host, sizeof host, "127.%u.%u.%u", 1 + (pid >> 16 & 127), pid >> 8 & 255, pid & 255);
    for (unsigned i = 0; i < PROBES; i++)
        for (unsigned k = 0; k < 2; k++)
            ports[i][k] = free_port();
    return NULL;
}

static void nng_close_all(void *env)
{
    (void)env;
}

static void nng_address(void *env, unsigned probe, char listen[64], char listen_ask[64])
{
    (void)env;
    (void)snprintf(listen, 64, "%s:%u", host, ports[probe][0]);
    (void)snprintf(listen_ask, 64, "%s:%u", host, ports[probe][1]);
}

static void nng_run(void *env, unsigned ms)
{
    (void)env;
    const struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

static const struct bus_adapter nng = {
    .ops = &fm_bus_nng, .open = nng_open, .close = nng_close_all, .address = nng_address, .run = nng_run};
static struct bus_adapter nng_tls; /* the same, over TLS */

/* A certificate that is its own authority. */
static struct fm_mesh_tls *tls_make(void)
{
    char cert_file[] = "/tmp/fanmesh-mesh-XXXXXX", key_file[] = "/tmp/fanmesh-mesh-XXXXXX";
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"all", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_int_not_equal(X509_sign(cert, key, EVP_sha256()), 0);
    FILE *c = fdopen(mkstemp(cert_file), "w"), *k = fdopen(mkstemp(key_file), "w");
    assert_int_equal(PEM_write_X509(c, cert), 1);
    assert_int_equal(PEM_write_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(c);
    fclose(k);
    struct fm_mesh_tls *tls = NULL;
    struct fm_buf why = {0};
    const struct fm_mesh_tls_files files = {cert_file, cert_file, key_file};
    assert_int_equal(fm_mesh_tls_new(&tls, &files, &why), FM_OK);
    fm_buf_fini(&why);
    unlink(cert_file);
    unlink(key_file);
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

static int set_up_tls(void **state)
{
    (void)state;
    probes_open(&nng_tls);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    probes_open(&nng);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    probes_close();
    return 0;
}

/* ---- strangers: TCP peers that are not nodes ---- */

enum { SP_REQ = 0x30, SP_REP = 0x31, SP_BUS = 0x70 };

static int connect_to(unsigned port)
{
    struct sockaddr_in sa = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static void say(int fd, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t done = send(fd, (const uint8_t *)bytes + at, n - at, MSG_NOSIGNAL);
        if (done <= 0)
            return; /* the node has closed already: fine */
        at += (size_t)done;
    }
}

static void say_hello(int fd, uint8_t protocol)
{
    say(fd, (uint8_t[8]){0, 'S', 'P', 0, 0, protocol, 0, 0}, 8);
}

static void say_length(int fd, uint64_t n)
{
    uint8_t be[8];
    for (unsigned i = 0; i < 8; i++)
        be[i] = (uint8_t)(n >> (56 - 8 * i));
    say(fd, be, sizeof be);
}

/* The other side closes within the time, whatever it says before. */
static void assert_closed_by_peer(int fd)
{
    uint8_t sink[256];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        assert_int_equal(poll(&p, 1, PROBE_SOON_MS), 1);
        ssize_t n = recv(fd, sink, sizeof sink, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return;
        assert_true(n > 0);
    }
}

/* Everything works between two nodes: a link, an envelope, an ask. */
static void assert_mesh_works(struct probe *a, struct probe *b)
{
    static uint64_t id = 1000000;
    probe_publish(a, FM_LIT("still here"));
    probe_assert_bytes(probe_next(b, FM_BUS_ENVELOPE), FM_LIT("still here"));
    probe_ask(a, b, ++id, FM_LIT("and you?"), PROBE_SOON_MS);
    probe_answer(b, probe_next(b, FM_BUS_ASKED)->handle, FM_LIT("yes"));
    const struct fm_bus_item *answered = probe_next(a, FM_BUS_ANSWERED);
    assert_true(answered->err == FM_OK && answered->handle == id);
}

static void send_random(int fd, unsigned seed)
{
    uint8_t bytes[4096];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
    say(fd, bytes, sizeof bytes);
}

static void garbage_on_either_port_disturbs_nobody(void **state)
{
    (void)state;
    static const char http[] = "GET / HTTP/1.1\r\nHost: fanmesh\r\n\r\n";
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    for (unsigned plane = 0; plane < 2; plane++) {
        int fds[6];
        for (unsigned i = 0; i < 6; i++)
            fds[i] = connect_to(ports[1][plane]);
        send_random(fds[0], 1 + plane);
        say(fds[1], http, sizeof http - 1);
        say_hello(fds[2], 0x55);                    /* a protocol that nobody speaks */
        say_hello(fds[3], plane ? SP_BUS : SP_REQ); /* the other plane's */
        say(fds[4], "\0SP", 3);                     /* half a handshake, and then silence */
        assert_mesh_works(a, b);                    /* fds[5] says nothing at all */
        for (unsigned i = 0; i < 4; i++)
            assert_closed_by_peer(fds[i]);
        for (unsigned i = 0; i < 6; i++)
            close(fds[i]);
    }
    probe_none(b, FM_BUS_UP); /* none of them became a link */
    probe_none(b, FM_BUS_ASKED);
    assert_mesh_works(a, b);
}

static void a_frame_beyond_the_limit_closes_its_connection_only(void **state)
{
    (void)state;
    const uint64_t lengths[] = {PROBE_ENVELOPE_MAX + 1, 2 * PROBE_ENVELOPE_MAX, 4 * PROBE_ENVELOPE_MAX, UINT64_MAX};
    static uint8_t bytes[2 * PROBE_ENVELOPE_MAX];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        int fd = connect_to(ports[1][0]);
        say_hello(fd, SP_BUS);
        uint32_t pipe = probe_next(b, FM_BUS_UP)->pipe;
        say_length(fd, lengths[i]);
        say(fd, bytes, lengths[i] <= sizeof bytes ? (size_t)lengths[i] : 0);
        assert_int_equal(probe_next(b, FM_BUS_DOWN)->pipe, pipe);
        assert_closed_by_peer(fd);
        close(fd);
        assert_mesh_works(a, b);
    }
}

static void an_oversized_ask_is_not_heard(void **state)
{
    (void)state;
    static uint8_t bytes[PROBE_ENVELOPE_MAX + 5] = {0x80};
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    int fd = connect_to(ports[1][1]);
    say_hello(fd, SP_REQ);
    say_length(fd, sizeof bytes); /* its first four bytes are the protocol's: one byte too many */
    say(fd, bytes, sizeof bytes);
    probe_none(b, FM_BUS_ASKED);
    say_length(fd, sizeof bytes - 1);
    say(fd, bytes, sizeof bytes - 1);
    assert_int_equal(probe_next(b, FM_BUS_ASKED)->n, PROBE_ENVELOPE_MAX);
    say_length(fd, 1u << 30);
    assert_closed_by_peer(fd);
    close(fd);
    assert_mesh_works(a, b);
}

static void asks_of_a_stranger_that_are_never_answered_keep_nobody_out(void **state)
{
    (void)state;
    enum { ASKS = 500 };
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    int fd = connect_to(ports[1][1]);
    say_hello(fd, SP_REQ);
    uint64_t first = 0, last = 0;
    for (unsigned i = 0; i < ASKS; i++) {
        say_length(fd, 5);
        say(fd, (uint8_t[5]){0x80, 0, (uint8_t)(i >> 8), (uint8_t)i, '?'}, 5);
        last = probe_next(b, FM_BUS_ASKED)->handle;
        first = first ? first : last;
    }
    assert_mesh_works(a, b);
    assert_int_equal(fm_bus_nng.answer(b->bus, first, FM_LIT("x")), FM_E_INVALID);
    assert_int_equal(fm_bus_nng.answer(b->bus, last, FM_LIT("x")), FM_OK);
    close(fd);
}

static unsigned count_open(const int *fds, unsigned n)
{
    uint8_t sink[16];
    unsigned open = 0;
    for (unsigned i = 0; i < n; i++) {
        ssize_t got;
        while ((got = recv(fds[i], sink, sizeof sink, MSG_DONTWAIT)) > 0)
            ;
        open += got < 0 && errno == EAGAIN;
    }
    return open;
}

static void strangers_on_the_ask_plane_are_limited_and_keep_nobody_out(void **state)
{
    (void)state;
    enum { STRANGERS = 600, MAX = 512 };
    static int fds[STRANGERS];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    for (unsigned i = 0; i < STRANGERS; i++) {
        fds[i] = connect_to(ports[1][1]);
        say_hello(fds[i], SP_REQ);
        if (i % 100 == 0)
            assert_mesh_works(a, b); /* over a connection that is not silent, so it stays */
    }
    unsigned open = STRANGERS;
    for (unsigned ms = 0; ms < PROBE_SOON_MS && open > MAX - 1; ms += 10) {
        probe_run(10);
        open = count_open(fds, STRANGERS);
    }
    assert_int_equal(open, MAX - 1);
    assert_mesh_works(a, b);
    for (unsigned i = 0; i < STRANGERS; i++)
        close(fds[i]);
}

/* ---- a peer that accepts and then says nothing ---- */

static int listen_on(unsigned port)
{
    struct sockaddr_in sa = address_of(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static int accept_soon(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PROBE_SOON_MS), 1);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    return fd;
}

/* More than the hello: an ask has come over it, or it is closed. */
static bool heard_an_ask(int fd, size_t *heard)
{
    uint8_t sink[256];
    ssize_t n;
    while ((n = recv(fd, sink, sizeof sink, MSG_DONTWAIT)) > 0)
        *heard += (size_t)n;
    return *heard > 8 || n == 0 || errno != EAGAIN;
}

static void a_connection_that_went_silent_is_dialled_afresh(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = &probes[1];
    int listener = listen_on(ports[1][1]);
    uint64_t id = 1;
    size_t heard = 0;
    probe_ask(a, b, id, FM_LIT("?"), 300);
    int mute = accept_soon(listener);
    say_hello(mute, SP_REP);
    probe_assert_failed(probe_next(a, FM_BUS_ANSWERED), id);
    while (!heard_an_ask(mute, &heard)) { /* the time of the first was over before it could leave */
        probe_ask(a, b, ++id, FM_LIT("?"), 300);
        probe_assert_failed(probe_next(a, FM_BUS_ANSWERED), id);
        assert_true(id < 100);
    }
    probe_ask(a, b, ++id, FM_LIT("?"), 300); /* any operation of the owner closes the dead connection */
    assert_closed_by_peer(mute);
    int again = accept_soon(listener);
    probe_assert_failed(probe_next(a, FM_BUS_ANSWERED), id);
    close(mute);
    close(again);
    close(listener);
}

static void a_link_to_something_else_never_comes_up_and_can_be_ended(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = &probes[1];
    int listener = listen_on(ports[1][0]);
    probe_link(a, b);
    int fd = accept_soon(listener);
    say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    assert_closed_by_peer(fd);
    close(fd);
    fd = accept_soon(listener); /* dialled again; this time it hangs in the handshake */
    probe_none(a, FM_BUS_UP);
    fm_bus_nng.unlink(a->bus, b->listen);
    assert_closed_by_peer(fd);
    close(fd);
    close(listener);
}

/* ---- volume and limits ---- */

static void two_thousand_paced_envelopes_of_60_kb_all_arrive(void **state)
{
    (void)state;
    enum { COUNT = 2000, SIZE = 60000, WINDOW = 12, ACK_EVERY = 4 };
    static uint8_t bytes[SIZE];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    unsigned sent = 0, acked = 0;
    for (unsigned got = 0; got < COUNT;) {
        for (; sent < COUNT && sent - acked < WINDOW; sent++) {
            memset(bytes, (int)sent, SIZE);
            memcpy(bytes, &sent, sizeof sent);
            probe_publish(a, fm_slice_of(bytes, SIZE));
        }
        const struct fm_bus_item *item = probe_next(b, FM_BUS_ENVELOPE);
        unsigned number;
        assert_int_equal(item->n, SIZE);
        memcpy(&number, item->bytes, sizeof number);
        assert_int_equal(number, got);
        assert_int_equal(item->bytes[SIZE - 1], (uint8_t)got);
        if (++got % ACK_EVERY == 0) {
            probe_publish(b, fm_slice_of(&got, sizeof got));
            memcpy(&acked, probe_next(a, FM_BUS_ENVELOPE)->bytes, sizeof acked);
        }
    }
}

static void a_burst_beyond_every_queue_is_refused_not_waited_for(void **state)
{
    (void)state;
    static uint8_t bytes[PROBE_ENVELOPE_MAX];
    struct probe *a = probe_start(0), *b = probe_start(1);
    (void)probe_linked(a, b);
    unsigned taken = 0, refused = 0;
    for (unsigned i = 0; i < 3000; i++) {
        enum fm_err err = fm_bus_nng.publish(a->bus, fm_slice_of(bytes, sizeof bytes));
        assert_true(err == FM_OK || err == FM_E_BUSY);
        taken += err == FM_OK;
        refused += err == FM_E_BUSY;
    }
    assert_true(taken >= 64);
    /* An end goes the same way as the burst, and is refused or dropped as long as there is no room; behind it comes nothing of the burst.
     */
    const struct fm_slice end = FM_LIT("an end"), last = FM_LIT("the last one");
    const struct fm_bus_item *item = NULL;
    unsigned arrived = 0;
    for (unsigned tries = 0; !item && tries < PROBE_SOON_MS / PROBE_QUIET_MS; tries++) {
        enum fm_err err = fm_bus_nng.publish(a->bus, end);
        assert_true(err == FM_OK || err == FM_E_BUSY);
        while ((item = probe_next_within(b, FM_BUS_ENVELOPE, PROBE_QUIET_MS)) && item->n != end.n)
            arrived++;
    }
    assert_non_null(item);
    probe_publish(a, last);
    while (!fm_slice_eq(fm_slice_of(item->bytes, item->n), last)) {
        probe_assert_bytes(item, end);
        item = probe_next(b, FM_BUS_ENVELOPE);
    }
    assert_true(arrived > 0 && arrived <= taken);
    print_message("           of 3000: %u refused, %u arrived\n", refused, arrived);
    assert_mesh_works(a, b);
}

static void more_addresses_than_sockets_for_asks_are_refused_until_some_are_free(void **state)
{
    (void)state;
    enum { SOCKETS = 256 };
    struct probe *a = probe_start(0), *b = probe_start(1);
    char dead[64];
    for (unsigned i = 0; i < SOCKETS; i++) {
        (void)snprintf(dead, sizeof dead, "127.0.%u.1:1", i);
        assert_int_equal(fm_bus_nng.ask(a->bus, dead, i, FM_LIT("?"), i < SOCKETS - 1 ? 60000 : 4000), FM_OK);
    }
    assert_int_equal(fm_bus_nng.ask(a->bus, b->listen_ask, 9999, FM_LIT("?"), 1000), FM_E_TOO_MANY);
    const struct fm_bus_item *answered = probe_next(a, FM_BUS_ANSWERED);
    assert_true(answered->handle == SOCKETS - 1 && answered->err == FM_E_TIMEOUT);
    probe_none(a, FM_BUS_ANSWERED);
    probe_ask(a, b, 10000, FM_LIT("?"), PROBE_SOON_MS);
    probe_answer(b, probe_next(b, FM_BUS_ASKED)->handle, FM_LIT("!"));
    probe_assert_bytes(probe_next(a, FM_BUS_ANSWERED), FM_LIT("!"));
}

static void what_was_published_just_before_stop_leaves(void **state)
{
    (void)state;
    unsigned arrived = 0;
    struct probe *b = probe_start(1);
    for (unsigned i = 0; i < 4; i++) {
        struct probe *a = probe_start(0);
        (void)probe_linked(a, b);
        probe_publish(a, FM_LIT("bye"));
        probe_stop(a);
        arrived += probe_next_within(b, FM_BUS_ENVELOPE, 1000) != NULL;
        (void)probe_next(b, FM_BUS_DOWN);
    }
    assert_true(arrived >= 3); /* a promise of time, and machines stall */
}

static void stop_in_the_middle_of_everything_ends_cleanly(void **state)
{
    (void)state;
    struct probe *b = probe_start(1), *c = probe_start(2);
    for (unsigned round = 0; round < 12; round++) {
        struct probe *a = probe_start(0);
        probe_link(a, b);
        probe_link(b, a);
        probe_link(c, a);
        probe_run(round * 10);
        for (uint64_t i = 0; i < 20; i++) {
            probe_publish(b, FM_LIT("towards who stops"));
            probe_publish(a, FM_LIT("from who stops"));
            probe_ask(a, b, i, FM_LIT("?"), 5000);
            probe_ask(c, a, round * 100 + i, FM_LIT("?"), 5000);
        }
        const struct fm_bus_item *asked = probe_next_within(a, FM_BUS_ASKED, round);
        if (asked)
            (void)fm_bus_nng.answer(a->bus, asked->handle, FM_LIT("!"));
        probe_stop(a);
        fm_bus_nng.unlink(b->bus, a->listen);
        fm_bus_nng.unlink(c->bus, a->listen);
    }
    for (unsigned i = 0; i < 12 * 20; i++)
        (void)probe_next(c, FM_BUS_ANSWERED); /* each of its asks has ended */
}

/* ---- addresses ---- */

static void addresses_that_are_no_host_and_port_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {":1",     "localhost:", "localhost:0x10", "localhost:65536", "localhost:0", "localhost:-1", "h/p:1",
                                      "a b:1",  "::1:4100",   "[]:4100",        "[::1:4100",       "[::g]:4100",  "a@b:1",        "a?b:1",
                                      "a%41:1", "a\n:1",      "[::1]",          "tcp://a:1",       "[a.b]:1",     "localhost: 1"};
    struct probe *a = probe_start(0);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(fm_bus_nng.link(a->bus, bad[i]), FM_E_ADDRESS);
    assert_int_equal(fm_bus_nng.link(a->bus, "no-such-host.invalid:4100"), FM_OK); /* perhaps it appears in the DNS one day */
}

/* Over TLS: a peer that is none of ours is told by name of what is wrong with it, and never linked. */
static void a_stranger_without_tls_is_told_of_and_never_linked(void **state)
{
    (void)state;
    struct probe *a = probe_start(0);
    for (unsigned plane = 0; plane < 2; plane++) {
        int fd = connect_to(ports[0][plane]);
        say_hello(fd, SP_BUS);
        const struct fm_bus_item *it = probe_next(a, FM_BUS_REFUSED);
        assert_false(it->dialled);
        assert_int_equal(strncmp(it->address, "127.", 4), 0);
        assert_non_null(memmem(it->bytes, it->n, "does not speak TLS", 18));
        close(fd);
    }
    probe_none(a, FM_BUS_UP);
}

static void names_and_ipv6_addresses_are_dialled(void **state)
{
    (void)state;
    struct probe *a = probe_start(0), *b = &probes[1];
    (void)snprintf(b->listen, sizeof b->listen, "[::1]:%u", ports[1][0]);
    (void)snprintf(b->listen_ask, sizeof b->listen_ask, "localhost:%u", ports[1][1]);
    const char *what;
    if (probe_try_start(b, &what) != FM_OK) {
        print_message("           skipped: [::1] and localhost can't be listened on here\n");
        skip();
    }
    probe_link(b, a);
    const struct fm_bus_item *up = probe_next(a, FM_BUS_UP);
    assert_true(strncmp(up->address, "127.", 4) == 0);
    (void)probe_next(b, FM_BUS_UP); /* before the next link: each end tells of a link when it is so far there */
    probe_link(a, b);
    up = probe_next(a, FM_BUS_UP);
    assert_string_equal(up->address, b->listen);
    assert_true(strncmp(probe_next(b, FM_BUS_UP)->address, "[::1]:", 6) == 0);
    probe_ask(a, b, 1, FM_LIT("?"), PROBE_SOON_MS);
    probe_answer(b, probe_next(b, FM_BUS_ASKED)->handle, FM_LIT("!"));
    probe_assert_bytes(probe_next(a, FM_BUS_ANSWERED), FM_LIT("!"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(garbage_on_either_port_disturbs_nobody),
        TEST(a_frame_beyond_the_limit_closes_its_connection_only),
        TEST(an_oversized_ask_is_not_heard),
        TEST(asks_of_a_stranger_that_are_never_answered_keep_nobody_out),
        TEST(strangers_on_the_ask_plane_are_limited_and_keep_nobody_out),
        TEST(a_connection_that_went_silent_is_dialled_afresh),
        TEST(a_link_to_something_else_never_comes_up_and_can_be_ended),
        TEST(two_thousand_paced_envelopes_of_60_kb_all_arrive),
        TEST(a_burst_beyond_every_queue_is_refused_not_waited_for),
        TEST(more_addresses_than_sockets_for_asks_are_refused_until_some_are_free),
        TEST(what_was_published_just_before_stop_leaves),
        TEST(stop_in_the_middle_of_everything_ends_cleanly),
        TEST(addresses_that_are_no_host_and_port_are_refused),
        TEST(names_and_ipv6_addresses_are_dialled),
    };
#undef TEST
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up_tls, tear_down)
    const struct CMUnitTest tls_tests[] = {
        TEST(a_stranger_without_tls_is_told_of_and_never_linked),
        TEST(garbage_on_either_port_disturbs_nobody),
        TEST(two_thousand_paced_envelopes_of_60_kb_all_arrive),
        TEST(a_burst_beyond_every_queue_is_refused_not_waited_for),
        TEST(more_addresses_than_sockets_for_asks_are_refused_until_some_are_free),
        TEST(what_was_published_just_before_stop_leaves),
        TEST(stop_in_the_middle_of_everything_ends_cleanly),
        TEST(names_and_ipv6_addresses_are_dialled),
    };
#undef TEST
    int failed = bus_contract_run(&nng);
    failed += cmocka_run_group_tests_name("bus_nng", tests, NULL, NULL);
    nng_tls = nng;
    nng_tls.tls = tls_make();
    failed += bus_contract_run(&nng_tls);
    failed += cmocka_run_group_tests_name("bus_nng_tls", tls_tests, NULL, NULL);
    fm_mesh_tls_unref(&nng_tls.tls);
    return failed;
}
