#include "network.h"

#include <arpa/inet.h>

enum { BITS_ALL = 128, BITS_BEFORE_V4 = 96 };

struct fm_ip fm_ip_of_v4(const uint8_t bytes[4])
{
    struct fm_ip ip = {.b = {[10] = 0xff, [11] = 0xff}};
    memcpy(ip.b + 12, bytes, 4);
    return ip;
}

bool fm_ip_is_v4(const struct fm_ip *ip)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(ip->b, mapped, sizeof mapped) == 0;
}

enum fm_err fm_ip_read(struct fm_slice text, struct fm_ip *ip)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t v4[4];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, 0, text.n))
        return FM_E_ADDRESS;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    if (inet_pton(AF_INET, copy, v4) == 1) {
        *ip = fm_ip_of_v4(v4);
        return FM_OK;
    }
    return inet_pton(AF_INET6, copy, ip->b) == 1 ? FM_OK : FM_E_ADDRESS;
}

/* ---- networks ---- */

static bool inside(const struct fm_net *net, const struct fm_ip *ip)
{
    size_t whole = net->bits / 8;
    unsigned rest = net->bits % 8;
    if (memcmp(net->ip.b, ip->b, whole) != 0)
        return false;
    return rest == 0 || (net->ip.b[whole] ^ ip->b[whole]) >> (8 - rest) == 0;
}

static bool ends_at_its_prefix(const struct fm_net *net)
{
    for (unsigned bit = net->bits; bit < BITS_ALL; bit++)
        if (net->ip.b[bit / 8] & 0x80 >> bit % 8)
            return false;
    return true;
}

enum fm_err fm_net_read(const char *text, struct fm_net *net)
{
    const char *slash = strchr(text, '/');
    struct fm_slice address = slash ? fm_slice_of(text, (size_t)(slash - text)) : fm_slice_str(text);
    uint64_t bits = BITS_ALL;
    if (fm_ip_read(address, &net->ip))
        return FM_E_ADDRESS;
    if (slash) {
        bool v4 = !memchr(address.p, ':', address.n);
        if (fm_slice_u64(fm_slice_str(slash + 1), v4 ? BITS_ALL - BITS_BEFORE_V4 : BITS_ALL, &bits))
            return FM_E_ADDRESS;
        bits += v4 ? BITS_BEFORE_V4 : 0;
    }
    net->bits = (uint8_t)bits;
    return ends_at_its_prefix(net) ? FM_OK : FM_E_ADDRESS;
}

void fm_nets_read(struct fm_nets *nets, const char *const *list)
{
    nets->n = 0;
    for (; list && *list && nets->n < FM_NETS_MAX; list++)
        if (fm_net_read(*list, &nets->at[nets->n]) == FM_OK)
            nets->n++;
}

bool fm_nets_hold(const struct fm_nets *nets, const struct fm_ip *ip)
{
    for (size_t i = 0; nets && i < nets->n; i++)
        if (inside(&nets->at[i], ip))
            return true;
    return false;
}
