/* Questions that the hub answers: topics, history, presence, cluster. */
#include "api_state.h"
#include "../json/json_slice.h"

enum {
    LIMIT_DEFAULT = 100,
    LIMIT_MAX = 1000,
    CURSOR_TEXT_MAX = FM_CURSOR_MAX * (FM_ID_TEXT_MAX + 4) + 8, /* ["id", "id"] */
};

static void on_asked(struct fm_http_request *req, struct fm_item *item)
{
    struct fm_query *q = (struct fm_query *)item;
    if (q->err) {
        fm_http_fail(req, q->err, NULL);
    } else {
        fm_buf_u8(&q->json, '\n');
        fm_api_answer(req, &q->json);
    }
    fm_query_free(&q);
}

/* Sends a question made with token 0; NULL: there was no memory for it. */
static void ask(struct fm_http_request *req, struct fm_query *q)
{
    if (q)
        q->token = fm_api_wait(req, on_asked);
    if (q && q->token) {
        fm_api_post(req, &q->item);
        return;
    }
    fm_query_free(&q);
    fm_http_fail(req, FM_E_NOMEM, NULL);
}

static struct fm_query *question(struct fm_http_request *req, enum fm_query_kind what, struct fm_slice topic, struct fm_slice after)
{
    return fm_query_new(fm_worker_config(req->worker)->index, 0, what, topic, after);
}

void fm_api_cluster(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    ask(req, question(req, FM_QUERY_CLUSTER, fm_slice_of(NULL, 0), fm_slice_of(NULL, 0)));
}

void fm_api_topics(struct fm_http_request *req, struct fm_slice variable)
{
    (void)variable;
    char prefix[FM_TOPIC_MAX + 1], after[FM_TOPIC_MAX + 1];
    bool present;
    uint32_t limit;
    if (!fm_api_text(req, "prefix", prefix, sizeof prefix, &present) || !fm_api_text(req, "after", after, sizeof after, &present) ||
        !fm_api_number(req, "limit", LIMIT_MAX, LIMIT_DEFAULT, &limit))
        return;
    struct fm_query *q = question(req, FM_QUERY_TOPICS, fm_slice_str(prefix), fm_slice_str(after));
    if (q)
        q->limit = limit;
    ask(req, q);
}

/* A cursor as a join reply or a history answer gives it: a JSON array of ids. */
static enum fm_err read_cursor(struct fm_slice text, struct fm_vector *cursor)
{
    struct fm_json list, id;
    if (fm_json_parse(text, 1, &list, NULL) || list.type != FM_JSON_ARRAY)
        return FM_E_SYNTAX;
    for (struct fm_json_walk w = fm_json_walk_of(&list); fm_json_next(&w, NULL, &id);) {
        uint8_t out[FM_ID_TEXT_MAX];
        struct fm_slice id_text;
        if (fm_json_text(&id, out, sizeof out, &id_text))
            return FM_E_SYNTAX;
        enum fm_err err = fm_vector_add_text(cursor, id_text);
        if (err)
            return err;
    }
    return FM_OK;
}

static void ask_presence(struct fm_http_request *req, struct fm_slice topic, struct fm_slice after, uint32_t limit)
{
    struct fm_query *q = question(req, FM_QUERY_PRESENCE, topic, after);
    if (q)
        q->limit = limit;
    ask(req, q);
}

void fm_api_presence(struct fm_http_request *req, struct fm_slice topic)
{
    char after[FM_PRESENCE_KEY_MAX + 1];
    bool present;
    uint32_t limit;
    if (fm_api_text(req, "after", after, sizeof after, &present) && fm_api_number(req, "limit", LIMIT_MAX, LIMIT_DEFAULT, &limit) &&
        fm_api_topic_good(req, topic))
        ask_presence(req, topic, fm_slice_str(after), limit);
}

void fm_api_presence_count(struct fm_http_request *req, struct fm_slice topic)
{
    if (fm_api_topic_good(req, topic))
        ask_presence(req, topic, fm_slice_of(NULL, 0), 0);
}

void fm_api_history(struct fm_http_request *req, struct fm_slice topic)
{
    char text[CURSOR_TEXT_MAX];
    bool has_cursor;
    uint32_t limit;
    if (!fm_api_text(req, "cursor", text, sizeof text, &has_cursor) || !fm_api_number(req, "limit", LIMIT_MAX, LIMIT_DEFAULT, &limit))
        return;
    if (!fm_api_topic_good(req, topic))
        return;
    struct fm_vector cursor = {0};
    enum fm_err err = has_cursor ? read_cursor(fm_slice_str(text), &cursor) : FM_OK;
    if (err) {
        fm_vector_fini(&cursor);
        fm_http_fail(req, err == FM_E_SYNTAX ? FM_E_INVALID : err,
                     "the parameter `cursor` must be a JSON array of at most 256 ids, percent-encoded: cursor=%5B%22a-1%22%5D");
        return;
    }
    struct fm_query *q = question(req, FM_QUERY_HISTORY, topic, fm_slice_of(NULL, 0));
    if (q) {
        q->limit = limit;
        q->has_cursor = has_cursor;
        q->cursor = cursor;
    } else {
        fm_vector_fini(&cursor);
    }
    ask(req, q);
}
