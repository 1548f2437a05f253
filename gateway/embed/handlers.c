/* Handlers of the program: questions of the workers are put, answers go back by their token, which names the worker. */
#include "program_core.h"

#include "../json/json_slice.h"

#include <stdlib.h>

void fm_question_ask(struct fm_program *p, const struct fm_question_item *q)
{
    if (fm_mono_ms() >= q->due_ms)
        return; /* the worker has refused it meanwhile */
    char topic[FM_TOPIC_MAX + 1], event[FM_EVENT_MAX + 1];
    struct fm_slice topic_text = fm_msg_topic(q->msg), event_text = fm_msg_event(q->msg);
    memcpy(topic, topic_text.p, topic_text.n);
    memcpy(event, event_text.p, event_text.n);
    topic[topic_text.n] = event[event_text.n] = 0;
    const char *query = q->text, *origin = query + strlen(query) + 1;
    const struct fm_question question = {.kind = q->kind,
                                         .token = q->token,
                                         .topic = topic,
                                         .event = event,
                                         .payload = (const char *)fm_msg_payload(q->msg).p,
                                         .payload_n = q->msg->payload_n,
                                         .binary = (q->msg->flags & FM_MSG_BINARY) != 0,
                                         .peer = q->peer,
                                         .query = query,
                                         .origin = origin};
    q->handler->handler(p->config.node, &question, q->handler->handler_ctx);
}

/* ---- answers ---- */

/* A JSON object without white space around, or NULL. */
static enum fm_err said_read(const char *reply, char **said)
{
    struct fm_json root;
    *said = NULL;
    if (!reply)
        return FM_OK;
    enum fm_err err = fm_json_parse(fm_slice_str(reply), FM_JSON_DEPTH, &root, NULL);
    if (err)
        return err;
    if (root.type != FM_JSON_OBJECT)
        return FM_E_INVALID;
    *said = fm_slice_dup(root.raw);
    return *said ? FM_OK : FM_E_NOMEM;
}

/* instead: moved. */
static enum fm_err answer_post(struct fm_node *node, uint64_t token, enum fm_verdict verdict, const char *reply, struct fm_msg *instead)
{
    struct fm_program *p = fm_node_program(node);
    uint64_t worker = (token >> 48) - 1; /* see fm_worker_expect */
    char *said = NULL;
    struct fm_answer *a = NULL;
    enum fm_err err = worker >= p->config.workers_n ? FM_E_INVALID : atomic_load(&p->closed) ? FM_E_CLOSED : FM_OK;
    if (!err)
        err = said_read(reply, &said);
    if (!err && !(a = fm_answer_new(token, verdict)))
        err = FM_E_NOMEM;
    if (err) {
        free(said);
        fm_msg_unref(&instead);
        return err;
    }
    a->said = said;
    a->instead = instead;
    fm_inbox_post_always(&p->config.workers[worker].inbox, &a->item); /* bounded by what waits for it */
    return FM_OK;
}

enum fm_err fm_allow(struct fm_node *node, uint64_t token, const char *reply)
{
    return answer_post(node, token, FM_VERDICT_ALLOW, reply, NULL);
}

enum fm_err fm_refuse(struct fm_node *node, uint64_t token, const char *reply)
{
    return answer_post(node, token, FM_VERDICT_REFUSE, reply, NULL);
}

enum fm_err fm_reply(struct fm_node *node, uint64_t token, const char *reply)
{
    return answer_post(node, token, FM_VERDICT_REPLY, reply, NULL);
}

enum fm_err fm_rewrite(struct fm_node *node, uint64_t token, const struct fm_message *instead, const char *reply)
{
    struct fm_msg *m;
    if (instead->topic || instead->key || instead->replicas)
        return FM_E_INVALID;
    enum fm_err err = fm_message_make(fm_node_program(node)->config.settings, NULL, instead, &m);
    return err ? err : answer_post(node, token, FM_VERDICT_REWRITE, reply, m);
}
