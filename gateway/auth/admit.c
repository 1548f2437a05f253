#include "admit.h"

#include "credential.h"
#include "../edge/front.h"
#include "../worker/worker_core.h"

#include <time.h>

static bool fail(struct fm_worker *w, struct fm_token_fault *fault, enum fm_err err, const char *why)
{
    fm_stat_add(&w->stats.tokens_refused, 1);
    *fault = (struct fm_token_fault){err, why};
    return false;
}

bool fm_admit_token(struct fm_worker *w, struct fm_slice token, struct fm_identity **id, struct fm_token_fault *fault)
{
    const struct fm_auth *auth = w->config.auth;
    *id = NULL;
    if (!auth)
        return fail(w, fault, FM_E_TOKEN_KEY, NULL);
    if (!fm_auth_verify(auth, w->fetched_keys, token, (uint64_t)time(NULL), id, fault)) {
        if (fault->err == FM_E_TOKEN_KEY && auth->from_url)
            fm_jwks_want(w->config.jwks);
        return fail(w, fault, fault->err, fault->why);
    }
    if (fm_revoked(&w->revocations, *id)) {
        fm_identity_unref(id);
        return fail(w, fault, FM_E_TOKEN_REVOKED, NULL);
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
        ok = fail(w, fault, FM_E_TOKEN, why);
    else if (c.from == FM_CREDENTIAL_NONE)
        ok = !auth->required || fail(w, fault, FM_E_TOKEN_MISSING, NULL);
    else if (c.from == FM_CREDENTIAL_COOKIE && !fm_origin_named(req->origin, req->host, w->config.origins))
        ok = fail(w, fault, FM_E_ORIGIN, "its token comes by a cookie, for which `*` does not count");
    else
        ok = fm_admit_token(w, fm_slice_of(c.token, c.n), id, fault);
    fm_credential_fini(&c);
    return ok;
}
