/* Any bytes as the Origin and the Host of a request, with a line end between: a page gets in by its own host or by what is listed, and by
 * nothing that only looks like it. */
#include "../../gateway/edge/web_origin.h"

#include <ctype.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static bool ends(struct fm_slice s, const char *tail)
{
    size_t n = strlen(tail);
    return s.n >= n && strncasecmp((const char *)s.p + s.n - n, tail, n) == 0;
}

static bool begins(struct fm_slice s, const char *head)
{
    size_t n = strlen(head);
    return s.n >= n && strncasecmp((const char *)s.p, head, n) == 0;
}

static bool names_host(struct fm_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '-')
            return false;
    return s.n > 0;
}

/* Without a port that one of the schemes implies. */
static struct fm_slice plain(struct fm_slice host)
{
    size_t port = ends(host, ":80") ? 3 : ends(host, ":443") ? 4 : 0;
    return fm_slice_of(host.p, host.n > port ? host.n - port : host.n);
}

/* Is `origin` a scheme that is `n` bytes long, then the host, then nothing or the port that this scheme implies? */
static bool is_page_of(struct fm_slice origin, size_t n, const char *port, struct fm_slice host)
{
    if (origin.n < n + host.n || strncasecmp((const char *)origin.p + n, (const char *)host.p, host.n) != 0)
        return false;
    const struct fm_slice rest = fm_slice_of(origin.p + n + host.n, origin.n - n - host.n);
    return rest.n == 0 || fm_slice_eq(rest, fm_slice_str(port));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const all[] = {"*", NULL}, *const below[] = {"https://*.example.org", NULL},
                             *const ports[] = {"http://localhost:*", NULL}, *const none[] = {NULL};
    const uint8_t *end = n ? memchr(data, '\n', n) : NULL;
    struct fm_slice origin = fm_slice_of(data, end ? (size_t)(end - data) : n), empty = {0};
    struct fm_slice host = end ? fm_slice_of(end + 1, n - origin.n - 1) : empty;
    must(fm_origin_allowed(origin, host, all));
    must(fm_origin_named(origin, host, all) == fm_origin_named(origin, host, none)); /* where a cookie comes by itself `*` is nobody */
    must(fm_origin_named(origin, host, none) == fm_origin_allowed(origin, host, none));
    must(fm_origin_named(origin, host, NULL) == fm_origin_named(origin, host, none));
    if (origin.n == 0) {
        must(fm_origin_allowed(origin, host, none));
        return 0;
    }
    bool https = begins(origin, "https://"), http = begins(origin, "http://");
    if (fm_origin_named(origin, host, none))
        must((https && is_page_of(origin, 8, ":443", plain(host))) || (http && is_page_of(origin, 7, ":80", plain(host))));
    must(!fm_origin_allowed(origin, empty, none));
    if (fm_origin_allowed(origin, empty, below))
        must(https && ends(origin, ".example.org") && names_host(fm_slice_of(origin.p + 8, origin.n - 8)));
    if (fm_origin_allowed(origin, empty, ports))
        must(begins(origin, "http://localhost:") && names_host(fm_slice_of(origin.p + 17, origin.n - 17)));
    return 0;
}
