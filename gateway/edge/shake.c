/* The TLS handshake of a connection, before it speaks HTTP: a step takes up to a millisecond, and hundreds may be due at once. */
#include "front.h"

#include "tls.h"

#include <errno.h>
#include <sys/socket.h>

enum { SHAKE_NS = 4000000 }; /* of a turn of the loop; then others have theirs */

/* What the handshake begins with is looked at before OpenSSL takes it. false: nothing has come yet. */
static bool first_look(struct fm_conn *c)
{
    uint8_t bytes[16];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_PEEK);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n > 0) {
        c->first = bytes[0];
        c->stray = fm_conn_proxy_stray(c, fm_slice_of(bytes, (size_t)n));
    }
    return true;
}

/* Who speaks HTTP to a TLS port gets an answer that it can read. The first byte of TLS is 0x16, which is in no method. */
static void plain_refuse(struct fm_conn *c)
{
    if (c->stray)
        fm_conn_refuse_raw(c, "this node does not take a PROXY protocol header from your address");
    else if (c->first >= 'A' && c->first <= 'Z')
        fm_conn_refuse_raw(c, "this port speaks TLS (https)");
}

bool fm_front_shaken(const struct fm_worker *w)
{
    return w->shake_turn == ev_iteration(w->loop) && w->shake_ns >= SHAKE_NS;
}

/* OpenSSL's part of a step, which may take a millisecond: timed. */
static enum fm_tls_io shake_step(struct fm_conn *c)
{
    struct fm_worker *w = c->worker;
    uint64_t began = fm_mono_ns();
    enum fm_tls_io io = fm_tls_accept(c->ssl);
    if (w->shake_turn != ev_iteration(w->loop))
        w->shake_ns = 0;
    w->shake_turn = ev_iteration(w->loop);
    w->shake_ns += fm_mono_ns() - began;
    fm_worker_breathe(w);
    return io;
}

bool fm_conn_shake(struct fm_conn *c)
{
    struct fm_worker_stats *stats = &c->worker->stats;
    if (c->first == 0 && !first_look(c))
        return false;
    if (fm_front_shaken(c->worker))
        return false; /* the next turn is told of it again */
    switch (shake_step(c)) {
    case FM_TLS_DONE:
        c->shaking = false;
        fm_stat_add(&stats->tls_handshakes, 1);
        if (fm_tls_resumed(c->ssl))
            fm_stat_add(&stats->tls_resumed, 1);
        fm_conn_watch(c, EV_READ);
        return true;
    case FM_TLS_READ:
        fm_conn_watch(c, EV_READ);
        return false;
    case FM_TLS_WRITE:
        fm_conn_watch(c, EV_WRITE);
        return false;
    case FM_TLS_END:
    case FM_TLS_DEAD:
        break;
    }
    fm_stat_add(&stats->tls_failed, 1);
    fm_client_say(&c->peer, "tls_failed", "the TLS handshake failed");
    plain_refuse(c);
    fm_conn_close(c);
    return false;
}
