/* The hub: one node's memory and judgement. It gives publishes their ids, remembers them (a log an origin, a history a topic), dispatches
 * them to the workers that have subscribers, sends them to the mesh, notices what is missing, pulls it, and says honestly what can't be
 * had.
 *
 * The hub is a pure step function: what it does depends only on its state, the item it is given, and `now`. It has no thread, clock, socket
 * or randomness of its own, so a simulator runs a whole cluster of hubs in one process (tests/sim). hub_thread.c runs one for real.
 *
 * Rules of dispatch, for a message (origin, seq, prev, topic):
 *   seq already held                              -> a double: dropped
 *   prev <= this topic's position, or <= contig   -> dispatched: log, history, interested workers; then what waited for it
 *   otherwise                                     -> held in the log; the missing range is pulled; a hole holds up only its topics
 * contig: everything of the origin up to here was received, or is known to be gone for good (and was told as a gap). */
#pragma once

#include "bus.h"
#include "envelope.h"
#include "inbox.h"
#include "inquiry.h"
#include "msg.h"
#include "presence.h"
#include "vector.h"

struct fm_now {
    /* Never goes back: all time limits and ages. Its zero lies before all that is remembered, whenever the machine was started. */
    uint64_t mono_ms;
    uint64_t wall_ms; /* Unix time: only the timestamp of own messages */
};

/* ---- what workers post to the hub; each comes back to its worker as the answer, in the order of the inbox ---- */

enum fm_hub_kind { /* item.kind; the bus's events continue at 64 */
                   FM_HUB_JOIN = 1,
                   FM_HUB_LEAVE,
                   FM_HUB_PUBLISH,
                   FM_HUB_QUERY,
                   FM_HUB_TRACK, /* presence.h */
                   /* hub -> worker only */
                   FM_HUB_MSG,
                   FM_HUB_GAP,
                   /* worker -> worker, of any node */
                   FM_HUB_PARCEL,
                   FM_HUB_INQUIRE,  /* and back */
                   FM_HUB_PRESENCE, /* presence.h */
};

enum { FM_NO_WORKER = UINT32_MAX, FM_WORKERS_MAX = 64 };

/* A subscription begins (or, with reread, a worker that was overrun asks for what it missed on a topic it is subscribed to). The answer
 * holds everything up to its place in the inbox; every message item of the topic that follows in the inbox comes after it, none before is
 * new. */
struct fm_join {
    struct fm_item item;
    uint32_t worker;
    uint32_t last;           /* in: without a cursor: the newest n of the history */
    uint64_t sub;            /* the worker's name for the subscription, echoed */
    char *said;              /* the worker's own, echoed: what the client is told besides; usually NULL, freed with free() */
    struct fm_track *track;  /* in: what it shows there, usually NULL; it is answered with the join, which fails if it does */
    bool reread;             /* in: no new subscriber, only the messages */
    bool has_cursor;         /* in: `cursor` is a position to resume from */
    bool promised;           /* in: its client takes it for granted once it is posted, not only when it is answered */
    bool cut;                /* in: it named more origins than a cursor holds. Nothing of it counts: the answer is not recovered */
    bool recovered;          /* out: nothing was missed that isn't in `replay` (true without a cursor) */
    enum fm_err err;         /* out: FM_OK, FM_E_NOT_READY, FM_E_DRAINING, FM_E_TOO_MANY (topics), and those of `track` */
    struct fm_vector cursor; /* in: the client's; out: the position before `replay`, never empty */
    struct fm_vector at;     /* out: the position after `replay`: the topic's own vector */
    struct fm_vector skip;   /* out: origins in which the client is ahead of this node: messages up to these must not be given to it */
    struct fm_msg **replay;  /* out: references, oldest first; the receiver drops them */
    uint32_t replayed;
    uint32_t topic_n;
    uint8_t topic[];
};

struct fm_join *fm_join_new(uint32_t worker, uint64_t sub, struct fm_slice topic);
void fm_join_free(struct fm_join **join);

/* `subs` subscriptions of a topic ended on this worker. No answer. */
struct fm_leave {
    struct fm_item item;
    uint32_t worker;
    uint32_t subs;
    uint32_t topic_n;
    uint8_t topic[];
};

