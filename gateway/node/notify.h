/* What the service manager is told, in systemd's notification protocol: a datagram to the socket that NOTIFY_SOCKET names. Without that
 * variable nobody asked, and nothing happens.
 *
 * -- main -- */
#pragma once

#include <stdbool.h>

/* `state` is one assignment a line, as of sd_notify(3): "READY=1". False: it could not be delivered; the log says why. */
bool fm_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
