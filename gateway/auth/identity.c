#include "identity.h"

#include "../json/json_slice.h"

#include <stdatomic.h>
#include <stdlib.h>

static bool is_topic(struct fm_slice topic, bool prefix)
{
    return (topic.n > 0 || prefix) && topic.n <= FM_TOPIC_MAX && (topic.n == 0 || !memchr(topic.p, 0, topic.n));
}

bool fm_grant_of(struct fm_slice pattern, unsigned rights, struct fm_grant *grant)
{
    const uint8_t *star = pattern.n ? memchr(pattern.p, '*', pattern.n) : NULL;
    if (star && star != pattern.p + pattern.n - 1)
        return false;
    *grant = (struct fm_grant){fm_slice_of(pattern.p, pattern.n - (star ? 1 : 0)), star != NULL, (uint8_t)rights};
    return is_topic(grant->topic, grant->prefix);
}

enum fm_err fm_identity_new(struct fm_identity **out, const struct fm_identity_spec *spec)
{
    *out = NULL;
    if (spec->user.n > FM_USER_MAX)
        return FM_E_TOO_LARGE;
    if (spec->grants_n > FM_GRANTS_MAX)
        return FM_E_TOO_MANY;
    if (spec->user.n && (memchr(spec->user.p, 0, spec->user.n) || !fm_utf8_valid(spec->user)))
        return FM_E_INVALID;
    size_t text = spec->user.n + 1;
    for (uint32_t i = 0; i < spec->grants_n; i++) {
        if (!is_topic(spec->grants[i].topic, spec->grants[i].prefix))
            return FM_E_INVALID;
        text += spec->grants[i].topic.n;
    }
    struct fm_identity *id = malloc(sizeof *id + spec->grants_n * sizeof id->grants[0] + text);
    if (!id)
        return FM_E_NOMEM;
    uint8_t *p = (uint8_t *)&id->grants[spec->grants_n];
    atomic_init(&id->refs, 1);
    id->issued_s = spec->issued_s;
    id->until_s = spec->until_s;
    id->grants_n = spec->grants_n;
    id->user = fm_slice_of(p, spec->user.n);
    if (spec->user.n)
        memcpy(p, spec->user.p, spec->user.n);
    p += spec->user.n;
    *p++ = 0;
    for (uint32_t i = 0; i < spec->grants_n; i++) {
        struct fm_slice topic = spec->grants[i].topic;
        id->grants[i] = (struct fm_grant){fm_slice_of(p, topic.n), spec->grants[i].prefix, spec->grants[i].rights};
        if (topic.n)
            memcpy(p, topic.p, topic.n);
        p += topic.n;
    }
    *out = id;
    return FM_OK;
}

struct fm_identity *fm_identity_ref(struct fm_identity *id)
{
    if (id)
        atomic_fetch_add_explicit(&id->refs, 1, memory_order_relaxed);
    return id;
}

void fm_identity_unref(struct fm_identity **idp)
{
    struct fm_identity *id = *idp;
    *idp = NULL;
    if (id && atomic_fetch_sub_explicit(&id->refs, 1, memory_order_acq_rel) == 1)
        free(id);
}

bool fm_identity_grants(const struct fm_identity *id, struct fm_slice topic, enum fm_right right)
{
    for (uint32_t i = 0; i < id->grants_n; i++) {
        const struct fm_grant *g = &id->grants[i];
        bool named = g->prefix ? fm_slice_starts(topic, g->topic) : fm_slice_eq(topic, g->topic);
        if (named && (g->rights & (unsigned)right))
            return true;
    }
    return false;
}

enum fm_err fm_who_may(enum fm_who who, const struct fm_identity *id, struct fm_slice topic, enum fm_right right, uint64_t now_s)
{
    switch (who) {
    case FM_WHO_NOBODY:
        return FM_E_FORBIDDEN;
    case FM_WHO_ANYONE:
    case FM_WHO_HOOK: /* the backend decides, each time */
        return FM_OK;
    case FM_WHO_TOKEN:
        break;
    }
    if (!id)
        return FM_E_TOKEN_MISSING;
    if (fm_identity_over(id, now_s))
        return FM_E_TOKEN_EXPIRED;
    return fm_identity_grants(id, topic, right) ? FM_OK : FM_E_NOT_GRANTED;
}
