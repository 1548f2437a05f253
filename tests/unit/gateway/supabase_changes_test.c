/* Changes of rows for Supabase's clients: which entries of a join want which change, and what is written for them. */
#include "../../../gateway/supabase/supabase_changes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ROW \
    "{\"id\":7,\"price\":1.50,\"big\":9007199254740993,\"name\":\"Ann, " \
    "\\\"B\\\"\",\"city\":\"Rome\",\"ok\":true,\"gone\":null,\"list\":[1],\"low\":-0.0250," \
    "\"zero\":0.00,\"long\":123456789012345678901234567890.5,\"far\":1e999999999999}"
#define CHANGE(type, more) "{\"schema\":\"public\",\"table\":\"orders\",\"type\":\"" type "\"," more "}"
#define INSERT CHANGE("INSERT", "\"record\":" ROW)

/* Each is a copy of exactly its size, so that the sanitizer sees a read past the end. */
static const char *read_wants(const char *entries, struct fm_buf *wants)
{
    size_t n = strlen(entries);
    uint8_t *copy = malloc(n);
    struct fm_json v;
    assert_non_null(copy);
    memcpy(copy, entries, n);
    assert_int_equal(fm_json_parse(fm_slice_of(copy, n), 128, &v, NULL), FM_OK);
    const char *reason = fm_supabase_wants_read(&v, wants);
    free(copy);
    return reason;
}

static enum fm_supabase_given give(const char *entries, const char *payload, struct fm_buf *out)
{
    struct fm_buf wants = {0};
    assert_null(read_wants(entries, &wants));
    struct fm_msg *m = fm_msg_new(FM_LIT("realtime:a"), FM_LIT("postgres_changes"), (struct fm_msg_keys){0}, fm_slice_str(payload), 0);
    assert_non_null(m);
    fm_msg_accept(m, (struct fm_id){62, 7}, 6, 1700000000123);
    out->n = 0;
    enum fm_supabase_given given = fm_supabase_change_write(out, fm_buf_view(&wants), m);
    assert_false(out->failed);
    fm_msg_unref(&m);
    fm_buf_fini(&wants);
    return given;
}

/* Is a change given to a channel whose one entry has these members? */
static bool is_given(const char *members, const char *payload)
{
    struct fm_buf out = {0};
    char entries[1024];
    snprintf(entries, sizeof entries, "[{%s}]", members);
    enum fm_supabase_given given = give(entries, payload, &out);
    assert_int_not_equal(given, FM_SUPABASE_NOT_ONE);
    fm_buf_fini(&out);
    return given == FM_SUPABASE_WRITTEN;
}

static void an_entry_wants_changes_of_its_event_schema_and_table(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        bool inserted, deleted;
    } cases[] = {
        {"", true, true},
        {"\"event\":\"*\",\"schema\":\"*\",\"table\":\"*\"", true, true},
        {"\"event\":\"INSERT\",\"schema\":\"public\"", true, false},
        {"\"event\":\"DELETE\",\"schema\":\"public\",\"table\":\"orders\"", false, true},
        {"\"event\":\"UPDATE\"", false, false},
        {"\"event\":\"*\",\"schema\":\"private\"", false, false},
        {"\"event\":\"*\",\"schema\":\"public\",\"table\":\"order\"", false, false},
        {"\"event\":null,\"table\":\"orders\",\"filter\":null,\"select\":[\"id\"]", true, true},
        {"\"filter\":\"id=eq.7\"", true, true}, /* of a DELETE the old row is looked at */
        {"\"filter\":\"id=eq.8\"", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(is_given(cases[i].entry, INSERT), cases[i].inserted);
        assert_int_equal(is_given(cases[i].entry, CHANGE("DELETE", "\"old_record\":{\"id\":7}")), cases[i].deleted);
    }
}

