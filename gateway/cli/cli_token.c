/* token sign, token verify. */
#include "cli_tables.h"
#include "../auth/auth.h"
#include "../auth/jwks_fetch.h"
#include "../auth/key_core.h"

#include "../../broker/base64.h"
#include "../../broker/clock.h"
#include "../../broker/diag.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { HASH_BYTES = 32, P256_BYTES = 32 };

enum { RIGHTS_N = 3 };
static const char *const rights[RIGHTS_N] = {"join", "push", "presence"}; /* in the order of enum fm_right */

/* ---- sign ---- */

struct signing {
    const struct fm_command *command;
    const struct fm_sign_options *o;
    EVP_PKEY *pkey; /* NULL: the secret */
    enum fm_alg alg;
};

static void base64url(struct fm_buf *out, struct fm_slice bytes)
{
    size_t at = out->n;
    fm_base64_encode(out, bytes);
    while (!out->failed && out->n > at && out->p[out->n - 1] == '=')
        out->n--;
    for (size_t i = at; !out->failed && i < out->n; i++)
        out->p[i] = out->p[i] == '+' ? '-' : out->p[i] == '/' ? '_' : out->p[i];
}

static void list_json(struct fm_buf *b, const char *name, const struct fm_list *list)
{
    if (list->n == 0)
        return;
    fm_buf_printf(b, ",\"%s\":[", name);
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            fm_buf_u8(b, ',');
        fm_buf_json(b, fm_slice_str(list->at[i]));
    }
    fm_buf_u8(b, ']');
}

static void text_json(struct fm_buf *b, const char *name, const char *text)
{
    if (!*text)
        return;
    fm_buf_printf(b, ",\"%s\":", name);
    fm_buf_json(b, fm_slice_str(text));
}

/* Everything that the signature is of. */
static void signing_input(struct fm_buf *token, const struct signing *s)
{
    struct fm_buf header = {0}, claims = {0};
    uint64_t now = fm_unix_s();
    fm_buf_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\"", fm_alg_name(s->alg));
    text_json(&header, "kid", s->o->kid);
    fm_buf_u8(&header, '}');
    fm_buf_printf(&claims, "{\"iat\":%llu,\"exp\":%llu", (unsigned long long)now, (unsigned long long)(now + s->o->lifetime / 1000));
    text_json(&claims, "sub", s->o->user);
    text_json(&claims, "iss", s->o->issuer);
    list_json(&claims, "aud", &s->o->audience);
    list_json(&claims, "topics", &s->o->topics);
    list_json(&claims, "rights", &s->o->rights);
    fm_buf_u8(&claims, '}');
    base64url(token, fm_buf_view(&header));
    fm_buf_u8(token, '.');
    base64url(token, fm_buf_view(&claims));
    token->failed = token->failed || header.failed || claims.failed;
    fm_buf_fini(&header);
    fm_buf_fini(&claims);
}

/* OpenSSL's DER as r and s, 32 bytes each. */
static bool ecdsa_raw(struct fm_slice der, uint8_t out[2 * P256_BYTES])
{
    const unsigned char *p = der.p;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.n);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, P256_BYTES) == P256_BYTES &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + P256_BYTES, P256_BYTES) == P256_BYTES;
    ECDSA_SIG_free(sig);
    return ok;
}

static bool pkey_sign(const struct signing *s, struct fm_slice text, struct fm_buf *token)
{
    uint8_t signature[FM_SIGNATURE_MAX], raw[2 * P256_BYTES];
    size_t n = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok =
        ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, s->pkey) == 1 && EVP_DigestSign(ctx, signature, &n, text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    if (ok && s->alg == FM_ALG_ES256) {
        ok = ecdsa_raw(fm_slice_of(signature, n), raw);
        base64url(token, fm_slice_of(raw, sizeof raw));
    } else if (ok) {
        base64url(token, fm_slice_of(signature, n));
    }
    return ok;
}

static enum fm_exit sign(const struct signing *s)
{
    struct fm_buf token = {0};
    uint8_t mac[HASH_BYTES];
    unsigned n = sizeof mac;
    signing_input(&token, s);
    struct fm_buf signature = {0};
    bool ok = !token.failed;
    if (ok && s->pkey)
        ok = pkey_sign(s, fm_buf_view(&token), &signature);
    else if (ok && HMAC(EVP_sha256(), s->o->token_secret, (int)strlen(s->o->token_secret), token.p, token.n, mac, &n))
        base64url(&signature, fm_slice_of(mac, n));
    fm_buf_u8(&token, '.');
    fm_buf_slice(&token, fm_buf_view(&signature));
    fm_buf_u8(&token, '\n');
    enum fm_exit code = FM_EXIT_FAILED;
    if (ok && !signature.failed)
        code = fm_cli_print(s->command, &token);
    else
        fm_cli_complain(s->command, "the key does not sign");
    fm_buf_fini(&signature);
    fm_buf_fini(&token);
    return code;
}

