/* File descriptors: how many the process may have, and how many clients that is. */
#include "node_core.h"

#include "../../broker/diag.h"

#include <inttypes.h>
#include <sys/resource.h>

enum {
    DESCRIPTORS_WORKER = 16,
    DESCRIPTORS_SPARE = 1024, /* where the hard limit allows: a large mesh */
    /* connections_max = 0. The limit is set to what is needed, not to all that is allowed, which may be 10^9: libwebsockets makes tables of
     * that size, and looks through them whenever a connection closes. */
    CONNECTIONS_USUAL = 100000,
};

static uint64_t descriptors_kept(uint64_t workers)
{
    return FM_DESCRIPTORS_FIXED + DESCRIPTORS_WORKER * workers;
}

uint64_t fm_node_connections_for(uint64_t descriptors, uint64_t workers)
{
    uint64_t kept = descriptors_kept(workers);
    return descriptors > kept ? descriptors - kept : 1;
}

void fm_node_limits(struct fm_settings *s)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
        return;
    uint64_t asked = s->connections_max ? s->connections_max : CONNECTIONS_USUAL;
    /* Those of hooks are kept whether there are any now or not: HUP may bring them. */
    uint64_t hooks = s->hook_concurrency + 1;
    uint64_t can = fm_node_connections_for(lim.rlim_max > hooks ? lim.rlim_max - hooks : 0, s->workers);
    uint64_t want = (asked < can ? asked : can) + descriptors_kept(s->workers) + DESCRIPTORS_SPARE + hooks;
    struct rlimit set = {want < lim.rlim_max ? want : lim.rlim_max, lim.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &set) != 0)
        can = fm_node_connections_for(lim.rlim_cur, s->workers);
    if (s->connections_max > can)
        fm_diag(FM_WARN, "connections_max_cut",
                "connections_max=%" PRIu64 " to=%" PRIu64 " descriptors=%" PRIu64
                " why=\"every connection needs a file descriptor\" then=\"raise the hard limit (ulimit -Hn) or lower connections_max\"",
                s->connections_max, can, (uint64_t)lim.rlim_max);
    s->connections_max = asked < can ? asked : can;
}