static void a_filter_is_looked_at_as_the_database_would(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        bool wanted;
    } cases[] = {
        {"", true},
        {"id=eq.7", true},
        {"id=eq.7.0", true},
        {"id=neq.7", false},
        {"id=neq.10", true},
        {"id=lt.10", true}, /* as numbers, not as texts */
        {"id=lt.7", false},
        {"id=lte.7", true},
        {"id=gt.-1", true},
        {"id=gte.7e0", true},
        {"id=gte.8", false},
        {"big=eq.9007199254740993", true}, /* a double would not tell them apart */
        {"big=gt.9007199254740992", true},
        {"price=eq.1.5", true},
        {"price=eq.15e-1", true},
        {"price=eq.0.15E+1", true},
        {"price=lt.1.51", true},
        {"price=gt.1.499", true},
        {"price=gt.0.9", true},
        {"price=lt.10", true},
        {"low=eq.-25e-3", true},
        {"low=lt.0", true},
        {"low=lt.-0.0249", true},
        {"low=gt.-0.1", true},
        {"low=gt.0.01", false},
        {"zero=eq.0", true},
        {"zero=eq.-0", true},
        {"zero=eq.0e7", true},
        {"zero=gt.-1", true},
        {"zero=lt.0.0001", true},
        {"long=eq.123456789012345678901234567890.50", true}, /* no type of C has so many digits */
        {"long=eq.123456789012345678901234567890.4", false},
        {"long=gt.123456789012345678901234567890", true},
        {"long=lt.1e30", true},
        {"far=gt.1e300", true},
        {"far=lt.1e300", false},
        {"id=eq.seven", false}, /* not to be compared, so that neither holds */
        {"id=neq.seven", false},
        {"id=in.(1,7)", true},
        {"id=in.( 1 , 7 )", true},
        {"id=in.(1,2)", false},
        {"id=not.in.(1,2)", true},
        {"id=not.in.(1,7)", false},
        {"city=eq.Rome", true},
        {"city=eq.rome", false},
        {"city=gt.Romd", true},
        {"city=lt.Rom", false},
        {"city=in.(Oslo,\\\"Rome\\\")", true},
        {"name=eq.\\\"Ann, \\\\\\\"B\\\\\\\"\\\"", true},
        {"name=eq.Ann", false},
        {"ok=eq.true", true},
        {"ok=is.true", true},
        {"ok=is.false", false},
        {"ok=not.is.false", true},
        {"ok=neq.f", true},
        {"ok=eq.1", false},
        {"gone=is.null", true},
        {"gone=is.unknown", true},
        {"gone=not.is.null", false},
        {"gone=eq.1", false}, /* NULL is neither */
        {"gone=neq.1", false},
        {"gone=not.eq.1", false},
        {"absent=is.null", true},
        {"id=is.null", false},
        {"list=eq.[1]", false},
        {"id=gt.1,id=lt.10", true},
        {"id=gt.1,id=lt.5", false},
        {"id=not.gt.10,city=eq.Rome,gone=is.null", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char entry[256];
        snprintf(entry, sizeof entry, "\"filter\":\"%s\"", cases[i].filter);
        if (is_given(entry, INSERT) != cases[i].wanted)
            fail_msg("%s", cases[i].filter);
    }
}

static void each_entry_is_judged_by_its_own_conditions(void **state)
{
    (void)state;
    static const char *const filters[] = {
        "id=eq.8,city=eq.Rome,gone=is.null", "city=eq.Rome", "id=gt.8", "absent=is.null,id=eq.7", "", "id=eq.7,city=eq.Oslo"};
    static const bool holds[] = {false, true, false, true, true, false};
    struct fm_buf entries = {0}, out = {0}, ids = {0};
    struct fm_json v;
    for (size_t i = 0; i < sizeof holds; i++)
        fm_buf_printf(&entries, "%c{\"event\":\"*\",\"filter\":\"%s\"},{\"event\":\"UPDATE\",\"filter\":\"id=eq.7\"}", i ? ',' : '[',
                      filters[i]);
    fm_buf_put(&entries, "]", 2);
    assert_int_equal(give((const char *)entries.p, INSERT, &out), FM_SUPABASE_WRITTEN);
    fm_buf_u8(&out, 0);
    assert_int_equal(fm_json_parse(fm_slice_str((const char *)entries.p), 8, &v, NULL), FM_OK);
    fm_supabase_wants_answer(&ids, &v);
    fm_buf_u8(&ids, 0);
    const char *at = (const char *)ids.p, *written = strstr((const char *)out.p, "\"ids\":[") + 6;
    for (size_t i = 0; i < 2 * sizeof holds; i++) {
        char id[32];
        at = strstr(at, "\"id\":") + 5;
        size_t n = (size_t)snprintf(id, sizeof id, "%lu", strtoul(at, NULL, 10));
        if (i % 2 || !holds[i / 2])
            continue;
        assert_memory_equal(written + 1, id, n);
        written += 1 + n;
    }
    assert_int_equal(*written, ']');
    fm_buf_fini(&entries);
    fm_buf_fini(&out);
    fm_buf_fini(&ids);
}

