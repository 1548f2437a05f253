#include "../../../gateway/api/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static const char *const all_metrics[] = {
    "fanmesh_build_info",
#define X(name, metric, ...) metric,
    FM_HUB_STATS(X) FM_WORKER_STATS(X) FM_PROBE_STATS(X) FM_JWKS_STATS(X) FM_HOOK_STATS(X) FM_PROCESS_STATS(X)
#undef X
        FM_HOOK_SECONDS,
};

static struct fm_hub_stats hub;
static struct fm_worker_stats workers[2];
static struct fm_probe_board probe;
static struct fm_jwks_stats jwks;
static struct fm_hook_stats hooks;

static char *page(void)
{
    struct fm_process_stats process;
    fm_process_stats_read(&process);
    const struct fm_metrics_worker w[] = {{&workers[0], "0"}, {&workers[1], "internal"}};
    fm_probe_board_init(&probe, 1);
    const struct fm_metrics m = {
        .version = "1.2.3", .hub = &hub, .workers = w, .n = 2, .probe = &probe, .jwks = &jwks, .hooks = &hooks, .process = &process};
    struct fm_buf b = {0};
    fm_metrics_write(&b, &m);
    assert_false(b.failed);
    char *text = fm_slice_dup(fm_buf_view(&b));
    fm_buf_fini(&b);
    assert_non_null(text);
    return text;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
        n++;
    return n;
}

static double value_of(const char *text, const char *series)
{
    char line[128];
    snprintf(line, sizeof line, "\n%s ", series);
    const char *p = strstr(text, line);
    assert_non_null(p);
    return strtod(p + strlen(line), NULL);
}

static void every_metric_is_named_once_with_help_and_type(void **state)
{
    (void)state;
    char *text = page();
    for (size_t i = 0; i < sizeof all_metrics / sizeof all_metrics[0]; i++) {
        char what[128];
        snprintf(what, sizeof what, "# HELP %s ", all_metrics[i]);
        assert_int_equal(count(text, what), 1);
        snprintf(what, sizeof what, "# TYPE %s ", all_metrics[i]);
        assert_int_equal(count(text, what), 1);
    }
    assert_int_equal(count(text, "# TYPE "), sizeof all_metrics / sizeof all_metrics[0]);
    free(text);
}

static void the_page_of_metrics_is_the_one_that_the_tables_make(void **state)
{
    (void)state;
    struct fm_buf out = {0};
    char *on_disk = calloc(1, 1 << 16);
    FILE *f = fopen(FM_SOURCE_DIR "/docs/metrics.md", "re");
    assert_non_null(f);
    assert_non_null(on_disk);
    size_t n = fread(on_disk, 1, (1 << 16) - 1, f);
    fclose(f);
    fm_metrics_markdown(&out);
    fm_buf_u8(&out, 0);
    assert_int_equal(n, out.n - 1);
    assert_string_equal(on_disk, (const char *)out.p); /* else: fanmesh help metrics --markdown > docs/metrics.md */
    for (size_t i = 0; i < sizeof all_metrics / sizeof all_metrics[0]; i++) {
        char row[128];
        snprintf(row, sizeof row, "\n| `%s` | ", all_metrics[i]);
        assert_int_equal(count(on_disk, row), 1);
    }
    free(on_disk);
    fm_buf_fini(&out);
}

static void what_the_page_says_to_watch_exists(void **state)
{
    (void)state;
    for (size_t i = 0; fm_metrics_watched(i); i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof all_metrics / sizeof all_metrics[0]; k++)
            found = found || strcmp(all_metrics[k], fm_metrics_watched(i)) == 0;
        if (!found)
            fail_msg("%s is to be watched and does not exist", fm_metrics_watched(i));
    }
}

/* The format's rules, line by line: a comment that belongs to the metric that follows, or `name{labels} value`. */
static void every_line_follows_the_text_format(void **state)
{
    (void)state;
    char *text = page(), current[128] = "";
    bool histogram = false;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128], type[16];
        if (sscanf(line, "# TYPE %127s %15s", name, type) == 2) {
            histogram = strcmp(type, "histogram") == 0;
            assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 || histogram);
            assert_true((strcmp(type, "counter") == 0) == (strcmp(name + strlen(name) - 6, "_total") == 0));
            snprintf(current, sizeof current, "%s", name);
        } else if (line[0] == '#') {
            assert_int_equal(sscanf(line, "# HELP %127s", name), 1);
        } else {
            size_t n = strcspn(line, "{ ");
            size_t m = strlen(current), more = n > m ? n - m : 0;
            assert_true(histogram
                            ? (more == 7 && strncmp(line + m, "_bucket", 7) == 0) || (more == 4 && strncmp(line + m, "_sum", 4) == 0) ||
                                  (more == 6 && strncmp(line + m, "_count", 6) == 0)
                            : n == m);
            assert_memory_equal(line, current, m);
            char *value = strrchr(line, ' '), *end;
            assert_non_null(value);
            strtod(value + 1, &end);
            assert_true(end > value + 1 && *end == 0);
        }
    }
    free(text);
}

static void counters_show_what_their_owners_counted(void **state)
{
    (void)state;
    atomic_store(&hub.published, 18446744073709551615u);
    atomic_store(&workers[0].connections, 7);
    atomic_store(&workers[1].connections, 2);
    char *text = page();
    assert_non_null(strstr(text, "\nfanmesh_published_total 18446744073709551615\n"));
    assert_int_equal((int)value_of(text, "fanmesh_connections{worker=\"0\"}"), 7);
    assert_int_equal((int)value_of(text, "fanmesh_connections{worker=\"internal\"}"), 2);
    assert_non_null(strstr(text, "\nfanmesh_build_info{version=\"1.2.3\"} 1\n"));
    free(text);
}

static void the_process_is_described_as_it_is(void **state)
{
    (void)state;
    struct fm_process_stats p;
    fm_process_stats_read(&p);
    assert_true(p.open_fds >= 3 && p.open_fds <= p.max_fds);
    FILE *one_more = fopen("/dev/null", "re");
    assert_non_null(one_more);
    struct fm_process_stats q;
    fm_process_stats_read(&q);
    assert_true(q.open_fds == p.open_fds + 1);
    fclose(one_more);
    assert_true(p.threads >= 1);
    assert_true(p.resident_bytes > 100e3 && p.resident_bytes <= p.virtual_bytes);
    assert_true(p.start_seconds <= (double)time(NULL) + 1 && p.start_seconds > (double)time(NULL) - 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_is_named_once_with_help_and_type),
        cmocka_unit_test(the_page_of_metrics_is_the_one_that_the_tables_make),
        cmocka_unit_test(what_the_page_says_to_watch_exists),
        cmocka_unit_test(every_line_follows_the_text_format),
        cmocka_unit_test(counters_show_what_their_owners_counted),
        cmocka_unit_test(the_process_is_described_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
