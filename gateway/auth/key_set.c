#include "key_set.h"

#include "key_core.h"

#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SHA256_BYTES = 32, P256_BYTES = 32 };

struct key {
    enum fm_alg alg;
    EVP_PKEY *pkey; /* NULL for HS256 */
    uint8_t *secret;
    size_t secret_n;
    size_t kid_n;
    uint8_t kid[FM_KID_MAX];
    uint8_t digest[SHA256_BYTES]; /* of what it is made of, to tell it from others */
};

struct fm_key_set {
    _Atomic uint32_t refs;
    size_t n;
    struct key at[FM_KEYS_MAX];
};

/* ---- life ---- */

enum fm_err fm_key_set_new(struct fm_key_set **out)
{
    struct fm_key_set *set = calloc(1, sizeof *set);
    *out = set;
    if (!set)
        return FM_E_NOMEM;
    atomic_init(&set->refs, 1);
    return FM_OK;
}

struct fm_key_set *fm_key_set_ref(struct fm_key_set *set)
{
    if (set)
        atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void fm_key_set_unref(struct fm_key_set **sp)
{
    struct fm_key_set *set = *sp;
    *sp = NULL;
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->n; i++) {
        EVP_PKEY_free(set->at[i].pkey);
        if (set->at[i].secret)
            OPENSSL_cleanse(set->at[i].secret, set->at[i].secret_n);
        free(set->at[i].secret);
    }
    free(set);
}

size_t fm_key_set_n(const struct fm_key_set *set)
{
    return set ? set->n : 0;
}

size_t fm_key_set_beyond(const struct fm_key_set *set, const struct fm_key_set *but)
{
    size_t beyond = 0;
    for (size_t i = 0; set && i < set->n; i++) {
        bool found = false;
        for (size_t j = 0; but && j < but->n && !found; j++)
            found = memcmp(set->at[i].digest, but->at[j].digest, SHA256_BYTES) == 0;
        beyond += !found;
    }
    return beyond;
}

static enum fm_err invalid(const char **why, const char *text)
{
    *why = text;
    return FM_E_INVALID;
}

static struct key *key_new(struct fm_key_set *set, enum fm_alg alg, struct fm_slice kid)
{
    if (set->n == FM_KEYS_MAX || kid.n > FM_KID_MAX)
        return NULL;
    struct key *k = &set->at[set->n];
    *k = (struct key){.alg = alg, .kid_n = kid.n};
    if (kid.n)
        memcpy(k->kid, kid.p, kid.n);
    return k;
}

/* ---- adding ---- */

enum fm_err fm_key_set_add_secret(struct fm_key_set *set, struct fm_slice secret, struct fm_slice kid, const char **why)
{
    if (secret.n < FM_SECRET_KEY_MIN)
        return invalid(why, "a secret for HS256 needs at least 32 bytes");
    struct key *k = key_new(set, FM_ALG_HS256, kid);
    if (!k)
        return FM_E_TOO_MANY;
    k->secret = malloc(secret.n);
    if (!k->secret)
        return FM_E_NOMEM;
    memcpy(k->secret, secret.p, secret.n);
    k->secret_n = secret.n;
    SHA256(secret.p, secret.n, k->digest);
    set->n++;
    return FM_OK;
}

enum fm_err fm_key_judge(EVP_PKEY *pkey, enum fm_alg *alg, const char **why)
{
    if (EVP_PKEY_is_a(pkey, "RSA")) {
        int bits = EVP_PKEY_get_bits(pkey);
        if (bits < FM_RSA_BITS_MIN)
            return invalid(why, "an RSA key needs at least 2048 bits");
        if (bits > FM_RSA_BITS_MAX)
            return invalid(why, "an RSA key may have at most 8192 bits");
        *alg = FM_ALG_RS256;
        return FM_OK;
    }
    char group[32];
    size_t n;
    if (!EVP_PKEY_is_a(pkey, "EC"))
        return invalid(why, "a key is neither RSA nor of the curve P-256");
    if (EVP_PKEY_get_group_name(pkey, group, sizeof group, &n) != 1 || strcmp(group, "prime256v1") != 0)
        return invalid(why, "a key is of another curve than P-256");
    *alg = FM_ALG_ES256;
    return FM_OK;
}

static bool is_sound(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    bool sound = ctx && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return sound;
}

enum fm_err fm_key_set_add_pkey(struct fm_key_set *set, EVP_PKEY *pkey, struct fm_slice kid, const char **why)
{
    enum fm_alg alg;
    enum fm_err err = fm_key_judge(pkey, &alg, why);
    if (!err && !is_sound(pkey))
        err = invalid(why, "a key is not a valid key of its kind");
    struct key *k = err ? NULL : key_new(set, alg, kid);
    if (!k) {
        EVP_PKEY_free(pkey);
        return err ? err : FM_E_TOO_MANY;
    }
    k->pkey = pkey;
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(pkey, &der);
    if (n > 0)
        SHA256(der, (size_t)n, k->digest);
    OPENSSL_free(der);
    set->n++;
    return FM_OK;
}