static void entries_that_make_no_sense_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *entries, *says;
    } cases[] = {
        {"{}", "array of objects"},
        {"[7]", "array of objects"},
        {"[{\"event\":\"TRUNCATE\"}]", "INSERT, UPDATE, DELETE or *"},
        {"[{\"event\":7}]", "INSERT, UPDATE, DELETE or *"},
        {"[{\"schema\":7}]", "schema and table"},
        {"[{\"table\":[]}]", "schema and table"},
        {"[{\"filter\":7}]", "a string"},
        {"[{\"filter\":\"id\"}]", "column=operator.value"},
        {"[{\"filter\":\"=eq.1\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=eq\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=not.eq\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=eq.1,\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=eq.1,2\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=in.1\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=in.(1\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=in.(1)2\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=eq.\\\"1\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=eq.\\\"1\\\\\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=is.7\"}]", "column=operator.value"},
        {"[{\"filter\":\"id=like.a%\"}]", "operators of filters here are"},
        {"[{\"filter\":\"id=not.match.a\"}]", "operators of filters here are"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_buf wants = {0};
        const char *reason = read_wants(cases[i].entries, &wants);
        if (!reason || !strstr(reason, cases[i].says))
            fail_msg("%s: %s", cases[i].entries, reason);
        fm_buf_fini(&wants);
    }
}

static void too_many_or_too_large_entries_are_refused(void **state)
{
    (void)state;
    struct fm_buf text = {0}, wants = {0};
    fm_buf_str(&text, "[{}");
    for (int i = 0; i < FM_SUPABASE_CHANGES_MAX; i++)
        fm_buf_str(&text, ",{}");
    fm_buf_put(&text, "]", 2);
    assert_non_null(strstr(read_wants((const char *)text.p, &wants), "more than 100 entries"));
    text.n = wants.n = 0;
    for (int i = 0; i < 20; i++)
        fm_buf_printf(&text, "%c{\"filter\":\"c=in.(%0250d)\"}", i ? ',' : '[', i);
    fm_buf_put(&text, "]", 2);
    assert_non_null(strstr(read_wants((const char *)text.p, &wants), "more than 4096 bytes"));
    text.n = wants.n = 0;
    fm_buf_printf(&text, "[{\"filter\":\"c=eq.%0256d\"}]", 1);
    fm_buf_u8(&text, 0);
    assert_non_null(strstr(read_wants((const char *)text.p, &wants), "column=operator.value"));
    for (int more = 0; more < 2; more++) {
        text.n = wants.n = 0;
        for (int i = 0; i < FM_SUPABASE_CONDITIONS_MAX / 50; i++) {
            fm_buf_str(&text, i ? ",{\"filter\":\"c=gt.0" : "[{\"filter\":\"c=gt.0");
            for (int k = 1; k < 50; k++)
                fm_buf_str(&text, ",c=gt.0");
            fm_buf_str(&text, "\"}");
        }
        fm_buf_str(&text, more ? ",{\"filter\":\"c=gt.0\"}]" : "]");
        fm_buf_u8(&text, 0);
        const char *reason = read_wants((const char *)text.p, &wants);
        assert_true(more ? reason && strstr(reason, "more than 200 conditions") : !reason);
    }
    fm_buf_fini(&text);
    fm_buf_fini(&wants);
}

static void what_is_written_has_the_ids_of_those_that_want_it_and_every_part_that_clients_rely_on(void **state)
{
    (void)state;
    struct fm_buf out = {0}, answer = {0};
    struct fm_json entries;
    const char *text = "[{\"event\":\"INSERT\"},{\"event\":\"UPDATE\"},{\"event\":\"*\",\"filter\":\"id=eq.7\"},{\"event\":\"INSERT\"}]";
    assert_int_equal(give(text, CHANGE("INSERT", "\"record\":{\"id\":7}"), &out), FM_SUPABASE_WRITTEN);
    assert_int_equal(fm_json_parse(fm_slice_str(text), 8, &entries, NULL), FM_OK);
    fm_supabase_wants_answer(&answer, &entries);
    fm_buf_u8(&answer, 0);
    unsigned long ids[4];
    const char *at = (const char *)answer.p;
    for (int i = 0; i < 4; i++) {
        at = strstr(at, "\"id\":");
        assert_non_null(at);
        at += 5;
        ids[i] = strtoul(at, NULL, 10);
    }
    assert_int_equal(ids[0], ids[3]);
    char wanted[512];
    snprintf(wanted, sizeof wanted,
             "{\"ids\":[%lu,%lu,%lu],\"data\":{\"schema\":\"public\",\"table\":\"orders\",\"type\":\"INSERT\",\"record\":{\"id\":7},"
             "\"old_record\":{},\"columns\":[],\"commit_timestamp\":\"2023-11-14T22:13:20.123Z\",\"errors\":null}}",
             ids[0], ids[2], ids[3]);
    fm_buf_u8(&out, 0);
    assert_string_equal((const char *)out.p, wanted);
    assert_int_equal(
        give("[{}]",
             CHANGE("UPDATE", "\"record\":{\"id\":8},\"old_record\":{\"id\":7},\"errors\":[\"e\"],\"columns\":[{\"name\":\"id\","
                              "\"type\":\"int8\"}],\"commit_timestamp\":\"yesterday\",\"more\":1"),
             &out),
        FM_SUPABASE_WRITTEN);
    fm_buf_u8(&out, 0);
    assert_non_null(strstr((const char *)out.p,
                           "\"record\":{\"id\":8},\"old_record\":{\"id\":7},\"columns\":[{\"name\":\"id\",\"type\":\"int8\"}],"
                           "\"commit_timestamp\":\"yesterday\",\"errors\":[\"e\"]}}"));
    assert_null(strstr((const char *)out.p, "more"));
    fm_buf_fini(&out);
    fm_buf_fini(&answer);
}

