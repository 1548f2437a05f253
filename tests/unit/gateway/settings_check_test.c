#include "settings_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *no_env[] = {NULL};

static void a_secret_is_never_printed(void **state)
{
    (void)state;
    struct settings_load l;
    struct fm_buf out = {0};
    char *argv[] = {"--dev", "--api_key=hush-hush-hush", "--secret=quiet-quiet-quiet-quiet", NULL};
    assert_true(settings_whole_load(&l, argv, no_env));
    fm_settings_print(&out, &l.s, NULL);
    fm_buf_slice(&out, fm_buf_view(&l.report.warnings));
    fm_buf_u8(&out, 0);
    assert_null(strstr((const char *)out.p, "hush"));
    assert_null(strstr((const char *)out.p, "quiet"));
    assert_non_null(strstr((const char *)out.p, "api_key = set"));
    assert_non_null(strstr((const char *)out.p, "--secret: every user of this machine can see the command line"));
    fm_buf_fini(&out);
    settings_load_end(&l);

    settings_file_load(&l, "secret = tooshort\napi_key = hush ;hush hush\n");
    assert_string_equal(settings_load_errors(&l),
                        "f.ini:1: secret has 8 bytes; it must have 16 to 512\n"
                        "f.ini:2: api_key holds a ` ;`, which begins a comment and would cut it; put it into api_key_file\n");
    settings_load_end(&l);
}

static void a_secret_file_gives_the_secret_without_its_line_end(void **state)
{
    (void)state;
    struct settings_load l;
    char arg[128];
    char *path = settings_temp_file("0123456789abcdef\r\n", 18);
    snprintf(arg, sizeof arg, "--secret_file=%s", path);
    assert_true(settings_whole_load(&l, (char *[]){"--dev", arg, NULL}, no_env));
    assert_string_equal(l.s.secret, "0123456789abcdef");
    settings_load_end(&l);
    assert_true(settings_whole_load(&l, (char *[]){"--dev", arg, NULL}, (char *[]){"FANMESH_SECRET=of-the-environment", NULL}));
    assert_string_equal(l.s.secret, "0123456789abcdef");
    settings_load_end(&l);
    char env[128];
    snprintf(env, sizeof env, "FANMESH_SECRET_FILE=%s", path);
    assert_true(settings_whole_load(&l, (char *[]){"--dev", "--secret=of-the-command-line", NULL}, (char *[]){env, NULL}));
    assert_string_equal(l.s.secret, "of-the-command-line");
    settings_load_end(&l);
    assert_false(settings_whole_load(&l, (char *[]){"--dev", arg, "--secret=0123456789abcdef", NULL}, no_env));
    assert_string_equal(settings_load_errors(&l), "secret and secret_file are both set; give one of the two\n");
    settings_load_end(&l);
    unlink(path);
}

static void a_secret_file_that_everybody_can_read_is_warned_of(void **state)
{
    (void)state;
    for (unsigned mode = 0600; mode <= 0604; mode += 4) {
        struct settings_load l;
        char arg[128];
        char *path = settings_temp_file("0123456789abcdef", 16);
        assert_int_equal(chmod(path, mode), 0);
        snprintf(arg, sizeof arg, "--secret_file=%s", path);
        assert_true(settings_whole_load(&l, (char *[]){"--dev", arg, NULL}, no_env));
        fm_buf_u8(&l.report.warnings, 0);
        assert_int_equal(strstr((const char *)l.report.warnings.p, "secret_file: every user of this machine can read ") != NULL,
                         mode == 0604);
        settings_load_end(&l);
        unlink(path);
    }
}

