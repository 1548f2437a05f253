#include "free_ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* Below what the system gives to clients and to port 0, and beside what tests/lib/ports.mjs takes: nobody gets one of these between its
 * choice and its use. */
enum { PORTS_MAX = 16, LOW = 12000, SLICE = 50, SLICES = 160 };

/* -1: somebody else is there. */
static int listener_at(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A slice is a process's own that listens on its first port for as long as it lives. No port is given away twice. */
int port_listener(unsigned *port)
{
    static unsigned slice, next;
    if (!next)
        slice = (unsigned)getpid();
    for (unsigned tries = 0; tries < SLICES;) {
        unsigned first = LOW + slice % SLICES * SLICE;
        if (next <= first || next >= first + SLICE) {
            next = first + 1;
            if (listener_at(first) < 0)
                next = first + SLICE;
        }
        while (next < first + SLICE) {
            int fd = listener_at(*port = next++);
            if (fd >= 0)
                return fd;
        }
        slice++, tries++;
    }
    fail_msg("no free port from %d on", LOW);
    return -1;
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