struct fm_leave *fm_leave_new(uint32_t worker, uint32_t subs, struct fm_slice topic);
void fm_leave_free(struct fm_leave **leave);

enum fm_ack { FM_ACK_LOCAL, FM_ACK_REPLICATED };

struct fm_publish_result {
    struct fm_id id;
    bool duplicate; /* the key was seen before: id is the first one's, nothing was published */
};

/* One or several messages, accepted together in this order. They come back without `msgs` but with `results`. */
struct fm_publish {
    struct fm_item item;
    uint32_t worker; /* FM_NO_WORKER: no answer wanted */
    uint64_t token;  /* the worker's name for the request, echoed */
    char *said;      /* the worker's own, echoed: what the client is told besides; usually NULL, freed with free() */
    enum fm_ack ack;
    uint32_t replicas;   /* REPLICATED: how many other nodes */
    uint32_t timeout_ms; /* REPLICATED */
    enum fm_err err;     /* out: FM_OK, FM_E_NOT_REPLICATED (the results are valid), FM_E_DRAINING, FM_E_TOO_MANY (topics), FM_E_NOMEM */
    uint32_t confirmed;  /* out: how many other nodes had all of them */
    uint32_t cookie_n;   /* bytes of the worker's own, echoed: see fm_publish_cookie */
    uint32_t n;
    struct fm_publish_result *results; /* n; inside the same allocation */
    struct fm_msg **msgs;              /* n references; inside the same allocation */
};

/* cookie: copied; what the worker needs to answer the client (refs). */
struct fm_publish *fm_publish_new(uint32_t worker, uint64_t token, uint32_t n, struct fm_slice cookie);
struct fm_slice fm_publish_cookie(const struct fm_publish *p);
void fm_publish_free(struct fm_publish **p);

/* Questions of the HTTP API. The answer is a JSON text. */
enum fm_query_kind {
    FM_QUERY_TOPICS,   /* `topic` is a prefix, `after` the last name of the page before;
                          {"topics":[{"topic","subscribers","history","cursor"}],"next"?} */
    FM_QUERY_HISTORY,  /* `topic`, `cursor` if has_cursor, `limit`; {"recovered","messages":[{"id","event","payload" or
                          "payload_base64","ts_ms","key"?,"conflation_key"?}],"cursor","floor"} */
    FM_QUERY_CLUSTER,  /* {"self":{...},"peers":[{...}],"origins":[{...}]} */
    FM_QUERY_GATHER,   /* over the cluster, `inquiry`: `topic` (also none) is the topic, `after` the user, `limit` (0: only counts),
                          `after_id`, `command`, `timeout_ms` as in struct fm_inquiry;
                          {"count","nodes":[{"node","incarnation","count"}],"missing":[{"node","incarnation","why"}],
                          "list"?:[{"connection","node","user"?,"address","open_ms","topics"}],"next"?} */
    FM_QUERY_PRESENCE, /* `topic`, `after` the last key of the page before; {"topic","presences","keys","members":{key:{"metas":[...]}},
                          "next"?}. limit 0: the numbers alone */
};

struct fm_query {
    struct fm_item item;
    uint32_t worker;
    uint64_t token;
    enum fm_query_kind what;
    uint32_t limit;
    uint32_t inquiry, timeout_ms;
    struct fm_id after_id, command;
    bool again; /* the asker's own, echoed */
    bool has_cursor;
    enum fm_err err; /* out */
    struct fm_vector cursor;
    struct fm_buf json; /* out */
    uint32_t topic_n, after_n;
    uint8_t text[]; /* topic, then after */
};

struct fm_query *fm_query_new(uint32_t worker, uint64_t token, enum fm_query_kind what, struct fm_slice topic, struct fm_slice after);
void fm_query_free(struct fm_query **query);

/* Bytes for one worker, of this node or another, handed over at most once. Nothing comes back unless it did not arrive, as far as is
 * known: then the parcel itself does, without its bytes and with `err`. FM_E_TIMEOUT: nobody confirmed it within ask_timeout_ms, and it
 * may have arrived all the same. What they mean is the workers' own. */
