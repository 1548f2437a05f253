/* Sessions: what a poll gets, and when. The tension: a poll's answer should hold all that there is, and yet not wait for more. So what is
 * written in a turn of the loop is gathered and leaves before the loop waits; and while no poll waits nothing is taken at all: it stays in
 * the socket's outbox, where limits and the rules for slow clients see it. */
#include "polling.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

enum { WRITES_A_TURN = 16, STATUS_OK = 200, STATUS_NOTHING = 204, STATUS_GONE = 410 };

struct fm_poll {
    struct fm_carrier carrier; /* first */
    UT_hash_handle hh;         /* of the worker, by id */
    uint64_t id;
    uint32_t seq; /* answers with messages so far */
    struct fm_socket *socket;
    struct fm_poll_timer timer; /* how long a poll waits; then how long the next may take to come */
    bool waits;                 /* a poll does, */
    bool over;                  /* ... and has waited long enough, */
    uint64_t node, ref;         /* ... and whose it is */
    uint32_t from;
    bool wants; /* fm_socket_writable is to be called */
    bool due;   /* in the worker's list, or what is left of it while that is worked off */
    struct fm_poll *due_next, **due_link;
    struct fm_buf out; /* messages for the poll that waits */
};

static struct fm_worker *worker_of(const struct fm_poll *p)
{
    return fm_socket_worker(p->socket);
}

static void due(struct fm_poll *p)
{
    struct fm_worker *w = worker_of(p);
    if (p->due)
        return;
    p->due = true;
    p->due_next = w->polls_due;
    p->due_link = &w->polls_due;
    if (p->due_next)
        p->due_next->due_link = &p->due_next;
    w->polls_due = p;
    fm_worker_settle_soon(w);
}

static void due_drop(struct fm_poll *p)
{
    if (!p->due)
        return;
    p->due = false;
    *p->due_link = p->due_next;
    if (p->due_next)
        p->due_next->due_link = p->due_link;
}

/* ---- answers ---- */

/* To the worker whose request it is. What does not arrive is noticed at the next poll, by its token. */
static void note_send(struct fm_worker *w, uint64_t node, uint32_t worker, const struct fm_poll_note *note)
{
    if (node == fm_poll_node(w) && worker == w->config.index) {
        fm_longpoll_answer(w, note);
        return;
    }
    struct fm_buf b = {0};
    fm_poll_note_write(&b, note);
    struct fm_parcel *p = b.failed ? NULL : fm_parcel_new(node, worker, w->config.index, 0, fm_buf_view(&b));
    fm_buf_fini(&b);
    if (!p || fm_worker_post(w, &p->item) != FM_OK)
        fm_parcel_free(&p);
}

static void timer_set(struct fm_poll *p, uint32_t ms)
{
    fm_wheel_set(&worker_of(p)->polls_wheel, &p->timer.timer, ms);
}

/* Ends the poll that waits, with what was gathered. The client may have sent its next request already, which is served within this call:
 * *p may be gone after it. */
static void answer(struct fm_poll *p, uint32_t status)
{
    struct fm_worker *w = worker_of(p);
    if (!p->waits)
        return;
    p->waits = p->over = false;
    timer_set(p, w->config.poll_ttl_ms);
    struct fm_buf out = p->out;
    p->out = (struct fm_buf){0};
    if (out.failed) {
        out.n = 0; /* half a message is none: the socket is being closed */
        status = STATUS_GONE;
    }
    if (out.n) {
        p->seq++;
        status = STATUS_OK;
    }
    note_send(w, p->node, p->from,
              &(struct fm_poll_note){.kind = FM_POLL_ANSWER, .ref = p->ref, .status = status, .seq = p->seq, .frames = fm_buf_view(&out)});
    fm_buf_fini(&out);
}

/* ---- life ---- */

static void end(struct fm_poll *p)
{
    struct fm_socket *s = p->socket;
    struct fm_worker *w = worker_of(p);
    HASH_DEL(w->polls, p); /* from now on no request finds it */
    answer(p, STATUS_GONE);
    due_drop(p);
    fm_wheel_cancel(&w->polls_wheel, &p->timer.timer);
    fm_stat_sub(&w->stats.poll_sessions, 1);
    fm_buf_fini(&p->out);
    s->carrier = NULL;
    free(p);
    fm_socket_gone(s);
}

