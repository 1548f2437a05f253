#include "admit.h"

#include "web_origin.h"
#include "../auth/credential.h"
#include "../worker/worker_core.h"

#include "../../broker/clock.h"

bool fm_admit_refuse(struct fm_worker *w, const struct fm_peer *peer, struct fm_token_fault *fault, enum fm_err err, const char *why)
{
    fm_stat_add(&w->stats.tokens_refused, 1);
    fm_limit_tell_token(w->config.limits, err, why, peer, fm_mono_ms());
    *fault = (struct fm_token_fault){err, why};
    return false;
}

bool fm_admit_token(struct fm_worker *w, const struct fm_peer *peer, struct fm_slice token, struct fm_identity **id,
                    struct fm_token_fault *fault)
{
    const struct fm_auth *auth = w->config.auth;
    *id = NULL;
    if (!auth)
        return fm_admit_refuse(w, peer, fault, FM_E_TOKEN_KEY, NULL);
    if (!fm_auth_verify(auth, w->fetched_keys, token, fm_unix_s(), id, fault)) {
        if (fault->err == FM_E_TOKEN_KEY && auth->from_url)
            fm_jwks_want(w->config.jwks);
        return fm_admit_refuse(w, peer, fault, fault->err, fault->why);
    }
    if (fm_revoked(&w->revocations, *id)) {
        fm_identity_unref(id);
        return fm_admit_refuse(w, peer, fault, FM_E_TOKEN_REVOKED, NULL);
    }
    fm_stat_add(&w->stats.tokens_accepted, 1);
    return true;
}

bool fm_admit(const struct fm_http_request *req, struct fm_identity **id, struct fm_token_fault *fault)
{
    struct fm_worker *w = req->worker;
    const struct fm_auth *auth = w->config.auth;
    struct fm_credential c;
    const char *why = NULL;
    bool ok;
    *id = NULL;
    if (!auth)
        return true;
    if (!fm_credential_find(req->head, req->query, auth->param, auth->cookie, &c, &why))
        ok = fm_admit_refuse(w, &req->client, fault, FM_E_TOKEN, why);
    else if (c.from == FM_CREDENTIAL_NONE)
        ok = !auth->required || fm_admit_refuse(w, &req->client, fault, FM_E_TOKEN_MISSING, NULL);
    else if (c.from == FM_CREDENTIAL_COOKIE && !fm_origin_named(req->origin, req->host, w->config.origins))
        ok = fm_admit_refuse(w, &req->client, fault, FM_E_ORIGIN, "its token comes by a cookie, for which `*` does not count");
    else
        ok = fm_admit_token(w, &req->client, fm_slice_of(c.token, c.n), id, fault);
    fm_credential_fini(&c);
    return ok;
}
