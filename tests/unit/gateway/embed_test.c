/* libfanmesh: a node's life in a program: start, settings, signals, clients at its end. (Handlers, with real clients:
 * tests/system/embed.test.mjs.) */
#include "embed_fixture.h"

#include "free_ports.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void a_node_can_be_started_and_stopped_many_times_and_leaves_no_descriptor_open(void **state)
{
    (void)state;
    unsigned before = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned ports[4];
        static const char *const options[4] = {"listen", "api_listen", "mesh_listen", "mesh_ask_listen"};
        struct fm_config *c = config_new();
        free_ports(ports, 4);
        for (unsigned k = 0; k < 4; k++)
            set_port(c, options[k], ports[k]);
        assert_int_equal(fm_config_set(c, "dev", "true"), FM_OK);
        struct fm_node *node = started(c);
        assert_int_equal(publish(node, "room:1", i), FM_OK);
        if (i % 2)
            assert_int_equal(fm_drain(node), FM_OK);
        stop(&node);
        if (i == 1)
            before = open_files(); /* libraries keep some from their first use on */
    }
    for (unsigned i = 0; i < SECONDS_MAX * 100 && open_files() > before; i++)
        usleep(10000); /* NNG closes the last ones a moment later */
    assert_true(open_files() <= before);
    struct fm_node *none = NULL;
    assert_int_equal(fm_stop(&none), FM_OK);
}

static void wrong_settings_stop_the_start_and_all_of_them_are_named(void **state)
{
    (void)state;
    struct fm_config *c = config_new();
    struct fm_node *node;
    assert_int_equal(fm_config_set(c, "lisen", "none"), FM_E_OPTION);
    assert_int_equal(fm_config_set(c, "idle_ms", "soon"), FM_E_OPTION);
    assert_int_equal(fm_config_text(c, "[topic \"a*b\"]\njoin = anyone\n"), FM_E_OPTION);
    assert_int_equal(fm_config_file(c, "/nowhere/at.all"), FM_E_OPTION);
    assert_int_equal(fm_config_on_join(c, "a*b", NULL, NULL), FM_E_INVALID);
    assert_int_equal(fm_start(&node, &c), FM_E_OPTION);
    assert_null(node);
    static const char *const named[] = {"`listen`", "idle_ms", "a*b", "/nowhere/at.all", "handler of joins"};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (!strstr(fm_config_why(c), named[i]))
            fail_msg("%s is not in: %s", named[i], fm_config_why(c));
    fm_config_free(&c);
    assert_null(c);
    fm_config_free(&c);
}

static void what_makes_no_sense_together_stops_the_start(void **state)
{
    (void)state;
    struct fm_config *c = config_new();
    struct fm_node *node;
    assert_int_equal(fm_config_set(c, "api_listen", "127.0.0.1:4001"), FM_OK);
    assert_int_equal(fm_start(&node, &c), FM_E_OPTION);
    assert_non_null(strstr(fm_config_why(c), "api_key"));
    fm_config_free(&c);
}

static void a_port_in_use_is_named_and_the_same_config_starts_when_it_is_free(void **state)
{
    (void)state;
    unsigned port;
    char want[64];
    int fd = port_listener(&port);
    struct fm_config *c = config_new();
    struct fm_node *node;
    set_port(c, "listen", port);
    assert_int_equal(fm_start(&node, &c), FM_E_IN_USE);
    assert_null(node);
    snprintf(want, sizeof want, "listen = 127.0.0.1:%u", port);
    assert_non_null(strstr(fm_config_why(c), want));
    close(fd);
    node = started(c);
    stop(&node);
}

static void two_nodes_of_one_process_are_a_cluster(void **state)
{
    (void)state;
    unsigned ports[4];
    char seed[64];
    free_ports(ports, 4);
    struct fm_config *a = config_new(), *b = config_new();
    set_port(a, "mesh_listen", ports[0]);
    set_port(a, "mesh_ask_listen", ports[1]);
    set_port(b, "mesh_listen", ports[2]);
    set_port(b, "mesh_ask_listen", ports[3]);
    snprintf(seed, sizeof seed, "127.0.0.1:%u", ports[0]);
    assert_int_equal(fm_config_set(b, "join", seed), FM_OK);
    struct fm_node *first = started(a), *second = started(b);
    struct box *box = subscribed(second, "room:1", NULL, 0);
    struct box *result = box_new();
    const struct fm_message m = {.topic = "room:1", .event = "hello", .payload = "{}", .replicas = 1};
    assert_int_equal(fm_publish(first, &m, on_published, result), FM_OK);
    await(box, &box->messages, 1);
    await(result, &result->results, 1);
    assert_int_equal(result->result_err, FM_OK);
    stop(&first);
    stop(&second);
    assert_int_equal(box->ended, 1);
    assert_int_equal(box->end_err, FM_E_CLOSED);
    box_free(box);
    box_free(result);
}