struct fm_parcel {
    struct fm_item item;
    uint64_t node;   /* posted: whose worker; arrived: who sent it, which may be this node */
    uint32_t worker; /* to which */
    uint32_t from;   /* posted: this node's worker that gets it back */
    uint64_t token;  /* the sender's name for it: not sent, it comes back with it */
    enum fm_err err; /* came back: FM_E_NOT_FOUND (no such node or worker in reach), FM_E_BUSY, FM_E_TOO_LARGE, FM_E_TIMEOUT, ... */
    uint32_t n;
    uint8_t bytes[];
};

/* NULL without memory. */
struct fm_parcel *fm_parcel_new(uint64_t node, uint32_t worker, uint32_t from, uint64_t token, struct fm_slice bytes);
void fm_parcel_free(struct fm_parcel **parcel);

/* ---- what the hub posts to workers besides ---- */

struct fm_msg_item { /* FM_HUB_MSG */
    struct fm_item item;
    struct fm_msg *msg; /* a reference */
};

struct fm_inquire { /* FM_HUB_INQUIRE: a worker is asked about its clients; it posts the item back */
    struct fm_item item;
    unsigned worker;
    uint64_t gather; /* the hub's name for the question */
    uint32_t what;   /* enum fm_inquiry_kind */
    uint32_t limit;
    struct fm_id after, command;
    bool failed;           /* out: there was no memory */
    struct fm_found found; /* out */
    uint32_t user_n, topic_n;
    uint8_t text[]; /* user, then topic */
};

void fm_inquire_free(struct fm_inquire **q);

/* "evicted", "lost", "overrun", "slow", "deleted" */
enum fm_gap_reason { FM_GAP_EVICTED, FM_GAP_LOST, FM_GAP_OVERRUN, FM_GAP_SLOW, FM_GAP_DELETED };

#define FM_GAP_OPEN UINT64_MAX

struct fm_gap { /* FM_HUB_GAP, for one topic */
    struct fm_item item;
    enum fm_gap_reason reason;
    uint64_t origin, from, to; /* origin 0: not one range of one origin; to FM_GAP_OPEN: nobody knows how far */
    uint64_t skipped;          /* SLOW: how many messages of the subscriber were left out */
    struct fm_vector cursor;   /* the position after the gap */
    uint32_t topic_n;
    uint8_t topic[];
};

const char *fm_gap_reason_text(enum fm_gap_reason reason);
void fm_gap_free(struct fm_gap **gap);

/* Frees any item that a hub posts to a worker or a worker or bus to a hub, with what it holds. */
void fm_hub_item_free(struct fm_item *item);

/* ---- the hub itself ---- */

struct fm_retention { /* of a topic's history; any 0: no history */
    uint32_t count;
    uint64_t bytes;
    uint64_t age_ms;
};

