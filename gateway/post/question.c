#include "question.h"

#include "../../broker/hub.h"

#include <stdlib.h>
#include <string.h>

struct fm_answer *fm_answer_new(uint64_t token, enum fm_verdict verdict)
{
    struct fm_answer *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->item.kind = FM_ANSWER;
    a->item.cost = (uint32_t)sizeof *a;
    a->token = token;
    a->verdict = verdict;
    return a;
}

static void answer_free(struct fm_answer *a)
{
    fm_msg_unref(&a->instead);
    fm_identity_unref(&a->identity);
    free(a->presence_key);
    free(a->presence_meta);
    free(a->said);
    free(a);
}

struct fm_client_text fm_client_text_of(const char *text)
{
    struct fm_client_text t = {"", "", ""};
    if (!text)
        return t;
    t.query = text;
    t.origin = t.query + strlen(t.query) + 1;
    t.headers = t.origin + strlen(t.origin) + 1;
    return t;
}

void fm_question_item_free(struct fm_item *item)
{
    switch (item->kind) {
    case FM_QUESTION:
        fm_msg_unref(&((struct fm_question_item *)item)->msg);
        fm_identity_unref(&((struct fm_question_item *)item)->identity);
        free(item);
        break;
    case FM_ANSWER:
        answer_free((struct fm_answer *)item);
        break;
    case FM_CONNECT:
        free(((struct fm_connect_held *)item)->said);
        fm_identity_unref(&((struct fm_connect_held *)item)->identity);
        free(item);
        break;
    case FM_TOLD:
        fm_identity_unref(&((struct fm_told *)item)->identity);
        free(item);
        break;
    case FM_FETCHED_KEYS:
        fm_key_set_unref(&((struct fm_keys_item *)item)->set);
        free(item);
        break;
    default:
        fm_hub_item_free(item);
    }
}