/* A WebSocket that nobody reads from. */
static int websocket(unsigned port)
{
    static const char request[] =
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[13] = "";
    struct timeval limit = {.tv_sec = SECONDS_MAX};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(send(fd, request, sizeof request - 1, 0), sizeof request - 1);
    assert_int_equal(recv(fd, answer, 12, MSG_WAITALL), 12);
    assert_string_equal(answer, "HTTP/1.1 101");
    return fd;
}

static void clients_that_are_there_when_a_node_is_stopped_are_cut_off(void **state)
{
    (void)state;
    unsigned port;
    char rest[4096];
    int fds[20];
    free_ports(&port, 1);
    struct fm_config *c = config_new();
    set_port(c, "listen", port);
    struct fm_node *node = started(c);
    for (unsigned i = 0; i < 20; i++)
        fds[i] = websocket(port);
    stop(&node);
    for (unsigned i = 0; i < 20; i++) {
        ssize_t n;
        while ((n = recv(fds[i], rest, sizeof rest, 0)) > 0)
            ;
        assert_true(n == 0 || errno == ECONNRESET);
        close(fds[i]);
    }
}

/* Joins room:1, whose handler has to decide; returns the token of that question. */
static uint64_t asked(int fd, struct box *b)
{
    static const char join[] = "[\"1\",\"1\",\"room:1\",\"phx_join\",{}]";
    char frame[6 + sizeof join] = {(char)0x81, (char)(0x80 | (sizeof join - 1))}; /* masked with zeros */
    memcpy(frame + 6, join, sizeof join - 1);
    assert_int_equal(send(fd, frame, 6 + sizeof join - 1, 0), 6 + sizeof join - 1);
    await(b, &b->results, 1);
    b->results = 0;
    return b->token;
}

static void on_join(struct fm_node *node, const struct fm_question *q, void *ctx)
{
    struct box *b = ctx;
    (void)node;
    pthread_mutex_lock(&b->lock);
    b->token = q->token;
    b->results++;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

static void an_answer_for_a_node_that_was_stopped_answers_nothing_of_the_next_one(void **state)
{
    (void)state;
    unsigned port;
    char answer[4096] = "";
    size_t n = 0;
    struct box *box = box_new();
    uint64_t tokens[2];
    struct fm_node *node = NULL;
    int fd = -1;
    free_ports(&port, 1);
    for (unsigned i = 0; i < 2; i++) {
        struct fm_config *c = config_new();
        set_port(c, "listen", port);
        assert_int_equal(fm_config_set(c, "handler_timeout_ms", "10m"), FM_OK);
        assert_int_equal(fm_config_on_join(c, "room:*", on_join, box), FM_OK);
        node = started(c);
        fd = websocket(port);
        tokens[i] = asked(fd, box);
        if (i == 0) {
            stop(&node);
            close(fd);
        }
    }
    assert_true(tokens[0] != tokens[1]);
    assert_int_equal(fm_allow(node, tokens[0], NULL), FM_OK); /* late, like any other that nobody waits for */
    assert_int_equal(fm_refuse(node, tokens[1], NULL), FM_OK);
    while (n + 1 < sizeof answer && !strstr(answer, "phx_reply")) {
        ssize_t more = recv(fd, answer + n, sizeof answer - 1 - n, 0);
        assert_true(more > 0);
        for (ssize_t i = 0; i < more; i++)
            if (answer[n + (size_t)i] == 0)
                answer[n + (size_t)i] = ' '; /* of HTTP's end and frames' heads only the text counts */
        n += (size_t)more;
    }
    assert_non_null(strstr(answer, "\"error\""));
    close(fd);
    stop(&node);
    box_free(box);
}

static void on_pipe(int signal)
{
    (void)signal;
}

static void what_the_program_does_with_signals_stays_as_it_is(void **state)
{
    (void)state;
    struct sigaction mine = {.sa_handler = on_pipe}, after;
    sigset_t before = {{0}}, now = {{0}};
    unsigned port;
    free_ports(&port, 1);
    assert_int_equal(sigaction(SIGPIPE, &mine, NULL), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    struct fm_config *c = config_new();
    set_port(c, "listen", port);
    struct fm_node *node = started(c);
    stop(&node);
    assert_int_equal(sigaction(SIGPIPE, NULL, &after), 0);
    assert_true(after.sa_handler == on_pipe);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    assert_memory_equal(&before, &now, sizeof now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_can_be_started_and_stopped_many_times_and_leaves_no_descriptor_open),
        cmocka_unit_test(wrong_settings_stop_the_start_and_all_of_them_are_named),
        cmocka_unit_test(what_makes_no_sense_together_stops_the_start),
        cmocka_unit_test(a_port_in_use_is_named_and_the_same_config_starts_when_it_is_free),
        cmocka_unit_test(two_nodes_of_one_process_are_a_cluster),
        cmocka_unit_test(clients_that_are_there_when_a_node_is_stopped_are_cut_off),
        cmocka_unit_test(an_answer_for_a_node_that_was_stopped_answers_nothing_of_the_next_one),
        cmocka_unit_test(what_the_program_does_with_signals_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
