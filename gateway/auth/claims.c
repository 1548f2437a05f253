#include "claims.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 1024, AUDIENCES_MAX = 64, PATTERN_MAX = FM_TOPIC_MAX + 1 };

static const char placeholder[] = "{user}";
static const struct {
    const char *word;
    enum fm_right right;
} right_words[] = {{"join", FM_RIGHT_JOIN}, {"push", FM_RIGHT_PUSH}, {"presence", FM_RIGHT_PRESENCE}};

struct reading {
    const struct fm_json *claims;
    const struct fm_claims_rules *rules;
    uint64_t now_s, issued_s, until_s;
    struct fm_slice user;
    uint8_t user_text[FM_USER_MAX];
    struct fm_grant grants[FM_GRANTS_MAX];
    uint32_t grants_n;
    struct fm_buf text; /* what the grants point into; it must not move, so its room is made first */
    struct fm_token_fault fault;
};

static bool fail(struct reading *r, enum fm_err err, const char *why)
{
    r->fault = (struct fm_token_fault){err, why};
    return false;
}

static bool bad(struct reading *r, const char *why)
{
    return fail(r, FM_E_TOKEN, why);
}

/* A member that is there and not null. */
static bool claim(const struct reading *r, const char *name, struct fm_json *v)
{
    return fm_json_get(r->claims, fm_slice_str(name), v) && v->type != FM_JSON_NULL;
}

/* ---- whose and for whom ---- */

static bool issuer_ok(struct reading *r)
{
    struct fm_json v;
    if (!*r->rules->issuer)
        return true;
    return (claim(r, "iss", &v) && fm_json_is(&v, fm_slice_str(r->rules->issuer))) || bad(r, "it is of another issuer (iss)");
}

static bool is_one_of(const struct fm_json *v, const char *const *texts)
{
    for (; texts && *texts; texts++)
        if (fm_json_is(v, fm_slice_str(*texts)))
            return true;
    return false;
}

/* The word `none` in the option: the keys of a Supabase project have no audience, its users' tokens have. */
static bool takes_none(const char *const *own)
{
    while (*own && strcmp(*own, "none") != 0)
        own++;
    return *own != NULL;
}

/* RFC 7519, 4.1.3: who is not named must refuse it; so a token that names anyone needs the option. */
static bool audience_ok(struct reading *r)
{
    struct fm_json aud, item;
    const char *const *own = r->rules->audiences;
    if (!claim(r, "aud", &aud))
        return !own || !*own || takes_none(own) || bad(r, "it names no audience (aud)");
    if (!own || !*own)
        return bad(r, "it names an audience (aud), and the option token_audience is not set");
    if (aud.type != FM_JSON_ARRAY)
        return is_one_of(&aud, own) || bad(r, "it is for another audience (aud)");
    size_t n = 0;
    for (struct fm_json_walk w = fm_json_walk_of(&aud); n < AUDIENCES_MAX && fm_json_next(&w, NULL, &item); n++)
        if (is_one_of(&item, own))
            return true;
    return bad(r, "it is for another audience (aud)");
}

/* ---- when ---- */

/* A NumericDate (RFC 7519, 2); what it has behind the point is cut off. */
static bool date_read(const struct fm_json *v, uint64_t *out)
{
    if (v->type != FM_JSON_NUMBER)
        return false;
    struct fm_slice text = v->raw;
    const uint8_t *point = memchr(text.p, '.', text.n);
    for (const uint8_t *p = point; p && p < text.p + text.n; p++)
        if ((*p | 0x20) == 'e')
            return false;
    if (point)
        text.n = (size_t)(point - text.p);
    return fm_slice_u64(text, (uint64_t)1 << 48, out) == FM_OK;
}

