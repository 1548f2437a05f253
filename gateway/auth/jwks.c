/* JSON Web Key Sets (RFC 7517, RFC 7518): their members become keys of OpenSSL. */
#include "key_core.h"

#include "../../broker/base64.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdlib.h>

enum {
    JWKS_DEPTH = 16,
    JWKS_ENTRIES_MAX = 1024, /* looked at; FM_KEYS_MAX of them are taken */
    MEMBERS_MAX = 64,
    NUMBER_MAX = 1400, /* characters of a number: RSA with 8192 bits in base64 */
    EXPONENT_MAX = 8,
    POINT_BYTES = 32,
};

enum outcome { TAKEN, PASSED, REFUSED };

struct entry { /* one key of the set */
    const struct fm_json *json;
    struct fm_slice kid;
    uint8_t kid_text[FM_KID_MAX];
    const char *why;
};

static enum outcome refuse(struct entry *e, const char *why)
{
    e->why = why;
    return REFUSED;
}

/* ---- members ---- */

static bool member_is(const struct entry *e, const char *name, const char *text)
{
    struct fm_json v;
    return fm_json_get(e->json, fm_slice_str(name), &v) && fm_json_is(&v, fm_slice_str(text));
}

static bool has(const struct entry *e, const char *name)
{
    struct fm_json v;
    return fm_json_get(e->json, fm_slice_str(name), &v);
}

/* Bytes in base64url. Large enough for what is taken here, or it is none of ours. */
static bool member_bytes(const struct entry *e, const char *name, struct fm_buf *out)
{
    struct fm_json v;
    uint8_t text[NUMBER_MAX];
    struct fm_slice encoded;
    size_t at;
    return fm_json_get(e->json, fm_slice_str(name), &v) && fm_json_text(&v, text, sizeof text, &encoded) == FM_OK && encoded.n > 0 &&
           fm_base64_decode(encoded, out, &at) == FM_OK;
}

/* What it is for, where it says so. */
static bool is_for_verifying(const struct entry *e)
{
    struct fm_json ops, op;
    if (has(e, "use") && !member_is(e, "use", "sig"))
        return false;
    if (!fm_json_get(e->json, FM_LIT("key_ops"), &ops))
        return true;
    for (struct fm_json_walk w = fm_json_walk_of(&ops); fm_json_next(&w, NULL, &op);)
        if (fm_json_is(&op, FM_LIT("verify")))
            return true;
    return false;
}

static bool alg_fits(const struct entry *e, enum fm_alg alg)
{
    return !has(e, "alg") || member_is(e, "alg", fm_alg_name(alg));
}

/* ---- kinds ---- */

static EVP_PKEY *pkey_make(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    ERR_clear_error();
    return pkey;
}

