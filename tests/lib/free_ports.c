#include "free_ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORTS_MAX = 16 };

int port_listener(unsigned *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

void free_ports(unsigned *ports, unsigned n)
{
    int fds[PORTS_MAX];
    assert_true(n <= PORTS_MAX);
    for (unsigned i = 0; i < n; i++)
        fds[i] = port_listener(&ports[i]);
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
}
