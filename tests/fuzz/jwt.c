/* Tokens as they come: whatever is taken was read within its bytes and is what it says it is; claims make an identity or a fault. */
#include "../../gateway/auth/claims.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const audiences[] = {"chat", NULL}, *const topics[] = {"user:{user}:*", "inbox:{user}", NULL};
    static const struct fm_claims_rules rules = {.issuer = "",
                                                 .audiences = audiences,
                                                 .leeway_s = 5,
                                                 .lifetime_max_s = 3600,
                                                 .user_claim = "sub",
                                                 .topics_claim = "topics",
                                                 .rights_claim = "rights",
                                                 .topics = topics};
    static struct fm_jwt jwt;
    struct fm_json claims;
    struct fm_identity *id = NULL;
    struct fm_token_fault fault = {0};
    const char *why = NULL;
    bool read = fm_jwt_read(fm_slice_of(data, size), &jwt, &why);
    check(read == !why);
    if (!read) { /* the claims alone, so that their reader is reached without base64 */
        jwt.claims = fm_slice_of(data, size);
        why = NULL;
    } else {
        check(jwt.alg < FM_ALGS && jwt.kid.n <= FM_KID_MAX && jwt.signature.n <= FM_SIGNATURE_MAX && jwt.signature.n > 0);
        check(jwt.signing.p == data && jwt.signing.n < size);
    }
    if (!fm_jwt_claims(&jwt, &claims, &why)) {
        check(why);
        return 0;
    }
    bool ok = fm_claims_identity(&claims, &rules, 1000000, &id, &fault);
    check(ok == (id != NULL) && ok == (fault.err == FM_OK));
    if (ok) {
        check(id->until_s > 1000000 && id->user.n <= FM_USER_MAX && id->grants_n <= FM_GRANTS_MAX);
        check(strlen(fm_identity_user(id)) == id->user.n);
        if (id->user.n)
            check(id->until_s - 5 - id->issued_s <= 3600 || id->issued_s >= id->until_s - 5);
    }
    fm_identity_unref(&id);
    return 0;
}
