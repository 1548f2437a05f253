/* Sealing: speed against the number of keys. Every (incarnation, plane) has a key of its own, and deriving one costs more than opening a
 * small envelope, so derived keys are kept. The table is bounded, and a key enters it only after an envelope opened with it: whoever
 * doesn't know the secret can make a node derive, but can't push out the keys of its peers. */
#include "envelope.h"

#include "diag.h"

#include <assert.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdlib.h>

enum {
    VERSION = 6,
    FLAG_SEALED = 1,
    KEY_SIZE = 32,
    NONCE_SIZE = 12,
    WAYS = 4,
    SETS = 128, /* 512 keys, 24 KiB: more than FM_PEERS_MAX peers on three planes */
};

struct cached_key {
    uint64_t incarnation; /* 0: free */
    uint64_t used;        /* the value of seal->uses at the last use */
    enum fm_plane plane;
    uint8_t key[KEY_SIZE];
};

struct fm_seal {
    uint64_t incarnation;
    uint64_t counters[FM_PLANES]; /* the last one of each plane */
    uint32_t tag;                 /* of the cluster */
    bool sealed;
    uint8_t *secret;
    size_t secret_n;
    uint8_t cluster[FM_NAME_MAX];
    size_t cluster_n;
    EVP_KDF_CTX *kdf;
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *closing, *opening;
    uint64_t uses;
    struct cached_key own[FM_PLANES]; /* derived at the start */
    struct cached_key keys[SETS][WAYS];
};

/* ---- keys ---- */

static bool derive(struct fm_seal *s, uint64_t incarnation, enum fm_plane plane, struct cached_key *out)
{
    struct fm_buf info = {0};
    fm_buf_str(&info, "fanmesh mesh 1");
    fm_buf_u8(&info, (uint8_t)plane);
    fm_buf_u64(&info, incarnation);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, s->secret, s->secret_n),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, s->cluster, s->cluster_n),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.p, info.n),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF_CTX_reset(s->kdf);
    *out = (struct cached_key){.incarnation = incarnation, .plane = plane};
    bool ok = !info.failed && EVP_KDF_derive(s->kdf, out->key, sizeof out->key, params) == 1;
    fm_buf_fini(&info);
    return ok;
}

static struct cached_key *set_of(struct fm_seal *s, uint64_t incarnation, enum fm_plane plane)
{
    uint64_t id[2] = {incarnation, (uint64_t)plane};
    return s->keys[fm_slice_hash(fm_slice_of(id, sizeof id)) % SETS];
}

static struct cached_key *find_key(struct fm_seal *s, uint64_t incarnation, enum fm_plane plane)
{
    struct cached_key *set = set_of(s, incarnation, plane);
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].incarnation == incarnation && set[i].plane == plane)
            return &set[i];
    return NULL;
}

/* Replaces the key of its set that was not used for longest. */
static void keep_key(struct fm_seal *s, const struct cached_key *key)
{
    struct cached_key *set = set_of(s, key->incarnation, key->plane), *oldest = set;
    for (size_t i = 1; i < WAYS; i++)
        if (set[i].used < oldest->used)
            oldest = &set[i];
    *oldest = *key;
}

/* ---- life ---- */

static bool prepare_crypto(struct fm_seal *s)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    s->kdf = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    EVP_KDF_free(kdf);
    s->cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    s->closing = EVP_CIPHER_CTX_new();
    s->opening = EVP_CIPHER_CTX_new();
    bool ok = s->kdf && s->cipher && s->closing && s->opening;
    for (unsigned i = 0; ok && i < FM_PLANES; i++)
        ok = derive(s, s->incarnation, (enum fm_plane)(FM_PLANE_BUS + i), &s->own[i]);
    if (!ok)
        fm_diag(FM_ERROR, "seal_unavailable", "kdf=%s cipher=%s then=\"the mesh needs OpenSSL's default provider\"",
                s->kdf ? "HKDF" : "missing", s->cipher ? "ChaCha20-Poly1305" : "missing");
    return ok;
}

/* A public hash of the cluster's name, the same on every node. */
static bool cluster_tag(struct fm_slice cluster, uint32_t *tag)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    if (EVP_Digest(cluster.p, cluster.n, md, NULL, EVP_sha256(), NULL) != 1)
        return false;
    struct fm_rd r = fm_rd_of(fm_slice_of(md, 4));
    *tag = fm_rd_u32(&r);
    return true;
}