struct fm_hub_config {
    uint64_t incarnation;     /* never 0 */
    const char *name;         /* of the node, for people */
    const char *bus_address;  /* advertised, "host:port" */
    const char *ask_address;  /* advertised */
    const char *const *seeds; /* bus addresses of nodes to join; NULL-terminated */
    unsigned workers;
    uint64_t log_bytes; /* per origin */
    uint64_t log_age_ms;
    uint64_t memory_bytes; /* of all logs and histories of the node, and the keys in them: beyond it the oldest goes first */
    uint64_t keys_bytes;   /* of idempotency keys whose messages are gone before log_age: beyond it what went first is forgotten */
    uint32_t topics_max;
    uint64_t commands_bytes;       /* of commands that stand: beyond it no more are taken from here */
    uint32_t replicas;             /* default of ack: replicated */
    uint64_t presence_bytes;       /* of all presences, those of other nodes too: beyond it no more are taken from own clients */
    uint32_t presence_grace_ms;    /* who is back so soon was never away */
    uint32_t presence_pace_ms;     /* so long are changes gathered before they are told */
    uint32_t presence_tombs;       /* removed presences of a node that are remembered at least, for who missed the removal */
    uint32_t presence_state_bytes; /* of one presence_state or presence_diff, about */
    uint32_t heartbeat_ms, repair_after_ms, gap_ms, found_ms, join_wait_ms, down_ms, ask_timeout_ms;
    uint64_t cursor_ttl_ms;  /* how long a dead origin is remembered */
    uint32_t window;         /* batches in flight; below bus0's 16 */
    uint32_t window_live_ms; /* only peers that acknowledged within this time hold the window */
    uint32_t batch_bytes;
    uint64_t backlog_bytes;      /* own messages that may wait to leave, at most half of log_bytes; beyond it nothing more is accepted */
    uint64_t repair_bytes_per_s; /* of what is pulled from other nodes, beyond a hole's first answer; 0: no limit */
    struct fm_seal *seal;        /* borrowed */
    /* Fills in what only the workers know of the node's load: clients, slow. Asked at every heartbeat; NULL: there are no clients. */
    void (*load)(void *ctx, struct fm_env_load *load);
    void *load_ctx;
    /* The history of a topic, by rule. Pure, for as long as the ctx is the same. */
    struct fm_retention (*retention)(void *ctx, struct fm_slice topic);
    void *retention_ctx;
    /* May presences of this topic be shown, with the same ctx? NULL: they may. */
    bool (*presence_allowed)(void *ctx, struct fm_slice topic);
};

/* Every field at its default (the option table prints these). */
void fm_hub_config_default(struct fm_hub_config *c);

struct fm_hub_port { /* effects */
    void *ctx;
    /* Gives a chain of items (may be NULL) to a worker. lost: a message for it could not be made for want of memory; treat it as an
     * overrun. */
    void (*to_worker)(void *ctx, unsigned worker, struct fm_item *chain, bool lost);
    const struct fm_bus_ops *bus_ops; /* NULL: a node alone */
    struct fm_bus *bus;
};

