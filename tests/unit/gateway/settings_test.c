#include "settings_load.h"

#include <stdio.h>
#include <stdlib.h>

/* A value of each type that no option has as its default. */
static void sample(const struct fm_option *o, char out[64])
{
    static const char *const words[] = {
        [FM_OPTION_TEXT] = "/other",
        [FM_OPTION_PATH] = "/tmp/x",
        [FM_OPTION_SECRET] = "0123456789abcdefghij0123456789abcdefghij",
        [FM_OPTION_ADDRESS] = "h:9",
        [FM_OPTION_LISTENER] = "h:9",
        [FM_OPTION_LIST] = "https://a",
        [FM_OPTION_ADDRESSES] = "h:9",
        [FM_OPTION_FLAG] = "true",
        [FM_OPTION_LEVEL] = "error",
        [FM_OPTION_ACK] = "replicated",
        [FM_OPTION_ACKS] = "mixed",
        [FM_OPTION_WHO] = "anyone",
        [FM_OPTION_PUSH_TO] = "others",
        [FM_OPTION_SLOW] = "disconnect",
        [FM_OPTION_LOG_FORMAT] = "json",
        [FM_OPTION_CONNECT] = "token",
        [FM_OPTION_NETWORKS] = "10.0.0.0/8",
        [FM_OPTION_HOOK_FAILED] = "allow",
    };
    if (o->type > FM_OPTION_BYTES) {
        snprintf(out, 64, "%s", words[o->type]);
        return;
    }
    snprintf(out, 64, "%llu%s", (unsigned long long)o->max, o->type == FM_OPTION_AGE ? "ms" : "");
}

static void assert_has_sample(struct settings_load *l, const struct fm_option *o, const char *value, enum fm_rank rank)
{
    struct fm_buf want = {0}, got = {0};
    struct settings_load fresh;
    assert_string_equal(settings_load_errors(l), "");
    settings_file_load(&fresh, "");
    fm_option_set(&fresh.set, o, (struct fm_from){.rank = FM_RANK_FILE, .line = 1}, "x", value);
    fm_option_print(&want, o, &fresh.s);
    fm_option_print(&got, o, &l->s);
    assert_true(fm_slice_eq(fm_buf_view(&want), fm_buf_view(&got)));
    assert_int_equal(l->s.from[o - fm_options].rank, rank);
    fm_buf_fini(&want);
    fm_buf_fini(&got);
    settings_load_end(&fresh);
}

static void every_option_can_be_given_in_the_file_the_environment_and_the_command_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_OPTIONS_N; i++) {
        const struct fm_option *o = &fm_options[i];
        char value[64], line[160], name[64], var[160], flag[160], word[80];
        struct settings_load l;
        sample(o, value);
        snprintf(line, sizeof line, "%s = %s\n", o->name, value);
        fm_env_name(o->name, name, sizeof name);
        snprintf(var, sizeof var, "%s=%s", name, value);
        snprintf(flag, sizeof flag, "--%s=%s", o->name, value);
        snprintf(word, sizeof word, "--%s", o->name);

        if (strcmp(o->name, "config") != 0) { /* the file can't name itself */
            settings_file_load(&l, line);
            assert_has_sample(&l, o, value, FM_RANK_FILE);
            settings_load_end(&l);
        }
        settings_file_load(&l, "");
        settings_env_load(&l, (char *[]){var, NULL});
        assert_has_sample(&l, o, value, FM_RANK_ENV);
        settings_load_end(&l);

        settings_file_load(&l, "");
        settings_args_load(&l, (char *[]){flag, NULL});
        assert_has_sample(&l, o, value, FM_RANK_ARGS);
        settings_load_end(&l);

        settings_file_load(&l, "");
        settings_args_load(&l, (char *[]){word, o->type == FM_OPTION_FLAG ? NULL : value, NULL});
        assert_has_sample(&l, o, value, FM_RANK_ARGS);
        settings_load_end(&l);
    }
}

static void the_command_line_wins_over_the_environment_over_the_file_over_the_default(void **state)
{
    (void)state;
    struct settings_load l;
    settings_file_load(&l, "");
    assert_int_equal(l.s.idle_ms, 60000);
    settings_load_end(&l);
    settings_file_load(&l, "idle_ms = 2s\n");
    assert_int_equal(l.s.idle_ms, 2000);
    settings_env_load(&l, (char *[]){"FANMESH_IDLE_MS=3s", NULL});
    assert_int_equal(l.s.idle_ms, 3000);
    settings_args_load(&l, (char *[]){"--idle_ms", "4s", NULL});
    assert_int_equal(l.s.idle_ms, 4000);
    settings_env_load(&l, (char *[]){"FANMESH_IDLE_MS=5s", NULL});
    assert_int_equal(l.s.idle_ms, 4000);
    settings_load_end(&l);
}

