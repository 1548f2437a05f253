/* Inside the probe: what its files share. Nobody else includes this.
 *
 *   probe.c  thread and pace    probe_client.c  a client of one worker    probe_door.c  the question to the listener
 *   probe_board.c  what is known (probe.h)
 *
 * -- the probe's thread -- */
#pragma once

#include "probe.h"
#include "../client/ws_client.h"

#include "../../broker/clock.h"

#include <ev.h>
#include <sys/socket.h>

struct fm_probe_client { /* of one worker */
    struct fm_probe *probe;
    struct fm_worker *worker;
    struct fm_probe_line *line;
    struct ev_io io;       /* of the listener until the connection is there, then of fd */
    int fd;                /* -1: none */
    int listener;          /* -1: none; there until the connection is */
    enum fm_probe_why why; /* what would be wrong if nothing came any more: so it says how far it got */
    uint64_t again_ms;     /* when the next push, or connection, is due */
    struct fm_ws_key key;
    struct fm_ws_in in;
    struct fm_buf received, parts, out;
};

struct fm_probe_door { /* to the clients' listener */
    struct fm_probe *probe;
    struct fm_probe_line *line;
    struct ev_io io;
    int fd;
    bool asked; /* the request left */
    uint64_t again_ms, began_us;
    uint64_t accepted[FM_WORKERS_MAX]; /* by each worker, when the time limit began to run */
    struct sockaddr_storage to;
    socklen_t to_n;
};

struct fm_probe {
    struct fm_probe_config config;
    struct ev_loop *loop;
    struct ev_timer tick;
    struct ev_async end;
    pthread_t thread;
    bool started;
    uint64_t ticked_ms;
    struct fm_probe_door door;
    struct fm_probe_client clients[]; /* config.n */
};

void fm_probe_client_init(struct fm_probe_client *c, struct fm_probe *probe, unsigned worker);
/* What is due by time. */
void fm_probe_client_tick(struct fm_probe_client *c, uint64_t now_ms);
void fm_probe_client_drop(struct fm_probe_client *c);

void fm_probe_door_init(struct fm_probe_door *d, struct fm_probe *probe);
void fm_probe_door_tick(struct fm_probe_door *d, uint64_t now_ms);
void fm_probe_door_drop(struct fm_probe_door *d);
