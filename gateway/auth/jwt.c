#include "jwt.h"

#include "../../broker/base64.h"

#include <strings.h>

enum { HEADER_DEPTH = 8, HEADER_MEMBERS_MAX = 32, NAME_MAX_BYTES = 256 };

static const char *const algs[FM_ALGS] = {"HS256", "RS256", "ES256"};

const char *fm_alg_name(enum fm_alg alg)
{
    return algs[alg];
}

bool fm_alg_of(struct fm_slice name, enum fm_alg *alg)
{
    for (enum fm_alg a = 0; a < FM_ALGS; a++) {
        if (!fm_slice_eq(name, fm_slice_str(algs[a])))
            continue;
        *alg = a;
        return true;
    }
    return false;
}

static bool fail(const char **why, const char *text)
{
    *why = text;
    return false;
}

/* ---- names ---- */

static bool name_text(const struct fm_json *name, uint8_t out[NAME_MAX_BYTES], struct fm_slice *text)
{
    return fm_json_text(name, out, NAME_MAX_BYTES, text) == FM_OK;
}

bool fm_json_names_differ(const struct fm_json *object, size_t max)
{
    size_t n = 0;
    struct fm_json name, other, value;
    for (struct fm_json_walk w = fm_json_walk_of(object); fm_json_next(&w, &name, &value); n++) {
        uint8_t a[NAME_MAX_BYTES], b[NAME_MAX_BYTES];
        struct fm_slice text, before;
        if (n >= max || !name_text(&name, a, &text))
            return false;
        size_t i = 0;
        for (struct fm_json_walk v = fm_json_walk_of(object); i < n && fm_json_next(&v, &other, &value); i++)
            if (!name_text(&other, b, &before) || fm_slice_eq(text, before))
                return false;
    }
    return true;
}

/* ---- the three parts ---- */

/* Decodes one part behind what is in jwt->decoded already. Padding and the standard alphabet are refused: two texts would stand for one
 * token. */
static bool part_decode(struct fm_slice part, struct fm_jwt *jwt, size_t *used, struct fm_slice *out)
{
    for (size_t i = 0; i < part.n; i++) {
        uint8_t c = part.p[i];
        if (c == '=' || c == '+' || c == '/')
            return false;
    }
    struct fm_buf b = {0};
    size_t at;
    bool ok = fm_base64_decode(part, &b, &at) == FM_OK && b.n <= sizeof jwt->decoded - *used;
    if (ok) {
        if (b.n)
            memcpy(jwt->decoded + *used, b.p, b.n);
        *out = fm_slice_of(jwt->decoded + *used, b.n);
        *used += b.n;
    }
    fm_buf_fini(&b);
    return ok;
}

/* Cuts what lies before the next dot off. */
static bool cut(struct fm_slice *rest, struct fm_slice *part)
{
    const uint8_t *dot = rest->n ? memchr(rest->p, '.', rest->n) : NULL;
    if (!dot)
        return false;
    *part = fm_slice_of(rest->p, (size_t)(dot - rest->p));
    *rest = fm_slice_of(dot + 1, rest->n - part->n - 1);
    return true;
}

bool fm_jwt_looks(struct fm_slice text)
{
    size_t dots = 0;
    for (size_t i = 0; i < text.n; i++)
        dots += text.p[i] == '.';
    return dots == 2;
}

/* ---- header ---- */

static bool typ_ok(const struct fm_json *typ)
{
    static const char *const known[] = {"JWT", "at+jwt", "application/at+jwt"};
    uint8_t out[32];
    struct fm_slice text;
    if (fm_json_text(typ, out, sizeof out, &text) != FM_OK)
        return false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (text.n == strlen(known[i]) && strncasecmp((const char *)text.p, known[i], text.n) == 0)
            return true;
    return false;
}

static bool header_read(struct fm_slice header, struct fm_jwt *jwt, const char **why)
{
    struct fm_json root, v;
    uint8_t out[16];
    struct fm_slice text;
    if (fm_json_parse(header, HEADER_DEPTH, &root, NULL) != FM_OK || root.type != FM_JSON_OBJECT ||
        !fm_json_names_differ(&root, HEADER_MEMBERS_MAX))
        return fail(why, "its header is not a JSON object with each name once");
    if (!fm_json_get(&root, FM_LIT("alg"), &v) || fm_json_text(&v, out, sizeof out, &text) != FM_OK || !fm_alg_of(text, &jwt->alg))
        return fail(why, "its algorithm is not one of HS256, RS256, ES256");
    if (fm_json_get(&root, FM_LIT("crit"), &v)) /* RFC 7515, 4.1.11: nothing that could stand there is understood here */
        return fail(why, "its header has critical members");
    if (fm_json_get(&root, FM_LIT("typ"), &v) && !typ_ok(&v))
        return fail(why, "its type is not JWT");
    jwt->kid = fm_slice_of(NULL, 0);
    if (fm_json_get(&root, FM_LIT("kid"), &v) &&
        (fm_json_text(&v, jwt->kid_text, sizeof jwt->kid_text, &jwt->kid) != FM_OK || jwt->kid.n == 0))
        return fail(why, "its kid is not a text of at most 256 bytes");
    return true;
}

bool fm_jwt_read(struct fm_slice token, struct fm_jwt *jwt, const char **why)
{
    struct fm_slice rest = token, header, claims, json;
    size_t used = 0;
    if (token.n > FM_TOKEN_MAX)
        return fail(why, "it is longer than 8192 bytes");
    if (!cut(&rest, &header) || !cut(&rest, &claims) || rest.n == 0 || memchr(rest.p, '.', rest.n))
        return fail(why, "it does not have three parts");
    jwt->signing = fm_slice_of(token.p, header.n + 1 + claims.n);
    if (!part_decode(header, jwt, &used, &json) || !part_decode(claims, jwt, &used, &jwt->claims) ||
        !part_decode(rest, jwt, &used, &jwt->signature))
        return fail(why, "it is not base64url without padding");
    if (jwt->signature.n > FM_SIGNATURE_MAX)
        return fail(why, "its signature is longer than any");
    return header_read(json, jwt, why);
}

bool fm_jwt_claims(const struct fm_jwt *jwt, struct fm_json *claims, const char **why)
{
    if (fm_json_parse(jwt->claims, FM_CLAIMS_DEPTH, claims, NULL) != FM_OK || claims->type != FM_JSON_OBJECT ||
        !fm_json_names_differ(claims, FM_CLAIMS_MAX))
        return fail(why, "its claims are not a JSON object with each name once");
    return true;
}