static void a_list_grows_within_one_source_and_is_replaced_by_a_higher_one(void **state)
{
    (void)state;
    struct settings_load l;
    settings_file_load(&l, "join = a:1, b:2\njoin = c:3\n");
    assert_int_equal(l.s.join.n, 3);
    assert_string_equal(l.s.join.at[2], "c:3");
    assert_null(l.s.join.at[3]);
    settings_args_load(&l, (char *[]){"--join", "d:4", "--join=e:5", NULL});
    assert_int_equal(l.s.join.n, 2);
    assert_string_equal(l.s.join.at[0], "d:4");
    settings_load_end(&l);
}

static void an_empty_variable_counts_as_unset(void **state)
{
    (void)state;
    struct settings_load l;
    settings_file_load(&l, "");
    settings_env_load(&l, (char *[]){"FANMESH_WINDOW=", "FANMESH_WINDOWS=3", "FANMESH=1", NULL});
    assert_string_equal(settings_load_errors(&l), "");
    assert_int_equal(l.s.window, 12);
    fm_buf_u8(&l.report.warnings, 0);
    assert_string_equal((const char *)l.report.warnings.p, "FANMESH_WINDOW is empty, which counts as unset\n");
    settings_load_end(&l);
}

static void an_empty_value_is_refused_wherever_it_is_given(void **state)
{
    (void)state;
    static char *const flags[] = {"--config", "--join", "--join", "--join", "--secret-file", "--listen", "--name", "--idle-ms"};
    static char *const values[] = {"", "", ",,", " , ", "", " ", "", ""};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        struct settings_load l;
        char want[96];
        snprintf(want, sizeof want, "%s is empty; give it a value, or leave it out\n", flags[i]);
        settings_file_load(&l, "");
        settings_args_load(&l, (char *[]){flags[i], values[i], NULL});
        assert_string_equal(settings_load_errors(&l), want);
        settings_load_end(&l);
    }
    struct settings_load l;
    settings_file_load(&l, "join =\nsecret_file =\n");
    assert_string_equal(settings_load_errors(&l), "f.ini:1: join is empty; give it a value, or leave it out\n"
                                                  "f.ini:2: secret_file is empty; give it a value, or leave it out\n");
    settings_load_end(&l);
}

