/* Inside the key sets: key_set.c and jwks.c. */
#pragma once

#include "key_set.h"

#include <openssl/evp.h>

/* The algorithm that a public key is bound to. FM_E_INVALID: it is too weak, too large, or of no kind that is taken. */
FM_MUST_CHECK enum fm_err fm_key_judge(EVP_PKEY *pkey, enum fm_alg *alg, const char **why);
/* Takes pkey, whatever it returns. */
FM_MUST_CHECK enum fm_err fm_key_set_add_pkey(struct fm_key_set *set, EVP_PKEY *pkey, struct fm_slice kid, const char **why);