static void on_timer(struct fm_poll_timer *t)
{
    struct fm_poll *p = (struct fm_poll *)((char *)t - offsetof(struct fm_poll, timer));
    if (p->waits) {
        answer(p, STATUS_NOTHING);
        return;
    }
    fm_stat_add(&worker_of(p)->stats.poll_expired, 1);
    fm_client_say(&p->socket->peer, "poll_expired", "the client did not poll again within longpoll_ttl_ms");
    end(p);
}

void fm_poll_timeout(void *worker, struct fm_timer *timer)
{
    (void)worker;
    struct fm_poll_timer *t = (struct fm_poll_timer *)((char *)timer - offsetof(struct fm_poll_timer, timer));
    t->fire(t);
}

/* ---- as a carrier ---- */

static bool poll_busy(const struct fm_carrier *c)
{
    const struct fm_poll *p = (const struct fm_poll *)c;
    return !p->waits || p->out.n >= FM_WRITE_MAX;
}

static void frame_take(struct fm_poll *p, bool binary, struct fm_slice payload)
{
    struct fm_buf text = {0};
    if (!binary) {
        fm_poll_frame_put(&p->out, false, payload);
        return;
    }
    p->socket->proto->text(&text, payload);
    p->out.failed |= text.failed;
    fm_poll_frame_put(&p->out, false, fm_buf_view(&text));
    fm_buf_fini(&text);
}

static enum fm_edge_write poll_write(struct fm_carrier *c, struct fm_slice frames)
{
    struct fm_poll *p = (struct fm_poll *)c;
    struct fm_slice payload;
    unsigned opcode;
    assert(p->waits);
    while (fm_frames_next(&frames, &opcode, &payload))
        frame_take(p, opcode == FM_WS_BINARY, payload);
    due(p);
    return p->out.failed ? FM_EDGE_DEAD : FM_EDGE_SENT;
}

static void poll_want_write(struct fm_carrier *c)
{
    struct fm_poll *p = (struct fm_poll *)c;
    p->wants = true;
    if (p->waits)
        due(p);
}

static void poll_kill(struct fm_carrier *c)
{
    end((struct fm_poll *)c);
}

static const struct fm_carrier_ops ops = {
    .write = poll_write,
    .busy = poll_busy,
    .want_write = poll_want_write,
    .kill = poll_kill,
};

/* ---- before the loop waits ---- */

static void serve(struct fm_poll *p)
{
    for (unsigned i = 0; i < WRITES_A_TURN && p->wants && !poll_busy(&p->carrier); i++) {
        p->wants = false;
        struct fm_close close = fm_socket_writable(p->socket);
        if (close.code) {
            end(p);
            return;
        }
    }
    if (p->out.n)
        answer(p, STATUS_OK);
    else if (p->wants && p->waits)
        due(p); /* the next turn */
    else if (p->over)
        answer(p, STATUS_NOTHING);
}

void fm_polls_thaw(struct fm_worker *w)
{
    for (struct fm_poll *p = w->polls; p; p = p->hh.next) {
        p->over = p->waits;
        if (p->over)
            due(p);
    }
}

void fm_polls_settle(struct fm_worker *w)
{
    /* Those that are due now. Who becomes due meanwhile has the next turn; who ends leaves this list, too. */
    struct fm_poll *todo = w->polls_due;
    w->polls_due = NULL;
    if (todo)
        todo->due_link = &todo;
    while (todo) {
        struct fm_poll *p = todo;
        due_drop(p);
        serve(p);
    }
}

/* ---- opening, polling, pushing ---- */

/* false: OpenSSL has no memory. */
static bool token_make(const struct fm_poll *p, struct fm_poll_token *t)
{
    struct fm_worker *w = worker_of(p);
    *t = (struct fm_poll_token){.node = fm_poll_node(w), .worker = (uint16_t)w->config.index, .id = p->id, .seq = p->seq};
    return fm_poll_token_seal(t, w->config.poll_key);
}

