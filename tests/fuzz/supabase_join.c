/* Any bytes as the params of a join on one of Supabase's topics: either a reason that fits an error reply, or a configuration whose parts
 * lie where they may and whose answer is JSON with as many entries. */
#include "../../gateway/supabase/supabase_config.h"
#include "../../gateway/supabase/supabase_wants.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_answer(const struct fm_supabase_config *c)
{
    struct fm_buf b = {0};
    struct fm_json root, list, entry, id;
    uint64_t number;
    fm_buf_u8(&b, '{');
    fm_supabase_wants_answer(&b, &c->changes);
    fm_buf_u8(&b, '}');
    check(!b.failed && fm_json_parse(fm_buf_view(&b), FM_JSON_DEPTH_MAX, &root, NULL) == FM_OK);
    check(fm_json_get(&root, FM_LIT("postgres_changes"), &list) && fm_json_count(&list) == fm_json_count(&c->changes));
    for (struct fm_json_walk w = fm_json_walk_of(&list); fm_json_next(&w, NULL, &entry);)
        check(fm_json_get(&entry, FM_LIT("id"), &id) && fm_json_u64(&id, INT32_MAX, &number) == FM_OK && number > 0);
    check(c->wants.n <= FM_SUPABASE_WANTS_MAX && (c->wants.n > 0) == (fm_json_count(&list) > 0));
    fm_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_json params, config;
    struct fm_supabase_config c;
    const struct fm_slice topic = n % 64 ? FM_LIT(FM_SUPABASE_PREFIX "a") : FM_LIT(FM_SUPABASE_PREFIX);
    if (fm_json_parse(fm_slice_of(data, n), 128, &params, NULL) != FM_OK || params.type != FM_JSON_OBJECT)
        return 0;
    check(!fm_supabase_asked(FM_LIT("room:a"), &params, &config));
    if (!fm_supabase_asked(topic, &params, &config))
        return 0;
    const char *reason = fm_supabase_config_read(topic, &config, &c);
    if (reason) {
        check(strlen(reason) > 0 && strlen(reason) < 120 && !strpbrk(reason, "\"\\"));
        fm_supabase_config_fini(&c);
        return 0;
    }
    check(!c.replay || c.limit > 0);
    check(c.presence_key.type == FM_JSON_NULL || c.presence_key.type == FM_JSON_STRING);
    check_answer(&c);
    fm_supabase_config_fini(&c);
    return 0;
}