static void units_are_read_and_printed(void **state)
{
    (void)state;
    const struct {
        const char *line, *name, *printed;
    } cases[] = {
        {"drain_ms = 1500", "drain_ms", "1500ms"},
        {"drain_ms = 90s", "drain_ms", "90s"},
        {"log_age = 2h", "log_age", "2h"},
        {"cursor_ttl = 7d", "cursor_ttl", "7d"},
        {"log_bytes = 1MiB", "log_bytes", "1MiB"},
        {"log_bytes = 65537", "log_bytes", "65537"},
        {"log_bytes = 2gib", "log_bytes", "2GiB"},
        {"drain_ms = 0", "drain_ms", "0"},
        {"dev = true", "dev", "true"},
        {"log_level = warn", "log_level", "warn"},
        {"workers = 7 ; comment", "workers", "7"},
        {"\tworkers=7", "workers", "7"},
        {"\xef\xbb\xbfworkers = 7\r", "workers", "7"},
        {"origins = a://b , c://d", "origins", "a://b,c://d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings_load l;
        struct fm_buf b = {0};
        settings_file_load(&l, cases[i].line);
        assert_string_equal(settings_load_errors(&l), "");
        fm_option_print(&b, fm_option_find(fm_options, FM_OPTIONS_N, cases[i].name), &l.s);
        fm_buf_u8(&b, 0);
        assert_string_equal((const char *)b.p, cases[i].printed);
        fm_buf_fini(&b);
        settings_load_end(&l);
    }
}

static void a_mistake_in_the_file_is_told_with_its_line_and_the_nearest_name(void **state)
{
    (void)state;
    const struct {
        const char *text, *error;
    } cases[] = {
        {"\nlisen = x:1\n", "f.ini:2: unknown key \"lisen\"; the nearest is `listen`\n"},
        {"idle_sm = 1s\n", "f.ini:1: unknown key \"idle_sm\"; the nearest is `idle_ms`\n"},
        {"qqqqqqqqqqqq = 1s\n", "f.ini:1: unknown key \"qqqqqqqqqqqq\"\n"},
        {"history_count = 1\n", "f.ini:1: unknown key \"history_count\"; it belongs into a [topic \"pattern\"] section\n"},
        {"config = x\n", "f.ini:1: config can't be set in the settings file; give --config or FANMESH_CONFIG\n"},
        {"idle_ms = 5\n", "f.ini:1: idle_ms is \"5\"; it must lie between 1s and 1d\n"},
        {"idle_ms = 99999999999999999999\n", "f.ini:1: idle_ms is \"99999999999999999999\"; it must lie between 1s and 1d\n"},
        {"idle_ms = 99999999999999999d\n", "f.ini:1: idle_ms is \"99999999999999999d\"; it must lie between 1s and 1d\n"},
        {"idle_ms = 5 apples\n", "f.ini:1: idle_ms takes milliseconds, or a number with ms, s, m, h or d, not \"5 apples\"\n"},
        {"idle_ms = -5\n", "f.ini:1: idle_ms takes milliseconds, or a number with ms, s, m, h or d, not \"-5\"\n"},
        {"idle_ms =\n", "f.ini:1: idle_ms is empty; give it a value, or leave it out\n"},
        {"log_age = 5\n", "f.ini:1: log_age takes a number with ms, s, m, h or d, such as 10m, not \"5\"\n"},
        {"workers = 1k\n", "f.ini:1: workers takes a whole number, not \"1k\"\n"},
        {"workers = 1 # one\n",
         "f.ini:1: workers takes a whole number, not \"1 # one\" (a comment after a value begins with a space and `;`)\n"},
        {"dev = yes\n", "f.ini:1: dev takes true or false, not \"yes\"\n"},
        {"log_level = loud\n", "f.ini:1: log_level takes debug|info|warn|error, not \"loud\"\n"},
        {"listen = 4000\n", "f.ini:1: listen: \"4000\" is not an address; give host:port or none\n"},
        {"listen = h:70000\n", "f.ini:1: listen: \"h:70000\" is not an address; give host:port (a port from 1 to 65535) or none\n"},
        {"mesh_advertise = none\n", "f.ini:1: mesh_advertise: \"none\" is not an address; give host:port\n"},
        {"join = a:1,b\n", "f.ini:1: join: \"b\" is not an address; give host:port\n"},
        {"trusted_proxies = 10.0.0.0/8, 10.0.0.1/8\n",
         "f.ini:1: trusted_proxies: \"10.0.0.1/8\" is no address or network; give one such as 192.0.2.7, 10.0.0.0/8 or fd00::/8, with no "
         "bit set beyond the prefix\n"},
        {"cluster =\n", "f.ini:1: cluster is empty; give it a value, or leave it out\n"},
        {"dev = true\ndev = false\n", "f.ini:2: dev is set already in line 1; remove one of the two\n"},
        {"just words\n", "f.ini:1: \"just words\" is neither `name = value` nor a section\n"},
        {"name = a\001b\n", "f.ini:1: the line holds a control character (byte 9); settings are plain text\n"},
        {"[topics \"a\"]\n", "f.ini:1: unknown section \"[topics \\\"a\\\"]\"; the only kind is [topic \"pattern\"], and options of the "
                             "node stand above the first one\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings_load l;
        settings_file_load(&l, cases[i].text);
        assert_string_equal(settings_load_errors(&l), cases[i].error);
        settings_load_end(&l);
    }
}

static void a_line_too_long_to_be_read_whole_is_refused(void **state)
{
    (void)state;
    char text[512];
    struct settings_load l;
    for (int n = 198; n <= 199; n++) {
        snprintf(text, sizeof text, "web_root = %0*d\nwindow = 3\n", n - 11, 0);
        settings_file_load(&l, text);
        assert_int_equal(l.s.window, 3);
        assert_int_equal(strlen(l.s.web_root), n == 198 ? 187 : 0);
        assert_string_equal(settings_load_errors(&l),
                            n == 198 ? ""
                                     : "f.ini:1: the line has 199 bytes, and at most 198 can be read; a list may be given in "
                                       "several lines, anything else in the environment\n");
        settings_load_end(&l);
    }
}

static void an_indented_line_is_a_line_of_its_own(void **state)
{
    (void)state;
    struct settings_load l;
    settings_file_load(&l, "name = a\n  window = 3\n\tcluster = c\n");
    assert_string_equal(settings_load_errors(&l), "");
    assert_string_equal(l.s.name, "a");
    assert_int_equal(l.s.window, 3);
    assert_string_equal(l.s.cluster, "c");
    settings_load_end(&l);
}

static void every_mistake_is_told_not_only_the_first(void **state)
{
    (void)state;
    struct settings_load l;
    settings_file_load(&l, "windw = 3\nwindow = 16\nnonsense\n[topic \"a\"]\njon = anyone\n");
    assert_int_equal(l.report.n_errors, 4);
    settings_load_end(&l);
}

static void a_command_line_that_is_wrong_is_told_in_one_line(void **state)
{
    (void)state;
    const struct {
        char *argv[3];
        const char *error;
    } cases[] = {
        {{"--lisen", "x", NULL}, "unknown option \"--lisen\"; the nearest is `--listen`\n"},
        {{"--idel-ms=5", NULL, NULL}, "unknown option \"--idel-ms\"; the nearest is `--idle-ms`\n"},
        {{"--qqqqqqqqqq", NULL, NULL}, "unknown option \"--qqqqqqqqqq\"; --help lists all\n"},
        {{"-x", NULL, NULL}, "unknown option \"-x\"; --help lists all\n"},
        {{"--listen", NULL, NULL}, "--listen needs a value\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings_load l;
        struct fm_args args;
        int argc = 0;
        while (cases[i].argv[argc])
            argc++;
        settings_file_load(&l, "");
        assert_false(fm_args_read(&args, &l.set, argc, cases[i].argv));
        assert_string_equal(settings_load_errors(&l), cases[i].error);
        fm_args_fini(&args);
        settings_load_end(&l);
    }
}

static void what_follows_two_dashes_is_no_option(void **state)
{
    (void)state;
    struct settings_load l;
    struct fm_args args;
    settings_file_load(&l, "");
    assert_true(fm_args_read(&args, &l.set, 5, (char *[]){"t", "--dev", "-5", "--", "--listen"}));
    assert_int_equal(args.positionals, 3);
    assert_string_equal(args.positional[1], "-5");
    assert_string_equal(args.positional[2], "--listen");
    assert_string_equal(fm_args_value(&args, "dev"), "true");
    fm_args_fini(&args);
    settings_load_end(&l);
}

static void addresses_are_told_apart(void **state)
{
    (void)state;
    struct fm_address a;
    static const char *const bad[] = {"",     ":1",     "h",     "h:",    "h:0",   "h:65536", "h:1x",
                                      "[::1", "[::1]1", "::1:1", "[h]:1", "a b:1", "h:-1",    "[]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(fm_address_read(bad[i], &a), FM_E_ADDRESS);
    static const char *const loopback[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:65535"};
    for (size_t i = 0; i < sizeof loopback / sizeof loopback[0]; i++)
        assert_true(fm_address_read(loopback[i], &a) == FM_OK && fm_address_loopback(&a) && !fm_address_wildcard(&a));
    static const char *const wildcard[] = {"0.0.0.0:1", "[::]:1"};
    for (size_t i = 0; i < sizeof wildcard / sizeof wildcard[0]; i++)
        assert_true(fm_address_read(wildcard[i], &a) == FM_OK && !fm_address_loopback(&a) && fm_address_wildcard(&a));
    assert_true(fm_address_read("node-1.example.org:443", &a) == FM_OK && a.port == 443 && !fm_address_loopback(&a));
}

static void the_page_of_settings_is_the_one_that_the_table_makes(void **state)
{
    (void)state;
    struct fm_buf out = {0};
    char *page = calloc(1, 1 << 16);
    FILE *f = fopen(FM_SOURCE_DIR "/docs/settings.md", "re");
    assert_non_null(f);
    assert_non_null(page);
    size_t n = fread(page, 1, (1 << 16) - 1, f);
    fclose(f);
    fm_settings_markdown(&out);
    fm_buf_u8(&out, 0);
    assert_int_equal(n, out.n - 1);
    assert_string_equal(page, (const char *)out.p); /* else: fanmesh help options --markdown > docs/settings.md */
    free(page);
    fm_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_can_be_given_in_the_file_the_environment_and_the_command_line),
        cmocka_unit_test(the_command_line_wins_over_the_environment_over_the_file_over_the_default),
        cmocka_unit_test(a_list_grows_within_one_source_and_is_replaced_by_a_higher_one),
        cmocka_unit_test(an_empty_variable_counts_as_unset),
        cmocka_unit_test(an_empty_value_is_refused_wherever_it_is_given),
        cmocka_unit_test(units_are_read_and_printed),
        cmocka_unit_test(a_mistake_in_the_file_is_told_with_its_line_and_the_nearest_name),
        cmocka_unit_test(a_line_too_long_to_be_read_whole_is_refused),
        cmocka_unit_test(an_indented_line_is_a_line_of_its_own),
        cmocka_unit_test(every_mistake_is_told_not_only_the_first),
        cmocka_unit_test(a_command_line_that_is_wrong_is_told_in_one_line),
        cmocka_unit_test(what_follows_two_dashes_is_no_option),
        cmocka_unit_test(addresses_are_told_apart),
        cmocka_unit_test(the_page_of_settings_is_the_one_that_the_table_makes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