static bool times_ok(struct reading *r)
{
    const struct fm_claims_rules *rules = r->rules;
    struct fm_json v;
    uint64_t exp, nbf, iat = 0;
    if (!claim(r, "exp", &v))
        return bad(r, "it never ends (exp is missing)");
    if (!date_read(&v, &exp))
        return bad(r, "its exp is not a time");
    if (claim(r, "nbf", &v) && (!date_read(&v, &nbf) || nbf > r->now_s + rules->leeway_s))
        return bad(r, "it is not valid yet (nbf)");
    bool has_iat = claim(r, "iat", &v);
    if (has_iat && (!date_read(&v, &iat) || iat > r->now_s + rules->leeway_s))
        return bad(r, "it was made in the future (iat)");
    if (r->now_s >= exp + rules->leeway_s)
        return fail(r, FM_E_TOKEN_EXPIRED, "its time is over (exp)");
    /* One that does not say when it was made counts as made as early as can be: then a revocation misses none, and may be kept for no
     * longer than the longest life. */
    if (!has_iat)
        iat = exp > rules->lifetime_max_s ? exp - rules->lifetime_max_s : 0;
    bool longer = iat > r->now_s + rules->leeway_s || (exp > iat && exp - iat > rules->lifetime_max_s);
    if (longer && r->user.n) /* of one that is nobody's there is nothing to revoke */
        return bad(r, "it lives longer than token_lifetime_max (exp)");
    r->issued_s = iat;
    r->until_s = exp + rules->leeway_s;
    return true;
}

/* ---- who ---- */

static bool user_read(struct reading *r)
{
    struct fm_json v;
    uint64_t number;
    r->user = fm_slice_of(NULL, 0);
    if (!claim(r, r->rules->user_claim, &v))
        return true;
    if (v.type == FM_JSON_NUMBER && fm_json_u64(&v, UINT64_MAX, &number) == FM_OK) {
        r->user = v.raw;
        return true;
    }
    if (fm_json_text(&v, r->user_text, sizeof r->user_text, &r->user) != FM_OK || r->user.n > FM_USER_MAX ||
        (r->user.n && memchr(r->user.p, 0, r->user.n)))
        return bad(r, "its user is not a text of at most 255 bytes, nor a whole number");
    return true;
}

/* ---- what ---- */

static bool right_add(const struct fm_json *word, unsigned *rights)
{
    for (size_t i = 0; i < sizeof right_words / sizeof right_words[0]; i++) {
        if (!fm_json_is(word, fm_slice_str(right_words[i].word)))
            continue;
        *rights |= (unsigned)right_words[i].right;
        return true;
    }
    return false;
}

static bool rights_read(struct reading *r, const struct fm_json *v, unsigned *rights)
{
    struct fm_json word;
    *rights = 0;
    bool ok = v->type == FM_JSON_ARRAY || right_add(v, rights);
    for (struct fm_json_walk w = fm_json_walk_of(v); ok && v->type == FM_JSON_ARRAY && fm_json_next(&w, NULL, &word);)
        ok = right_add(&word, rights);
    return ok || bad(r, "its rights are not of join, push, presence");
}

static bool grant_add(struct reading *r, struct fm_grant grant)
{
    if (r->grants_n == FM_GRANTS_MAX)
        return bad(r, "it grants more than 256 patterns of topics");
    r->grants[r->grants_n++] = grant;
    return true;
}

static bool topic_add(struct reading *r, const struct fm_json *pattern, unsigned rights)
{
    uint8_t out[PATTERN_MAX];
    struct fm_slice text;
    struct fm_grant grant;
    if (fm_json_text(pattern, out, sizeof out, &text) != FM_OK || text.n > PATTERN_MAX || r->text.cap - r->text.n < text.n)
        return bad(r, "a topic that it grants is not a pattern: a topic, or its beginning and one `*`");
    const uint8_t *at = r->text.p + r->text.n;
    fm_buf_slice(&r->text, text);
    return fm_grant_of(fm_slice_of(at, text.n), rights, &grant) ? grant_add(r, grant)
                                                                : bad(r, "a topic that it grants is not a pattern: a topic, or its "
                                                                         "beginning and one `*`");
}

