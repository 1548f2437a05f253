/* What time, a new token, or a revocation makes of a socket's identity.
 *
 * A token that is over grants nothing more: joins and pushes that a rule grants to tokens are refused at once. The connection stays for
 * token_grace_ms, is told so, and is given what comes meanwhile; then it is closed with a code after which clients come back, and their
 * library asks for a new token. */
#include "worker_core.h"

#include "../edge/admit.h"

enum { CLOSE_EXPIRED = 4001, CLOSE_REVOKED = 4003 };

static uint32_t grace_ms(const struct fm_worker *w)
{
    return w->config.auth ? w->config.auth->grace_ms : 0; /* there is none if a reload took all keys away */
}

uint64_t fm_socket_token_due_ms(struct fm_socket *s)
{
    const struct fm_identity *id = s->identity;
    if (!id || id->until_s == 0)
        return UINT64_MAX;
    uint64_t now = fm_unix_ms(), over = id->until_s * 1000, grace = grace_ms(s->worker);
    if (now < over)
        return over - now;
    if (!s->token_told) {
        s->token_told = true;
        if (s->proto->expired)
            s->proto->expired(s, grace);
    }
    return now < over + grace ? over + grace - now : 0;
}

void fm_socket_token_over(struct fm_socket *s)
{
    fm_stat_add(&s->worker->stats.tokens_expired, 1);
    fm_socket_close(s, CLOSE_EXPIRED, "the token has expired");
}

/* Whoever was nobody and says now whose the connection is counts as one of that user's, like one that said so when it was opened. */
static enum fm_err identify(struct fm_socket *s, struct fm_identity *id)
{
    bool comes = id->user.n && !s->user, held = false;
    enum fm_err err = comes ? fm_socket_user_take(s, id->user, &held) : FM_OK;
    if (err)
        return err;
    fm_socket_identify(s, id);
    if (held && s->user)
        s->counted_user = true;
    else if (held) /* without memory it is closed, and of nobody */
        fm_limits_user_give(s->worker->config.limits, id->user);
    return FM_OK;
}

bool fm_socket_refresh(struct fm_socket *s, struct fm_slice token, struct fm_token_fault *fault)
{
    struct fm_identity *id;
    if (!fm_admit_token(s->worker, &s->peer, token, &id, fault))
        return false;
    const struct fm_identity *was = s->identity;
    /* Who logs out may go on as nobody; somebody else is another connection. */
    if (was && was->user.n && id->user.n && !fm_slice_eq(was->user, id->user)) {
        fm_identity_unref(&id);
        return fm_admit_refuse(s->worker, &s->peer, fault, FM_E_TOKEN_USER, NULL);
    }
    enum fm_err err = identify(s, id);
    fm_identity_unref(&id);
    if (err) {
        *fault =
            (struct fm_token_fault){err, err == FM_E_TOO_MANY_CONNECTIONS ? "its user has as many as connections_per_user allows" : NULL};
        return false;
    }
    fm_stat_add(&s->worker->stats.tokens_refreshed, 1);
    return true;
}

uint32_t fm_worker_revoke(struct fm_worker *w, struct fm_slice user, uint64_t before_s, uint64_t until_ms)
{
    uint32_t n = 0;
    if (user.n == 0 || user.n > FM_USER_MAX)
        return 0;
    fm_revocation_add(&w->revocations, user, before_s, until_ms);
    struct fm_user *u = fm_user_find(w, user);
    for (struct fm_socket *s = u ? u->first : NULL; s; s = s->user_next) {
        if (s->state != FM_SOCKET_OPEN || !fm_revoked(&w->revocations, s->identity))
            continue;
        fm_questions_withdraw(w, s, NULL, FM_E_TOKEN_REVOKED);
        fm_socket_close(s, CLOSE_REVOKED, "the token was revoked");
        n++;
    }
    fm_stat_add(&w->stats.tokens_revoked, n);
    return n;
}
