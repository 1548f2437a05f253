/* Broadcasts over HTTP, as Supabase's clients send them where they have no socket: POST /api/broadcast and
 * POST /api/broadcast/TOPIC/events/EVENT, below supabase_mount and below what these clients make of the URL of a socket at `mount`. They
 * are on the listener for clients, too, where who has no key may broadcast what it might push as a client.
 *
 * -- the worker's thread only -- */
#pragma once

#include "../worker/worker.h"

/* The path without what stands before /api/broadcast there; any other path as it is. */
struct fm_slice fm_supabase_api_path(const struct fm_worker_config *config, struct fm_slice path);
/* May a page of this origin send such a request, and read the answer? */
bool fm_supabase_api_readable(const struct fm_http_request *req);
