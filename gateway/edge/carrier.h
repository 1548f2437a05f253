/* What carries a socket over HTTP in place of a WebSocket: LongPoll (polling/), a stream of events (sse/). The same duties as edge.h's
 * functions of these names; where WebSocket frames come in they are parsed again, so protocols and fan-out know nothing of it.
 *
 * -- the worker's thread only -- */
#pragma once

#include "edge.h"

struct fm_carrier; /* first in what it is a part of */

struct fm_carrier_ops {
    enum fm_edge_write (*write)(struct fm_carrier *c, struct fm_slice frames);
    bool (*busy)(const struct fm_carrier *c);
    void (*want_write)(struct fm_carrier *c);
    void (*kill)(struct fm_carrier *c);
};

struct fm_carrier {
    const struct fm_carrier_ops *ops;
};
