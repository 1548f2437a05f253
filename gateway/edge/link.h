/* A WebSocket connection over TLS, from its accepted upgrade to its end. libwebsockets can't take over a TLS connection whose request
 * somebody else has read, so these are ours: the same duties and calls as edge.h's, by OpenSSL (tls.h) and a reader of frames (ws_feed.h).
 *
 * -- the worker's thread only -- */
#pragma once

#include "edge.h"

struct fm_link;
struct ssl_st;

/* Takes fd and ssl: answers 101 and calls fm_socket_opened. *socket is gone if that fails. */
void fm_link_open(struct fm_worker *w, int fd, struct ssl_st *ssl, struct fm_socket *socket, const struct fm_edge_upgrade *up);

/* As their namesakes in edge.h. */
enum fm_edge_write fm_link_write(struct fm_link *link, struct fm_slice frames);
bool fm_link_busy(const struct fm_link *link);
void fm_link_want_write(struct fm_link *link);
void fm_link_kill(struct fm_link *link);
