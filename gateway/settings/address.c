#include "option.h"

#include <arpa/inet.h>

enum fm_err fm_address_read(const char *text, struct fm_address *a)
{
    const char *host = text, *colon = strrchr(text, ':');
    if (!colon)
        return FM_E_ADDRESS;
    size_t n = (size_t)(colon - text);
    uint64_t port = 0;
    bool v6 = n >= 2 && host[0] == '[' && host[n - 1] == ']';
    if (v6)
        host++, n -= 2;
    if (n == 0 || n > FM_HOST_MAX || fm_slice_u64(fm_slice_str(colon + 1), UINT16_MAX, &port) || port == 0)
        return FM_E_ADDRESS;
    memcpy(a->host, host, n);
    a->host[n] = 0;
    a->port = (uint16_t)port;
    if (v6)
        return inet_pton(AF_INET6, a->host, &(struct in6_addr){0}) == 1 ? FM_OK : FM_E_ADDRESS;
    size_t legal = strspn(a->host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
    return legal == n ? FM_OK : FM_E_ADDRESS;
}

bool fm_address_loopback(const struct fm_address *a)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, a->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, a->host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(a->host, "localhost") == 0;
}

bool fm_address_wildcard(const struct fm_address *a)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, a->host, &v4) == 1)
        return v4.s_addr == 0;
    return inet_pton(AF_INET6, a->host, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6);
}
