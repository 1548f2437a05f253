/* Sockets: their life. (Their bytes: socket_io.c; their subs, and what goes to the hub through them: socket_subs.c.)
 *
 * Nothing here ever ends a connection inside somebody else's call. fm_socket_close only marks it; before the loop waits again its subs
 * leave, and the edge closes it from its own writable call. So whoever walks over sockets or subs never loses them under way. */
#include "worker_core.h"

#include "../../broker/clock.h"
#include "../../broker/diag.h"

#include <assert.h>
#include <stdlib.h>

enum { CLOSE_REASON_MAX = 123 };

/* ---- life ---- */

struct fm_socket *fm_socket_new(struct fm_worker *w, const struct fm_proto *proto, uint32_t variant, bool probe, uint64_t number)
{
    struct fm_socket *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->worker = w;
    s->proto = proto;
    s->variant = variant;
    s->probe = probe;
    s->number = number ? number : fm_socket_number(w);
    s->next = w->sockets;
    s->link = &w->sockets;
    if (s->next)
        s->next->link = &s->next;
    w->sockets = s;
    w->sockets_n++;
    fm_stat_add(&fm_stats_of(w, probe)->connections, 1);
    return s;
}

/* A socket is referred to by its connection, by the worker's lists, and by answers that are under way. */
void fm_socket_release(struct fm_socket *s)
{
    if (s->state != FM_SOCKET_GONE || s->awaited || s->held || s->touched || s->doomed)
        return;
    assert(!s->out && !s->subs && !s->given);
    free(s->close_reason);
    free(s->client);
    fm_identity_unref(&s->identity);
    free(s);
}

static void doom(struct fm_socket *s)
{
    if (s->doomed)
        return;
    s->doomed = true;
    s->doomed_next = s->worker->doomed;
    s->worker->doomed = s;
    fm_worker_settle_soon(s->worker);
}

void fm_socket_close(struct fm_socket *s, unsigned code, const char *reason)
{
    if (s->state != FM_SOCKET_OPEN)
        return;
    s->state = FM_SOCKET_CLOSING;
    s->close_code = (uint16_t)code;
    struct fm_slice text = fm_slice_str(reason);
    text.n = text.n > CLOSE_REASON_MAX ? CLOSE_REASON_MAX : text.n;
    s->close_reason = fm_slice_dup(text); /* without memory: a close without a reason */
    doom(s);
}

void fm_socket_bury(struct fm_socket *s)
{
    s->doomed = false;
    if (s->state == FM_SOCKET_GONE) {
        fm_socket_release(s);
        return;
    }
    fm_socket_subs_end(s);
    if (s->discard)
        fm_socket_out_drop(s);
    if (s->close_code == 0) {
        fm_edge_kill(s); /* abandoned: s is gone after this */
        return;
    }
    fm_wheel_set(&s->worker->sockets_wheel, &s->timer, FM_CLOSE_MS);
    fm_edge_want_write(s);
}

/* The edge failed to write, or had no way to close: no word to the client is possible. */
void fm_socket_abandon(struct fm_socket *s)
{
    if (s->state == FM_SOCKET_OPEN)
        s->state = FM_SOCKET_CLOSING;
    s->discard = true;
    doom(s);
}

void fm_socket_kill(struct fm_worker *w, bool all)
{
    struct fm_socket *next;
    for (struct fm_socket *s = w->sockets; s; s = next) {
        next = s->next;
        if (s->tls || s->carrier || ((s->probe || all) && s->wsi))
            fm_edge_kill(s);
    }
}

void fm_socket_identify(struct fm_socket *s, struct fm_identity *identity)
{
    struct fm_identity *before = s->identity;
    s->identity = fm_identity_ref(identity);
    fm_identity_unref(&before);
    if (!fm_user_join(s, identity ? identity->user : fm_slice_of(NULL, 0))) {
        fm_socket_close(s, 1013, "out of memory");
        return;
    }
    s->token_told = false;
    fm_subs_judge(s);
    if (s->state != FM_SOCKET_OPEN)
        return;
    fm_user_sub_follow(s);
    fm_socket_watch(s);
}

/* ---- for protocols ---- */

const struct fm_identity *fm_socket_identity(const struct fm_socket *s)
{
    return s->identity;
}

