#include "forwarded.h"

#include "../http/http1.h"

#include <strings.h>

/* "1.2.3.4", "1.2.3.4:5678", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5678": proxies write all of these. */
static bool entry_read(struct fm_slice entry, struct fm_peer *peer)
{
    struct fm_slice host = fm_http1_trim(entry), port = {0};
    *peer = (struct fm_peer){0};
    const uint8_t *first = host.n ? memchr(host.p, ':', host.n) : NULL, *last = host.n ? memrchr(host.p, ':', host.n) : NULL;
    const uint8_t *close = host.n && host.p[0] == '[' ? memchr(host.p, ']', host.n) : NULL;
    if (close) {
        port = fm_slice_of(close + 1, host.n - (size_t)(close + 1 - host.p));
        host = fm_slice_of(host.p + 1, (size_t)(close - host.p) - 1);
        if (!memchr(host.p, ':', host.n))
            return false;
    } else if (first && first == last) {
        port = fm_slice_of(first, host.n - (size_t)(first - host.p));
        host.n = (size_t)(first - host.p);
    }
    uint64_t number = 0;
    if (port.n && (port.p[0] != ':' || fm_slice_u64(fm_slice_of(port.p + 1, port.n - 1), UINT16_MAX, &number)))
        return false;
    peer->port = (uint16_t)number;
    return fm_ip_read(host, &peer->ip) == FM_OK;
}

struct walk { /* from left to right over all entries */
    const struct fm_nets *trusted;
    struct fm_peer client;
    bool found;
};

static void entry_take(struct walk *w, struct fm_slice entry)
{
    struct fm_peer peer;
    if (fm_http1_trim(entry).n == 0)
        return; /* an empty element of a list is none (RFC 9110, 5.6.1) */
    if (!entry_read(entry, &peer)) {
        w->found = false; /* who wrote it can't be told, so nothing before it counts */
        return;
    }
    if (w->found && fm_nets_hold(w->trusted, &peer.ip))
        return;
    w->client = peer;
    w->found = true;
}

struct fm_peer fm_forwarded_for(const struct fm_peer *proxy, const struct fm_nets *trusted, struct fm_slice head)
{
    if (!fm_nets_hold(trusted, &proxy->ip))
        return *proxy;
    struct walk w = {.trusted = trusted};
    struct fm_slice rest = fm_http1_fields(head), name, value;
    while (fm_http1_field(&rest, &name, &value)) {
        if (name.n != 15 || strncasecmp((const char *)name.p, "x-forwarded-for", 15) != 0)
            continue;
        for (const uint8_t *comma; value.n && (comma = memchr(value.p, ',', value.n));) {
            size_t n = (size_t)(comma - value.p);
            entry_take(&w, fm_slice_of(value.p, n));
            value = fm_slice_of(comma + 1, value.n - n - 1);
        }
        entry_take(&w, value);
    }
    return w.found ? w.client : *proxy;
}
