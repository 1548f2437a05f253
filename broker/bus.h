/* The bus: the port through which a hub reaches the other nodes. Two planes: publish goes to every linked node at once and may be
 * lost without a word; ask goes to one node and ends in exactly one answer item. Adapters: bus_nng.c (the real mesh; it and bus_nng_*.c
 * are the only files that include <nng/...>) and tests/sim/bus_sim.c (loses, delays, duplicates, cuts and heals by seed). The contract
 * suite in tests/contract holds both to this text.
 *
 * The bus knows nothing of what the bytes mean. It delivers struct fm_bus_item through fm_bus_config.deliver, which must be callable
 * from any thread (it posts into the hub's inbox and must not call the bus) and takes ownership of the item. */
#pragma once

#include "bytes.h"
#include "inbox.h"
#include "mesh_tls.h"

enum fm_bus_event {                       /* item.kind of a struct fm_bus_item */
                    FM_BUS_ENVELOPE = 64, /* bytes from the publish plane of the node behind `pipe` */
                    FM_BUS_ASKED,         /* a node asks; answer with `handle` once, or never (the asker then times out) */
                    FM_BUS_ANSWERED,      /* the answer to our ask `id`, or `err` (FM_E_TIMEOUT, FM_E_CLOSED, FM_E_IO) and no bytes */
                    FM_BUS_UP,            /* a link exists: `pipe`, and whether we dialled it */
                    FM_BUS_DOWN,          /* the link `pipe` is gone; nothing from it follows */
                    FM_BUS_REFUSED,       /* no link, or none for asks, came about with who is at `address`, for what stands in bytes */
};

struct fm_bus_item {
    struct fm_item item; /* kind: enum fm_bus_event; cost: bytes */
    uint32_t pipe;       /* ENVELOPE, UP, DOWN: never reused while the bus runs, never 0 */
    bool dialled;        /* UP, REFUSED */
    enum fm_err err;     /* ANSWERED */
    uint64_t handle;     /* ASKED: for fm_bus_ops.answer; ANSWERED: the ask's id */
    char address[64]; /* UP, REFUSED: of the remote side, "host:port": where we dialled, or where they come from. For people and for unlink.
                       */
    uint32_t n;
    uint8_t bytes[];
};

struct fm_bus_config {
    const char *listen;      /* "host:port" of the publish plane; port 0 is not allowed */
    const char *listen_ask;  /* "host:port" of the ask plane */
    size_t envelope_max;     /* bytes; larger ones that arrive are dropped and their link closed */
    struct fm_mesh_tls *tls; /* links are TLS with this; NULL: plain. The simulator's bus knows none */
    void (*deliver)(void *ctx, struct fm_bus_item *item);
    void *ctx;
};

/* -- owner only (the hub's thread), except that start and stop may run on the thread that starts and stops the hub -- */
struct fm_bus;
struct fm_bus_ops {
    /* Listens on both planes. FM_E_IN_USE, FM_E_ADDRESS: *what (static) says which of the two. */
    enum fm_err (*start)(struct fm_bus **bus, const struct fm_bus_config *config, const char **what);
    /* To every linked node; drops silently where a link's queue is full (bus0: 16), so the caller paces. Never blocks. FM_E_TOO_LARGE:
     * beyond envelope_max; FM_E_BUSY: too many are waiting to leave. */
    enum fm_err (*publish)(struct fm_bus *bus, struct fm_slice bytes);
    /* Asks the node whose ask plane listens at `address`. FM_OK: it ends in exactly one FM_BUS_ANSWERED with this id, at the latest after
     * timeout_ms or at stop. Otherwise nothing follows: FM_E_ADDRESS, FM_E_TOO_LARGE, FM_E_TOO_MANY (addresses or asks under way),
     * FM_E_NOMEM. Several may be under way, also to one address. An ask goes out at most once on a connection and never on a second one. */
    enum fm_err (*ask)(struct fm_bus *bus, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms);
    /* FM_E_INVALID: the handle was never given, was answered, or is void because too many younger asks wait for an answer. FM_OK doesn't
     * promise that the asker is still there. */
    enum fm_err (*answer)(struct fm_bus *bus, uint64_t handle, struct fm_slice bytes);
    /* Dials `address` and keeps dialling (100 ms to 5 s) whenever there is no connection. After one that ended before anything came
     * through it the owner links again when it likes: an adapter need not dial then. A second link to the same address is a no-op.
     * FM_E_ADDRESS: not "host:port" or "[v6]:port". */
    enum fm_err (*link)(struct fm_bus *bus, const char *address);
    /* Stops dialling `address`; a connection that this dialling made is closed. Unknown addresses are a no-op. */
    void (*unlink)(struct fm_bus *bus, const char *address);
    /* Closes one link; FM_BUS_DOWN follows. A linked address is dialled again, as above. */
    void (*drop)(struct fm_bus *bus, uint32_t pipe);
    /* Asks under way are answered with FM_E_CLOSED. After return nothing is delivered any more. May wait some 50 ms so that what was just
     * published leaves. Frees the bus. */
    void (*stop)(struct fm_bus **bus);
};

extern const struct fm_bus_ops fm_bus_nng;