enum fm_err fm_socket_may(const struct fm_socket *s, enum fm_who who, struct fm_slice topic, enum fm_right right)
{
    return fm_who_may(who, s->identity, topic, right, who == FM_WHO_TOKEN ? fm_unix_s() : 0);
}

const struct fm_rule *fm_socket_rule(const struct fm_socket *s, struct fm_slice topic)
{
    static const struct fm_rule own = {.join = FM_WHO_ANYONE, .push = FM_WHO_ANYONE, .push_to = FM_PUSH_ALL, .message_max = 1024};
    if (s->probe)
        return fm_topic_of_probe(topic) ? &own : NULL;
    return fm_rules_match(s->worker->config.rules, topic);
}

uint32_t fm_socket_variant(const struct fm_socket *s)
{
    return s->variant;
}

struct fm_worker *fm_socket_worker(const struct fm_socket *s)
{
    return s->worker;
}

/* ---- called by the edge ---- */

void fm_socket_opened(struct fm_socket *s, struct lws *wsi, int fd)
{
    assert(s->state == FM_SOCKET_OPENING);
    s->wsi = wsi;
    s->fd = fd;
    s->state = FM_SOCKET_OPEN;
    s->opened_ms = fm_mono_ms();
    s->heard_tick = s->worker->sockets_wheel.tick;
    fm_socket_watch(s);
    fm_client_say(&s->peer, "socket_opened", s->probe ? "the node itself" : "a client");
    fm_socket_tell(s, FM_HOOK_CONNECT, fm_slice_of(NULL, 0));
    if (s->worker->draining)
        fm_socket_close(s, 1012, "the node is shutting down");
}

/* It ends when others had their turn; but what it counted for in the limits is free for who comes back in its place. */
static void retire(struct fm_socket *s)
{
    fm_socket_dismiss(s);
    fm_socket_abandon(s);
}

bool fm_socket_end(struct fm_socket *s)
{
    if (s->state == FM_SOCKET_GONE || s->close_code) /* with a code it would be asked to say that first */
        return false;
    retire(s);
    return true;
}

void fm_socket_left(struct fm_socket *s)
{
    if (s->state == FM_SOCKET_OPEN && fm_lws_ended(s->wsi, s->fd))
        retire(s);
}

void fm_socket_closing(struct fm_socket *s)
{
    if (s->state == FM_SOCKET_GONE)
        return;
    /* libwebsockets closes by itself where a frame breaks the protocol, and then waits for the client's answer, however long. */
    if (s->state == FM_SOCKET_OPEN)
        fm_wheel_set(&s->worker->sockets_wheel, &s->timer, FM_CLOSE_MS);
    s->state = FM_SOCKET_CLOSING;
    s->discard = true;
    fm_socket_subs_end(s);
    fm_socket_out_drop(s);
}

static void gone_say(const struct fm_socket *s)
{
    char peer[FM_PEER_TEXT_MAX], why[2 * CLOSE_REASON_MAX];
    if (s->state == FM_SOCKET_OPENING || fm_diag_level_get() > FM_DEBUG)
        return;
    const char *reason = s->close_reason ? s->close_reason : "the client closed it, or the connection broke";
    fm_diag(FM_DEBUG, "socket_closed", "peer=%s code=%u why=%s", fm_peer_text(&s->peer, peer), s->close_code,
            fm_diag_quote(why, sizeof why, reason, strlen(reason)));
}

void fm_socket_gone(struct fm_socket *s)
{
    struct fm_worker *w = s->worker;
    gone_say(s);
    bool was_open = s->state != FM_SOCKET_OPENING;
    fm_socket_closing(s);
    if (was_open)
        fm_socket_tell(s, FM_HOOK_DISCONNECT, fm_slice_of(NULL, 0));
    fm_socket_io_fini(s);
    fm_wheel_cancel(&w->sockets_wheel, &s->timer);
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    w->sockets_n--;
    fm_socket_dismiss(s);
    fm_user_leave(s);
    fm_stat_sub(&fm_stats_of(w, s->probe)->connections, 1);
    s->wsi = NULL;
    s->state = FM_SOCKET_GONE;
    fm_socket_release(s);
    fm_worker_breathe(w);
}