enum fm_err fm_seal_new(struct fm_seal **seal, struct fm_slice cluster, struct fm_slice secret, uint64_t incarnation)
{
    *seal = NULL;
    if (incarnation == 0 || cluster.n == 0 || cluster.n > FM_NAME_MAX)
        return FM_E_INVALID;
    struct fm_seal *s = calloc(1, sizeof *s);
    if (!s)
        return FM_E_NOMEM;
    s->incarnation = incarnation;
    s->sealed = secret.n > 0;
    memcpy(s->cluster, cluster.p, cluster.n);
    s->cluster_n = cluster.n;
    enum fm_err err = FM_E_IO;
    if (!cluster_tag(cluster, &s->tag))
        goto fail;
    if (s->sealed) {
        s->secret = malloc(secret.n);
        if (!s->secret) {
            err = FM_E_NOMEM;
            goto fail;
        }
        memcpy(s->secret, secret.p, secret.n);
        s->secret_n = secret.n;
        if (!prepare_crypto(s))
            goto fail;
    }
    *seal = s;
    return FM_OK;
fail:
    fm_seal_free(&s);
    return err;
}

void fm_seal_free(struct fm_seal **seal)
{
    struct fm_seal *s = *seal;
    *seal = NULL;
    if (!s)
        return;
    EVP_KDF_CTX_free(s->kdf);
    EVP_CIPHER_free(s->cipher);
    EVP_CIPHER_CTX_free(s->closing);
    EVP_CIPHER_CTX_free(s->opening);
    if (s->secret)
        OPENSSL_cleanse(s->secret, s->secret_n);
    free(s->secret);
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
}

/* ---- what both directions share ---- */

static void nonce_of(uint64_t counter, uint8_t nonce[NONCE_SIZE])
{
    memset(nonce, 0, NONCE_SIZE);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(counter >> (8 * i));
}

/* Authenticated beside the header: what this envelope answers to. */
static void bind_of(struct fm_env_bind bind, uint8_t out[16])
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(bind.incarnation >> (8 * i));
        out[8 + i] = (uint8_t)(bind.counter >> (8 * i));
    }
}

/* ---- closing ---- */