static EVP_PKEY *rsa_make(struct fm_slice n, struct fm_slice e)
{
    BIGNUM *modulus = BN_bin2bn(n.p, (int)n.n, NULL), *exponent = BN_bin2bn(e.p, (int)e.n, NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    if (modulus && exponent && bld && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        pkey = pkey_make("RSA", bld);
    OSSL_PARAM_BLD_free(bld);
    BN_free(modulus);
    BN_free(exponent);
    return pkey;
}

static EVP_PKEY *ec_make(struct fm_slice x, struct fm_slice y)
{
    uint8_t point[1 + 2 * POINT_BYTES] = {4}; /* uncompressed */
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    memcpy(point + 1, x.p, POINT_BYTES);
    memcpy(point + 1 + POINT_BYTES, y.p, POINT_BYTES);
    if (bld && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
        pkey = pkey_make("EC", bld);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

static enum outcome pkey_take(struct fm_key_set *set, struct entry *e, EVP_PKEY *pkey)
{
    if (!pkey)
        return refuse(e, "a key is not a valid key of its kind");
    enum fm_err err = fm_key_set_add_pkey(set, pkey, e->kid, &e->why);
    if (err && err != FM_E_INVALID)
        e->why = err == FM_E_TOO_MANY ? "there are more keys than 64" : fm_err_text(err);
    return err ? REFUSED : TAKEN;
}

static enum outcome rsa_take(struct fm_key_set *set, struct entry *e)
{
    struct fm_buf n = {0}, exponent = {0};
    enum outcome r;
    if (!alg_fits(e, FM_ALG_RS256))
        return PASSED;
    if (!member_bytes(e, "n", &n) || !member_bytes(e, "e", &exponent) || exponent.n > EXPONENT_MAX)
        r = refuse(e, "an RSA key lacks a usable n or e");
    else
        r = pkey_take(set, e, rsa_make(fm_buf_view(&n), fm_buf_view(&exponent)));
    fm_buf_fini(&n);
    fm_buf_fini(&exponent);
    return r;
}

static enum outcome ec_take(struct fm_key_set *set, struct entry *e)
{
    struct fm_buf x = {0}, y = {0};
    enum outcome r;
    if (!alg_fits(e, FM_ALG_ES256) || !member_is(e, "crv", "P-256"))
        return PASSED;
    if (!member_bytes(e, "x", &x) || !member_bytes(e, "y", &y) || x.n != POINT_BYTES || y.n != POINT_BYTES)
        r = refuse(e, "a P-256 key lacks an x or y of 32 bytes");
    else
        r = pkey_take(set, e, ec_make(fm_buf_view(&x), fm_buf_view(&y)));
    fm_buf_fini(&x);
    fm_buf_fini(&y);
    return r;
}

static enum outcome secret_take(struct fm_key_set *set, struct entry *e, bool secrets)
{
    struct fm_buf k = {0};
    enum outcome r = TAKEN;
    if (!alg_fits(e, FM_ALG_HS256))
        return PASSED;
    if (!secrets)
        return refuse(e, "a secret key lies where others can read it");
    if (!member_bytes(e, "k", &k)) {
        r = refuse(e, "a secret key lacks a usable k");
    } else {
        enum fm_err err = fm_key_set_add_secret(set, fm_buf_view(&k), e->kid, &e->why);
        if (err && err != FM_E_INVALID)
            e->why = err == FM_E_TOO_MANY ? "there are more keys than 64" : fm_err_text(err);
        r = err ? REFUSED : TAKEN;
    }
    if (k.p)
        explicit_bzero(k.p, k.n);
    fm_buf_fini(&k);
    return r;
}

static enum outcome entry_take(struct fm_key_set *set, struct entry *e, bool secrets)
{
    struct fm_json kid;
    if (e->json->type != FM_JSON_OBJECT || !fm_json_names_differ(e->json, MEMBERS_MAX))
        return refuse(e, "a key is not a JSON object with each name once");
    if (!is_for_verifying(e))
        return PASSED;
    e->kid = fm_slice_of(NULL, 0);
    if (fm_json_get(e->json, FM_LIT("kid"), &kid) && fm_json_text(&kid, e->kid_text, sizeof e->kid_text, &e->kid) != FM_OK)
        return refuse(e, "a kid is not a text of at most 256 bytes");
    if (member_is(e, "kty", "oct"))
        return secret_take(set, e, secrets);
    if (has(e, "d"))
        return refuse(e, "a private key lies among those that verify");
    if (member_is(e, "kty", "RSA"))
        return rsa_take(set, e);
    return member_is(e, "kty", "EC") ? ec_take(set, e) : PASSED;
}

enum fm_err fm_key_set_add_jwks(struct fm_key_set *set, struct fm_slice text, bool secrets, struct fm_jwks_read *read, const char **why)
{
    struct fm_json root, keys, json;
    *read = (struct fm_jwks_read){0};
    if (text.n > FM_KEY_TEXT_MAX || fm_json_parse(text, JWKS_DEPTH, &root, NULL) != FM_OK || !fm_json_get(&root, FM_LIT("keys"), &keys) ||
        keys.type != FM_JSON_ARRAY) {
        *why = "it is not a JSON object with an array `keys`";
        return FM_E_INVALID;
    }
    if (fm_json_count(&keys) > JWKS_ENTRIES_MAX) {
        *why = "it has more than 1024 keys";
        return FM_E_INVALID;
    }
    for (struct fm_json_walk w = fm_json_walk_of(&keys); fm_json_next(&w, NULL, &json);) {
        struct entry e = {.json = &json};
        switch (entry_take(set, &e, secrets)) {
        case TAKEN:
            read->taken++;
            break;
        case PASSED:
            read->passed++;
            break;
        case REFUSED:
            read->refused++;
            read->why = e.why;
        }
    }
    return FM_OK;
}
