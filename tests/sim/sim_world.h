/* Inside the simulated cluster: what its files share.
 *
 *   sim_cluster.c  a run and its end                  sim_plan.c    what is drawn for it
 *   sim_trouble.c  what goes wrong                    sim_node.c    nodes: life, inbox, steps
 *   sim_worker.c   a node's workers                   sim_client.c  clients and their connections
 *   sim_load.c     publishers                         sim_trace.c   what happened, for people
 *   sim_presence.c who is on a topic             sim_presence_api.c  ... and is shown there by the API
 *
 * Nodes, workers and clients live as long as the world, in arrays; what an event is about is told by a serial in its argument, so that one
 * that comes too late is recognised. */
#pragma once

#include "sim_cluster.h"

enum { SIM_API_KEYS = 3 };         /* a topic, that the API shows */
enum { SIM_SHORT_LIFE_MS = 4000 }; /* what logs and histories keep in a short-lived plan */

struct world;

struct sim_view { /* a worker's place in a topic's stream */
    struct fm_vector at;
    uint32_t rereads; /* questions out; until the last is answered the stream is not to be believed */
};

struct sim_worker {
    struct node *node;
    unsigned index;
    struct fm_item *first, **last; /* inbox */
    bool due, overrun;
    uint64_t busy_until_us; /* it drains nothing until then, and its inbox is full */
    struct sim_view views[FM_SIM_TOPICS_MAX];
    struct sim_watch *watches; /* by topic; NULL: none yet */
    struct fm_msg *swapped;    /* a mutation holds it back */
};

struct node {
    struct world *w;
    unsigned slot, life;
    char bus_address[24], ask_address[24], name[16];
    const char *seeds[3];
    struct fm_hub *hub; /* NULL: down */
    struct fm_bus *bus;
    struct fm_seal *seal;
    uint64_t incarnation;
    uint64_t frozen_until_us, tick_serial, tick_at_us;
    int64_t skew_ms; /* of its wall clock */
    bool draining;
    struct fm_item *first, **last; /* inbox */
    bool due;
    struct sim_worker workers[FM_SIM_WORKERS_MAX];
};

enum client_state { CLIENT_AWAY, CLIENT_JOINING, CLIENT_IN };

struct frame { /* on its way from a worker to a client; one of the three */
    struct frame *next;
    struct fm_msg *msg;
    struct fm_join *join;
    struct fm_gap *gap;
};

struct sim_client {
    struct world *w;
    uint32_t index, ledger; /* its number in the ledger */
    unsigned topic;
    enum client_state state;
    struct node *node;
    unsigned life, worker;
    uint64_t serial;       /* of its present connection; the join's `sub` tells client and serial */
    struct fm_vector skip; /* what it is ahead of its node */
    struct fm_vector sent; /* what it was sent on this connection */
    uint64_t holder;       /* of its presence */
    unsigned meta;         /* which it shows */
    uint64_t away_us;      /* since when its presence has no connection; 0: it has one, or was never shown */
    bool shown, excused;   /* it was shown; its node died, or it was away for too long, and it may have been seen to leave */
    struct frame *first, **last;
    bool due;
};

struct sim_publish { /* a request without an answer */
    struct sim_publish *next;
    uint64_t token, posted, due_us;
    struct node *node;
    unsigned life;
    uint32_t replicas; /* 0: local */
    bool keyed;
    uint32_t n;
    struct {
        uint32_t no;
        unsigned topic;
    } what[];
};

struct world {
    struct fm_sim_plan plan;
    uint64_t seed;
    struct fm_sim_clock *clock;
    struct fm_sim_net *net;
    struct fm_ledger *ledger;
    struct fm_sim_rand pace, load, moves, chaos, mutate, show, api;
    struct node nodes[FM_SIM_NODES_MAX];
    struct sim_client *clients;
    struct sim_publish *publishes;
    char topics[FM_SIM_TOPICS_MAX][16];
    uint64_t tokens, serials;
    bool settling; /* no more troubles and moves */
    struct sim_api_key {
        unsigned n; /* of its meta */
        bool there; /* at the end */
    } api_keys[FM_SIM_TOPICS_MAX][SIM_API_KEYS];
    struct fm_sim_report *report;
    struct sim_trace *trace;
};

static inline struct fm_slice sim_topic(const struct world *w, unsigned topic)
{
    return fm_slice_str(w->topics[topic]);
}

static inline bool node_up(const struct node *n, unsigned life)
{
    return n->hub && n->life == life;
}

/* A time around `mean_us`, from a tenth of it to about twice. */
uint64_t sim_around_us(struct fm_sim_rand *r, uint64_t mean_us);

