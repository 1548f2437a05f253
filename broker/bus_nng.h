/* What the files of the NNG mesh share. bus_nng.c: addresses, errors, start and stop; bus_nng_publish.c: the publish plane on bus0;
 * bus_nng_ask.c: asking, on one req0 socket an address; bus_nng_answer.c: being asked, on rep0; bus_nng_tls.c: TLS under all of them;
 * bus_nng_mend.c: flaws of NNG. Only these include <nng/...>.
 *
 * Threads: the operations belong to the owner; NNG runs the callbacks on threads of its own. Each plane has one mutex for what both
 * touch, held for moments. Two rules keep it free of deadlocks and the events in order:
 *   - no NNG function is called with a plane's mutex held, except those that only read a pipe's properties or ids;
 *   - bus_config.deliver may be called with it held, so that events are delivered in the order in which they are recorded; deliver
 *     therefore must not call into the bus. */
#pragma once

#include "bus.h"

#include <nng/nng.h>
#include <stdatomic.h>

enum {
    FM_NNG_URL_MAX = 80,
    FM_NNG_REDIAL_MIN_MS = 100,
    FM_NNG_QUEUE_MAX = 64,       /* publishes that wait for NNG's sender; beyond it: FM_E_BUSY */
    FM_NNG_LINKS_MAX = 1024,     /* addresses dialled on the publish plane */
    FM_NNG_ASKED_MAX = 256,      /* addresses with a socket for asks */
    FM_NNG_ASKS_MAX = 4096,      /* asks under way */
    FM_NNG_ASK_IDLE_MS = 30000,  /* a socket for asks that nobody used for so long is closed */
    FM_NNG_SLOTS = 64,           /* asks of others that this node holds unanswered */
    FM_NNG_ASKERS_MAX = 512,     /* connections to the ask plane; beyond it the one that has been silent for longest is closed */
    FM_NNG_SEND_MS = 5000,       /* for an answer to leave */
    FM_NNG_HANDSHAKE_MS = 10000, /* with TLS: who has said nothing through it by then is cut off */
    FM_NNG_REAP_MS = 2000,       /* with TLS: for NNG to free what was closed */
    FM_NNG_LINGER_MS = 50,       /* stop waits so long after the last publish: NNG drops what is queued in a socket that it closes */
    FM_NNG_WARN_EVERY_MS = 10000 /* at most one warning in this time */
};

/* ---- where everything goes ---- */

struct fm_nng_tls;

struct fm_nng_out {
    size_t envelope_max;
    struct fm_nng_tls *tls; /* NULL: plain TCP */
    void (*deliver)(void *ctx, struct fm_bus_item *item);
    void *ctx;
    _Atomic uint64_t warned_ms;  /* when the last oversized message was told, 0: never */
    _Atomic uint32_t warn_count; /* of them since then */
};

/* -- any thread -- */

/* NULL without memory. */
struct fm_bus_item *fm_nng_item(enum fm_bus_event kind, struct fm_slice bytes);
/* True, and tells it, if a message is larger than the limit. */
bool fm_nng_oversized(struct fm_nng_out *out, const char *plane, size_t n);
enum fm_err fm_nng_err(int rv);
/* The same of a plane that can't be opened, told in the log. */
enum fm_err fm_nng_listen_failed(const char *plane, const char *address, int rv);
/* "host:port" or "[v6]:port" into a URL of tcp, or of tls+tcp. FM_E_ADDRESS. */
FM_MUST_CHECK enum fm_err fm_nng_url(const struct fm_nng_out *out, const char *address, char url[FM_NNG_URL_MAX]);
/* As "host:port". False: it is not an address of TCP. */
bool fm_nng_address(const nng_sockaddr *sa, char out[64]);
/* What every socket of the mesh is set to. room: bytes that the protocol adds to a message. */
int fm_nng_socket_set_up(nng_socket socket, size_t envelope_max, size_t room, nng_duration redial_max_ms);
/* A message with a copy of the bytes, NULL without memory. */
nng_msg *fm_nng_msg(struct fm_slice bytes);
struct fm_slice fm_nng_msg_view(nng_msg *msg);
/* Takes the message out of an aio, NULL if there is none. */
nng_msg *fm_nng_take_msg(nng_aio *aio);

/* ---- TLS; the owner's ---- */

FM_MUST_CHECK enum fm_err fm_nng_tls_new(struct fm_nng_tls **tls, struct fm_nng_out *out, struct fm_mesh_tls *mesh);
/* Delivers nothing any more. */
void fm_nng_tls_stop(struct fm_nng_tls **tls);
/* Cuts off whose handshake gets nowhere; called now and then. */
void fm_nng_tls_tidy(struct fm_nng_tls *tls);
/* As nng_listen and nng_dialer_create; tls NULL: for plain URLs. */
int fm_nng_listen(nng_socket socket, const char *url, struct fm_nng_tls *tls);
int fm_nng_dialer(nng_dialer *dialer, nng_socket socket, const char *url, struct fm_nng_tls *tls);

/* ---- the planes: open, then the operations, then close, all by the owner. open listens but delivers nothing yet; start begins to
 * receive. close may be given NULL. ---- */

struct fm_nng_publish;
FM_MUST_CHECK enum fm_err fm_nng_publish_open(struct fm_nng_publish **plane, struct fm_nng_out *out, const char *address);
void fm_nng_publish_start(struct fm_nng_publish *plane);
enum fm_err fm_nng_publish_send(struct fm_nng_publish *plane, struct fm_slice bytes);
enum fm_err fm_nng_publish_link(struct fm_nng_publish *plane, const char *address);
void fm_nng_publish_unlink(struct fm_nng_publish *plane, const char *address);
void fm_nng_publish_drop(struct fm_nng_publish *plane, uint32_t pipe);
void fm_nng_publish_close(struct fm_nng_publish **plane);

struct fm_nng_ask;
FM_MUST_CHECK enum fm_err fm_nng_ask_open(struct fm_nng_ask **plane, struct fm_nng_out *out);
enum fm_err fm_nng_ask_send(struct fm_nng_ask *plane, const char *address, uint64_t id, struct fm_slice bytes, unsigned timeout_ms);
/* Frees what ended and closes what is idle; called now and then. */
void fm_nng_ask_tidy(struct fm_nng_ask *plane);
/* Every ask under way ends in FM_BUS_ANSWERED with FM_E_CLOSED. */
void fm_nng_ask_close(struct fm_nng_ask **plane);

struct fm_nng_answer;
FM_MUST_CHECK enum fm_err fm_nng_answer_open(struct fm_nng_answer **plane, struct fm_nng_out *out, const char *address);
void fm_nng_answer_start(struct fm_nng_answer *plane);
enum fm_err fm_nng_answer_send(struct fm_nng_answer *plane, uint64_t handle, struct fm_slice bytes);
void fm_nng_answer_close(struct fm_nng_answer **plane);
