/* What a backend of hooks answers: any bytes are a decision whose parts can be used as they are, or an error that says what is wrong. The
 * first byte chooses what was asked. */
#include "../../gateway/hooks/hook_wire.h"
#include "../../gateway/json/json_slice.h"

#include <stdlib.h>

static void use(const struct fm_answer *a)
{
    struct fm_json root;
    /* What is said becomes part of a frame: one whole object without white space around (phoenix_channel.c, said_open). */
    if (a->said && (fm_json_parse(fm_slice_str(a->said), FM_JSON_DEPTH_MAX, &root, NULL) || root.type != FM_JSON_OBJECT ||
                    root.raw.n != strlen(a->said)))
        abort();
    if (a->presence_meta && (fm_json_parse(fm_slice_str(a->presence_meta), FM_JSON_DEPTH_MAX, &root, NULL) || root.type != FM_JSON_OBJECT))
        abort();
    if ((a->verdict == FM_VERDICT_REWRITE) != (a->instead != NULL))
        abort();
    if (!a->instead)
        return;
    struct fm_slice event = fm_msg_event(a->instead), payload = fm_msg_payload(a->instead);
    if (event.n == 0 || fm_event_reserved(event) || !fm_utf8_valid(event) || payload.n > 1000)
        abort();
    if (!(a->instead->flags & FM_MSG_BINARY) && fm_json_parse(payload, FM_JSON_DEPTH_MAX, &root, NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const enum fm_question_kind kinds[] = {FM_QUESTION_JOIN, FM_QUESTION_PUSH, FM_QUESTION_CONNECT};
    char why[FM_HOOK_WHY_MAX];
    if (n == 0)
        return 0;
    struct fm_answer *a = fm_answer_new(1, FM_VERDICT_FAILED);
    if (!a)
        abort();
    enum fm_err err = fm_hook_answer_read(kinds[data[0] % 3], fm_slice_of(data + 1, n - 1), 1000, 1, a, why);
    if (err == FM_OK)
        use(a);
    else if (a->said || a->instead || a->identity || (err == FM_E_BAD_ANSWER && !why[0]))
        abort();
    fm_question_item_free(&a->item);
    return 0;
}
