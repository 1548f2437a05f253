/* The protocols that fanmesh-load's clients speak: one row of a table each. A framing is pure: it writes what a client says, and reads what
 * the server said into one kind of event, so the fleet is the same for all of them. Its readers are the load programs' own, never the
 * gateway's: a mistake shared by both sides would be invisible.
 *
 * A client opens its connection and says `hello` where the framing has one; it joins its topics (its seats, numbered from 0); it is joined
 * when the server said so, or, where servers don't say, as soon as it has asked.
 *
 * -- any thread -- */
#pragma once

#include "wire.h"

#include "../../gateway/http/ws_kind.h"

#define FM_LOAD_EVENT "load"
#define FM_TOPIC_MARK "{topic}"
#define FM_PAYLOAD_MARK "{payload}"

enum { FM_ITEM_MAX = 1024 * 1024 }; /* bytes of one thing that a server says */

enum fm_carrier {
    FM_CARRIER_MESSAGES, /* a WebSocket message is one thing said */
    FM_CARRIER_STREAM,   /* WebSocket messages carry a stream of bytes, cut anywhere */
    FM_CARRIER_HTTP,     /* the body of an HTTP answer that never ends */
};

enum fm_said {
    FM_SAID_NOTHING, /* that would be of interest here */
    FM_SAID_HELLO,   /* the server waits for the client's */
    FM_SAID_WELCOME, /* the server takes joins */
    FM_SAID_JOIN,    /* the answer to a join; `ok` */
    FM_SAID_PUSH,    /* the answer to a push; `ok` */
    FM_SAID_MESSAGE,
    FM_SAID_GAP,
    FM_SAID_BEAT, /* the answer to a heartbeat */
    FM_SAID_PING, /* the client is to say `pong` */
    FM_SAID_OVER, /* the connection is of no more use */
};

enum { FM_SEAT_NONE = UINT32_MAX }; /* the topic's name says it, or else the stamp does */

struct fm_saying { /* slices of what was read */
    enum fm_said what;
    bool ok;
    bool replayed;   /* MESSAGE: one of those that the join announced */
    uint32_t seat;   /* JOIN, MESSAGE */
    uint64_t number; /* PUSH: of the message on its topic */
    struct fm_slice topic;
    struct fm_slice id;     /* MESSAGE, PUSH: as the server gave it; empty: none */
    struct fm_slice detail; /* MESSAGE: the stamp; JOIN, GAP: the server's words about it; refusals and OVER: the reason */
};

struct fm_speech {    /* what a user may say differently */
    bool plain;       /* phoenix: no cursors */
    const char *join; /* websocket: the text that joins a topic, with FM_TOPIC_MARK; NULL or "": the URL does */
    const char *push; /* websocket: the text that publishes, with FM_TOPIC_MARK and FM_PAYLOAD_MARK */
    uint32_t word;    /* drawn for the run: mqtt's client ids begin with it */
};

struct fm_framing {
    const char *name;
    const char *target;      /* path and query of a URL that has none; NULL: the URL must say */
    const char *subprotocol; /* NULL: none */
    enum fm_carrier carrier;
    enum fm_ws_kind kind;    /* of the frames that carry what the client says */
    bool greets;             /* the server says WELCOME (or BEAT, to the hello's own heartbeat) before it takes joins */
    bool answers_joins;      /* with JOIN for each */
    bool beat_answers_joins; /* the heartbeat after the joins is answered behind them */
    bool answers_pushes;
    bool pushes; /* clients can publish */
    /* Each appends one thing to say; NULL where there is none. hello: `client` is a number that no other connection of the run has. */
    void (*hello)(struct fm_buf *out, const struct fm_speech *s, uint32_t client);
    bool hello_first; /* without being asked by HELLO */
    void (*join)(struct fm_buf *out, const struct fm_speech *s, uint32_t seat, struct fm_slice topic, const struct fm_vector *cursor);
    void (*push)(struct fm_buf *out, const struct fm_speech *s, struct fm_slice topic, uint64_t number, struct fm_slice payload);
    void (*beat)(struct fm_buf *out);
    void (*pong)(struct fm_buf *out);
    /* Takes the next thing off `in`. FM_CARRIER_MESSAGES: `in` is a whole message, and all of it is taken. Otherwise FM_E_SHORT: it is
     * not complete. FM_E_SYNTAX: the server can't be understood. */
    enum fm_err (*next)(struct fm_rd *in, struct fm_saying *said);
};

/* name, which is also its struct's */
#define FM_FRAMINGS(X) \
    X(phoenix) \
    X(websocket) \
    X(sse) \
    X(socketio) \
    X(nats) \
    X(mqtt)

#define X(name) extern const struct fm_framing fm_framing_##name;
FM_FRAMINGS(X)
#undef X

extern const struct fm_framing *const fm_framings[]; /* in the order of FM_FRAMINGS */
enum {
#define X(name) +1
    FM_FRAMINGS_N = 0 FM_FRAMINGS(X)
#undef X
};

/* A template with its marks replaced. */
void fm_template_put(struct fm_buf *out, const char *text, struct fm_slice topic, struct fm_slice payload);
