/* Phoenix Channels over WebSocket: who may connect, what a frame is for, and what a message looks like. */
#include "phoenix.h"

#include "../http/http.h"
#include "../supabase/supabase.h"
#include "../supabase/supabase_changes.h"

#include <assert.h>
#include <stdio.h>

/* ---- connect ---- */

static bool refuse(struct fm_upgrade *up, unsigned status, enum fm_err err, const char *reason)
{
    up->status = status;
    up->err = err;
    snprintf(up->reason, sizeof up->reason, "%s", reason);
    return false;
}

/* "1", "2.0", "2.0.0": the major version, 0 where it is not a version of ours. */
static uint32_t version_read(const char *vsn)
{
    uint32_t version = vsn[0] == '1' ? FM_PHX_V1 : vsn[0] == '2' ? FM_PHX_V2 : 0;
    const char *p = vsn + (version ? 1 : 0);
    for (int part = 0; part < 2 && *p == '.'; part++) {
        size_t digits = strspn(p + 1, "0123456789");
        if (digits == 0)
            return 0;
        p += 1 + digits;
    }
    return *p == 0 ? version : 0;
}

/* Is `name` in a comma-separated header? */
static bool is_offered(struct fm_slice list, struct fm_slice name)
{
    for (size_t i = 0; i < list.n;) {
        size_t end = i;
        while (end < list.n && list.p[end] != ',')
            end++;
        size_t from = i, to = end;
        while (from < to && (list.p[from] == ' ' || list.p[from] == '\t'))
            from++;
        while (to > from && (list.p[to - 1] == ' ' || list.p[to - 1] == '\t'))
            to--;
        if (fm_slice_eq(fm_slice_of(list.p + from, to - from), name))
            return true;
        i = end + 1;
    }
    return false;
}

static bool accept_socket(struct fm_upgrade *up)
{
    char vsn[16];
    enum fm_err err = fm_query_param(up->query, "vsn", true, vsn, sizeof vsn);
    up->variant = err == FM_E_NOT_FOUND ? FM_PHX_V1 : err ? 0 : version_read(vsn);
    if (!up->variant)
        return refuse(up, 403, FM_E_VERSION, "connect with vsn=2.0.0 or vsn=1.0.0");
    up->proto = &fm_phoenix;
    up->subprotocol[0] = 0;
    /* The client's authToken travels as a second subprotocol, base64url.bearer.phx.<token>; it is never echoed. */
    if (is_offered(up->protocols, FM_LIT("phoenix")))
        snprintf(up->subprotocol, sizeof up->subprotocol, "phoenix");
    return true;
}

/* ---- sending ---- */

static enum fm_phx_version version_of(const struct fm_socket *s)
{
    return (enum fm_phx_version)fm_socket_variant(s);
}

struct fm_phx_to fm_phx_answer_to(const struct fm_socket *s, const struct fm_phx_in *in)
{
    return (struct fm_phx_to){version_of(s), in->join_ref, in->ref, in->topic_token, in->topic};
}

struct fm_phx_to fm_phx_channel_to(const struct fm_sub *sub)
{
    return (struct fm_phx_to){
        .version = version_of(sub->socket), .join_ref = fm_sub_join_ref(sub), .ref = FM_LIT("null"), .topic = fm_sub_topic(sub)};
}

bool fm_phx_send(struct fm_socket *s, struct fm_frames **fp)
{
    struct fm_frames *f = *fp;
    *fp = NULL;
    if (!f || f->bytes.failed) {
        fm_frames_unref(&f);
        fm_socket_close(s, 1013, "the node is out of memory");
        return false;
    }
    fm_socket_send_frames(s, f);
    return true;
}

bool fm_phx_send_reply(struct fm_socket *s, const struct fm_phx_to *to, bool ok, struct fm_slice response)
{
    struct fm_frames *f = fm_frames_new();
    if (f)
        fm_phx_reply(f, to, ok, response);
    return fm_phx_send(s, &f);
}

