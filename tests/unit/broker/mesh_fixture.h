/* One hub on a bus that a test plays by hand. */
#pragma once

#include "../../../broker/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { SELF = 77, PEER = 99 };

#define PEER_ADDRESS "10.0.0.2:1" /* the hub's only seed */

static const struct fm_env_bind unbound;

static struct mesh {
    struct fm_hub *hub;
    struct fm_seal *seal, *peer; /* the hub's, and the played peer's */
    struct fm_now now;
} mesh;

/* The hub has a worker that is given what it says, or none, and is ready after its first tick, since it founds its cluster at once. */
static inline void mesh_start(struct fm_slice secret, const struct fm_bus_ops *ops, uint64_t mono_ms,
                              void (*to_worker)(void *ctx, unsigned worker, struct fm_item *chain, bool lost))
{
    static const char *const seeds[] = {PEER_ADDRESS, NULL};
    struct fm_hub_config c;
    mesh = (struct mesh){.now = {mono_ms, 1700000000000}};
    assert_int_equal(fm_seal_new(&mesh.seal, FM_LIT("c"), secret, SELF), FM_OK);
    assert_int_equal(fm_seal_new(&mesh.peer, FM_LIT("c"), secret, PEER), FM_OK);
    fm_hub_config_default(&c);
    c.incarnation = SELF;
    c.bus_address = "10.0.0.1:1";
    c.ask_address = "10.0.0.1:2";
    c.seeds = seeds;
    c.seal = mesh.seal;
    c.workers = to_worker ? 1 : 0;
    c.found_ms = 0;
    c.repair_bytes_per_s = 1 << 20;
    c.backlog_bytes = 20 << 10;
    const struct fm_hub_port port = {.to_worker = to_worker, .bus_ops = ops};
    assert_int_equal(fm_hub_new(&mesh.hub, &c, &port, mesh.now), FM_OK);
    fm_hub_start(mesh.hub, mesh.now);
}

static inline int mesh_stop(void **state)
{
    (void)state;
    fm_hub_free(&mesh.hub);
    fm_seal_free(&mesh.seal);
    fm_seal_free(&mesh.peer);
    return 0;
}

static inline void mesh_tick(unsigned ms)
{
    mesh.now.mono_ms += ms;
    mesh.now.wall_ms += ms;
    fm_hub_tick(mesh.hub, mesh.now);
}

/* ---- of a bus: what a test has no interest in ---- */

static inline enum fm_err publish_ignored(struct fm_bus *bus, struct fm_slice bytes)
{
    (void)bus, (void)bytes;
    return FM_OK;
}

static inline enum fm_err link_ignored(struct fm_bus *bus, const char *address)
{
    (void)bus, (void)address;
    return FM_OK;
}

static inline void unlink_ignored(struct fm_bus *bus, const char *address)
{
    (void)bus, (void)address;
}

static inline void drop_ignored(struct fm_bus *bus, uint32_t pipe)
{
    (void)bus, (void)pipe;
}

/* ---- what comes from others ---- */

/* Of the peer: what it is and where; sealed by `seal`. */
static void hello_seal(struct fm_seal *seal, uint64_t incarnation, struct fm_buf *sealed)
{
    struct fm_env_hello hello = {.self = {incarnation, FM_LIT("peer"), FM_LIT(PEER_ADDRESS), FM_LIT("10.0.0.2:2")}};
    struct fm_buf b = {0};
    fm_env_hello_write(&b, &hello);
    assert_int_equal(fm_seal_close(seal, FM_PLANE_BUS, unbound, fm_buf_view(&b), sealed, NULL), FM_OK);
    fm_buf_fini(&b);
}

/* An item of the bus, with a copy of the bytes. */
static struct fm_bus_item *bus_item(enum fm_bus_event event, uint32_t pipe, struct fm_slice bytes)
{
    struct fm_bus_item *it = calloc(1, sizeof *it + bytes.n);
    it->item.kind = event;
    it->pipe = pipe;
    it->n = (uint32_t)bytes.n;
    if (bytes.n)
        memcpy(it->bytes, bytes.p, bytes.n);
    return it;
}

/* The hub is given one. handle: of an ask or answer; err: of an answer that did not come. */
static inline void bus_give(uint32_t pipe, enum fm_bus_event event, struct fm_slice bytes, uint64_t handle, enum fm_err err)
{
    struct fm_bus_item *it = bus_item(event, pipe, bytes);
    it->handle = handle;
    it->err = err;
    fm_hub_handle(mesh.hub, mesh.now, &it->item);
    fm_hub_flush(mesh.hub, mesh.now);
}

static inline void bus_give_hello(uint32_t pipe)
{
    struct fm_buf sealed = {0};
    hello_seal(mesh.peer, PEER, &sealed);
    bus_give(pipe, FM_BUS_ENVELOPE, fm_buf_view(&sealed), 0, FM_OK);
    fm_buf_fini(&sealed);
}