/* sim_trouble.c */
/* From now and then on something goes wrong. */
void sim_trouble_start(struct world *w);
/* Nodes that are up and do not leave. */
unsigned sim_staying_count(const struct world *w);
/* Cuts every pair of which `one` holds the one and not the other. */
void sim_split(struct world *w, unsigned one);
/* An event on a node: it comes back, if it is still its life `life` that went. */
void sim_restart(void *node, uint64_t life);

/* sim_node.c */
void sim_node_init(struct world *w, unsigned slot);
void sim_node_start(struct node *n);
/* Its state is lost. left: it had handed everything over. */
void sim_node_stop(struct node *n, bool left);
void sim_node_freeze(struct node *n, uint64_t us);
void sim_node_leave(struct node *n);
/* Takes the item; a node that is down loses it. */
void sim_node_post(struct node *n, struct fm_item *item);
/* A random node that is up and not leaving; NULL: there is none. */
struct node *sim_node_any(struct world *w, struct fm_sim_rand *r);
/* Notes in the ledger what it has in the end. */
void sim_node_final(struct node *n);

/* sim_worker.c */
void sim_worker_take(struct sim_worker *sw, struct fm_item *chain, bool lost);
/* It is busy for so long, and what comes meanwhile finds its inbox full. */
void sim_worker_overrun(struct sim_worker *sw, uint64_t us);
void sim_worker_clear(struct sim_worker *sw);

/* sim_client.c */
void sim_clients_init(struct world *w);
void sim_clients_free(struct world *w);
/* Ends the connection; some of what was on its way is lost. */
void sim_client_cut(struct sim_client *c);
void sim_client_away(struct sim_client *c, uint64_t us);
void sim_client_join_answered(struct world *w, struct sim_worker *sw, struct fm_join *j);
void sim_client_msg(struct sim_client *c, struct fm_msg *m);
void sim_client_gap(struct sim_client *c, const struct fm_gap *g);
/* Is the client joined at this worker, to this topic? */
bool sim_client_at(const struct sim_client *c, const struct sim_worker *sw, struct fm_slice topic);
bool sim_clients_in(const struct world *w);

/* sim_presence.c; nothing where the plan has no presence */
void sim_presence_join(struct sim_client *c, struct fm_join *j);
void sim_presence_joined(struct sim_client *c, const struct fm_join *j);
/* A client that was in goes. */
void sim_presence_cut(struct sim_client *c);
/* The node dies, with the presences of those who were on it. */
void sim_presence_died(struct node *n);
/* Its connection is gone. */
void sim_presence_end(struct node *n, unsigned worker, uint64_t holder);
/* The worker wants to be told of all topics, anew. */
void sim_presence_watch(struct sim_worker *sw);
void sim_presence_told(struct sim_worker *sw, unsigned topic, const struct fm_msg *m);
void sim_presence_forget(struct sim_worker *sw);
void sim_presence_judge(struct world *w, struct fm_verdict *v);
void sim_presence_traffic(const struct world *w, struct fm_sim_presence *sum);

/* sim_presence_api.c */
void sim_api_start(struct world *w);
/* All is healed: every key is shown once more, and some are ended. */
void sim_api_last_words(struct world *w);
void sim_api_answered(struct world *w, struct node *n, struct fm_track *t);
/* The key's name, and its meta as it is in the end. */
size_t sim_api_key(unsigned key, char out[24]);
size_t sim_api_meta(const struct sim_api_key *k, char out[48]);

/* sim_load.c */
void sim_load_start(struct world *w);
void sim_load_last_words(struct world *w);
void sim_load_answered(struct world *w, struct node *n, struct fm_publish *p);
/* The node stands still for so long: its answers may come later. */
void sim_load_node_frozen(struct world *w, struct node *n, uint64_t us);
/* What a node that went down will never answer. */
void sim_load_node_gone(struct world *w, struct node *n);
void sim_load_check(struct world *w);
void sim_load_free(struct world *w);

/* sim_trace.c */
struct sim_trace *sim_trace_new(void);
void sim_trace_free(struct sim_trace **trace);
void sim_trace_print(const struct sim_trace *trace);
void sim_trace_add(struct sim_trace *trace, uint64_t now_us, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* What happened: a text if the run is traced, and in any case a number into the digest. */
#define SIM_TRACE(w, number, ...) \
    do { \
        (w)->report->digest = ((w)->report->digest ^ (uint64_t)(number) ^ fm_sim_now_us((w)->clock)) * 0x100000001b3u; \
        if ((w)->trace) \
            sim_trace_add((w)->trace, fm_sim_now_us((w)->clock), __VA_ARGS__); \
    } while (0)
