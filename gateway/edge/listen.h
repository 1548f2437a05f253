/* Listening sockets and accepted connections, without an event loop. */
#pragma once

#include "../http/peer.h"

#include <stdbool.h>
#include <stdint.h>

/* A non-blocking listener at "host:port" or "[v6]:port" with SO_REUSEPORT, so that every worker has one of its own and the kernel spreads
 * connections over them. Port 0 is any free port. alone: nobody may listen there yet (SO_REUSEPORT by itself would let a second process
 * of the same user share the port in silence); the first of a process's workers asks for this. FM_E_ADDRESS, FM_E_ELSEWHERE, FM_E_PORT,
 * FM_E_IN_USE, FM_E_IO. */
FM_MUST_CHECK enum fm_err fm_listen(const char *address, bool alone, int *fd);
/* The port that a listener got; 0 if it has none. */
uint16_t fm_listen_port(int fd);
/* Where this process itself reaches a listener: its own address, or the loopback one where it listens on all. FM_E_ADDRESS: not a listener.
 */
struct sockaddr_storage;
FM_MUST_CHECK enum fm_err fm_listen_reach(int fd, struct sockaddr_storage *to, unsigned *to_n);
/* The next connection, non-blocking, with its client's address. FM_E_SHORT: none waits. FM_E_IO: no descriptor or memory is left
 * for it at this moment. Connections that died while they waited are passed over. */
FM_MUST_CHECK enum fm_err fm_accept(int listener, int *fd, struct fm_peer *peer);