static void a_secret_file_that_holds_none_is_refused(void **state)
{
    (void)state;
    static char large[8194];
    memset(large, 'x', sizeof large);
    const struct {
        const char *text;
        size_t n;
        const char *why;
    } cases[] = {{"\n", 1, "it is empty"}, {large, sizeof large, "it is too large to be one secret"}, {"a\0b", 3, "it is binary"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings_load l;
        char arg[128];
        char *path = settings_temp_file(cases[i].text, cases[i].n);
        snprintf(arg, sizeof arg, "--api_key_file=%s", path);
        assert_false(settings_whole_load(&l, (char *[]){"--dev", arg, NULL}, no_env));
        assert_non_null(strstr(settings_load_errors(&l), cases[i].why));
        settings_load_end(&l);
        unlink(path);
    }
    struct settings_load l;
    assert_false(settings_whole_load(&l, (char *[]){"--dev", "--api_key_file=/nowhere", NULL}, no_env));
    assert_string_equal(settings_load_errors(&l), "api_key_file: can't read \"/nowhere\": No such file or directory\n");
    settings_load_end(&l);
}

static void settings_that_make_no_sense_together_stop_the_start(void **state)
{
    (void)state;
    const struct {
        char *argv[5];
        const char *error; /* begins with the option, and names it once */
    } cases[] = {
        {{"--api_listen=127.0.0.1:9", NULL}, "api_key: the API needs a key"},
        {{"--dev", "--api_listen=0.0.0.0:9", NULL}, "api_listen: 0.0.0.0:9 is not a loopback address"},
        {{"--dev", "--mesh_listen=10.0.0.1:9", NULL}, "mesh_listen: 10.0.0.1:9 is not a loopback address, and there is no secret"},
        {{"--dev", "--mesh_ask_listen=[::]:9", NULL}, "mesh_ask_listen: [::]:9 is not a loopback address, and there is no secret"},
        {{"--dev", "--mesh_listen=0.0.0.0:9", "--secret=0123456789abcdef", NULL}, "mesh_advertise: mesh_listen = 0.0.0.0:9 is no address"},
        {{"--api_listen=none", "--dev-api", NULL}, "dev_api: it is for trying things out, with dev"},
        {{"--dev", "--dev-api", "--listen=0.0.0.0:4000", NULL}, "dev_api: listen = 0.0.0.0:4000 is not a loopback address"},
        {{"--dev", "--listen=127.0.0.1:4001", NULL}, "api_listen: 127.0.0.1:4001 collides with listen"},
        {{"--dev", "--listen=0.0.0.0:4003", NULL}, "mesh_ask_listen: 127.0.0.1:4003 collides with listen = 0.0.0.0:4003"},
        {{"--dev", "--listen=none", "--api_listen=none", NULL}, "listen and api_listen are both none"},
        {{"--dev", "--mesh_listen=none", "--join=a:1", NULL}, "join: there are nodes to join, but mesh_listen is none"},
        {{"--dev", "--mount=socket", NULL}, "mount: socket is not a path"},
        {{"--dev", "--mount=/socket/", NULL}, "mount: /socket/ is not a path"},
        {{"--dev", "--supabase-mount=/realtime/v1/", NULL}, "supabase_mount: /realtime/v1/ is not a path"},
        {{"--dev", "--supabase-mount=/api/realtime", NULL}, "supabase_mount: /api is a path of the node itself"},
        {{"--dev", "--web-root=/nowhere/at/all", NULL}, "web_root: /nowhere/at/all is not a folder"},
        {{"--dev", "--web-root=/dev/null", NULL}, "web_root: /dev/null is not a folder"},
        {{"--dev", "--mount=/metrics", NULL}, "mount: /metrics is a path of the node itself"},
        {{"--dev", "--origins=app.example.org", NULL}, "origins: app.example.org is not an origin"},
        {{"--dev", "--origins=https://*example.org", NULL}, "origins: https://*example.org: a `*` stands for whole parts"},
        {{"--dev", "--origins=https://*.*.example.org", NULL}, "origins: https://*.*.example.org: a `*` stands for whole parts"},
        {{"--dev", "--origins=https://app.*", NULL}, "origins: https://app.*: a `*` stands for whole parts"},
        {{"--dev", "--origins=*://app.example.org", NULL}, "origins: *://app.example.org: a `*` stands for whole parts"},
        {{"--dev", "--connect=token", NULL}, "connect: token needs keys to know tokens by"},
        {{"--dev", "--token_secret=0123456789012345678901234567890", NULL}, "--token-secret has 31 bytes; it must have 32 to 4096"},
        {{"--dev", "--token_topics=user:{user}*", NULL}, "token_topics: user:{user}*: {user} may be in it once, and not directly before"},
        {{"--dev", "--token_topics=a*b", NULL}, "token_topics: a*b: a pattern is a topic, or its beginning and one `*`"},
        {{"--dev", "--token_cookie=a b", NULL}, "token_cookie: a b is no name of a cookie"},
        {{"--dev", "--token_cookie=a=b", NULL}, "token_cookie: a=b is no name of a cookie"},
        {{"--dev", "--message_max=8MiB", "--outbox_bytes=8MiB", NULL}, "message_max = 8MiB must not exceed api_body_max = 4MiB"},
        {{"--dev", "--message_max=2MiB", NULL}, "message_max = 2MiB must not exceed outbox_bytes = 1MiB"},
        {{"--dev", "--log_bytes=2GiB", NULL}, "log_bytes = 2GiB must not exceed memory_bytes = 1GiB"},
        {{"--dev", "--memory_bytes=2MiB", NULL},
         "log_bytes = 64MiB must not exceed memory_bytes = 2MiB: the log of one node must fit into the memory for all; lower log_bytes or "
         "raise memory_bytes\n"},
        {{"--dev", "--listen=127.0.0.1:70000", NULL},
         "--listen: \"127.0.0.1:70000\" is not an address; give host:port (a port from 1 to 65535) or none\n"},
        {{"--dev", "--idle-ms=99999999999999999999999", NULL}, "--idle-ms is \"99999999999999999999999\"; it must lie between 1s and 1d\n"},
        {{"--dev", "--heartbeat_ms=2s", NULL}, "heartbeat_ms = 2s must not exceed 1/2 of down_ms = 2s"},
        {{"--dev", "--repair_after_ms=5s", NULL}, "repair_after_ms = 5s must be below gap_ms = 5s"},
        {{"--dev", "--log_age=13h", NULL}, "log_age = 13h must not exceed 1/2 of cursor_ttl = 1d"},
        {{"--dev", "--cursor_ttl=1h", NULL}, "[topic \"realtime:*\"]: history_age = 3600s exceeds 1/2 of cursor_ttl = 3600s"},
        {{"--dev", "--repair_rate=1000", NULL}, "repair_rate = 1000 is less than one answer"},
        {{"--dev", "--window=16", NULL}, "--window is \"16\"; it must lie between 1 and 15"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings_load l;
        assert_false(settings_whole_load(&l, cases[i].argv, no_env));
        assert_int_equal(strncmp(settings_load_errors(&l), cases[i].error, strlen(cases[i].error)), 0);
        bool of_rule = strncmp(cases[i].error, "[topic", 6) == 0; /* then it is an error of each rule that --dev makes */
        assert_int_equal(l.report.n_errors, of_rule ? 2 : 1);
        settings_load_end(&l);
    }
}

static void every_mistake_is_said_in_one_go_and_none_that_follows_from_another(void **state)
{
    (void)state;
    struct settings_load l;
    /* What a wrong value would collide with, and what may be missing only because of a slip, is not said. */
    char *path = settings_temp_file("windwo = 4\n"
                                    "heartbeat_ms = soon\n"
                                    "down_ms = 300\n"
                                    "repair_after_ms = 6000\n"
                                    "mount = socket\n"
                                    "log_bytes = much\n"
                                    "mesh_listen = 10.0.0.1:7000\n"
                                    "[topic \"room:*\"]\n"
                                    "psuh = anyone\n"
                                    "message_max = 1MiB\n",
                                    178);
    char arg[128];
    snprintf(arg, sizeof arg, "--config=%s", path);
    assert_false(settings_whole_load(&l, (char *[]){arg, NULL}, no_env));
    const char *errors = settings_load_errors(&l);
    static const char *const said[] = {":1: unknown key \"windwo\"",
                                       ":2: heartbeat_ms ",
                                       ":6: log_bytes ",
                                       ":9: unknown key \"psuh\"",
                                       "\nmount: socket is not a path",
                                       "\nrepair_after_ms = 6s must be below gap_ms = 5s",
                                       "\n[topic \"room:*\"]: message_max = 1048576 exceeds the node's"};
    unsigned lines = 0;
    for (const char *c = errors; *c; c++)
        lines += *c == '\n';
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        assert_non_null(strstr(errors, said[i]));
    assert_int_equal(lines, sizeof said / sizeof said[0]);
    settings_load_end(&l);
    unlink(path);
}

static void roles_are_switched_off_by_none(void **state)
{
    (void)state;
    struct settings_load l;
    assert_true(settings_whole_load(&l, (char *[]){"--api_listen=none", "--mesh_listen=none", NULL}, no_env));
    settings_load_end(&l);
    assert_true(settings_whole_load(&l, (char *[]){"--listen=none", "--api_key=0123456789", NULL}, no_env));
    settings_load_end(&l);
}

static void the_dev_profile_opens_rooms_on_loopback_only_where_nothing_else_is_said(void **state)
{
    (void)state;
    struct settings_load l;
    assert_true(settings_whole_load(&l, (char *[]){"--dev", NULL}, no_env));
    const struct fm_rule *rule = fm_rules_match(l.s.rules, FM_LIT("room:lobby"));
    assert_non_null(rule);
    assert_int_equal(rule->push, FM_WHO_ANYONE);
    assert_int_equal(rule->history.count, 100);
    assert_int_equal(rule->message_max, 64 << 10);
    assert_null(fm_rules_match(l.s.rules, FM_LIT("other")));
    assert_string_equal(l.s.listen, "127.0.0.1:4000");
    assert_string_equal(l.s.origins.at[0], "*");
    settings_load_end(&l);

    char arg[128];
    const char text[] = "listen = 0.0.0.0:4000\n[topic \"room:*\"]\njoin = anyone\n";
    char *path = settings_temp_file(text, sizeof text - 1);
    snprintf(arg, sizeof arg, "--config=%s", path);
    assert_true(settings_whole_load(&l, (char *[]){"--dev", arg, NULL}, no_env));
    assert_string_equal(l.s.listen, "0.0.0.0:4000");
    assert_int_equal(fm_rules_match(l.s.rules, FM_LIT("room:lobby"))->push, FM_WHO_NOBODY);
    settings_load_end(&l);
    unlink(path);
}

static void the_ask_plane_is_advertised_on_the_host_of_the_mesh(void **state)
{
    (void)state;
    struct settings_load l;
    char *argv[] = {"--dev",
                    "--mesh_listen=0.0.0.0:7000",
                    "--mesh_ask_listen=0.0.0.0:7001",
                    "--mesh_advertise=[fd00::1]:8000",
                    "--secret=0123456789abcdef",
                    NULL};
    assert_true(settings_whole_load(&l, argv, no_env));
    assert_string_equal(l.s.mesh_ask_advertise, "[fd00::1]:7001");
    settings_load_end(&l);
}

static void what_check_config_prints_is_a_settings_file_with_the_same_meaning(void **state)
{
    (void)state;
    struct settings_load a, b;
    struct fm_buf out = {0}, again = {0};
    char arg[128];
    const char text[] = "idle_ms = 30s\n[topic \"room:*\"]\njoin = anyone\nhistory_count = 5\n[topic \"x\"]\n";
    char *path = settings_temp_file(text, sizeof text - 1);
    snprintf(arg, sizeof arg, "--config=%s", path);
    assert_true(settings_whole_load(&a, (char *[]){"--dev", arg, "--join=h:1,i:2", NULL}, no_env));
    fm_settings_print(&out, &a.s, path);
    settings_file_load(&b, "");
    fm_settings_text(&b.set, &b.s, "f.ini", fm_buf_view(&out));
    assert_string_equal(settings_load_errors(&b), "");
    for (size_t i = 0; i < FM_OPTIONS_N; i++) {
        struct fm_buf va = {0}, vb = {0};
        fm_option_print(&va, &fm_options[i], &a.s);
        fm_option_print(&vb, &fm_options[i], &b.s);
        assert_true(strcmp(fm_options[i].name, "config") == 0 || fm_slice_eq(fm_buf_view(&va), fm_buf_view(&vb)));
        fm_buf_fini(&va);
        fm_buf_fini(&vb);
    }
    for (size_t i = 0; fm_rules_at(a.s.rules, i); i++) {
        out.n = again.n = 0;
        fm_rule_print(&out, fm_rules_at(a.s.rules, i));
        fm_rule_print(&again, fm_rules_at(b.s.rules, i));
        assert_true(fm_slice_eq(fm_buf_view(&out), fm_buf_view(&again)));
    }
    fm_buf_fini(&out);
    fm_buf_fini(&again);
    settings_load_end(&a);
    settings_load_end(&b);
    unlink(path);
}

static void a_variable_that_is_nearly_an_option_is_warned_of(void **state)
{
    (void)state;
    struct fm_report r = {0};
    char *env[] = {"FANMESH_LISEN=x", "FANMESH_SERVICE_HOST=10.0.0.1", "FANMESH_LISTEN=x", "FANMESH_LAST=1", "HOME=/", NULL};
    fm_settings_env_check(env, &r);
    fm_buf_u8(&r.warnings, 0);
    assert_string_equal((const char *)r.warnings.p, "\"FANMESH_LISEN\": no option has this variable; the nearest is `listen`\n");
    fm_report_fini(&r);
}

static void a_settings_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct settings_load l;
    assert_false(settings_whole_load(&l, (char *[]){"--config", "/nowhere.ini", NULL}, no_env));
    assert_string_equal(settings_load_errors(&l), "config: can't read /nowhere.ini: No such file or directory\n");
    settings_load_end(&l);
    assert_false(settings_whole_load(&l, (char *[]){NULL}, (char *[]){"FANMESH_CONFIG=/tmp", NULL}));
    assert_string_equal(settings_load_errors(&l), "config: can't read /tmp: it is a folder\n");
    settings_load_end(&l);
}

static void the_defaults_of_the_table_are_those_of_the_hub(void **state)
{
    (void)state;
    struct settings_load l;
    struct fm_hub_config c;
    fm_hub_config_default(&c);
    settings_file_load(&l, "");
    const struct fm_settings *s = &l.s;
    assert_int_equal(s->log_bytes, c.log_bytes);
    assert_int_equal(s->log_age, c.log_age_ms);
    assert_int_equal(s->memory_bytes, c.memory_bytes);
    assert_int_equal(s->keys_bytes, c.keys_bytes);
    assert_int_equal(s->topics_max, c.topics_max);
    assert_int_equal(s->replicas, c.replicas);
    assert_int_equal(s->heartbeat_ms, c.heartbeat_ms);
    assert_int_equal(s->repair_after_ms, c.repair_after_ms);
    assert_int_equal(s->gap_ms, c.gap_ms);
    assert_int_equal(s->found_ms, c.found_ms);
    assert_int_equal(s->join_wait_ms, c.join_wait_ms);
    assert_int_equal(s->down_ms, c.down_ms);
    assert_int_equal(s->ask_timeout_ms, c.ask_timeout_ms);
    assert_int_equal(s->cursor_ttl, c.cursor_ttl_ms);
    assert_int_equal(s->window, c.window);
    assert_int_equal(s->window_live_ms, c.window_live_ms);
    assert_int_equal(s->batch_bytes, c.batch_bytes);
    assert_int_equal(s->repair_rate, c.repair_bytes_per_s);
    settings_load_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_never_printed),
        cmocka_unit_test(a_secret_file_gives_the_secret_without_its_line_end),
        cmocka_unit_test(a_secret_file_that_everybody_can_read_is_warned_of),
        cmocka_unit_test(a_secret_file_that_holds_none_is_refused),
        cmocka_unit_test(settings_that_make_no_sense_together_stop_the_start),
        cmocka_unit_test(every_mistake_is_said_in_one_go_and_none_that_follows_from_another),
        cmocka_unit_test(roles_are_switched_off_by_none),
        cmocka_unit_test(the_dev_profile_opens_rooms_on_loopback_only_where_nothing_else_is_said),
        cmocka_unit_test(the_ask_plane_is_advertised_on_the_host_of_the_mesh),
        cmocka_unit_test(what_check_config_prints_is_a_settings_file_with_the_same_meaning),
        cmocka_unit_test(a_variable_that_is_nearly_an_option_is_warned_of),
        cmocka_unit_test(a_settings_file_that_is_not_there_is_named),
        cmocka_unit_test(the_defaults_of_the_table_are_those_of_the_hub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