/* Counters: name in /metrics, type, help. One table; read by any thread, written by the hub's. */
#define FM_HUB_STATS(X) \
    X(published, "fanmesh_published_total", "counter", "messages accepted on this node") \
    X(duplicates, "fanmesh_publish_duplicates_total", "counter", "publishes recognised by their idempotency key") \
    X(dispatched, "fanmesh_dispatched_total", "counter", "messages dispatched on this node, own and from the mesh") \
    X(dropped_double, "fanmesh_mesh_doubles_total", "counter", "messages that arrived again and were dropped") \
    X(suppressed_key, "fanmesh_key_suppressed_total", "counter", "messages not delivered because one with the same key was first") \
    X(joins, "fanmesh_joins_total", "counter", "joins answered") \
    X(joins_unrecovered, "fanmesh_joins_unrecovered_total", "counter", "joins with a cursor answered recovered: false") \
    X(gaps, "fanmesh_gaps_total", "counter", "gaps declared to subscribers") \
    X(tail_unknown, "fanmesh_origin_tail_unknown_total", "counter", \
      "messages that a node is known to have accepted before it died, and that nobody has") \
    X(batches_out, "fanmesh_mesh_batches_out_total", "counter", "batches sent to the mesh") \
    X(bytes_out, "fanmesh_mesh_bytes_out_total", "counter", \
      "bytes of what was sent to the mesh: batches, heartbeats, hellos; once, not a link") \
    X(envelopes_in, "fanmesh_mesh_envelopes_in_total", "counter", "envelopes received from the mesh") \
    X(bytes_in, "fanmesh_mesh_bytes_in_total", "counter", "bytes of them") \
    X(dropped, "fanmesh_mesh_dropped_total", "counter", \
      "envelopes that a full queue dropped on the way here: their numbers are missing on a link that stayed up") \
    X(envelopes_bad, "fanmesh_mesh_envelopes_refused_total", "counter", "envelopes refused: seal, cluster, version, replay or syntax") \
    X(links_refused, "fanmesh_mesh_links_refused_total", "counter", \
      "links ended since what came over them was refused: dialled addresses are then dialled more rarely") \
    X(dials_ended, "fanmesh_mesh_dials_ended_total", "counter", \
      "links that this node dialled and the other side ended before it said anything: it has another secret, cluster or version, or was " \
      "ending") \
    X(tls_refused, "fanmesh_mesh_tls_refused_total", "counter", \
      "connections of the mesh that TLS ended: no certificate, none that is trusted, or no TLS at all") \
    X(inbox_dropped, "fanmesh_hub_inbox_dropped_total", "counter", \
      "envelopes thrown away because the hub's inbox was full; repaired like any loss") \
    X(pulls, "fanmesh_repair_pulls_total", "counter", "ranges asked for") \
    X(repaired, "fanmesh_repaired_messages_total", "counter", "messages that arrived by repair") \
    X(repair_bytes_in, "fanmesh_repair_bytes_in_total", "counter", "bytes of the answers to them") \
    X(pulls_served, "fanmesh_repair_served_total", "counter", "ranges served to other nodes") \
    X(repair_bytes_out, "fanmesh_repair_bytes_out_total", "counter", "bytes of them") \
    X(parcels, "fanmesh_mesh_parcels_total", "counter", "requests and answers handed to a worker of another node: LongPoll") \
    X(parcels_failed, "fanmesh_mesh_parcels_failed_total", "counter", "those of them that did not arrive, as far as is known") \
    X(window_waits, "fanmesh_mesh_window_waits_total", "counter", "times a batch waited for acknowledgements") \
    X(backlog_bytes, "fanmesh_mesh_backlog_bytes", "gauge", "bytes of own messages that wait to leave for the other nodes") \
    X(backlog_refused, "fanmesh_mesh_backlog_refused_total", "counter", "publishes refused because the mesh was that far behind") \
    X(not_replicated, "fanmesh_not_replicated_total", "counter", "replicated publishes that missed their time limit") \
    X(log_bytes, "fanmesh_log_bytes", "gauge", "bytes held in logs and histories") \
    X(index_bytes, "fanmesh_index_bytes", "gauge", \
      "bytes, about, of what is kept beside the messages themselves: topics, positions, places in logs and histories, origins, their " \
      "keys") \
    X(log_messages, "fanmesh_log_messages", "gauge", "messages held in logs and histories") \
    X(presences, "fanmesh_presences", "gauge", "presences that are known, those of nodes out of reach too") \
    X(presence_bytes, "fanmesh_presence_bytes", "gauge", "bytes of them, about") \
    X(presence_changes, "fanmesh_presence_changes_total", "counter", "changes of presences, own and from other nodes") \
    X(presence_refused, "fanmesh_presence_refused_total", "counter", "presences of clients refused because presence_bytes is used up") \
    X(presence_diffs, "fanmesh_presence_diffs_total", "counter", "presence_diff events made for topics") \
    X(presence_states, "fanmesh_presence_states_total", "counter", "states of topics given to workers for who is new") \
    X(presence_batches_out, "fanmesh_presence_batches_out_total", "counter", "batches of changes sent to other nodes") \
    X(presence_batches_in, "fanmesh_presence_batches_in_total", "counter", "batches of changes received from other nodes") \
    X(presence_pulls, "fanmesh_presence_pulls_total", "counter", "times that changes which did not arrive were asked for") \
    X(presence_whole, "fanmesh_presence_whole_total", "counter", "times that all presences of a node had to be asked for anew") \
    X(keys, "fanmesh_keys", "gauge", "idempotency keys that are known though their messages are gone") \
    X(keys_bytes, "fanmesh_keys_bytes", "gauge", "bytes of them") \
    X(keys_forgotten, "fanmesh_keys_forgotten_total", "counter", "of them, forgotten before log_age was over, for want of keys_bytes") \
    X(topics, "fanmesh_topics", "gauge", "topics known") \
    X(deleted, "fanmesh_deleted_messages_total", "counter", "messages that left logs and histories since their history was deleted") \
    X(deleted_late, "fanmesh_deleted_late_total", "counter", \
      "messages that came after their history had been deleted, and were given to nobody: told as gaps") \
    X(commands, "fanmesh_commands_total", "counter", "commands taken, of this node and others") \
    X(commands_standing, "fanmesh_commands_standing", "gauge", "commands that every node must know for a while: deletions, revocations") \
    X(commands_bytes, "fanmesh_commands_bytes", "gauge", "bytes of them") \
    X(commands_again, "fanmesh_commands_again_total", "counter", "of them, published again so that nodes that come later learn of them") \
    X(commands_dropped, "fanmesh_commands_dropped_total", "counter", "of them, forgotten before their time for want of memory") \
    X(gathers, "fanmesh_cluster_questions_total", "counter", "questions about clients that this node put to all nodes") \
    X(gathers_missing, "fanmesh_cluster_questions_missing_total", "counter", "answers to them that other nodes did not give in time") \
    X(commands_missed, "fanmesh_commands_missed_total", "counter", "times that commands of another node may have been lost") \
    X(commands_recalled, "fanmesh_commands_recalled_total", "counter", \
      "times that this or another node asked for those that stand to be published again, since it may have lost some") \
    X(commands_unknown, "fanmesh_commands_unknown_total", "counter", "commands that this node can't read, or does nothing for") \
    X(origins, "fanmesh_origins", "gauge", "origins known, dead ones included") \
    X(origins_forgotten, "fanmesh_origins_forgotten_total", "counter", "origins forgotten before cursor_ttl, since 255 are remembered") \
    X(origins_refused, "fanmesh_origins_refused_total", "counter", \
      "origins of a healed split that were not taken in, since 255 younger ones are remembered: told as gaps") \
    X(blinded, "fanmesh_blinded_total", "counter", \
      "times that all subscribers were told a gap, since nobody can say any more what they missed") \
    X(peers, "fanmesh_peers", "gauge", "nodes linked and alive") \
    X(isolated, "fanmesh_mesh_isolated", "gauge", "1 while the node knows of other nodes and none is in reach") \
    X(holes, "fanmesh_holes", "gauge", "origins of which something is missing at this moment") \
    X(ready, "fanmesh_ready", "gauge", "1 when the node has the cluster's state")