/* One block of PEM. NULL: *why says what it is instead. */
static EVP_PKEY *pem_key(const char *name, const unsigned char *der, long n, const char **why)
{
    const unsigned char *p = der;
    EVP_PKEY *pkey = NULL;
    if (strcmp(name, PEM_STRING_PUBLIC) == 0) {
        pkey = d2i_PUBKEY(NULL, &p, n);
    } else if (strcmp(name, PEM_STRING_X509) == 0) {
        X509 *x = d2i_X509(NULL, &p, n);
        pkey = x ? X509_get_pubkey(x) : NULL;
        X509_free(x);
    } else if (strstr(name, "PRIVATE KEY")) {
        *why = "it holds a private key; give the public one, which is all that verifying needs";
        return NULL;
    } else {
        *why = "it holds something that is neither PUBLIC KEY nor CERTIFICATE";
        return NULL;
    }
    if (!pkey)
        *why = "a key in it can't be read";
    return pkey;
}

enum fm_err fm_key_set_add_pem(struct fm_key_set *set, struct fm_slice pem, const char **why)
{
    BIO *bio = pem.n <= FM_KEY_TEXT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    enum fm_err err = bio ? FM_OK : FM_E_NOMEM;
    size_t before = set->n;
    char *name, *header;
    unsigned char *der;
    long n;
    while (!err && PEM_read_bio(bio, &name, &header, &der, &n) == 1) {
        EVP_PKEY *pkey = pem_key(name, der, n, why);
        err = pkey ? fm_key_set_add_pkey(set, pkey, fm_slice_of(NULL, 0), why) : FM_E_INVALID;
        OPENSSL_cleanse(der, (size_t)n);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (!err && !ended)
        err = invalid(why, "it is not whole PEM");
    if (!err && set->n == before)
        err = invalid(why, "it holds no key");
    return err;
}

/* ---- verifying ---- */

static bool hmac_ok(const struct key *k, const struct fm_jwt *jwt)
{
    uint8_t mac[SHA256_BYTES];
    unsigned n = sizeof mac;
    if (jwt->signature.n != sizeof mac)
        return false;
    return HMAC(EVP_sha256(), k->secret, (int)k->secret_n, jwt->signing.p, jwt->signing.n, mac, &n) &&
           CRYPTO_memcmp(mac, jwt->signature.p, sizeof mac) == 0;
}

static bool pkey_ok(EVP_PKEY *pkey, struct fm_slice signing, struct fm_slice signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1 &&
              EVP_DigestVerify(ctx, signature.p, signature.n, signing.p, signing.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

/* RFC 7518, 3.4: r and s, 32 bytes each, one after the other; OpenSSL wants them in DER. */
static bool ecdsa_ok(EVP_PKEY *pkey, struct fm_slice signing, struct fm_slice signature)
{
    if (signature.n != 2 * P256_BYTES)
        return false;
    bool ok = false;
    unsigned char *der = NULL;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature.p, P256_BYTES, NULL), *s = BN_bin2bn(signature.p + P256_BYTES, P256_BYTES, NULL);
    if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else {
        int n = i2d_ECDSA_SIG(sig, &der);
        ok = n > 0 && pkey_ok(pkey, signing, fm_slice_of(der, (size_t)n));
    }
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    return ok;
}

static bool verify(const struct key *k, const struct fm_jwt *jwt)
{
    switch (k->alg) {
    case FM_ALG_HS256:
        return hmac_ok(k, jwt);
    case FM_ALG_RS256:
        return jwt->signature.n == (size_t)EVP_PKEY_get_size(k->pkey) && pkey_ok(k->pkey, jwt->signing, jwt->signature);
    case FM_ALG_ES256:
        return ecdsa_ok(k->pkey, jwt->signing, jwt->signature);
    case FM_ALGS:
        break;
    }
    return false;
}

enum fm_verified fm_key_set_verify(const struct fm_key_set *set, const struct fm_jwt *jwt)
{
    enum fm_verified result = FM_VERIFY_NO_KEY;
    for (size_t i = 0; set && i < set->n; i++) {
        const struct key *k = &set->at[i];
        bool fits = k->alg == jwt->alg && (k->kid_n == 0 || jwt->kid.n == 0 || fm_slice_eq(fm_slice_of(k->kid, k->kid_n), jwt->kid));
        if (!fits)
            continue;
        if (verify(k, jwt))
            return FM_VERIFIED;
        result = FM_VERIFY_WRONG;
    }
    return result;
}
