#include "notify.h"

#include "../../broker/diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { STATE_MAX = 512, QUOTE_MAX = 256 };

/* A path, or a name in the abstract namespace, which is written with `@` for its first byte, zero. */
static bool address_of(const char *name, struct sockaddr_un *address, socklen_t *size)
{
    size_t n = strlen(name);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || n < 2 || n >= sizeof address->sun_path)
        return false;
    memcpy(address->sun_path, name, n);
    if (name[0] == '@')
        address->sun_path[0] = 0;
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    return true;
}

static int send_to(const char *name, const char *state)
{
    struct sockaddr_un address;
    socklen_t size;
    if (!address_of(name, &address, &size))
        return EINVAL;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, size);
    int err = sent < 0 ? errno : 0;
    close(fd);
    return err;
}

bool fm_notify(const char *fmt, ...)
{
    const char *name = getenv("NOTIFY_SOCKET");
    if (!name || !*name)
        return true;
    char state[STATE_MAX], quote[QUOTE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(state, sizeof state, fmt, ap);
    va_end(ap);
    int err = send_to(name, state);
    if (err)
        fm_diag(FM_WARN, "notify_failed",
                "socket=%s why=\"%s\" then=\"the service manager is not told; it may take the node for not started\"",
                fm_diag_quote(quote, sizeof quote, name, strlen(name)), strerror(err));
    return err == 0;
}
