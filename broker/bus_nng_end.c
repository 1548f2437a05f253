/* Ending a pipe without NNG's own close.
 *
 * NNG 1.5.2 has a race: a pipe that is closed from our side in the moment between the length of a message and its body forgets the receive
 * that is under way, and the thread that should take the pipe down waits for it for ever. From then on no pipe of the process is taken
 * down: no FM_BUS_DOWN, no redial, and stop hangs. Two nodes with different secrets hit it at once. An end of stream from the other side
 * takes another way and is safe. So the connection is shut down beneath NNG, which then finds it ended, and closing anything of NNG's waits
 * until its pipes have left. */
#include "bus_nng.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <nng/supplemental/util/platform.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 500 };

static bool same_address(const struct sockaddr_storage *fd, const nng_sockaddr *nng)
{
    if (fd->ss_family == AF_INET && nng->s_family == NNG_AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)fd;
        return in->sin_port == nng->s_in.sa_port && in->sin_addr.s_addr == nng->s_in.sa_addr;
    }
    if (fd->ss_family == AF_INET6 && nng->s_family == NNG_AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)fd;
        return in->sin6_port == nng->s_in6.sa_port && memcmp(&in->sin6_addr, nng->s_in6.sa_addr, 16) == 0;
    }
    return false;
}

/* remote NULL: the socket that listens there. */
struct wanted {
    const nng_sockaddr *local, *remote;
};

/* fd is a duplicate of our own, so it can't become another connection while we look. */
static bool is_wanted(int fd, const struct wanted *w)
{
    struct sockaddr_storage a, b;
    socklen_t a_n = sizeof a, b_n = sizeof b, listens_n = sizeof(int);
    int listens = 0;
    if (getsockname(fd, (struct sockaddr *)&a, &a_n) != 0 || !same_address(&a, w->local))
        return false;
    if (!w->remote)
        return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_n) == 0 && listens;
    return getpeername(fd, (struct sockaddr *)&b, &b_n) == 0 && same_address(&b, w->remote);
}

static void shut_down(struct wanted w)
{
    bool found = false;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return;
    for (struct dirent *e = readdir(dir); e && !found; e = readdir(dir)) {
        uint64_t number;
        if (fm_slice_u64(fm_slice_str(e->d_name), INT32_MAX, &number) != FM_OK)
            continue;
        int fd = dup((int)number);
        if (fd < 0)
            continue;
        found = is_wanted(fd, &w);
        if (found)
            shutdown(fd, SHUT_RDWR);
        close(fd);
    }
    closedir(dir);
}

void fm_nng_pipe_end(uint32_t id)
{
    nng_pipe pipe = {.id = id};
    nng_sockaddr local, remote;
    if (nng_pipe_get_addr(pipe, NNG_OPT_LOCADDR, &local) == 0 && nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &remote) == 0)
        shut_down((struct wanted){&local, &remote}); /* not found: it is ended already */
}

void fm_nng_listener_end(nng_listener listener)
{
    nng_sockaddr local;
    if (nng_listener_id(listener) > 0 && nng_listener_get_addr(listener, NNG_OPT_LOCADDR, &local) == 0)
        shut_down((struct wanted){&local, NULL});
}

void fm_nng_pipes_end(uint32_t (*next)(void *ctx), void *ctx)
{
    uint32_t id;
    for (unsigned ms = 0; ms < WAIT_MS && (id = next(ctx)) != 0; ms++) {
        fm_nng_pipe_end(id);
        nng_msleep(1);
    }
}
