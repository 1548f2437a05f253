/* Publishing from the program (include/fanmesh/publish.h): straight into the hub's inbox, the answer comes to the callback thread. Who
 * awaits it travels along as the publish's cookie, so that there is no table of them. */
#include "program_core.h"

#include "../api/api_parse.h"
#include "../json/json_slice.h"
#include "../supabase/supabase_changes.h"

#include "../../broker/diag.h"

#include <inttypes.h>

enum { WARN_EVERY_MS = 10000 };

struct asker { /* the cookie */
    fm_published_fn *fn;
    void *ctx;
};

/* ---- what a message must be ---- */

/* NULL is empty. */
static enum fm_err name_read(const char *text, size_t max, struct fm_slice *out)
{
    *out = fm_slice_str(text);
    return out->n <= max ? FM_OK : FM_E_INVALID;
}

static enum fm_err payload_read(const struct fm_message *in, struct fm_slice *out)
{
    struct fm_json root;
    *out = FM_LIT("{}");
    if (in->binary) {
        *out = fm_slice_of(in->payload, in->payload ? in->payload_n : 0);
        return in->payload || in->payload_n == 0 ? FM_OK : FM_E_INVALID;
    }
    if (!in->payload)
        return in->payload_n == 0 ? FM_OK : FM_E_INVALID;
    *out = in->payload_n ? fm_slice_of(in->payload, in->payload_n) : fm_slice_str(in->payload);
    enum fm_err err = out->n > FM_PAYLOAD_MAX ? FM_E_TOO_LARGE : fm_json_parse(*out, FM_JSON_DEPTH, &root, NULL);
    if (err)
        return err;
    *out = root.raw;
    return root.type == FM_JSON_NULL ? FM_E_INVALID : FM_OK; /* clients of the Phoenix protocol may rely on it */
}

enum fm_err fm_message_make(const struct fm_settings *s, const char *topic_text, const struct fm_message *in, struct fm_msg **m)
{
    struct fm_slice topic, event, payload;
    struct fm_msg_keys keys;
    const struct fm_rule *rule = NULL;
    if (name_read(topic_text, FM_TOPIC_MAX, &topic) || name_read(in->event, FM_EVENT_MAX, &event) || event.n == 0 ||
        name_read(in->key, FM_KEY_MAX, &keys.idempotency) || name_read(in->conflation_key, FM_KEY_MAX, &keys.conflation) ||
        in->replicas > FM_API_REPLICAS_MAX)
        return FM_E_INVALID;
    if (!fm_utf8_valid(topic) || !fm_utf8_valid(event) || !fm_utf8_valid(keys.idempotency) || !fm_utf8_valid(keys.conflation))
        return FM_E_INVALID;
    if (fm_event_reserved(event))
        return FM_E_RESERVED_EVENT;
    if (topic_text && topic.n == 0)
        return FM_E_INVALID;
    if (topic_text && !(rule = fm_rules_match(s->rules, topic)))
        return FM_E_UNMATCHED_TOPIC;
    enum fm_err err = payload_read(in, &payload);
    if (err)
        return err;
    struct fm_slice member;
    if (fm_supabase_is_change(topic, event) && fm_supabase_change_bad(payload, in->binary, &member))
        return member.n ? FM_E_UNKNOWN_MEMBER : FM_E_INVALID;
    if (payload.n > (rule ? rule->message_max : s->message_max) || payload.n > FM_PAYLOAD_MAX)
        return FM_E_TOO_LARGE;
    *m = fm_msg_new(topic, event, keys, payload, in->binary ? FM_MSG_BINARY : 0);
    return *m ? FM_OK : FM_E_NOMEM;
}

/* ---- the calls ---- */

/* Results are never left out of the inbox, so what may come is bounded here: callbacks that take long would else let them fill the memory.
 */
static bool result_reserve(struct fm_program *p, size_t bytes)
{
    if (atomic_fetch_add(&p->results_bytes, bytes) + bytes <= p->config.settings->worker_inbox_bytes)
        return true;
    atomic_fetch_sub(&p->results_bytes, bytes);
    return false;
}

static size_t result_bytes(const struct fm_publish *publish)
{
    return sizeof *publish + sizeof *publish->results + sizeof *publish->msgs + publish->cookie_n;
}

enum fm_err fm_publish(struct fm_node *node, const struct fm_message *message, fm_published_fn *done, void *ctx)
{
    struct fm_program *p = fm_node_program(node);
    const struct asker asker = {done, ctx};
    struct fm_msg *m;
    if (atomic_load(&p->closed))
        return FM_E_CLOSED;
    enum fm_err err = message->topic ? fm_message_make(p->config.settings, message->topic, message, &m) : FM_E_INVALID;
    if (err)
        return err;
    struct fm_publish *publish = fm_publish_new(p->config.index, 1, 1, fm_slice_of(&asker, sizeof asker));
    if (!publish) {
        fm_msg_unref(&m);
        return FM_E_NOMEM;
    }
    publish->ack = message->replicas ? FM_ACK_REPLICATED : FM_ACK_LOCAL;
    publish->replicas = message->replicas;
    publish->timeout_ms = (uint32_t)p->config.settings->ack_timeout_ms;
    publish->msgs[0] = m;
    publish->item.cost += (uint32_t)fm_msg_size(m);
    size_t bytes = result_bytes(publish);
    if (!result_reserve(p, bytes)) {
        fm_publish_free(&publish);
        return FM_E_BUSY;
    }
    err = fm_hub_post(p->hub, &publish->item);
    if (!err)
        return FM_OK;
    atomic_fetch_sub(&p->results_bytes, bytes);
    fm_publish_free(&publish);
    return err;
}

static void refused_log(struct fm_program *p, enum fm_err err)
{
    uint64_t now = fm_mono_ms();
    atomic_fetch_add_explicit(&p->stats.program_refused, 1, memory_order_relaxed);
    if (p->refused_warned_ms && now - p->refused_warned_ms < WARN_EVERY_MS)
        return;
    p->refused_warned_ms = now;
    fm_diag(FM_WARN, "program_refused",
            "err=%s refused=%" PRIu64
            " why=\"a publish of the program was refused after the call had returned, and it does not ask for results\" "
            "then=\"the message is not published; give fm_publish a function to get the result\"",
            fm_err_code(err), atomic_load_explicit(&p->stats.program_refused, memory_order_relaxed));
}

void fm_publish_done(struct fm_program *p, struct fm_publish *publish)
{
    struct asker asker;
    atomic_fetch_sub(&p->results_bytes, result_bytes(publish));
    memcpy(&asker, fm_publish_cookie(publish).p, sizeof asker);
    const struct fm_published result = {
        .err = publish->err, .id = publish->results[0].id, .duplicate = publish->results[0].duplicate, .confirmed = publish->confirmed};
    if (asker.fn)
        asker.fn(&result, asker.ctx);
    else if (publish->err && publish->err != FM_E_CLOSED)
        refused_log(p, publish->err);
}

struct waiting { /* a thread that waits for its result */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    struct fm_published result;
};

static void on_waited(const struct fm_published *result, void *ctx)
{
    struct waiting *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->result = *result;
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

enum fm_err fm_publish_wait(struct fm_node *node, const struct fm_message *message, struct fm_id *id)
{
    struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    if (fm_program_is_here(fm_node_program(node)))
        return FM_E_CALLBACK;
    enum fm_err err = fm_publish(node, message, on_waited, &w);
    if (err)
        return err;
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.lock);
    if (id)
        *id = w.result.id;
    return w.result.err;
}