/* The key that the options name; a node would not verify with a weaker one. */
static bool key_take(struct signing *s)
{
    const struct fm_sign_options *o = s->o;
    const char *why = NULL;
    char quote[256];
    if (!*o->private_key_file == !*o->token_secret) {
        fm_cli_complain(s->command, "give one key: --token-secret-file (or FANMESH_TOKEN_SECRET), or --private-key-file");
        return false;
    }
    if (*o->token_secret) {
        s->alg = FM_ALG_HS256;
        if (strlen(o->token_secret) >= FM_SECRET_KEY_MIN)
            return true;
        fm_cli_complain(s->command, "a secret for HS256 needs at least 32 bytes");
        return false;
    }
    BIO *bio = BIO_new_file(o->private_key_file, "r");
    s->pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, "") : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (s->pkey && fm_key_judge(s->pkey, &s->alg, &why) == FM_OK)
        return true;
    fm_cli_complain(s->command, "private_key_file = %s: %s",
                    fm_diag_quote(quote, sizeof quote, o->private_key_file, strlen(o->private_key_file)),
                    why ? why : "it can't be read as a private key in PEM");
    return false;
}

/* A right that no node knows makes the whole token worthless. */
static bool rights_known(const struct signing *s)
{
    char quote[128];
    for (size_t i = 0; i < s->o->rights.n; i++) {
        const char *word = s->o->rights.at[i];
        size_t k = 0;
        while (k < RIGHTS_N && strcmp(rights[k], word) != 0)
            k++;
        if (k == RIGHTS_N) {
            fm_cli_complain(s->command, "--rights takes join, push and presence, not %s",
                            fm_diag_quote(quote, sizeof quote, word, strlen(word)));
            return false;
        }
    }
    return true;
}

/* So does a topic that is no pattern. */
static bool topics_good(const struct signing *s)
{
    char quote[128];
    struct fm_grant grant;
    for (size_t i = 0; i < s->o->topics.n; i++) {
        const char *pattern = s->o->topics.at[i];
        if (fm_grant_of(fm_slice_str(pattern), FM_RIGHTS_ALL, &grant))
            continue;
        fm_cli_complain(s->command, "--topics takes topics, or their beginning and one `*`, not %s",
                        fm_diag_quote(quote, sizeof quote, pattern, strlen(pattern)));
        return false;
    }
    return true;
}

enum fm_exit fm_run_token__sign(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_report report = {0};
    struct fm_sign_options base = {0};
    struct fm_from from[FM_SIGN_OPTIONS_N];
    struct fm_option_set set = {fm_sign_options, FM_SIGN_OPTIONS_N, &base, from, NULL, &report};
    struct fm_args args;
    bool go;
    enum fm_exit code = fm_cli_options(command, &set, &args, argc, argv, &go);
    struct signing s = {.command = command, .o = &base};
    if (go && (!fm_cli_positionals(command, &args, 0) || !topics_good(&s) || !rights_known(&s) || !key_take(&s)))
        code = FM_EXIT_USAGE;
    else if (go)
        code = sign(&s);
    EVP_PKEY_free(s.pkey);
    fm_options_fini(fm_sign_options, FM_SIGN_OPTIONS_N, &base);
    fm_args_fini(&args);
    fm_report_fini(&report);
    return code;
}

/* ---- verify ---- */

/* Standard input without white space at its end; a token that is too long is left longer than any. */
static size_t token_read(char out[FM_TOKEN_MAX + 2])
{
    size_t n = fread(out, 1, FM_TOKEN_MAX + 1, stdin);
    while (n && strchr(" \t\r\n", out[n - 1]))
        n--;
    out[n] = 0;
    return n;
}

static void identity_print(struct fm_buf *b, const struct fm_identity *id)
{
    fm_buf_str(b, "{\"user\":");
    fm_buf_json(b, id->user);
    fm_buf_printf(b, ",\"issued\":%llu,\"until\":%llu,\"topics\":{", (unsigned long long)id->issued_s, (unsigned long long)id->until_s);
    for (uint32_t i = 0; i < id->grants_n; i++) {
        const struct fm_grant *g = &id->grants[i];
        struct fm_buf pattern = {0};
        fm_buf_slice(&pattern, g->topic);
        fm_buf_str(&pattern, g->prefix ? "*" : "");
        fm_buf_str(b, i ? "," : "");
        fm_buf_json(b, fm_buf_view(&pattern));
        fm_buf_str(b, ":[");
        for (unsigned k = 0, any = 0; k < RIGHTS_N; k++)
            if (g->rights & 1u << k)
                fm_buf_printf(b, "%s\"%s\"", any++ ? "," : "", rights[k]);
        fm_buf_u8(b, ']');
        fm_buf_fini(&pattern);
    }
    fm_buf_str(b, "}}\n");
}

