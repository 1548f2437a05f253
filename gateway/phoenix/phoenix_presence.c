/* Presence on the Phoenix wire: the join param `presence`, and the events by which a channel shows itself, changes that, and ends it.
 * (presence_state and presence_diff are messages like others: phoenix.c encodes them.) */
#include "phoenix.h"

#include <stdlib.h>

/* key and meta of an object; NULL, or the reason for the error reply. */
static const char *shown_read(const struct fm_json *object, struct fm_phx_presence *p)
{
    struct fm_json v;
    p->shown.meta = FM_LIT("{}");
    p->shown.key = (struct fm_slice){0};
    if (fm_json_get(object, FM_LIT("key"), &v) && v.type != FM_JSON_NULL) {
        if (fm_json_text(&v, p->key, sizeof p->key, &p->shown.key) != FM_OK || p->shown.key.n == 0)
            return "bad_presence_key";
    }
    if (fm_json_get(object, FM_LIT("meta"), &v) && v.type != FM_JSON_NULL) {
        if (v.type != FM_JSON_OBJECT)
            return "bad_presence_meta";
        p->shown.meta = v.raw;
    }
    return NULL;
}

const char *fm_phx_presence_param(const struct fm_json *params, const struct fm_rule *rule, struct fm_phx_presence *p)
{
    struct fm_json v, watch;
    p->watch = rule->presence != FM_WHO_NOBODY;
    if (!fm_json_get(params, FM_LIT("presence"), &v) || v.type == FM_JSON_NULL)
        return NULL;
    if (v.type == FM_JSON_FALSE) {
        p->watch = false;
        return NULL;
    }
    if (v.type != FM_JSON_TRUE && v.type != FM_JSON_OBJECT)
        return "bad_presence";
    if (!p->watch)
        return "presence_forbidden";
    if (fm_json_get(&v, FM_LIT("watch"), &watch))
        p->watch = watch.type != FM_JSON_FALSE;
    p->track = true;
    return shown_read(&v, p);
}

const char *fm_phx_track_reason(enum fm_err err)
{
    switch (err) {
    case FM_E_FORBIDDEN:
        return "presence_forbidden";
    case FM_E_TOO_LARGE:
        return "presence_too_large";
    default:
        return fm_err_code(err);
    }
}

void fm_phx_tracked_write(struct fm_buf *b, const struct fm_track *t)
{
    fm_buf_str(b, "{\"key\":");
    fm_buf_json(b, t->key_n ? fm_track_key(t) : fm_slice_of(t->own_key, t->own_key_n));
    fm_buf_str(b, ",\"phx_ref\":");
    fm_buf_json(b, fm_slice_str(t->ref));
    fm_buf_u8(b, '}');
}

/* ---- events ---- */

bool fm_phx_is_track(struct fm_slice event)
{
    return fm_slice_eq(event, FM_LIT("presence_track")) || fm_slice_eq(event, FM_LIT("presence_untrack"));
}

void fm_phx_track(struct fm_socket *s, struct fm_sub *sub, const struct fm_phx_in *in, const struct fm_phx_to *to)
{
    struct fm_phx_presence p = {0};
    struct fm_json payload;
    if (fm_slice_eq(in->event, FM_LIT("presence_untrack"))) {
        fm_sub_untrack(sub);
        if (!fm_phx_is_null(in->ref))
            fm_phx_send_reply(s, to, true, FM_LIT("{}"));
        return;
    }
    const char *reason = "bad_presence";
    if (!in->binary && fm_json_parse(in->payload, FM_JSON_DEPTH, &payload, NULL) == FM_OK && payload.type == FM_JSON_OBJECT)
        reason = sub->joined ? shown_read(&payload, &p) : fm_err_code(FM_E_UNMATCHED_TOPIC);
    if (!reason) {
        uint8_t cookie[FM_PHX_COOKIE_MAX];
        p.shown.cookie = fm_phx_cookie(cookie, sub, in->ref);
        enum fm_err err = fm_sub_track(sub, &p.shown);
        reason = err ? fm_phx_track_reason(err) : NULL;
    }
    if (reason)
        fm_phx_send_error(s, to, reason);
}

void fm_phx_tracked(struct fm_socket *s, const struct fm_track *t)
{
    struct fm_slice ref;
    struct fm_sub *sub = fm_phx_cookie_sub(s, fm_track_cookie(t), &ref);
    if (!sub || (fm_phx_is_null(ref) && !t->err))
        return; /* the channel is another, or nobody waits for it */
    struct fm_phx_to to = fm_phx_channel_to(sub);
    to.ref = ref;
    if (t->err) {
        fm_phx_send_error(s, &to, fm_phx_track_reason(t->err));
        return;
    }
    struct fm_frames *f = fm_frames_new();
    if (f) {
        size_t opened = fm_phx_reply_open(f, &to, true);
        fm_phx_tracked_write(&f->bytes, t);
        fm_phx_reply_close(f, &to, opened);
    }
    fm_phx_send(s, &f);
}
