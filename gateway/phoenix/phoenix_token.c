/* Tokens on an open socket: `access_token` brings a new one, `fm_token_expired` says that it is time for that. */
#include "phoenix.h"

#include "../auth/auth.h"
#include "../supabase/supabase.h"

/* {"access_token": "..."}; as bytes. False: it is not there. */
static bool token_read(const struct fm_phx_in *in, char out[FM_TOKEN_MAX], struct fm_slice *token)
{
    struct fm_json root, v;
    return !in->binary && fm_json_parse(in->payload, FM_JSON_DEPTH, &root, NULL) == FM_OK &&
           fm_json_get(&root, FM_LIT("access_token"), &v) && fm_json_text(&v, out, FM_TOKEN_MAX, token) == FM_OK;
}

static void refused(struct fm_socket *s, const struct fm_phx_to *to, const struct fm_token_fault *fault)
{
    struct fm_frames *f = fm_frames_new();
    if (f) {
        size_t opened = fm_phx_reply_open(f, to, false);
        fm_buf_printf(&f->bytes, "{\"reason\":\"%s\"", fm_err_code(fault->err));
        if (fault->why) {
            fm_buf_slice(&f->bytes, FM_LIT(",\"detail\":"));
            fm_buf_json(&f->bytes, fm_slice_str(fault->why));
        }
        fm_buf_u8(&f->bytes, '}');
        fm_phx_reply_close(f, to, opened);
    }
    fm_phx_send(s, &f);
}

/* A push on the topic `phoenix`, or on any that is joined: a stock client's channel.push or socket.push. It never goes further, whatever
 * rules say: others would get the token. Channels that the new one does not grant have ended when the reply comes. */
void fm_phx_access_token(struct fm_socket *s, const struct fm_phx_in *in)
{
    char text[FM_TOKEN_MAX];
    struct fm_slice token;
    struct fm_token_fault fault = {FM_E_TOKEN, "the payload has no text `access_token`"};
    struct fm_sub *sub = fm_socket_sub(s, in->topic);
    struct fm_phx_to to = fm_phx_answer_to(s, in);
    uint8_t join_ref[FM_PHX_REF_MAX];
    if (!sub && !fm_slice_eq(in->topic, FM_LIT("phoenix"))) {
        to.join_ref = FM_LIT("null");
        fm_phx_send_error(s, &to, fm_err_code(FM_E_UNMATCHED_TOPIC));
        return;
    }
    if (sub && fm_phx_is_stale(sub, in))
        return;
    if (sub) { /* copied: the sub may be gone when the reply is written */
        struct fm_slice own = fm_sub_join_ref(sub);
        memcpy(join_ref, own.p, own.n);
        to.join_ref = fm_slice_of(join_ref, own.n);
    }
    bool supabase = sub && fm_supabase_is(sub), reads = fm_worker_config(fm_socket_worker(s))->auth != NULL;
    if (supabase && !reads)
        return; /* its client sends one whether anybody wants it or not */
    bool ok = token_read(in, text, &token) && fm_socket_refresh(s, token, &fault);
    explicit_bzero(text, sizeof text);
    if (supabase && ok)
        return;
    if (supabase)
        fm_supabase_token_refused(s, sub, fault.err);
    else if (!ok)
        refused(s, &to, &fault);
    else
        fm_phx_send_reply(s, &to, true, FM_LIT("{}"));
}

/* On `phoenix`, where no channel can be: clients that know nothing of it pass it over, and socket.onMessage sees it. */
void fm_phx_expired(struct fm_socket *s, uint64_t grace_ms)
{
    const struct fm_phx_to to = {.version = (enum fm_phx_version)fm_socket_variant(s),
                                 .join_ref = FM_LIT("null"),
                                 .ref = FM_LIT("null"),
                                 .topic = FM_LIT("phoenix")};
    struct fm_frames *f = fm_frames_new();
    if (f) {
        size_t opened = fm_phx_event_open(f, &to, FM_LIT("fm_token_expired"));
        fm_buf_printf(&f->bytes, "{\"grace_ms\":%llu}", (unsigned long long)grace_ms);
        fm_phx_event_close(f, &to, opened);
    }
    fm_phx_send(s, &f);
}
