#include "web_origin.h"

#include <string.h>
#include <strings.h>

static bool same_nocase(struct fm_slice a, struct fm_slice b)
{
    return a.n == b.n && strncasecmp((const char *)a.p, (const char *)b.p, a.n) == 0;
}

/* host[:port] of an Origin, without the port that its scheme implies. Empty: it is not scheme://host[:port]. */
static struct fm_slice origin_host(struct fm_slice origin)
{
    static const struct {
        const char *scheme, *port;
    } schemes[] = {{"http://", ":80"}, {"https://", ":443"}};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        struct fm_slice scheme = fm_slice_str(schemes[i].scheme), port = fm_slice_str(schemes[i].port);
        if (origin.n <= scheme.n || !same_nocase(fm_slice_of(origin.p, scheme.n), scheme))
            continue;
        struct fm_slice host = fm_slice_of(origin.p + scheme.n, origin.n - scheme.n);
        if (host.n > port.n && fm_slice_eq(fm_slice_of(host.p + host.n - port.n, port.n), port))
            host.n -= port.n;
        return host;
    }
    return fm_slice_of(NULL, 0);
}

/* Host is compared without a port that either scheme implies, since a proxy may have ended TLS before us. */
static struct fm_slice plain_host(struct fm_slice host)
{
    const struct fm_slice ports[] = {FM_LIT(":80"), FM_LIT(":443")};
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++)
        if (host.n > ports[i].n && fm_slice_eq(fm_slice_of(host.p + host.n - ports[i].n, ports[i].n), ports[i]))
            return fm_slice_of(host.p, host.n - ports[i].n);
    return host;
}

/* One `*` stands for characters of a host, or digits of a port: at least one, and no more than that (settings_check.c says where). */
static bool origin_fits(struct fm_slice origin, const char *listed)
{
    const char *star = strchr(listed, '*');
    struct fm_slice head = fm_slice_of(listed, star ? (size_t)(star - listed) : 0), tail = fm_slice_str(star ? star + 1 : "");
    if (!star)
        return same_nocase(origin, fm_slice_str(listed));
    if (origin.n <= head.n + tail.n || !same_nocase(fm_slice_of(origin.p, head.n), head) ||
        !same_nocase(fm_slice_of(origin.p + origin.n - tail.n, tail.n), tail))
        return false;
    for (const uint8_t *p = origin.p + head.n; p < origin.p + origin.n - tail.n; p++)
        if (!((*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || *p == '.' || *p == '-'))
            return false;
    return true;
}

bool fm_origin_named(struct fm_slice origin, struct fm_slice host, const char *const *allowed)
{
    if (origin.n == 0)
        return true; /* no browser sends none with a WebSocket, and nobody else is bound by it */
    for (size_t i = 0; allowed && allowed[i]; i++)
        if (strcmp(allowed[i], "*") != 0 && origin_fits(origin, allowed[i]))
            return true;
    struct fm_slice page = origin_host(origin);
    return page.n && same_nocase(page, plain_host(host));
}

bool fm_origin_allowed(struct fm_slice origin, struct fm_slice host, const char *const *allowed)
{
    for (size_t i = 0; allowed && allowed[i]; i++)
        if (strcmp(allowed[i], "*") == 0)
            return true;
    return fm_origin_named(origin, host, allowed);
}
