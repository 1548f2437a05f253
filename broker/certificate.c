#include "certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

enum fm_err fm_certificate_bad(struct fm_buf *why, const char *option, const char *file, const char *reason)
{
    unsigned long e = ERR_peek_error();
    bool empty = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
    const char *said = empty ? "it holds no PEM block of the kind that belongs there" : ERR_reason_error_string(e);
    fm_buf_printf(why, "%s %s can't be used: %s", option, file,
                  reason                ? reason
                  : ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e))
                  : said                ? said
                                        : "unknown");
    ERR_clear_error();
    return FM_E_IO;
}

/* OpenSSL would ask whoever sits at the terminal, and a service has nobody there. */
static int no_password(char *buffer, int size, int writing, void *asked)
{
    (void)buffer, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static enum fm_err key_use(SSL_CTX *context, const struct fm_certificate_files *files, struct fm_buf *why)
{
    bool asked = false;
    SSL_CTX_set_default_passwd_cb(context, no_password);
    SSL_CTX_set_default_passwd_cb_userdata(context, &asked);
    bool used = SSL_CTX_use_PrivateKey_file(context, files->key_file, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(context) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
    if (used)
        return FM_OK;
    unsigned long e = ERR_peek_error();
    /* A key of another kind than the certificate's is taken for one whose certificate is yet to come. */
    bool other = (ERR_GET_LIB(e) == ERR_LIB_X509 && ERR_GET_REASON(e) == X509_R_KEY_VALUES_MISMATCH) ||
                 (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_NO_CERTIFICATE_ASSIGNED);
    if (asked)
        return fm_certificate_bad(why, files->key_option, files->key_file,
                                  "it is encrypted; give one without a password, readable by this user alone");
    if (!other)
        return fm_certificate_bad(why, files->key_option, files->key_file, NULL);
    fm_buf_printf(why, "%s %s can't be used: it is not the key of the certificate in %s (mismatch)", files->key_option, files->key_file,
                  files->cert_file);
    ERR_clear_error();
    return FM_E_IO;
}

enum fm_err fm_certificate_use(struct ssl_ctx_st *context, const struct fm_certificate_files *files, struct fm_buf *why)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, files->cert_file) != 1)
        return fm_certificate_bad(why, files->cert_option, files->cert_file, NULL);
    return key_use(context, files, why);
}

/* ---- for people ---- */

static void names_read(const X509 *x, char *out, size_t size)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
        if (name->type != GEN_DNS)
            continue;
        int more = snprintf(out + n, size - n, "%s%.*s", n ? "," : "", ASN1_STRING_length(name->d.dNSName),
                            (const char *)ASN1_STRING_get0_data(name->d.dNSName));
        if (more < 0 || (size_t)more >= size - n)
            break;
        n += (size_t)more;
    }
    GENERAL_NAMES_free(all);
    if (n == 0)
        X509_NAME_oneline(X509_get_subject_name(x), out, (int)size);
}

void fm_certificate_read(const struct ssl_ctx_st *context, struct fm_certificate *c)
{
    X509 *x = SSL_CTX_get0_certificate(context);
    unsigned n = sizeof c->print;
    struct tm tm = {0};
    *c = (struct fm_certificate){0};
    if (!x || X509_digest(x, EVP_sha256(), c->print, &n) != 1)
        return;
    names_read(x, c->names, sizeof c->names);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1)
        strftime(c->until, sizeof c->until, "%Y-%m-%dT%H:%M:%SZ", &tm);
    c->over = X509_cmp_current_time(X509_get0_notAfter(x)) < 0;
    c->early = X509_cmp_current_time(X509_get0_notBefore(x)) > 0;
}