bool fm_phx_send_error(struct fm_socket *s, const struct fm_phx_to *to, const char *reason)
{
    char response[128];
    int n = snprintf(response, sizeof response, "{\"reason\":\"%s\"}", reason);
    return fm_phx_send_reply(s, to, false, fm_slice_of(response, (size_t)n < sizeof response ? (size_t)n : 0));
}

bool fm_phx_send_limited(struct fm_socket *s, const struct fm_phx_to *to, uint32_t retry_ms)
{
    char response[96];
    int n = snprintf(response, sizeof response, "{\"reason\":\"%s\",\"retry_after_ms\":%u}", fm_err_code(FM_E_RATE_LIMITED), retry_ms);
    return fm_phx_send_reply(s, to, false, fm_slice_of(response, (size_t)n));
}

bool fm_phx_send_refusal(struct fm_socket *s, const struct fm_phx_to *to, enum fm_err err, const char *said)
{
    return said ? fm_phx_send_reply(s, to, false, fm_slice_str(said)) : fm_phx_send_error(s, to, fm_err_code(err));
}

bool fm_phx_said_open(struct fm_buf *b, const char *said)
{
    struct fm_slice text = said ? fm_slice_str(said) : FM_LIT("{}"); /* without white space around: see answer_post */
    assert(text.n >= 2 && text.p[0] == '{' && text.p[text.n - 1] == '}');
    fm_buf_slice(b, fm_slice_of(text.p, text.n - 1));
    return strspn(said ? said + 1 : "", " \t\r\n") + 2 < text.n;
}

/* ---- frames in ---- */

/* It sends faster than it may, and was told so. */
static bool limited(struct fm_socket *s, const struct fm_phx_in *in, bool join)
{
    uint32_t retry_ms;
    enum fm_err err = join ? fm_socket_limit_join(s, &retry_ms) : fm_socket_limit_push(s, in->payload.n, &retry_ms);
    struct fm_phx_to to = fm_phx_answer_to(s, in);
    if (err && join && fm_phx_is_null(to.join_ref))
        to.join_ref = to.ref;
    if (err == FM_E_RATE_LIMITED)
        fm_phx_send_limited(s, &to, retry_ms);
    return err != FM_OK;
}

static void dispatch(struct fm_socket *s, const struct fm_phx_in *in)
{
    if (fm_slice_eq(in->topic, FM_LIT("phoenix")) && fm_slice_eq(in->event, FM_LIT("heartbeat"))) {
        struct fm_phx_to to = fm_phx_answer_to(s, in);
        to.join_ref = FM_LIT("null");
        fm_phx_send_reply(s, &to, true, FM_LIT("{}"));
    } else if (fm_slice_eq(in->event, FM_LIT("phx_join"))) {
        if (!limited(s, in, true))
            fm_phx_join(s, in);
    } else if (limited(s, in, false)) {
        return;
    } else if (fm_slice_eq(in->event, FM_LIT("phx_leave"))) {
        fm_phx_leave(s, in);
    } else if (fm_slice_eq(in->event, FM_LIT("access_token"))) {
        fm_phx_access_token(s, in);
    } else {
        fm_phx_push(s, in);
    }
}

static void recv_frame(struct fm_socket *s, bool binary, uint8_t *bytes, size_t n)
{
    struct fm_phx_in in;
    struct fm_phx_bad bad;
    if (!fm_phx_parse(version_of(s), binary, fm_slice_of(bytes, n), &in, &bad)) {
        atomic_fetch_add_explicit(&fm_worker_stats_mut(fm_socket_worker(s))->bad_messages, 1, memory_order_relaxed);
        fm_socket_close(s, bad.code, bad.reason);
        return;
    }
    dispatch(s, &in);
}

/* ---- messages out ---- */

void fm_phx_cursor_event(struct fm_frames *f, const struct fm_phx_to *to, const struct fm_vector *at)
{
    size_t opened = fm_phx_event_open(f, to, FM_LIT("fm_cursor"));
    fm_buf_slice(&f->bytes, FM_LIT("{\"cursor\":"));
    fm_vector_json(&f->bytes, at);
    fm_buf_u8(&f->bytes, '}');
    fm_phx_event_close(f, to, opened);
}

