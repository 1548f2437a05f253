/* Any bytes as the entries of a join's `postgres_changes` and, behind the first zero byte, as a change: what is written for it is JSON,
 * whose ids are of the entries and whose parts are of the kinds that clients rely on. */
#include "../../gateway/supabase/supabase_changes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool answered(const struct fm_json *entries, uint64_t id)
{
    struct fm_buf b = {0};
    struct fm_json root, list, entry, v;
    uint64_t number = 0;
    bool found = false;
    fm_buf_u8(&b, '{');
    fm_supabase_wants_answer(&b, entries);
    fm_buf_u8(&b, '}');
    check(fm_json_parse(fm_buf_view(&b), FM_JSON_DEPTH_MAX, &root, NULL) == FM_OK && fm_json_get(&root, FM_LIT("postgres_changes"), &list));
    for (struct fm_json_walk w = fm_json_walk_of(&list); fm_json_next(&w, NULL, &entry);)
        found |= fm_json_get(&entry, FM_LIT("id"), &v) && fm_json_u64(&v, INT32_MAX, &number) == FM_OK && number == id;
    fm_buf_fini(&b);
    return found;
}

static void check_written(struct fm_slice written, const struct fm_json *entries)
{
    struct fm_json root, ids, id, change, v;
    uint64_t number = 0;
    check(fm_json_parse(written, FM_JSON_DEPTH_MAX, &root, NULL) == FM_OK);
    check(fm_json_get(&root, FM_LIT("ids"), &ids) && fm_json_count(&ids) > 0 && fm_json_get(&root, FM_LIT("data"), &change));
    for (struct fm_json_walk w = fm_json_walk_of(&ids); fm_json_next(&w, NULL, &id);)
        check(fm_json_u64(&id, INT32_MAX, &number) == FM_OK && answered(entries, number));
    check(fm_json_get(&change, FM_LIT("type"), &v) && fm_supabase_kind_of(&v) && !fm_json_is(&v, FM_LIT("*")));
    check(fm_json_get(&change, FM_LIT("record"), &v) && v.type == FM_JSON_OBJECT);
    check(fm_json_get(&change, FM_LIT("old_record"), &v) && v.type == FM_JSON_OBJECT);
    check(fm_json_get(&change, FM_LIT("columns"), &v) && v.type == FM_JSON_ARRAY);
    check(fm_json_get(&change, FM_LIT("commit_timestamp"), &v) && v.type == FM_JSON_STRING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *zero = n ? memchr(data, 0, n) : NULL;
    struct fm_slice first = fm_slice_of(data, zero ? (size_t)(zero - data) : n), payload = FM_LIT("{}");
    struct fm_buf wants = {0}, b = {0};
    struct fm_json entries;
    if (zero)
        payload = fm_slice_of(zero + 1, n - first.n - 1);
    if (fm_json_parse(first, 128, &entries, NULL) != FM_OK)
        return 0;
    const char *reason = fm_supabase_wants_read(&entries, &wants);
    struct fm_msg *m = fm_msg_new(FM_LIT("realtime:a"), FM_LIT("postgres_changes"), (struct fm_msg_keys){0}, payload, 0);
    check(m != NULL);
    if (!reason) {
        enum fm_supabase_given given = fm_supabase_change_write(&b, fm_buf_view(&wants), m);
        struct fm_slice member = {0};
        bool bad = fm_supabase_change_bad(payload, false, &member) != NULL;
        check(bad || !member.n);
        check((given == FM_SUPABASE_NOT_ONE) == (bad && !member.n)); /* one with a member more is given all the same, without it */
        if (given == FM_SUPABASE_WRITTEN)
            check_written(fm_buf_view(&b), &entries);
    }
    fm_msg_unref(&m);
    fm_buf_fini(&b);
    fm_buf_fini(&wants);
    return 0;
}
