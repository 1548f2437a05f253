/* The blocking client against a server of a few lines in a thread of the test. */
#include "../../../gateway/client/ws_dial.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct server {
    int listener;
    char url[64];
    const char *refuse;        /* sent instead of the upgrade */
    struct fm_slice first;     /* sent right behind the upgrade, in the same write */
    uint8_t heard[256];        /* what the client sent after its request */
    size_t heard_n, heard_min; /* reads until it has so many */
    pthread_t thread;
};

static void accept_key(const char *request, char out[FM_WS_ACCEPT_TEXT + 1])
{
    struct fm_ws_key key = {0};
    const char *text = strstr(request, "Sec-WebSocket-Key: ");
    assert_non_null(text);
    memcpy(key.text, text + 19, FM_WS_KEY_TEXT);
    fm_ws_accept_of(&key, out);
}

static void *serve(void *arg)
{
    struct server *s = arg;
    char request[2048] = "", accept_text[FM_WS_ACCEPT_TEXT + 1], answer[512];
    size_t n = 0;
    int fd = accept(s->listener, NULL, NULL);
    if (fd < 0)
        return NULL; /* this test wanted no connection */
    while (!strstr(request, "\r\n\r\n")) {
        ssize_t got = read(fd, request + n, sizeof request - 1 - n);
        if (got <= 0)
            return NULL;
        n += (size_t)got;
        request[n] = 0;
    }
    accept_key(request, accept_text);
    int m = snprintf(answer, sizeof answer,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                     accept_text);
    if (s->refuse)
        m = snprintf(answer, sizeof answer, "%s", s->refuse);
    memcpy(answer + m, s->first.p ? (const char *)s->first.p : "", s->first.n);
    ssize_t sent = write(fd, answer, (size_t)m + s->first.n);
    while (sent > 0 && s->heard_n < s->heard_min) {
        ssize_t got = read(fd, s->heard + s->heard_n, sizeof s->heard - s->heard_n);
        if (got <= 0)
            break;
        s->heard_n += (size_t)got;
    }
    close(fd);
    return NULL;
}

static void server_start(struct server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->listener, 4), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &len), 0);
    snprintf(s->url, sizeof s->url, "ws://127.0.0.1:%u/x", ntohs(a.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static void messages_that_come_with_the_upgrade_are_received_and_pings_answered(void **state)
{
    (void)state;
    struct server s = {.first = FM_LIT("\x89\x02!!\x01\x01h\x80\x01i\x88\x02\x03\xe9"), .heard_min = 6 + 2};
    struct fm_ws_conn *c;
    struct fm_ws_event e;
    server_start(&s);
    struct fm_ws_dial d = {.url = s.url};
    assert_int_equal(fm_ws_open(&c, &d), FM_OK);
    assert_int_equal(d.status, 101);
    assert_int_equal(fm_ws_recv(c, 5000, &e), FM_OK);
    assert_int_equal(e.kind, FM_WS_TEXT);
    assert_true(fm_slice_eq(e.payload, FM_LIT("hi")));
    assert_int_equal(fm_ws_recv(c, 5000, &e), FM_OK);
    assert_int_equal(e.kind, FM_WS_CLOSE);
    assert_int_equal(e.code, 1001);
    assert_int_equal(fm_ws_recv(c, 5000, &e), FM_E_CLOSED);
    assert_int_equal(fm_ws_send(c, FM_WS_TEXT, FM_LIT("late")), FM_E_CLOSED);
    fm_ws_close(&c, 0, NULL);
    assert_null(c);
    server_stop(&s);
    assert_int_equal(s.heard_n, 8);
    assert_int_equal(s.heard[0], 0x8a);
    assert_int_equal(s.heard[1], 0x82);
    assert_int_equal(s.heard[6] ^ s.heard[2], '!');
}

static void silence_is_a_timeout_and_the_connection_stays_usable(void **state)
{
    (void)state;
    struct server s = {.heard_min = 6 + 3};
    struct fm_ws_conn *c;
    struct fm_ws_event e;
    server_start(&s);
    struct fm_ws_dial d = {.url = s.url, .headers = "X: y\r\n"};
    assert_int_equal(fm_ws_open(&c, &d), FM_OK);
    assert_int_equal(fm_ws_recv(c, 20, &e), FM_E_TIMEOUT);
    assert_int_equal(fm_ws_send(c, FM_WS_TEXT, FM_LIT("abc")), FM_OK);
    assert_int_equal(fm_ws_recv(c, 5000, &e), FM_E_CLOSED); /* the server has heard enough and left */
    fm_ws_close(&c, 1000, "done");
    server_stop(&s);
    assert_int_equal(s.heard[0], 0x81);
}

static void a_refused_upgrade_tells_its_status_and_how_its_text_begins(void **state)
{
    (void)state;
    struct server s = {.refuse = "HTTP/1.1 404 Not Found\r\n\r\nnot here\r\nbut there"};
    struct fm_ws_conn *c;
    server_start(&s);
    struct fm_ws_dial d = {.url = s.url};
    assert_int_equal(fm_ws_open(&c, &d), FM_E_FORBIDDEN);
    assert_int_equal(d.status, 404);
    assert_true(fm_slice_eq(d.said, FM_LIT("not here")));
    assert_null(c);
    server_stop(&s);
}

static void a_port_without_a_listener_is_an_io_error(void **state)
{
    (void)state;
    struct server s = {0};
    struct fm_ws_conn *c;
    server_start(&s);
    struct fm_ws_dial d = {.url = s.url};
    shutdown(s.listener, SHUT_RDWR);
    server_stop(&s);
    assert_int_equal(fm_ws_open(&c, &d), FM_E_IO);
    d.url = "http://127.0.0.1/";
    assert_int_equal(fm_ws_open(&c, &d), FM_E_ADDRESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_that_come_with_the_upgrade_are_received_and_pings_answered),
        cmocka_unit_test(silence_is_a_timeout_and_the_connection_stays_usable),
        cmocka_unit_test(a_refused_upgrade_tells_its_status_and_how_its_text_begins),
        cmocka_unit_test(a_port_without_a_listener_is_an_io_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
