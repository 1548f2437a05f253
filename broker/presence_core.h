/* Inside the hub: presences. Included by hub_core.h.
 *
 *   presence.c        the sets: entries, keys, topics; what of them is to be seen
 *   presence_own.c    what this node's channels show
 *   presence_place.c  who comes in whose place, and how long one is kept
 *   presence_lease.c  what the API shows here
 *   presence_tell.c   diffs and states for workers, as JSON      presence_query.c  pages for the HTTP API
 *   presence_mesh.c   changes to other nodes, pulls              presence_wire.c   their bytes
 *
 * Every node (origin) alone writes the presences of its own channels, so they are a set with a version, and the presence of a topic is the
 * union of the sets of those origins that live: no two nodes ever write the same. Each change gets the next version of the origin; an entry
 * is at the version of its last change, and a removed one stays for a while as a tombstone. "What changed since v" is the end of the list
 * ordered by version, whoever has it; "everything" is the same since 0, behind which whatever was not named is gone.
 *
 * Invariants:
 *   - An origin's list is ordered by version, an entry is in it once; `ver` is the version up to which the set is complete here.
 *   - `shown` is what clients of this node were told and nothing else; it differs from what is to be seen only while the entry is dirty. A
 *     dirty entry is in its key's list, a key with such in its topic's, and that topic is in the list of those that are due.
 *   - Nothing that is done for one entry grows with the entries of its key: all of a crowd may be under one. */
#pragma once

#include "bus.h"
#include "envelope.h"
#include "presence.h"
#include "table.h"

struct fm_hub;
struct fm_peer;
struct fm_asked;
struct fm_ptopic;
struct fm_porigin;

struct fm_pmeta { /* immutable; held by what is and by what was told */
    uint32_t refs, n;
    uint64_t ref, prev; /* versions: when it was set; when the one before it was, 0: it is the first */
    uint8_t json[];     /* an object, without white space around */
};

enum fm_pplace {                   /* an entry's, of its key: in at most one list */
                 FM_PPLACE_FRESH,  /* it may have come for one that left, which is not known yet; newest first */
                 FM_PPLACE_VACANT, /* its connection is gone, or its node takes its leave: somebody may come for it; this node's first */
                 FM_PPLACE_KEPT,   /* it is gone since somebody came for it, who is not to be seen yet: it is still to be seen until then */
                 FM_PPLACES,
                 FM_PPLACE_NONE = FM_PPLACES,
};

struct fm_pkey { /* of a topic */
    UT_hash_handle hh;
    struct fm_ptopic *topic;
    struct fm_pentry *first; /* those that the API shows are first */
    struct fm_pentry *places[FM_PPLACES];
    struct fm_pentry *dirty;
    struct fm_pkey *due_next;
    uint32_t shown; /* entries that clients were told of */
    uint32_t kept;  /* those of them that are gone */
    bool due;       /* in its topic's list: something of it is dirty */
    uint8_t name_n;
    uint8_t name[];
};

struct fm_ptopic {
    UT_hash_handle hh;
    struct fm_pkey *keys, *due, **due_last;
    struct fm_ptopic *due_next;
    uint64_t due_ms;            /* while a key is due: when it is told */
    uint64_t watch, wanted;     /* bit i: worker i is told diffs; ... waits for the state */
    uint32_t shown, keys_shown; /* presences that clients were told of, and their keys */
    struct fm_msg **state;      /* as it was told last, if nothing was told since */
    uint32_t state_n;
    bool making, queued; /* the state is not all there yet; it is in the list of those of which some is made in each turn */
    struct fm_pkey *at;  /* making: the next key */
    struct fm_buf rest;  /* ... and members that do not fill a message yet */
    struct fm_ptopic *making_next;
    uint16_t name_n;
    uint8_t name[];
};