/* As a node: of all keys that fit one must do. A URL that gives no keys matters only where the others don't. */
static enum fm_exit judge(const struct fm_command *command, const struct fm_settings *s, const struct fm_auth *auth, struct fm_slice token)
{
    const struct fm_jwks_config config = {
        .url = s->token_jwks_url, .ca = s->token_jwks_ca, .timeout_ms = (uint32_t)s->token_jwks_timeout_ms};
    struct fm_identity *id = NULL;
    struct fm_token_fault fault;
    struct fm_buf out = {0};
    struct fm_jwks_read read = {0};
    char why[FM_JWKS_WHY_MAX], quote[256];
    struct fm_key_set *fetched = auth->from_url ? fm_jwks_get(&config, &read, why) : NULL;
    enum fm_exit code = FM_EXIT_FAILED;
    bool good = fm_auth_verify(auth, fetched, token, fm_unix_s(), &id, &fault);
    if (auth->from_url && !fetched)
        fm_cli_complain(command, "%stoken_jwks_url = %s gives no keys: %s", good ? "warning: " : "",
                        fm_cli_url(quote, sizeof quote, config.url), why);
    else if (!good && read.refused)
        fm_cli_complain(command, "warning: of the keys at token_jwks_url %u can't be used: %s", read.refused, read.why ? read.why : "");
    if (good) {
        identity_print(&out, id);
        code = fm_cli_print(command, &out);
    } else {
        fm_cli_complain(command, "%s: %s%s%s", fm_err_code(fault.err), fm_err_text(fault.err), fault.why ? ": " : "",
                        fault.why ? fault.why : "");
    }
    fm_identity_unref(&id);
    fm_key_set_unref(&fetched);
    fm_buf_fini(&out);
    return code;
}

static enum fm_exit verify(const struct fm_command *command, const struct fm_settings *s)
{
    struct fm_auth *auth = NULL;
    struct fm_buf why = {0};
    char token[FM_TOKEN_MAX + 2];
    enum fm_exit code = FM_EXIT_USAGE;
    if (fm_auth_new(&auth, s, &why) != FM_OK) {
        fm_cli_report(command, &why, "");
    } else if (!auth) {
        fm_cli_complain(command, "there are no keys; give token_secret_file, token_key_file or token_jwks_url, or the node's settings by "
                                 "--config");
    } else {
        size_t n = token_read(token);
        if (n)
            code = judge(command, s, auth, fm_slice_of(token, n));
        else
            fm_cli_complain(command, "standard input holds no token: fanmesh token verify <FILE");
        explicit_bzero(token, sizeof token);
    }
    fm_auth_free(&auth);
    fm_buf_fini(&why);
    return code;
}

/* The settings of a node, of which only those of tokens need make sense here. */
enum fm_exit fm_run_token__verify(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_settings s = {0};
    struct fm_report report = {0};
    struct fm_option_set set;
    struct fm_args args = {0};
    enum fm_exit code = FM_EXIT_USAGE;
    bool ready = fm_settings_init(&s, &report, &set) && fm_args_read(&args, &set, argc, argv);
    if (ready && args.help) {
        struct fm_buf text = {0};
        fm_cli_help(&text, command);
        code = fm_cli_print(command, &text);
        fm_buf_fini(&text);
    } else if (ready && args.positionals) { /* it may be the token, which is not to be told */
        fm_cli_complain(command, "takes no arguments; the token comes from standard input: fanmesh token verify <FILE");
    } else if (ready) {
        const char *path = fm_args_value(&args, "config");
        path = path ? path : fm_env_value(environ, "config");
        set.file = path;
        if (path)
            fm_settings_file(&set, &s, path);
        fm_env_apply(&set, environ);
        fm_args_apply(&args, &set);
        fm_option_secret_file(&set, "token_secret", "token_secret_file", false);
        fm_auth_settings_check(&set, &s);
        fm_cli_report(command, &report.warnings, "warning: ");
        fm_cli_report(command, &report.errors, "");
        if (report.n_errors == 0)
            code = verify(command, &s);
    } else {
        fm_cli_report(command, &report.errors, "");
    }
    fm_args_fini(&args);
    fm_report_fini(&report);
    fm_settings_fini(&s);
    return code;
}
