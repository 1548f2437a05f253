/* One epoll loop in one thread. A handler is the first member of whatever waits for a descriptor, and outlives the loop's current round.
 *
 * -- owner only -- */
#pragma once

#include "../../broker/clock.h"
#include "fanmesh/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct fm_handler {
    void (*ready)(struct fm_handler *h, uint32_t events);
};

struct fm_loop {
    int epoll;
};

FM_MUST_CHECK enum fm_err fm_loop_init(struct fm_loop *loop);
void fm_loop_fini(struct fm_loop *loop);
/* Level-triggered. FM_E_IO. */
FM_MUST_CHECK enum fm_err fm_loop_add(struct fm_loop *loop, int fd, uint32_t events, struct fm_handler *h);
void fm_loop_change(struct fm_loop *loop, int fd, uint32_t events, struct fm_handler *h);
/* One round: waits at most `timeout_ms`. */
void fm_loop_step(struct fm_loop *loop, int timeout_ms);