struct fm_pentry {
    UT_hash_handle hh; /* of the origin, by id */
    uint64_t id, ver;
    struct fm_porigin *origin;
    struct fm_pentry *older, *newer; /* of the origin, by version */
    struct fm_pkey *key;             /* NULL: gone, and no client has to be told */
    struct fm_pentry *prev, *next;   /* of the key */
    struct fm_pentry *place_prev, *place_next;
    struct fm_pentry *dirty_next;
    struct fm_pmeta *meta, *shown; /* NULL: gone; not told */
    struct fm_pentry *tomb_next;   /* of the origin's tombstones, by version */
    uint64_t gone_ms;              /* mono, of a tombstone */
    uint32_t round;                /* of the origin, when it was named last */
    bool listed;                   /* by version; else it is only left because it was told, or because it may be named again */
    bool dirty;
    bool superseded; /* its origin has left, and somebody came for it elsewhere */
    uint8_t place;   /* enum fm_pplace */
    union {
        uint64_t came_ms;     /* mono: when this node first heard of it */
        struct fm_pheir heir; /* of one that is gone */
    };
    uint64_t due_ms; /* of one whose channel is gone, or that is kept: it goes then; so does one that the API shows */
    struct fm_pentry *late_next, **late_link; /* of those that go, by their time */
    /* Own ones: */
    bool unique;     /* the key was made for it: nobody comes back under it */
    uint32_t lease;  /* the API shows it: its place in the heap of those, from 1; 0: a channel does */
    uint64_t holder; /* 0: the channel is gone */
    uint64_t put_ms; /* mono: when the API showed it last */
    UT_hash_handle by_holder;
};

/* Ids of what the API shows; channels' are counted from 1. */
#define FM_PENTRY_LEASE (UINT64_C(1) << 62)

static inline bool fm_pentry_is_lease(const struct fm_pentry *e)
{
    return e->id >> 62 == 1;
}

enum fm_porigin_state { FM_PORIGIN_HIDDEN, FM_PORIGIN_HERE, FM_PORIGIN_LINGERS };

struct fm_porigin {
    UT_hash_handle hh;
    uint64_t id;
    uint64_t ver, floor; /* complete up to ver; tombstones up to floor are forgotten */
    uint64_t claimed;    /* some node has it up to here */
    struct fm_pentry *entries, *oldest, *newest;
    struct fm_pentry *tomb, **tomb_last;
    uint32_t tombs;
    enum fm_porigin_state state;
    uint64_t relayed_ms; /* mono: when another node that we hear heard it, moved on like heard_ms */
    uint64_t bye_ms;     /* mono: when it said that it leaves */
    uint64_t hidden_ms;  /* mono: since when it is hidden */
    bool whole;          /* everything is being pulled anew, from version 0: what is not named by the end is gone */
    uint64_t base;       /* whole: how far it was when the first page was given; tombstones up to here may be missing */
    uint32_t round;
    struct {
        uint64_t ask, counter, not_before_ms, holder; /* ask 0: none; holder: incarnation of the node asked */
    } pull;
};

enum { FM_PRESENCE_WORKERS = 64 };

struct fm_presence { /* of the hub; zero-initialised but for what fm_presence_init does */
    struct fm_porigin *origins, *self;
    struct fm_ptopic *topics, *due, **due_last, *making, **making_last;
    struct fm_pentry *by_holder, *late, **late_last;
    struct fm_pentry **leases; /* those that the API shows here: a heap by due_ms */
    uint32_t leases_n, leases_cap;
    uint64_t lease_id, lease_holders;    /* the last ones */
    uint64_t bytes;                      /* of all of it */
    uint64_t heard[FM_PRESENCE_WORKERS]; /* by worker: the number of its last WATCH or UNWATCH */
    uint64_t sent;                       /* own changes up to here left */
    uint64_t send_due_ms;                /* mono: not before */
    uint64_t ids;                        /* of own entries */
    uint64_t full_told_ms;
    bool pulling;
    struct fm_vector target; /* what a node that takes over waits for */
};