struct fm_hub_stats {
#define X(name, metric, type, help) _Atomic uint64_t name;
    FM_HUB_STATS(X)
#undef X
};

struct fm_hub;

/* -- owner only -- */
FM_MUST_CHECK enum fm_err fm_hub_new(struct fm_hub **hub, const struct fm_hub_config *config, const struct fm_hub_port *port,
                                     struct fm_now now);
void fm_hub_free(struct fm_hub **hub);
/* Links to the seeds. Apart from new, so that the bus may be started between. */
void fm_hub_start(struct fm_hub *hub, struct fm_now now);
/* Takes ownership of one item from a worker or the bus. Effects may wait for flush. */
void fm_hub_handle(struct fm_hub *hub, struct fm_now now, struct fm_item *item);
/* The inbox is drained: what was gathered leaves, to workers and to the mesh. Returns the milliseconds until it wants to be ticked. */
uint64_t fm_hub_flush(struct fm_hub *hub, struct fm_now now);
/* What is due by time. Returns the milliseconds until it wants to be called again (1 to 1000). */
uint64_t fm_hub_tick(struct fm_hub *hub, struct fm_now now);
/* Histories are kept by config.retention with this ctx from now on: what is too much goes before anybody is given it. */
void fm_hub_retention(struct fm_hub *hub, void *ctx);
/* Takes no more publishes or joins; fm_hub_left turns true when every live peer has everything that this node has, and BYE was sent. */
void fm_hub_drain(struct fm_hub *hub, struct fm_now now);
/* The end, before fm_hub_free: publishes that wait for other nodes are answered with FM_E_CLOSED. */
void fm_hub_close(struct fm_hub *hub);
bool fm_hub_left(const struct fm_hub *hub);
/* Once it has left: was there no node that stays and has what this one has? */
bool fm_hub_left_alone(const struct fm_hub *hub);

/* So many envelopes found no room in the hub's inbox. */
void fm_hub_inbox_dropped(struct fm_hub *hub, uint64_t n);

/* -- any thread -- */
const struct fm_hub_stats *fm_hub_stats(const struct fm_hub *hub);