static void a_member_that_no_change_has_is_named(void **state)
{
    (void)state;
    struct fm_slice member;
    const char *bad = fm_supabase_change_bad(FM_LIT(CHANGE("UPDATE", "\"record\":{},\"old_recrod\":{},\"x\":1")), false, &member);
    assert_non_null(bad);
    assert_non_null(strstr(bad, "`old_record`"));
    assert_true(fm_slice_eq(member, FM_LIT("\"old_recrod\"")));
    /* What is wrong besides is said first. */
    bad = fm_supabase_change_bad(FM_LIT(CHANGE("INSERT", "\"recrod\":{}")), false, &member);
    assert_non_null(strstr(bad, "`record` must be"));
    assert_int_equal(member.n, 0);
}

static void what_clients_could_not_read_is_no_change(void **state)
{
    (void)state;
    struct fm_slice member;
    static const struct {
        const char *payload, *says;
    } cases[] = {
        {"7", "it is an object"},
        {"{}", "`schema` and `table`"},
        {"{\"schema\":\"\",\"table\":\"t\",\"type\":\"INSERT\",\"record\":{}}", "`schema` and `table`"},
        {"{\"schema\":\"s\",\"table\":7,\"type\":\"INSERT\",\"record\":{}}", "`schema` and `table`"},
        {CHANGE("insert", "\"record\":{}"), "`type`"},
        {CHANGE("*", "\"record\":{}"), "`type`"},
        {CHANGE("INSERT", "\"record\":[]"), "`record` must be"},
        {CHANGE("UPDATE", "\"old_record\":{}"), "`record` must be"},
        {CHANGE("DELETE", "\"record\":{}"), "`old_record` must be"},
        {CHANGE("UPDATE", "\"record\":{},\"old_record\":7"), "objects or null"},
        {CHANGE("INSERT", "\"record\":{},\"columns\":{}"), "`columns`"},
        {CHANGE("INSERT", "\"record\":{},\"columns\":[null]"), "`columns`"},
        {CHANGE("INSERT", "\"record\":{},\"columns\":[{\"name\":\"id\"}]"), "`columns`"},
        {CHANGE("INSERT", "\"record\":{},\"columns\":[{\"name\":\"id\",\"type\":7}]"), "`columns`"},
        {CHANGE("INSERT", "\"record\":{},\"commit_timestamp\":7"), "`commit_timestamp`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *bad = fm_supabase_change_bad(fm_slice_str(cases[i].payload), false, &member);
        if (!bad || !strstr(bad, cases[i].says) || member.n)
            fail_msg("%s: %s", cases[i].payload, bad);
    }
    assert_null(fm_supabase_change_bad(FM_LIT(INSERT), false, &member));
    assert_non_null(fm_supabase_change_bad(FM_LIT(INSERT), true, &member));
    assert_true(fm_supabase_is_change(FM_LIT("realtime:a"), FM_LIT("postgres_changes")));
    assert_false(fm_supabase_is_change(FM_LIT("room:a"), FM_LIT("postgres_changes")));
    assert_false(fm_supabase_is_change(FM_LIT("realtime:a"), FM_LIT("postgres_change")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_wants_changes_of_its_event_schema_and_table),
        cmocka_unit_test(a_filter_is_looked_at_as_the_database_would),
        cmocka_unit_test(each_entry_is_judged_by_its_own_conditions),
        cmocka_unit_test(entries_that_make_no_sense_are_refused_with_a_reason),
        cmocka_unit_test(too_many_or_too_large_entries_are_refused),
        cmocka_unit_test(what_is_written_has_the_ids_of_those_that_want_it_and_every_part_that_clients_rely_on),
        cmocka_unit_test(what_clients_could_not_read_is_no_change),
        cmocka_unit_test(a_member_that_no_change_has_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