enum fm_phx_id fm_phx_id_of(unsigned format)
{
    switch (format) {
    case FM_FORMAT_PHX2_KEYS:
        return FM_PHX_ID_KEY;
    case FM_FORMAT_PHX2_CURSOR:
    case FM_FORMAT_PHX1_CURSOR:
        return FM_PHX_ID;
    default:
        return FM_PHX_NO_ID;
    }
}

/* A client has dropped what names another join_ref than its channel's since there are any, and shows it to who watches the socket. Bytes go
 * as text: what a client does with a binary frame for no channel is its own affair, and Supabase's fails. */
static const struct fm_slice user_ref = {(const uint8_t *)"\"fm_user\"", 9};

static void user_message(struct fm_frames *f, const struct fm_msg *m)
{
    const struct fm_phx_to to = {.version = FM_PHX_V2, .join_ref = user_ref, .ref = FM_LIT("null"), .topic = fm_msg_topic(m)};
    size_t opened = fm_phx_event_open(f, &to, fm_msg_event(m));
    fm_phx_payload_write(&f->bytes, fm_msg_payload(m), m->flags & FM_MSG_BINARY);
    fm_phx_event_close_with(f, &to, opened, m);
}

static void for_user(const struct fm_socket *s, enum fm_format *format, struct fm_slice *join_ref)
{
    *format = version_of(s) == FM_PHX_V1 ? FM_FORMAT_PHX1 : FM_FORMAT_PHX2_USER;
    *join_ref = user_ref;
}

static void encode(struct fm_frames *f, unsigned format, struct fm_msg *const *msgs, size_t n, const struct fm_vector *at)
{
    for (size_t i = 0; format == FM_FORMAT_PHX2_USER && i < n; i++)
        user_message(f, msgs[i]);
    if (format == FM_FORMAT_PHX2_USER)
        return;
    if (format == FM_FORMAT_SUPA2 || format == FM_FORMAT_SUPA1) {
        for (size_t i = 0; i < n; i++)
            fm_supabase_message(f, format, false, (struct fm_slice){0}, msgs[i]);
        return;
    }
    enum fm_phx_version version = format == FM_FORMAT_PHX1 || format == FM_FORMAT_PHX1_CURSOR ? FM_PHX_V1 : FM_PHX_V2;
    enum fm_phx_id with = fm_phx_id_of(format);
    bool binary = false;
    for (size_t i = 0; i < n; i++) {
        fm_phx_message(f, version, FM_LIT("null"), with, msgs[i]);
        binary |= (msgs[i]->flags & FM_MSG_BINARY) != 0;
    }
    if (binary && format == FM_FORMAT_PHX2_CURSOR) {
        struct fm_phx_to to = {.version = version, .join_ref = FM_LIT("null"), .ref = FM_LIT("null"), .topic = fm_msg_topic(msgs[n - 1])};
        fm_phx_cursor_event(f, &to, at);
    }
}

static bool chosen(const struct fm_msg *m)
{
    return fm_supabase_is_change(fm_msg_topic(m), fm_msg_event(m));
}

static void encode_for(struct fm_frames *f, const struct fm_sub *sub, struct fm_msg *const *msgs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fm_supabase_message(f, sub->format, false, fm_supabase_wants_of(sub), msgs[i]);
}

static void text_of(struct fm_buf *b, struct fm_slice binary)
{
    if (!fm_supabase_text_of(b, binary))
        fm_phx_text_of(b, binary);
}

const struct fm_proto fm_phoenix = {
    .name = "phoenix",
    .accept = accept_socket,
    .recv = recv_frame,
    .joined = fm_phx_joined,
    .pushed = fm_phx_pushed,
    .tracked = fm_phx_tracked,
    .forbidden = fm_phx_forbidden,
    .unsubscribed = fm_phx_unsubscribed,
    .expired = fm_phx_expired,
    .gap = fm_phx_gap,
    .text = text_of,
    .for_user = for_user,
    .encode = encode,
    .chosen = chosen,
    .encode_for = encode_for,
};
