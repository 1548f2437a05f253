#include "../../../gateway/cli/cli_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct fm_table_column columns[] = {{"NAME", false}, {"N", true}, {"REST", false}};

static void row(struct fm_table *t, const char *name, uint64_t n, const char *rest)
{
    fm_table_cell(t, fm_slice_str(name));
    fm_table_number(t, n);
    fm_table_cell(t, fm_slice_str(rest));
}

static void assert_prints(struct fm_table *t, const char *want)
{
    struct fm_buf out = {0};
    fm_table_print(t, &out);
    fm_buf_u8(&out, 0);
    assert_false(out.failed);
    assert_string_equal((const char *)out.p, want);
    fm_buf_fini(&out);
}

static void columns_are_as_wide_as_what_stands_in_them_and_nothing_is_behind_the_last(void **state)
{
    (void)state;
    struct fm_table t = {.columns = columns, .n = 3};
    row(&t, "a", 5, "x");
    row(&t, "longer", 1234, "a longer one");
    assert_prints(&t, "NAME       N  REST\n"
                      "a          5  x\n"
                      "longer  1234  a longer one\n");
    fm_table_fini(&t);
}

static void titles_stand_above_the_first_rows_alone_and_later_rows_keep_the_columns(void **state)
{
    (void)state;
    struct fm_table t = {.columns = columns, .n = 3};
    row(&t, "longer", 1, "x");
    assert_prints(&t, "NAME    N  REST\nlonger  1  x\n");
    row(&t, "b", 2, "y");
    assert_prints(&t, "b       2  y\n");
    row(&t, "the longest", 3, "z");
    assert_prints(&t, "the longest  3  z\n");
    assert_prints(&t, "");
    fm_table_fini(&t);
}

static void without_rows_there_are_the_titles(void **state)
{
    (void)state;
    struct fm_table t = {.columns = columns, .n = 3};
    assert_prints(&t, "NAME  N  REST\n");
    fm_table_fini(&t);
}

static void characters_count_not_bytes_and_control_characters_are_replaced(void **state)
{
    (void)state;
    struct fm_table t = {.columns = columns, .n = 3};
    row(&t, "\xc3\xa4nn\xe2\x82\xac", 1, "a\nb\x1b[31m\x7f");
    row(&t, "", 2, "");
    assert_prints(&t, "NAME  N  REST\n"
                      "\xc3\xa4nn\xe2\x82\xac  1  a?b?[31m?\n"
                      "-     2  -\n");
    fm_table_fini(&t);
}

static void times_are_short(void **state)
{
    (void)state;
    const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {{0, "0.0 s"},      {9999, "10.0 s"},     {10000, "10 s"},  {119999, "119 s"},
                 {120000, "2 min"}, {7199999, "119 min"}, {7200000, "2 h"}, {86400000, "24 h"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];
        fm_ms_text(text, sizeof text, cases[i].ms);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_what_stands_in_them_and_nothing_is_behind_the_last),
        cmocka_unit_test(titles_stand_above_the_first_rows_alone_and_later_rows_keep_the_columns),
        cmocka_unit_test(without_rows_there_are_the_titles),
        cmocka_unit_test(characters_count_not_bytes_and_control_characters_are_replaced),
        cmocka_unit_test(times_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
