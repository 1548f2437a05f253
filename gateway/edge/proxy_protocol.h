/* The header of the PROXY protocol, versions 1 (text) and 2 (binary), by which a balancer says at the beginning of a connection whose it is
 * (https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt). Pure: nothing beyond the slice is read, nothing is allocated.
 *
 * Whether a header is to come is never guessed: the protocol forbids it, since whoever could choose would choose his address.
 *
 * -- any thread -- */
#pragma once

#include "../http/peer.h"

enum { FM_PROXY_MAX = 4096 }; /* bytes of a header: version 2's additions (TLVs) may be long, those of real balancers are some hundred */

enum fm_proxy_result {
    FM_PROXY_MORE, /* all of the input belongs to a header that is not whole yet; the input is shorter than FM_PROXY_MAX */
    FM_PROXY_WHOLE,
    FM_PROXY_BAD,
};

struct fm_proxy_head {
    size_t n;              /* WHOLE: bytes of the header */
    bool has_client;       /* false: the connection is the proxy's own (a health check), or whose it is can't be told */
    struct fm_peer client; /* if has_client */
    const char *what;      /* BAD: a static text */
};

enum fm_proxy_result fm_proxy_read(struct fm_slice in, struct fm_proxy_head *head);
/* Is that the beginning of a header, rather than of anything else that is spoken here? */
bool fm_proxy_begins(struct fm_slice in);
