/* What is refused is counted, and told in the log with its reason; but whoever sends garbage must not fill the log: each reason is told
 * once a second at most, and of one address only now and then, with the number of times since.
 *
 * A dialled address at which we are refused, or refuse who is there, rests for longer and longer before it is dialled again: NNG's own
 * pauses begin anew with every connection that succeeds. */
#include "hub_core.h"

#include "diag.h"

#include <inttypes.h>

enum {
    TELL_EVERY_MS = 1000,           /* a reason */
    TELL_AGAIN_MS = 10 * 60 * 1000, /* an address */
    REST_MIN_MS = 500,
    REST_CLOSED_MAX_MS = 4 * 1000,   /* the other end closed without a word: it may just have been ending, or its network broke */
    REST_REFUSED_MAX_MS = 30 * 1000, /* it has another secret, cluster or version: that takes somebody to mend */
    CLOSED_TELL = 3,                 /* closed without a word so often in a row, it is told */
};

/* What came from there, as one: who dials has another port each time. */
static struct fm_slice place_of(const char *address, bool dialled)
{
    struct fm_slice s = fm_slice_str(address);
    const char *colon = dialled ? NULL : strrchr(address, ':');
    return colon ? fm_slice_of(address, (size_t)(colon - address)) : s;
}

static struct fm_refused *refused_find(struct fm_hub *h, struct fm_slice place)
{
    for (struct fm_refused *r = h->refused; r < h->refused + h->refused_n; r++)
        if (fm_slice_eq(fm_slice_str(r->place), place))
            return r;
    return NULL;
}

/* Where there are too many, in the place of the one that was not heard of for longest. */
static struct fm_refused *refused_get(struct fm_hub *h, struct fm_slice place)
{
    struct fm_refused *r = refused_find(h, place);
    if (!r) {
        r = h->refused;
        for (struct fm_refused *other = r + 1; other < h->refused + h->refused_n; other++)
            if (other->used_ms < r->used_ms)
                r = other;
        if (h->refused_n < FM_REFUSED_MAX)
            r = &h->refused[h->refused_n++];
        *r = (struct fm_refused){0};
        fm_text_copy(r->place, sizeof r->place, place);
    }
    r->used_ms = h->now.mono_ms;
    return r;
}

void fm_refusal_tell(struct fm_hub *h, const char *event, const char *from, enum fm_err err, uint32_t times)
{
    struct fm_diag_pause *reason = &h->refusals[err];
    struct fm_refused *place = from ? refused_get(h, place_of(from, false)) : NULL;
    uint64_t *untold = place ? &place->told.untold : &reason->untold;
    h->stats.envelopes_bad += times;
    *untold += times;
    if (h->now.mono_ms < reason->quiet_until_ms || (place && place->why == err && h->now.mono_ms < place->told.quiet_until_ms))
        return;
    fm_diag(FM_WARN, event, "from=%s code=%s times=%" PRIu64 " why=\"%s\" then=\"it is thrown away\"", from ? from : "?", fm_err_code(err),
            *untold, fm_err_text(err));
    reason->quiet_until_ms = h->now.mono_ms + TELL_EVERY_MS;
    *untold = 0;
    if (place) {
        place->why = err;
        place->told.quiet_until_ms = h->now.mono_ms + TELL_AGAIN_MS;
    }
}

void fm_refusal_of_tls(struct fm_hub *h, const struct fm_bus_item *it)
{
    struct fm_refused *place = refused_get(h, place_of(it->address, it->dialled));
    struct fm_diag_pause *reason = &h->refusals[FM_E_TLS];
    char text[sizeof place->text], quote[512];
    fm_text_copy(text, sizeof text, fm_slice_of(it->bytes, it->n < sizeof text ? it->n : sizeof text - 1));
    h->stats.tls_refused++;
    place->told.untold++;
    if (h->now.mono_ms < reason->quiet_until_ms)
        return;
    if (place->why == FM_E_TLS && strcmp(place->text, text) == 0 && h->now.mono_ms < place->told.quiet_until_ms)
        return;
    fm_diag(FM_WARN, "mesh_tls_refused",
            "address=%s dialled=%s times=%" PRIu64 " why=%s then=\"there is no link; see mesh_tls_ca, "
            "mesh_tls_cert and mesh_tls_key of both nodes, and their clocks\"",
            it->address, it->dialled ? "yes" : "no", place->told.untold,
            fm_diag_quote(quote, sizeof quote, (const char *)it->bytes, it->n));
    reason->quiet_until_ms = h->now.mono_ms + TELL_EVERY_MS;
    memcpy(place->text, text, sizeof text);
    place->why = FM_E_TLS;
    place->told.untold = 0;
    place->told.quiet_until_ms = h->now.mono_ms + TELL_AGAIN_MS;
}

void fm_address_rest(struct fm_hub *h, const char *address, bool refused)
{
    struct fm_refused *r = refused_get(h, place_of(address, true));
    uint32_t most = refused ? REST_REFUSED_MAX_MS : REST_CLOSED_MAX_MS;
    r->rest_ms = r->rest_ms ? r->rest_ms * 2 : REST_MIN_MS;
    r->rest_ms = r->rest_ms < most ? r->rest_ms : most;
    r->rest_until_ms = h->now.mono_ms + r->rest_ms;
    if (refused)
        r->closed = CLOSED_TELL; /* the refused envelope was told, which says more */
    else if (++r->closed == CLOSED_TELL)
        fm_diag(FM_WARN, "link_refused",
                "address=%s why=\"the node there ends the link before it says anything\" then=\"it is dialled ever more rarely; if it is "
                "one of this cluster, compare secret and cluster, and see its log\"",
                address);
    h->port.bus_ops->unlink(h->port.bus, address);
}

bool fm_address_rests(struct fm_hub *h, const char *address)
{
    const struct fm_refused *r = refused_find(h, place_of(address, true));
    return r && h->now.mono_ms < r->rest_until_ms;
}

void fm_address_good(struct fm_hub *h, const char *address)
{
    struct fm_refused *r = refused_find(h, place_of(address, true));
    if (r)
        *r = h->refused[--h->refused_n];
}
