/* Who connects: what is kept of a client, who is asked about it, and what the backend of hooks is told of it. */
#include "worker_core.h"

#include "../http/http1.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

/* ---- what a client connected with ---- */

static struct fm_slice header_find(struct fm_slice head, struct fm_slice wanted)
{
    struct fm_slice rest = fm_http1_fields(head), name, value;
    while (fm_http1_field(&rest, &name, &value))
        if (name.n == wanted.n && strncasecmp((const char *)name.p, (const char *)wanted.p, name.n) == 0)
            return value;
    return fm_slice_of(NULL, 0);
}

/* A JSON object of those headers that are asked for and there; of several with one name the first. */
static void headers_write(struct fm_buf *b, const char *wanted, struct fm_slice head)
{
    bool any = false;
    for (; *wanted; wanted += strlen(wanted) + 1) {
        struct fm_slice value = header_find(head, fm_slice_str(wanted));
        if (!value.p)
            continue;
        fm_buf_u8(b, any ? ',' : '{');
        fm_buf_json(b, fm_slice_str(wanted));
        fm_buf_u8(b, ':');
        fm_buf_json(b, value);
        any = true;
    }
    if (any)
        fm_buf_u8(b, '}');
}

/* See fm_client_text. */
static void client_write(struct fm_buf *b, const struct fm_worker *w, const struct fm_connecting *c)
{
    fm_buf_slice(b, c->query);
    fm_buf_u8(b, 0);
    fm_buf_slice(b, c->origin);
    fm_buf_u8(b, 0);
    if (w->config.hook)
        headers_write(b, w->config.hook->headers, c->head);
    fm_buf_u8(b, 0);
}

bool fm_socket_remember(struct fm_socket *s, const struct fm_connecting *c)
{
    const struct fm_worker *w = s->worker;
    struct fm_buf b = {0};
    if (s->probe || (!w->config.handlers && !w->config.hook))
        return true;
    client_write(&b, w, c);
    if (b.failed)
        fm_buf_fini(&b);
    s->client = b.p;
    s->client_n = (uint32_t)b.n;
    return s->client != NULL;
}

/* ---- asking ---- */

static struct fm_connect_held *connect_new(uint64_t token)
{
    struct fm_connect_held *held = calloc(1, sizeof *held);
    if (held) {
        held->item.kind = FM_CONNECT;
        held->item.cost = (uint32_t)sizeof *held;
        held->token = token;
    }
    return held;
}

enum fm_err fm_connect_ask(struct fm_worker *w, const struct fm_connecting *c, fm_answered_fn *answered, void *ctx, uint64_t *token,
                           uint64_t *number)
{
    struct fm_buf client = {0};
    *token = *number = 0;
    if (!w->config.hook || !w->config.hook->connect_asks)
        return FM_OK;
    uint64_t expected = fm_worker_expect(w, answered, ctx);
    struct fm_connect_held *held = expected ? connect_new(expected) : NULL;
    client_write(&client, w, c);
    *number = fm_socket_number(w);
    struct fm_asking ask = {.by = FM_BY_HOOK,
                            .kind = FM_QUESTION_CONNECT,
                            .event = FM_LIT("connect"),
                            .payload = FM_LIT("{}"),
                            .client = *number,
                            .peer = c->peer,
                            .identity = c->identity,
                            .client_text = fm_buf_view(&client)};
    enum fm_err err = held && !client.failed ? fm_question_put(w, &ask, &held->item, expected) : FM_E_NOMEM;
    fm_buf_fini(&client);
    if (err) {
        fm_worker_forget(w, expected);
        free(held);
        return err;
    }
    *token = expected;
    return FM_OK;
}

bool fm_socket_asking(struct fm_socket *s, enum fm_question_kind kind, struct fm_slice topic, const struct fm_rule *rule,
                      struct fm_asking *ask)
{
    if (s->probe)
        return false;
    const struct fm_rule *handler = fm_handler_of(s->worker->config.handlers, kind, topic);
    bool hook = rule && (kind == FM_QUESTION_JOIN ? rule->join : rule->push) == FM_WHO_HOOK;
    if (!handler && !hook)
        return false;
    assert(handler || s->worker->config.hook); /* the settings were checked for that */
    *ask = (struct fm_asking){.by = handler ? FM_BY_PROGRAM : FM_BY_HOOK,
                              .kind = kind,
                              .handler = handler,
                              .topic = topic,
                              .client = s->number,
                              .socket = s,
                              .peer = &s->peer,
                              .identity = s->identity,
                              .client_text = fm_slice_of(s->client, s->client_n)};
    return true;
}

/* ---- telling ---- */

void fm_socket_tell(const struct fm_socket *s, enum fm_hook_event event, struct fm_slice topic)
{
    const struct fm_worker *w = s->worker;
    if (!w->config.hook || !(w->config.hook->tells & 1u << event) || s->probe)
        return;
    struct fm_slice reason = event == FM_HOOK_DISCONNECT ? fm_slice_str(s->close_reason) : fm_slice_of(NULL, 0);
    struct fm_slice client = event == FM_HOOK_CONNECT ? fm_slice_of(s->client, s->client_n) : fm_slice_of(NULL, 0);
    struct fm_told *t = malloc(sizeof *t + topic.n + reason.n + client.n);
    if (!t) {
        fm_hooks_tell_lost(w->config.hooks);
        return;
    }
    *t = (struct fm_told){.item = {.kind = FM_TOLD, .cost = (uint32_t)(sizeof *t + topic.n + reason.n + client.n)},
                          .event = event,
                          .client = s->number,
                          .identity = fm_identity_ref(s->identity),
                          .ts_ms = fm_unix_ms(),
                          .code = event == FM_HOOK_DISCONNECT ? s->close_code : 0,
                          .topic_n = (uint16_t)topic.n,
                          .reason_n = (uint16_t)reason.n,
                          .text_n = (uint32_t)client.n};
    fm_peer_text(&s->peer, t->peer);
    char *to = t->bytes;
    const struct fm_slice parts[] = {topic, reason, client};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].n)
            memcpy(to, parts[i].p, parts[i].n);
        to += parts[i].n;
    }
    fm_hooks_tell(w->config.hooks, w->config.hook, t);
}