/* ---- presence.c ---- */
FM_MUST_CHECK enum fm_err fm_presence_init(struct fm_hub *h);
void fm_presence_free(struct fm_hub *h);
struct fm_porigin *fm_porigin_find(struct fm_hub *h, uint64_t id);
FM_MUST_CHECK struct fm_porigin *fm_porigin_get(struct fm_hub *h, uint64_t id);
void fm_porigin_drop(struct fm_hub *h, struct fm_porigin *o);
struct fm_ptopic *fm_ptopic_find(struct fm_hub *h, struct fm_slice name);
FM_MUST_CHECK struct fm_ptopic *fm_ptopic_get(struct fm_hub *h, struct fm_slice name);
/* It goes where nothing needs it. */
void fm_ptopic_release(struct fm_hub *h, struct fm_ptopic *t);
struct fm_pkey *fm_pkey_find(struct fm_ptopic *t, struct fm_slice name);
struct fm_pentry *fm_pentry_find(struct fm_porigin *o, uint64_t id);
/* What a record says: the entry is made if need be and moves to `ver`. meta is moved; NULL: it is gone. FM_E_NOMEM: nothing was changed. */
struct fm_pchange {
    uint64_t id, ver;
    struct fm_slice topic, key;
    struct fm_pmeta *meta;
    struct fm_pheir heir; /* without a meta */
};
FM_MUST_CHECK enum fm_err fm_pentry_put(struct fm_hub *h, struct fm_porigin *o, struct fm_pchange *change, struct fm_pentry **entry);
/* It goes without leaving a tombstone. */
void fm_pentry_forget(struct fm_hub *h, struct fm_pentry *e);
/* The whole set was pulled and this is not in it. */
void fm_pentry_unname(struct fm_hub *h, struct fm_pentry *e);
/* Clients have been told what is: entries that are gone leave the key, and it goes with the last. */
void fm_pkey_settle(struct fm_hub *h, struct fm_pkey *k);
struct fm_pmeta *fm_pmeta_new(uint64_t ref, uint64_t prev, struct fm_slice json);
struct fm_pmeta *fm_pmeta_ref(struct fm_pmeta *m);
void fm_pmeta_unref(struct fm_pmeta **m);
/* What clients are to be told of it; NULL: nothing. */
struct fm_pmeta *fm_pentry_seen(const struct fm_pentry *e);
/* What is to be seen of it may have changed; it has a key. */
void fm_pentry_mark(struct fm_hub *h, struct fm_pentry *e);
/* Who lives, as far as is known: whose presences are to be seen. */
void fm_presence_look(struct fm_hub *h);
void fm_tombs_prune(struct fm_hub *h, struct fm_porigin *o);
/* "origin-version" */
size_t fm_phx_ref_print(uint64_t origin, uint64_t ref, char out[FM_PRESENCE_REF_MAX + 1]);

/* ---- presence_own.c ---- */
/* Takes it, or gives it back as the answer. */
void fm_track_handle(struct fm_hub *h, struct fm_track *t);
/* A join's own; the item stays the caller's. */
FM_MUST_CHECK enum fm_err fm_track_do(struct fm_hub *h, struct fm_track *t);
/* What is shown ends, at once. heir: who came in its place; NULL: nobody did. */
void fm_pentry_end(struct fm_hub *h, struct fm_pentry *e, const struct fm_pentry *heir);
struct fm_pentry *fm_pentry_held(struct fm_hub *h, uint64_t holder);

