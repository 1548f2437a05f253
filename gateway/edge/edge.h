/* The edge: WebSocket connections, by libwebsockets. edge_lws.c is the only file that includes its header.
 *
 * The split of work: front.c and request.c read and answer HTTP; when an upgrade was accepted, upgrade.c hands the file descriptor over,
 * with what libwebsockets needs of the request; from then on the connection is libwebsockets'. Frames that arrive are reassembled here and
 * given to socket.c; what leaves is complete frames, built elsewhere, written as they are.
 *
 * -- the worker's thread only -- */
#pragma once

#include "deflate.h"
#include "../worker/proto.h"

struct ev_loop;
struct lws;
struct fm_edge; /* a libwebsockets context on the worker's loop */

/* deflate: upgrades may have terms of it; then text is not checked for UTF-8 here. FM_E_NOMEM, FM_E_IO. To be made one after another (see
 * worker.h). */
FM_MUST_CHECK enum fm_err fm_edge_new(struct fm_edge **edge, struct ev_loop *loop, bool deflate);
/* Only without connections: with many, destroying is quadratic. */
void fm_edge_free(struct fm_edge **edge);

struct fm_edge_upgrade {
    struct fm_slice key;     /* Sec-WebSocket-Key */
    const char *subprotocol; /* to echo; empty: none */
    const struct fm_deflate_terms *deflate;
    struct fm_slice early; /* what the client sent behind its request already */
};

/* Hands an accepted connection over: answers 101 and calls fm_socket_opened. The edge owns fd from here on, whatever happens. false: it
 * failed, fd is closed; fm_socket_gone was called or will not be: *socket is gone either way. */
bool fm_edge_adopt(struct fm_edge *edge, int fd, struct fm_socket *socket, const struct fm_edge_upgrade *up);

enum fm_edge_write {
    FM_EDGE_SENT,
    FM_EDGE_PARTIAL, /* all of it was taken; the rest leaves by itself, and then fm_socket_writable is called */
    FM_EDGE_DEAD,
};

/* The following are called for a socket by worker_core.h's fm_edge_*, which know whose connection it is: libwebsockets' or (TLS) link.c's.
 */

/* Writes complete frames; not while fm_lws_busy. fd: the connection's. */
enum fm_edge_write fm_lws_write(struct lws *wsi, int fd, struct fm_slice frames);
/* Is part of an earlier write still to leave? */
bool fm_lws_busy(struct lws *wsi);
/* fm_socket_writable is called when the client can take more and the edge is not busy. */
void fm_lws_want_write(struct lws *wsi);
/* Has the client sent all that it will, and was all of it read? Then libwebsockets looks at it no more, and the caller ends it. */
FM_MUST_CHECK bool fm_lws_ended(struct lws *wsi, int fd);
int fm_lws_fd(struct lws *wsi);
/* Ends a connection with no more word to the client; fm_socket_gone is called inside, or by the loop soon. Not from inside a call of the
 * edge. */
void fm_lws_kill(struct lws *wsi);

/* ---- called by the edge, implemented by socket.c ---- */

/* wsi: NULL over TLS. */
void fm_socket_opened(struct fm_socket *s, struct lws *wsi, int fd);
/* A piece of a message, reassembled by fm_socket_received. to_come: what the frame's header says is still missing of the frame; packed: the
 * message begins here and is compressed; last: it is the message's last frame. */
void fm_socket_received(struct fm_socket *s, uint8_t *bytes, size_t n, size_t to_come, bool binary, bool packed, bool last);
/* The answer says whether a close frame is to be sent now: its code (and reason, at most 123 bytes), or 0. */
struct fm_close {
    unsigned code;
    struct fm_slice reason;
};
struct fm_close fm_socket_writable(struct fm_socket *s);
/* The client sends no more, and may have left. */
void fm_socket_left(struct fm_socket *s);
/* The connection is at its end, and fm_edge_kill is called for it soon, when others had their turn. false: not so, the edge ends it now. */
FM_MUST_CHECK bool fm_socket_end(struct fm_socket *s);
/* The client said it closes, or the edge does: nothing may be sent any more. May come more than once. */
void fm_socket_closing(struct fm_socket *s);
/* The connection is gone, and *s with this call. */
void fm_socket_gone(struct fm_socket *s);