/* Whoever had the request looked already. It may be of a node that looks less closely, and a session is worth a second look. */
static bool token_good(const struct fm_worker *w, const struct fm_poll_token *of_note)
{
    struct fm_poll_token t = *of_note;
    t.node = fm_poll_node(w);
    t.worker = (uint16_t)w->config.index;
    return fm_poll_token_good(&t, w->config.poll_key);
}

static uint64_t draw(void)
{
    uint64_t id;
    while (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
        ;
    return id;
}

static struct fm_poll *find(struct fm_worker *w, uint64_t id)
{
    struct fm_poll *p;
    HASH_FIND(hh, w->polls, &id, sizeof id, p);
    return p;
}

bool fm_poll_open(struct fm_socket *s, struct fm_poll_token *token)
{
    struct fm_worker *w = fm_socket_worker(s);
    struct fm_poll *p = calloc(1, sizeof *p);
    if (p) {
        *p = (struct fm_poll){.carrier.ops = &ops, .socket = s, .timer.fire = on_timer};
        do
            p->id = draw();
        while (find(w, p->id));
    }
    if (!p || !token_make(p, token)) {
        free(p);
        fm_socket_gone(s);
        return false;
    }
    HASH_ADD(hh, w->polls, id, sizeof p->id, p);
    s->carrier = &p->carrier;
    fm_stat_add(&w->stats.poll_sessions, 1);
    timer_set(p, w->config.poll_ttl_ms);
    fm_socket_opened(s, NULL, -1);
    fm_user_sub_follow(s);
    return true;
}

static uint32_t push(struct fm_poll *p, struct fm_slice frames)
{
    struct fm_socket *s = p->socket;
    struct fm_slice bytes;
    bool binary;
    while (s->state == FM_SOCKET_OPEN && fm_poll_frame_next(&frames, &binary, &bytes))
        fm_socket_received(s, (uint8_t *)bytes.p, bytes.n, 0, binary, false,
                           true); /* of a parcel or a buffer of ours, which may be changed */
    return s->state == FM_SOCKET_OPEN ? STATUS_OK : STATUS_GONE;
}

static void wait_begin(struct fm_poll *p, uint64_t node, const struct fm_poll_note *note)
{
    struct fm_poll_note older = {.kind = FM_POLL_ANSWER, .ref = p->ref, .status = STATUS_NOTHING, .seq = p->seq};
    struct fm_worker *w = worker_of(p);
    uint64_t its_node = p->node;
    uint32_t its_worker = p->from;
    bool waited = p->waits;
    p->waits = true;
    p->node = node;
    p->from = note->from;
    p->ref = note->ref;
    timer_set(p, w->config.poll_wait_ms);
    p->wants = true; /* what was owed meanwhile */
    due(p);
    /* The client, or somebody between, asks again: the older request is of no use. Last, see answer. */
    if (waited)
        note_send(w, its_node, its_worker, &older);
}

void fm_poll_request(struct fm_worker *w, uint64_t node, const struct fm_poll_note *note)
{
    struct fm_poll *p = find(w, note->token.id);
    struct fm_poll_note back = {.kind = FM_POLL_ANSWER, .ref = note->ref, .status = STATUS_GONE};
    if (p && !token_good(w, &note->token))
        p = NULL;
    if (p && note->kind == FM_POLL_CHECK && p->waits && p->node == node && p->from == note->from && p->ref == note->ref)
        return;
    if (p && note->kind == FM_POLL_WAIT && note->token.seq == p->seq) {
        wait_begin(p, node, note);
        return;
    }
    if (p && note->kind == FM_POLL_WAIT) {
        fm_stat_add(&w->stats.poll_lost, 1);
        fm_client_say(&p->socket->peer, "poll_lost", "an answer with messages did not arrive: the session ends, and the client comes back");
        end(p);
    } else if (p && note->kind == FM_POLL_PUSH) {
        back.seq = p->seq;
        back.status = push(p, note->frames);
    }
    note_send(w, node, note->from, &back);
}
