/* The real mesh. Its tension: NNG is asynchronous on threads of its own and gives few guarantees about the order of its callbacks, while
 * the hub wants one ordered stream of items and never to wait. See bus_nng.h for who does what. */
#include "bus_nng.h"

#include "diag.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <nng/supplemental/util/platform.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- shared by the planes ---- */

struct fm_bus_item *fm_nng_item(enum fm_bus_event kind, struct fm_slice bytes)
{
    struct fm_bus_item *item = malloc(sizeof *item + bytes.n);
    if (!item)
        return NULL;
    *item = (struct fm_bus_item){.item = {.kind = kind, .cost = (uint32_t)(sizeof *item + bytes.n)}, .n = (uint32_t)bytes.n};
    if (bytes.n)
        memcpy(item->bytes, bytes.p, bytes.n);
    return item;
}

bool fm_nng_oversized(struct fm_nng_out *out, const char *plane, size_t n)
{
    if (n <= out->envelope_max)
        return false;
    uint32_t count = atomic_fetch_add(&out->warn_count, 1) + 1;
    uint64_t now = nng_clock(), before = atomic_load(&out->warned_ms);
    if (before && now - before < FM_NNG_WARN_EVERY_MS)
        return true;
    if (!atomic_compare_exchange_strong(&out->warned_ms, &before, now))
        return true; /* another thread tells it */
    atomic_fetch_sub(&out->warn_count, count);
    fm_diag(FM_WARN, "mesh_oversized",
            "plane=%s bytes=%zu limit=%zu dropped=%" PRIu32 " then=\"it is dropped; all nodes need the same message_max\"", plane, n,
            out->envelope_max, count);
    return true;
}

enum fm_err fm_nng_err(int rv)
{
    switch (rv) {
    case 0:
        return FM_OK;
    case NNG_ENOMEM:
        return FM_E_NOMEM;
    case NNG_EADDRINUSE:
        return FM_E_IN_USE;
    case NNG_EADDRINVAL:
        return FM_E_ADDRESS;
    case NNG_ETIMEDOUT:
        return FM_E_TIMEOUT;
    case NNG_ECLOSED:
    case NNG_ECANCELED:
    case NNG_ECONNRESET:
        return FM_E_CLOSED;
    default:
        return FM_E_IO;
    }
}

enum fm_err fm_nng_listen_failed(const char *plane, const char *address, int rv)
{
    fm_diag(FM_ERROR, "mesh_listen_failed", "plane=%s address=%s why=\"%s\" then=\"the node does not start\"", plane, address,
            nng_strerror(rv));
    return fm_nng_err(rv);
}

/* What stands before the port: a name, an IPv4 address, or an IPv6 address in brackets. */
static bool is_host(struct fm_slice host)
{
    static const char name[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
    struct in6_addr in6;
    char v6[INET6_ADDRSTRLEN];
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']' && host.n - 2 < sizeof v6) {
        memcpy(v6, host.p + 1, host.n - 2);
        v6[host.n - 2] = 0;
        return inet_pton(AF_INET6, v6, &in6) == 1;
    }
    for (size_t i = 0; i < host.n; i++)
        if (!strchr(name, host.p[i]))
            return false;
    return host.n > 0;
}

enum fm_err fm_nng_url(const struct fm_nng_out *out, const char *address, char url[FM_NNG_URL_MAX])
{
    struct fm_slice all = fm_slice_str(address);
    const char *colon = all.n ? strrchr(address, ':') : NULL;
    if (!colon || all.n >= sizeof((struct fm_bus_item *)NULL)->address)
        return FM_E_ADDRESS;
    struct fm_slice before = fm_slice_of(address, (size_t)(colon - address)), port = fm_slice_str(colon + 1);
    uint64_t number;
    if (!is_host(before) || fm_slice_u64(port, UINT16_MAX, &number) != FM_OK || number == 0)
        return FM_E_ADDRESS;
    int n =
        snprintf(url, FM_NNG_URL_MAX, "%s://%.*s:%" PRIu64, out->tls ? "tls+tcp" : "tcp", (int)before.n, (const char *)before.p, number);
    return n > 0 && n < FM_NNG_URL_MAX ? FM_OK : FM_E_ADDRESS;
}

bool fm_nng_address(const nng_sockaddr *sa, char out[64])
{
    char host[INET6_ADDRSTRLEN];
    if (sa->s_family == NNG_AF_INET && inet_ntop(AF_INET, &sa->s_in.sa_addr, host, sizeof host))
        (void)snprintf(out, 64, "%s:%u", host, ntohs(sa->s_in.sa_port));
    else if (sa->s_family == NNG_AF_INET6 && inet_ntop(AF_INET6, sa->s_in6.sa_addr, host, sizeof host))
        (void)snprintf(out, 64, "[%s]:%u", host, ntohs(sa->s_in6.sa_port));
    else
        return false;
    return true;
}

