/* Whose a request is that a proxy sent on: X-Forwarded-For, as far as it can be believed. (The header Forwarded is not read: a proxy that
 * writes one of the two hands the other on as the client sent it.) Pure.
 *
 * -- any thread -- */
#pragma once

#include "../http/peer.h"

/* The client for whom `proxy` sent a request, by its X-Forwarded-For: of all the addresses that the header's lines name, in their order,
 * the last that is not one of `trusted`; the first of those behind the last entry that can't be read, where all are. What stands before it
 * may be the client's own invention, and is not believed. `proxy` itself where it is not trusted or the header says nothing.
 * head: of a request that fm_http1_read found whole. */
struct fm_peer fm_forwarded_for(const struct fm_peer *proxy, const struct fm_nets *trusted, struct fm_slice head);
