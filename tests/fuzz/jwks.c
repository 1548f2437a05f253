/* Key sets as a URL answers with: each key is taken, passed over or refused, and none of them is secret. */
#include "../../gateway/auth/key_set.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fm_jwt jwt;
    for (int secrets = 0; secrets < 2; secrets++) {
        struct fm_key_set *set;
        struct fm_jwks_read read;
        const char *why = NULL;
        if (fm_key_set_new(&set))
            abort();
        enum fm_err err = fm_key_set_add_jwks(set, fm_slice_of(data, size), secrets, &read, &why);
        check(err == FM_OK || (err == FM_E_INVALID && why));
        check(fm_key_set_n(set) == read.taken && read.taken <= FM_KEYS_MAX);
        check(!read.refused == !read.why);
        check(fm_key_set_beyond(set, set) == 0);
        jwt = (struct fm_jwt){.alg = FM_ALG_HS256, .signing = FM_LIT("a.b"), .signature = FM_LIT("01234567890123456789012345678901")};
        enum fm_verified v = fm_key_set_verify(set, &jwt);
        check(v != FM_VERIFIED && (secrets || v == FM_VERIFY_NO_KEY));
        fm_key_set_unref(&set);
    }
    return 0;
}