/* "topics": ["room:*"] with all rights, or those of "rights"; or "topics": {"room:*": ["join"]}. */
static bool topics_read(struct reading *r)
{
    struct fm_json topics, name, v;
    unsigned rights = FM_RIGHTS_ALL;
    if (claim(r, r->rules->rights_claim, &v) && !rights_read(r, &v, &rights))
        return false;
    if (!claim(r, r->rules->topics_claim, &topics))
        return true;
    if (topics.type == FM_JSON_OBJECT) {
        if (!fm_json_names_differ(&topics, FM_GRANTS_MAX))
            return bad(r, "it grants a topic twice, or more than 256");
        for (struct fm_json_walk w = fm_json_walk_of(&topics); fm_json_next(&w, &name, &v);)
            if (!rights_read(r, &v, &rights) || !topic_add(r, &name, rights))
                return false;
        return true;
    }
    if (topics.type != FM_JSON_ARRAY)
        return bad(r, "its topics are not an array or object");
    for (struct fm_json_walk w = fm_json_walk_of(&topics); fm_json_next(&w, NULL, &v);)
        if (!topic_add(r, &v, rights))
            return false;
    return true;
}

/* The pattern with the user in it. False: it grants nothing to this one. A user that holds what follows it in the pattern would reach into
 * somebody else's topics: `a:b` in `user:{user}:*`. */
static bool expand(struct reading *r, const char *pattern, struct fm_grant *grant)
{
    const char *hole = strstr(pattern, placeholder);
    struct fm_slice text = fm_slice_str(pattern);
    if (!hole)
        return fm_grant_of(text, FM_RIGHTS_ALL, grant);
    const char *tail = hole + sizeof placeholder - 1;
    bool prefix = *tail && tail[strlen(tail) - 1] == '*';
    size_t head_n = (size_t)(hole - pattern), tail_n = strlen(tail) - (prefix ? 1 : 0);
    size_t n = head_n + r->user.n + tail_n;
    if (r->user.n == 0 || n > FM_TOPIC_MAX || (*tail && memchr(r->user.p, *tail, r->user.n)) || r->text.cap - r->text.n < n)
        return false;
    const uint8_t *at = r->text.p + r->text.n;
    fm_buf_put(&r->text, pattern, head_n);
    fm_buf_slice(&r->text, r->user);
    fm_buf_put(&r->text, tail, tail_n);
    *grant = (struct fm_grant){fm_slice_of(at, n), prefix, FM_RIGHTS_ALL};
    return true;
}

static bool topics_of_all(struct reading *r)
{
    struct fm_grant grant;
    for (const char *const *p = r->rules->topics; p && *p; p++)
        if (expand(r, *p, &grant) && !grant_add(r, grant))
            return false;
    return true;
}

bool fm_claims_topic_ok(const char *pattern, const char **why)
{
    struct fm_grant grant;
    const char *hole = strstr(pattern, placeholder);
    *why = "a pattern is a topic, or its beginning and one `*` at the end";
    if (!fm_grant_of(fm_slice_str(pattern), FM_RIGHTS_ALL, &grant))
        return false;
    *why = "{user} may be in it once, and not directly before the `*`: user 1 would have the topics of user 10";
    return !hole || (!strstr(hole + 1, placeholder) && hole[sizeof placeholder - 1] != '*');
}

/* All topics that claims of at most FM_TOKEN_MAX bytes can name, and those of all with the user in them. */
static size_t text_room(const struct fm_claims_rules *rules)
{
    size_t n = 1;
    for (const char *const *p = rules->topics; p && *p; p++)
        n += strlen(*p) + FM_USER_MAX;
    return n;
}

bool fm_claims_identity(const struct fm_json *claims, const struct fm_claims_rules *rules, uint64_t now_s, struct fm_identity **id,
                        struct fm_token_fault *fault)
{
    struct reading r = {.claims = claims, .rules = rules, .now_s = now_s};
    *id = NULL;
    if (!fm_buf_reserve(&r.text, claims->raw.n + text_room(rules)))
        return *fault = (struct fm_token_fault){FM_E_NOMEM, NULL}, false;
    bool ok = issuer_ok(&r) && audience_ok(&r) && user_read(&r) && times_ok(&r) && topics_read(&r) && topics_of_all(&r);
    if (ok) {
        const struct fm_identity_spec spec = {
            .user = r.user, .issued_s = r.issued_s, .until_s = r.until_s, .grants = r.grants, .grants_n = r.grants_n};
        enum fm_err err = fm_identity_new(id, &spec);
        ok = !err || fail(&r, err == FM_E_NOMEM ? err : FM_E_TOKEN, err == FM_E_NOMEM ? NULL : "what it grants can't be read");
    }
    fm_buf_fini(&r.text);
    *fault = r.fault;
    return ok;
}