int fm_nng_socket_set_up(nng_socket socket, size_t envelope_max, size_t room, nng_duration redial_max_ms)
{
    /* NNG closes a link whose message is larger than its limit without telling why. So it gets twice ours: what lies between is dropped
     * here, with a warning, which is the likely case of two nodes with different settings. */
    int rv = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, 2 * envelope_max + room);
    if (rv == 0)
        rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, FM_NNG_REDIAL_MIN_MS);
    if (rv == 0)
        rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, redial_max_ms);
    if (rv == 0)
        rv = nng_socket_set_bool(socket, NNG_OPT_TCP_KEEPALIVE, true);
    return rv;
}

nng_msg *fm_nng_msg(struct fm_slice bytes)
{
    nng_msg *msg;
    if (nng_msg_alloc(&msg, bytes.n) != 0)
        return NULL;
    if (bytes.n)
        memcpy(nng_msg_body(msg), bytes.p, bytes.n);
    return msg;
}

struct fm_slice fm_nng_msg_view(nng_msg *msg)
{
    return fm_slice_of(nng_msg_body(msg), nng_msg_len(msg));
}

nng_msg *fm_nng_take_msg(nng_aio *aio)
{
    nng_msg *msg = nng_aio_get_msg(aio);
    nng_aio_set_msg(aio, NULL);
    return msg;
}

/* ---- the bus ---- */

struct fm_bus {
    struct fm_nng_out out;
    struct fm_nng_publish *publish;
    struct fm_nng_ask *ask;
    struct fm_nng_answer *answer;
};

static void bus_stop(struct fm_bus **bus)
{
    struct fm_bus *b = *bus;
    *bus = NULL;
    if (!b)
        return;
    fm_nng_ask_close(&b->ask);
    fm_nng_answer_close(&b->answer);
    fm_nng_publish_close(&b->publish);
    fm_nng_tls_stop(&b->out.tls);
    free(b);
}

static enum fm_err bus_start(struct fm_bus **bus, const struct fm_bus_config *config, const char **what)
{
    assert(config->deliver && config->envelope_max > 0 && config->envelope_max <= INT32_MAX);
    *bus = NULL;
    struct fm_bus *b = calloc(1, sizeof *b);
    *what = "the mesh";
    if (!b)
        return FM_E_NOMEM;
    b->out.envelope_max = config->envelope_max;
    b->out.deliver = config->deliver;
    b->out.ctx = config->ctx;
    enum fm_err err = config->tls ? fm_nng_tls_new(&b->out.tls, &b->out, config->tls) : FM_OK;
    if (!err)
        err = fm_nng_ask_open(&b->ask, &b->out);
    if (err)
        goto fail;
    *what = "the mesh's ask plane";
    if ((err = fm_nng_answer_open(&b->answer, &b->out, config->listen_ask)) != FM_OK)
        goto fail;
    *what = "the mesh's publish plane";
    if ((err = fm_nng_publish_open(&b->publish, &b->out, config->listen)) != FM_OK)
        goto fail;
    fm_nng_answer_start(b->answer);
    fm_nng_publish_start(b->publish);
    *bus = b;
    return FM_OK;
fail:
    bus_stop(&b);
    return err;
}

static enum fm_err bus_publish(struct fm_bus *bus, struct fm_slice bytes)
{
    fm_nng_ask_tidy(bus->ask); /* a hub publishes heartbeats, so this comes around even when nothing is asked any more */
    fm_nng_tls_tidy(bus->out.tls);
    return fm_nng_publish_send(bus->publish, bytes);
}

static enum fm_err bus_ask(struct fm_bus *bus, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms)
{
    fm_nng_ask_tidy(bus->ask);
    return fm_nng_ask_send(bus->ask, address, id, bytes, timeout_ms);
}

static enum fm_err bus_answer(struct fm_bus *bus, uint64_t handle, struct fm_slice bytes)
{
    return fm_nng_answer_send(bus->answer, handle, bytes);
}

static enum fm_err bus_link(struct fm_bus *bus, const char *address)
{
    return fm_nng_publish_link(bus->publish, address);
}

static void bus_unlink(struct fm_bus *bus, const char *address)
{
    fm_nng_publish_unlink(bus->publish, address);
}

static void bus_drop(struct fm_bus *bus, uint32_t pipe)
{
    fm_nng_publish_drop(bus->publish, pipe);
}

const struct fm_bus_ops fm_bus_nng = {
    .start = bus_start,
    .publish = bus_publish,
    .ask = bus_ask,
    .answer = bus_answer,
    .link = bus_link,
    .unlink = bus_unlink,
    .drop = bus_drop,
    .stop = bus_stop,
};
