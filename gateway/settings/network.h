/* IP addresses and the networks that an option names, such as 10.0.0.0/8. An IPv4 address is kept as the IPv6 one that it is mapped to
 * (::ffff:1.2.3.4), so that it is the same client on a listener of either kind.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/bytes.h"

struct fm_ip { /* all zero: none */
    uint8_t b[16];
};

struct fm_net {
    struct fm_ip ip;
    uint8_t bits; /* of all 128 */
};

enum { FM_NETS_MAX = 64 };

struct fm_nets {
    struct fm_net at[FM_NETS_MAX];
    size_t n;
};

/* An address as text, without brackets, port or zone. FM_E_ADDRESS. */
FM_MUST_CHECK enum fm_err fm_ip_read(struct fm_slice text, struct fm_ip *ip);
/* As it comes from the system or from the wire. */
struct fm_ip fm_ip_of_v4(const uint8_t bytes[4]);
bool fm_ip_is_v4(const struct fm_ip *ip);

/* An address, or address/bits. FM_E_ADDRESS: it is neither, or has bits beyond its prefix, which is more likely a slip than meant. */
FM_MUST_CHECK enum fm_err fm_net_read(const char *text, struct fm_net *net);
/* Reads a list that was checked; what does not fit or can't be read is left out. list: NULL-terminated, or NULL. */
void fm_nets_read(struct fm_nets *nets, const char *const *list);
/* nets: NULL is none. */
bool fm_nets_hold(const struct fm_nets *nets, const struct fm_ip *ip);
