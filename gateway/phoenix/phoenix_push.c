/* Pushes: judged here, published by the hub, answered when it has. The answer finds its channel by a cookie, which goes with the push;
 * where the channel was left or joined again meanwhile it finds none. */
#include "../supabase/supabase.h"
#include "../supabase/supabase_changes.h"

#include <assert.h>

/* ---- whose answer it is ---- */

struct fm_slice fm_phx_cookie(uint8_t out[FM_PHX_COOKIE_MAX], const struct fm_sub *sub, struct fm_slice ref)
{
    size_t n = 0;
    assert(sub->topic_n <= FM_TOPIC_MAX && ref.n <= FM_PHX_REF_MAX);
    memcpy(out, &sub->id, sizeof sub->id);
    n += sizeof sub->id;
    memcpy(out + n, &sub->topic_n, sizeof sub->topic_n);
    n += sizeof sub->topic_n;
    memcpy(out + n, sub->text, sub->topic_n);
    n += sub->topic_n;
    memcpy(out + n, ref.p, ref.n);
    return fm_slice_of(out, n + ref.n);
}

struct fm_sub *fm_phx_cookie_sub(struct fm_socket *s, struct fm_slice cookie, struct fm_slice *ref)
{
    struct fm_rd r = fm_rd_of(cookie);
    uint64_t id;
    uint16_t topic_n;
    struct fm_slice at = fm_rd_bytes(&r, sizeof id);
    if (r.bad)
        return NULL;
    memcpy(&id, at.p, sizeof id);
    at = fm_rd_bytes(&r, sizeof topic_n);
    if (r.bad)
        return NULL;
    memcpy(&topic_n, at.p, sizeof topic_n);
    struct fm_slice topic = fm_rd_bytes(&r, topic_n);
    *ref = fm_rd_bytes(&r, fm_rd_left(&r));
    struct fm_sub *sub = r.bad ? NULL : fm_socket_sub(s, topic);
    return sub && sub->id == id ? sub : NULL;
}

/* ---- pushes ---- */

/* NULL: it may be published. */
static const char *push_judge(const struct fm_sub *sub, const struct fm_rule *rule, const struct fm_phx_push *push)
{
    enum fm_err err = fm_socket_may(sub->socket, rule ? rule->push : FM_WHO_NOBODY, fm_sub_topic(sub), FM_RIGHT_PUSH);
    if (err)
        return fm_err_code(err);
    if (push->event.n == 0)
        return "bad_event";
    if (fm_event_reserved(push->event) || fm_supabase_is_change(fm_sub_topic(sub), push->event))
        return fm_err_code(FM_E_RESERVED_EVENT);
    return NULL;
}

static void too_large_send(struct fm_socket *s, const struct fm_phx_to *to, uint32_t limit)
{
    struct fm_frames *f = fm_frames_new();
    if (f) {
        size_t opened = fm_phx_reply_open(f, to, false);
        fm_buf_slice(&f->bytes, FM_LIT("{\"reason\":\"too_large\",\"limit\":"));
        fm_buf_dec(&f->bytes, limit);
        fm_buf_u8(&f->bytes, '}');
        fm_phx_reply_close(f, to, opened);
    }
    fm_phx_send(s, &f);
}

void fm_phx_push(struct fm_socket *s, const struct fm_phx_in *in)
{
    struct fm_sub *sub = fm_socket_sub(s, in->topic);
    struct fm_phx_to to = fm_phx_answer_to(s, in);
    if (!sub || fm_sub_undecided(sub)) { /* in the order of the inbox the push would be behind the join, but no handler waits for another */
        to.join_ref = FM_LIT("null");
        fm_phx_send_error(s, &to, fm_err_code(FM_E_UNMATCHED_TOPIC));
        return;
    }
    if (fm_phx_is_stale(sub, in))
        return;
    to.join_ref = fm_sub_join_ref(sub);
    if (fm_phx_is_track(in->event) && !fm_supabase_is(sub)) {
        fm_phx_track(s, sub, in, &to);
        return;
    }
    uint8_t room[FM_EVENT_MAX], cookie[FM_PHX_COOKIE_MAX];
    struct fm_phx_push push = {in->event, in->payload, in->binary};
    if (fm_supabase_is(sub) && !fm_supabase_push_read(s, sub, in, room, &push))
        return;
    const struct fm_rule *rule = fm_sub_rule(sub);
    const char *reason = push_judge(sub, rule, &push);
    if (!reason && push.payload.n > rule->message_max) {
        fm_socket_limit_reached(s, FM_LIMIT_SIZE);
        if (!fm_supabase_is(sub)) {
            too_large_send(s, &to, rule->message_max);
            return;
        }
        reason = fm_err_code(FM_E_TOO_LARGE);
    }
    uint32_t retry_ms;
    enum fm_err limited = reason ? FM_OK : fm_sub_limit_push(sub, &retry_ms);
    if (limited == FM_E_CLOSED)
        return;
    if (limited && !fm_supabase_is(sub)) {
        fm_phx_send_limited(s, &to, retry_ms);
        return;
    }
    if (limited)
        reason = fm_err_code(limited);
    if (!reason) {
        enum fm_err err = fm_socket_push(s, sub, push.event, push.payload, push.binary, fm_phx_cookie(cookie, sub, in->ref));
        reason = err ? fm_err_code(err) : NULL;
    }
    if (reason && fm_supabase_is(sub))
        fm_supabase_refuse(s, sub, &to, reason);
    else if (reason)
        fm_phx_send_error(s, &to, reason);
}

/* ---- their answers ---- */

/* {"id":...}, without an id where a handler answered and nothing was published. */
static void pushed_reply(struct fm_frames *f, const struct fm_phx_to *to, struct fm_id id, const char *said)
{
    char text[FM_ID_TEXT_MAX + 1];
    size_t opened = fm_phx_reply_open(f, to, true);
    bool comma = fm_phx_said_open(&f->bytes, said);
    if (id.origin) {
        size_t n = fm_id_print(id, text);
        fm_buf_slice(&f->bytes, comma ? FM_LIT(",\"id\":\"") : FM_LIT("\"id\":\""));
        fm_buf_put(&f->bytes, text, n);
        fm_buf_u8(&f->bytes, '"');
    }
    fm_buf_u8(&f->bytes, '}');
    fm_phx_reply_close(f, to, opened);
}

void fm_phx_pushed(struct fm_socket *s, const struct fm_publish *p)
{
    struct fm_slice ref;
    struct fm_sub *sub = fm_phx_cookie_sub(s, fm_publish_cookie(p), &ref);
    if (!sub)
        return; /* left or joined again: the client drops an answer with the old join_ref, so it is not sent */
    struct fm_phx_to to = fm_phx_channel_to(sub);
    to.ref = ref;
    bool unanswered = fm_supabase_is(sub) && !(sub->flags & FM_SUPABASE_ACK);
    if (p->err && unanswered) {
        fm_supabase_refuse(s, sub, &to, fm_err_code(p->err));
        return;
    }
    if (p->err) {
        fm_phx_send_refusal(s, &to, p->err, p->said);
        return;
    }
    if (fm_phx_is_null(ref) || unanswered)
        return; /* nobody waits for it */
    assert(p->n == 1);
    struct fm_frames *f = fm_frames_new();
    if (f)
        pushed_reply(f, &to, p->results[0].id, p->said);
    fm_phx_send(s, &f);
}
