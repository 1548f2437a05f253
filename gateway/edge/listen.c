#include "listen.h"

#include "../../broker/bytes.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, HOST_MAX = 255 };

static enum fm_err split(const char *address, char host[HOST_MAX + 1], const char **port)
{
    const char *colon = strrchr(address, ':');
    uint64_t number;
    if (!colon || fm_slice_u64(fm_slice_str(colon + 1), UINT16_MAX, &number))
        return FM_E_ADDRESS;
    size_t n = (size_t)(colon - address);
    if (n >= 2 && address[0] == '[' && address[n - 1] == ']')
        address++, n -= 2;
    if (n > HOST_MAX)
        return FM_E_ADDRESS;
    memcpy(host, address, n);
    host[n] = 0;
    *port = colon + 1;
    return FM_OK;
}

static enum fm_err why(void)
{
    switch (errno) {
    case EADDRINUSE:
        return FM_E_IN_USE;
    case EADDRNOTAVAIL:
        return FM_E_ELSEWHERE;
    case EACCES:
        return FM_E_PORT;
    default:
        return FM_E_IO;
    }
}

/* shared: with SO_REUSEPORT. SO_REUSEADDR: a restart must not wait for the last run's connections. Accepted sockets inherit TCP_NODELAY. */
static enum fm_err open_at(const struct addrinfo *at, bool shared, int *out)
{
    const int on = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return FM_E_IO;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
        (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) || bind(fd, at->ai_addr, at->ai_addrlen) ||
        listen(fd, BACKLOG)) {
        enum fm_err err = why();
        close(fd);
        return err;
    }
    *out = fd;
    return FM_OK;
}

static enum fm_err probe(const struct addrinfo *at)
{
    int fd;
    enum fm_err err = open_at(at, false, &fd);
    if (err == FM_OK)
        close(fd);
    return err;
}

enum fm_err fm_listen(const char *address, bool alone, int *fd)
{
    char host[HOST_MAX + 1];
    const char *port;
    if (split(address, host, &port))
        return FM_E_ADDRESS;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list;
    if (getaddrinfo(host[0] ? host : NULL, port, &hints, &list))
        return FM_E_ADDRESS;
    enum fm_err err = FM_E_ADDRESS;
    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        err = alone ? probe(at) : FM_OK;
        if (err == FM_OK)
            err = open_at(at, true, fd);
        if (err == FM_OK || err == FM_E_IN_USE)
            break;
    }
    freeaddrinfo(list);
    return err;
}

union any_address {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

uint16_t fm_listen_port(int fd)
{
    union any_address a;
    socklen_t n = sizeof a;
    if (getsockname(fd, &a.sa, &n))
        return 0;
    return ntohs(a.sa.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

/* Does a listener on an address of IPv6 also take clients over IPv4? */
static bool takes_ipv4(int fd)
{
    int only = 1;
    socklen_t n = sizeof only;
    return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &n) == 0 && !only;
}

enum fm_err fm_listen_reach(int fd, struct sockaddr_storage *to, unsigned *to_n)
{
    /* ::ffff:127.0.0.1. Unlike ::1 it is there where the kernel has IPv6 and no interface has an address of it, as in many containers. */
    static const struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
    union any_address a;
    socklen_t n = sizeof a;
    if (getsockname(fd, &a.sa, &n) || (a.sa.sa_family != AF_INET && a.sa.sa_family != AF_INET6))
        return FM_E_ADDRESS;
    if (a.sa.sa_family == AF_INET && a.v4.sin_addr.s_addr == htonl(INADDR_ANY))
        a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (a.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a.v6.sin6_addr))
        a.v6.sin6_addr = takes_ipv4(fd) ? mapped : in6addr_loopback;
    memcpy(to, &a, n);
    *to_n = n;
    return FM_OK;
}

enum fm_err fm_accept(int listener, int *fd, struct fm_peer *peer)
{
    union any_address a;
    for (;;) {
        socklen_t n = sizeof a;
        *fd = accept4(listener, &a.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (*fd >= 0)
            break;
        if (errno == EAGAIN)
            return FM_E_SHORT;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return FM_E_IO;
        if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK)
            return FM_E_SHORT; /* not a listener any more */
    }
    *peer = fm_peer_of(&a.sa);
    return FM_OK;
}