/* ---- presence_place.c ---- */
/* Moves it into the list of that place. */
void fm_pentry_place(struct fm_pentry *e, enum fm_pplace place);
/* It is new: one whose place is vacant may go. */
void fm_presence_came(struct fm_hub *h, struct fm_pentry *e);
/* Whose channel is gone: it goes when its time is over, unless somebody comes or came for it. */
void fm_presence_linger(struct fm_hub *h, struct fm_pentry *e);
/* Its channel is back. */
void fm_presence_back(struct fm_hub *h, struct fm_pentry *e);
/* Of this node, under the key, whose channel is gone; or NULL. */
struct fm_pentry *fm_presence_vacant(struct fm_hub *h, const struct fm_pkey *k);
/* Its origin takes its leave. */
void fm_presence_leaves(struct fm_hub *h, struct fm_pentry *e);
/* It is gone, and clients were told of it: it is to be seen until somebody is who came for it, at most for the grace. */
void fm_pentry_keep(struct fm_hub *h, struct fm_pentry *e);
/* Those of the key that are kept, and need not be any more, are dirty: true if there are some. All that else has changed under the key has
 * been told. */
bool fm_pkey_release(struct fm_hub *h, struct fm_pkey *k);
/* It goes: it has no place and no time. */
void fm_pentry_unplace(struct fm_hub *h, struct fm_pentry *e);
/* This node stood still for so long. */
void fm_places_paused(struct fm_hub *h, uint64_t ms);
void fm_presence_expire(struct fm_hub *h);

/* ---- presence_lease.c ---- */
/* This node stood still for so long: what renews them lies unread. */
void fm_leases_paused(struct fm_hub *h, uint64_t ms);
FM_MUST_CHECK enum fm_err fm_lease_do(struct fm_hub *h, struct fm_track *t);
/* Of an entry that is to be made for the API. */
uint64_t fm_lease_id(struct fm_hub *h, struct fm_slice topic, struct fm_slice key);
/* Another node's came: if it is the API's, and newer than this node's of the same key, that ends. */
void fm_lease_met(struct fm_hub *h, const struct fm_pentry *other);
/* It ends: nothing is to be done about its time any more. */
void fm_lease_drop(struct fm_hub *h, struct fm_pentry *e);
void fm_leases_expire(struct fm_hub *h);
/* When the first ends; 0: there is none. */
uint64_t fm_lease_due_ms(const struct fm_presence *p);
struct fm_cluster_command;
/* FM_COMMAND_UNTRACK is dispatched. */
void fm_lease_command(struct fm_hub *h, const struct fm_cluster_command *c, const struct fm_msg *m);
/* There are new rules: those of topics that have no presence any more end. */
void fm_leases_judge(struct fm_hub *h);

/* ---- presence_tell.c ---- */
void fm_presence_tell(struct fm_hub *h);
void fm_presence_watch(struct fm_hub *h, struct fm_slice topic, unsigned worker);
void fm_presence_unwatch(struct fm_hub *h, struct fm_slice topic, unsigned worker);
void fm_ptopic_state_drop(struct fm_ptopic *t);
/* Appends "key":{"metas":[...]} of what clients were told. */
void fm_pkey_json(struct fm_buf *b, const struct fm_pkey *k);

/* ---- presence_mesh.c ---- */
/* at_once: whatever the pace. */
void fm_presence_send(struct fm_hub *h, bool at_once);
void fm_presence_apply(struct fm_hub *h, struct fm_peer *from, struct fm_slice body);
/* What a node says in its heartbeat of an origin. */
void fm_presence_claimed(struct fm_hub *h, struct fm_peer *from, const struct fm_env_position *at);
/* Up to where this node has an origin's presences and can give them. */
uint64_t fm_presence_version(struct fm_hub *h, uint64_t origin);
void fm_presence_pulls(struct fm_hub *h);
/* Writes the answer into the hub's scratch. */
void fm_presence_serve(struct fm_hub *h, const struct fm_asked *a);
/* The answer to a pull, unless nobody waits for it any more. */
void fm_presence_answered(struct fm_hub *h, struct fm_bus_item *it);
void fm_presence_paused(struct fm_hub *h, uint64_t ms);
void fm_presence_bye(struct fm_hub *h, uint64_t id);
bool fm_presence_caught_up(struct fm_hub *h);
/* Milliseconds until something is due; at most `ms`. */
uint64_t fm_presence_due(const struct fm_hub *h, uint64_t ms);