static bool encrypt(struct fm_seal *s, enum fm_plane plane, uint64_t counter, struct fm_env_bind bind, struct fm_slice body,
                    uint8_t *envelope)
{
    uint8_t nonce[NONCE_SIZE], bound[16];
    nonce_of(counter, nonce);
    bind_of(bind, bound);
    uint8_t *to = envelope + FM_ENV_HEADER;
    int n = 0;
    return EVP_EncryptInit_ex2(s->closing, s->cipher, s->own[plane - FM_PLANE_BUS].key, nonce, NULL) == 1 &&
           EVP_EncryptUpdate(s->closing, NULL, &n, envelope, FM_ENV_HEADER) == 1 &&
           EVP_EncryptUpdate(s->closing, NULL, &n, bound, sizeof bound) == 1 &&
           (body.n == 0 || EVP_EncryptUpdate(s->closing, to, &n, body.p, (int)body.n) == 1) &&
           EVP_EncryptFinal_ex(s->closing, to + body.n, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(s->closing, EVP_CTRL_AEAD_GET_TAG, FM_ENV_TAG, to + body.n) == 1;
}

enum fm_err fm_seal_close(struct fm_seal *s, enum fm_plane plane, struct fm_env_bind bind, struct fm_slice body, struct fm_buf *out,
                          uint64_t *counter)
{
    assert(plane >= FM_PLANE_BUS && plane <= FM_PLANE_ANSWER);
    out->n = 0;
    out->failed = false;
    if (body.n > INT_MAX - FM_ENV_HEADER - FM_ENV_TAG)
        return FM_E_TOO_LARGE;
    if (!fm_buf_reserve(out, FM_ENV_HEADER + body.n + FM_ENV_TAG))
        return FM_E_NOMEM;
    uint64_t number = ++s->counters[plane - FM_PLANE_BUS]; /* also spent if sealing fails: a nonce is never used twice */
    fm_buf_str(out, "FM");
    fm_buf_u8(out, VERSION);
    fm_buf_u8(out, s->sealed ? FLAG_SEALED : 0);
    fm_buf_u8(out, (uint8_t)plane);
    fm_buf_put(out, (uint8_t[3]){0}, 3);
    fm_buf_u32(out, s->tag);
    fm_buf_u64(out, s->incarnation);
    fm_buf_u64(out, number);
    assert(out->n == FM_ENV_HEADER);
    if (counter)
        *counter = number;
    if (!s->sealed) {
        fm_buf_slice(out, body);
        return FM_OK;
    }
    if (!encrypt(s, plane, number, bind, body, out->p)) {
        out->n = 0;
        return FM_E_IO;
    }
    out->n += body.n + FM_ENV_TAG;
    return FM_OK;
}

/* ---- opening ---- */

static bool decrypt(struct fm_seal *s, const struct cached_key *key, struct fm_env_bind bind, uint64_t counter, uint8_t *envelope,
                    size_t body_n)
{
    uint8_t nonce[NONCE_SIZE], bound[16];
    nonce_of(counter, nonce);
    bind_of(bind, bound);
    uint8_t *body = envelope + FM_ENV_HEADER;
    int n = 0;
    return EVP_DecryptInit_ex2(s->opening, s->cipher, key->key, nonce, NULL) == 1 &&
           EVP_CIPHER_CTX_ctrl(s->opening, EVP_CTRL_AEAD_SET_TAG, FM_ENV_TAG, body + body_n) == 1 &&
           EVP_DecryptUpdate(s->opening, NULL, &n, envelope, FM_ENV_HEADER) == 1 &&
           EVP_DecryptUpdate(s->opening, NULL, &n, bound, sizeof bound) == 1 &&
           (body_n == 0 || EVP_DecryptUpdate(s->opening, body, &n, body, (int)body_n) == 1) &&
           EVP_DecryptFinal_ex(s->opening, body + body_n, &n) == 1;
}

static enum fm_err open_sealed(struct fm_seal *s, struct fm_env_bind bind, uint8_t *bytes, size_t n, struct fm_env *env)
{
    if (n < FM_ENV_HEADER + FM_ENV_TAG)
        return FM_E_SHORT;
    size_t body_n = n - FM_ENV_HEADER - FM_ENV_TAG;
    struct cached_key *held = find_key(s, env->incarnation, env->plane), fresh;
    s->uses++;
    if (held) {
        held->used = s->uses;
        if (!decrypt(s, held, bind, env->counter, bytes, body_n))
            return FM_E_AUTH;
    } else {
        if (!derive(s, env->incarnation, env->plane, &fresh))
            return FM_E_NOMEM;
        bool ok = decrypt(s, &fresh, bind, env->counter, bytes, body_n);
        fresh.used = s->uses;
        if (ok)
            keep_key(s, &fresh);
        OPENSSL_cleanse(&fresh, sizeof fresh);
        if (!ok)
            return FM_E_AUTH;
    }
    env->body = fm_slice_of(bytes + FM_ENV_HEADER, body_n);
    return FM_OK;
}

enum fm_err fm_seal_open(struct fm_seal *s, enum fm_plane plane, struct fm_env_bind bind, uint8_t *bytes, size_t n, struct fm_env *env)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(bytes, n));
    *env = (struct fm_env){.plane = plane};
    if (n > INT_MAX) /* none is; OpenSSL counts in int */
        return FM_E_SYNTAX;
    if (!fm_slice_eq(fm_rd_bytes(&r, 2), FM_LIT("FM")))
        return r.bad ? FM_E_SHORT : FM_E_SYNTAX;
    uint8_t version = fm_rd_u8(&r);
    if (!r.bad && version != VERSION)
        return FM_E_VERSION;
    uint8_t flags = fm_rd_u8(&r), plane_in = fm_rd_u8(&r);
    struct fm_slice zeros = fm_rd_bytes(&r, 3);
    uint32_t tag = fm_rd_u32(&r);
    env->incarnation = fm_rd_u64(&r);
    env->counter = fm_rd_u64(&r);
    if (r.bad)
        return FM_E_SHORT;
    if (flags & ~FLAG_SEALED || plane_in != plane || !fm_slice_eq(zeros, fm_slice_of((uint8_t[3]){0}, 3)))
        return FM_E_SYNTAX;
    if (env->incarnation == 0 || env->counter == 0)
        return FM_E_SYNTAX;
    if (tag != s->tag)
        return FM_E_CLUSTER;
    if ((flags & FLAG_SEALED) != (s->sealed ? FLAG_SEALED : 0))
        return FM_E_AUTH;
    if (s->sealed)
        return open_sealed(s, bind, bytes, n, env);
    env->body = fm_slice_of(bytes + FM_ENV_HEADER, n - FM_ENV_HEADER);
    return FM_OK;
}
