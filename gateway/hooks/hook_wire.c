#include "hook_wire.h"

#include "../../broker/base64.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

/* ---- members ---- */

static void name_write(struct fm_buf *b, const char *name)
{
    fm_buf_str(b, ",\"");
    fm_buf_str(b, name);
    fm_buf_str(b, "\":");
}

static void text_write(struct fm_buf *b, const char *name, struct fm_slice text)
{
    name_write(b, name);
    fm_buf_json(b, text);
}

/* kind: so that an event's id is no connection's. */
static void id_write(struct fm_buf *b, uint64_t incarnation, const char *kind, uint64_t n)
{
    char origin[FM_ORIGIN_TEXT_MAX + 1];
    fm_origin_print(incarnation, origin);
    fm_buf_printf(b, "\"%s-%s%llu\"", origin, kind, (unsigned long long)n);
}

/* What every event has; the object stays open. */
static void head_write(struct fm_buf *b, const struct fm_hook_sender *from, enum fm_hook_event event, uint64_t id, uint64_t ts_ms)
{
    fm_buf_str(b, "{\"event\":\"");
    fm_buf_str(b, fm_hook_event_name(event));
    fm_buf_str(b, "\",\"id\":");
    id_write(b, from->incarnation, "h", id);
    name_write(b, "ts");
    fm_buf_dec(b, ts_ms);
    text_write(b, "node", fm_slice_str(from->node));
}

/* more: with what it connected with. */
static void client_write(struct fm_buf *b, const struct fm_hook_sender *from, uint64_t client, const struct fm_identity *identity,
                         const char *peer, const struct fm_client_text *more)
{
    name_write(b, "user");
    if (identity && identity->user.n)
        fm_buf_json(b, identity->user);
    else
        fm_buf_str(b, "null");
    fm_buf_str(b, ",\"client\":{\"id\":");
    id_write(b, from->incarnation, "", client); /* as fm_socket_id is printed */
    name_write(b, "address");
    if (*peer == '-')
        fm_buf_str(b, "null");
    else
        fm_buf_json(b, fm_slice_str(peer));
    if (more) {
        text_write(b, "query", fm_slice_str(more->query));
        text_write(b, "origin", fm_slice_str(more->origin));
        name_write(b, "headers");
        fm_buf_str(b, *more->headers ? more->headers : "{}");
    }
    fm_buf_u8(b, '}');
}

static void payload_write(struct fm_buf *b, const struct fm_msg *m)
{
    if (m->flags & FM_MSG_BINARY) {
        fm_buf_str(b, ",\"payload_base64\":\"");
        fm_base64_encode(b, fm_msg_payload(m));
        fm_buf_u8(b, '"');
    } else {
        name_write(b, "payload");
        fm_buf_slice(b, fm_msg_payload(m));
    }
}

/* ---- events ---- */

void fm_hook_write_ask(struct fm_buf *b, const struct fm_hook_sender *from, const struct fm_question_item *q, uint64_t id, uint64_t ts_ms)
{
    const struct fm_client_text client = fm_client_text_of(q->text);
    enum fm_hook_event event = q->kind == FM_QUESTION_JOIN ? FM_HOOK_JOIN : q->kind == FM_QUESTION_PUSH ? FM_HOOK_PUSH : FM_HOOK_CONNECT;
    head_write(b, from, event, id, ts_ms);
    if (event != FM_HOOK_CONNECT)
        text_write(b, "topic", fm_msg_topic(q->msg));
    if (event == FM_HOOK_PUSH)
        text_write(b, "name", fm_msg_event(q->msg));
    if (event != FM_HOOK_CONNECT)
        payload_write(b, q->msg);
    client_write(b, from, q->client, q->identity, q->peer, &client);
    fm_buf_u8(b, '}');
}

void fm_hook_write_told(struct fm_buf *b, const struct fm_hook_sender *from, const struct fm_told *t)
{
    const char *reason = t->bytes + t->topic_n, *texts = reason + t->reason_n;
    const struct fm_client_text client = fm_client_text_of(t->text_n ? texts : NULL);
    head_write(b, from, t->event, t->seq, t->ts_ms);
    if (t->topic_n)
        text_write(b, "topic", fm_slice_of(t->bytes, t->topic_n));
    if (t->event == FM_HOOK_DISCONNECT) {
        name_write(b, "code");
        if (t->code)
            fm_buf_dec(b, t->code);
        else
            fm_buf_str(b, "null");
        text_write(b, "reason", fm_slice_of(reason, t->reason_n));
    }
    client_write(b, from, t->client, t->identity, t->peer, t->text_n ? &client : NULL);
    fm_buf_u8(b, '}');
}

/* ---- signature ---- */

static void hex_write(struct fm_buf *b, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fm_buf_printf(b, "%02x", bytes[i]);
}

void fm_hook_sign(struct fm_buf *out, const char *secrets, uint64_t unix_s, struct fm_slice body)
{
    struct fm_buf text = {0};
    if (!*secrets)
        return;
    fm_buf_dec(&text, unix_s);
    fm_buf_u8(&text, '.');
    fm_buf_slice(&text, body);
    fm_buf_str(out, "X-Fanmesh-Signature: t=");
    fm_buf_dec(out, unix_s);
    while (*(secrets += strspn(secrets, " ")) && !text.failed) {
        uint8_t mac[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        size_t length = strcspn(secrets, " ");
        if (!HMAC(EVP_sha256(), secrets, (int)length, text.p, text.n, mac, &n))
            text.failed = true;
        fm_buf_str(out, ",v1=");
        hex_write(out, mac, n);
        secrets += length;
    }
    fm_buf_u8(out, 0);
    out->failed = out->failed || text.failed;
    fm_buf_fini(&text);
}
