/* What a topic has gathered is given out: encoded once for each format that somebody wants, and given to every subscriber as a reference to
 * the same bytes.
 *
 * The tension: the plain subscriber must cost no more than one write, and yet some may not get everything (their own push to others, what
 * they were ahead of, what they are too slow for). So a slot says whether its sub is plain, and only the others are looked at closely.
 *
 * And: one message to 15,000 takes long enough for everybody else on this worker to notice. So a batch goes to at most fanout_slice
 * subscribers in a turn of the loop; the rest of it is a run, which goes on in later turns. While a run is under way its topic's slots are
 *   [0, run.at)        given
 *   [run.at, run.end)  not given yet
 *   [run.end, n)       joined since: their joins' answers held the run
 * and what comes for the topic is gathered behind it. Whoever leaves is replaced from the end of his part, so that nobody changes parts. */
#include "worker_core.h"

#include <assert.h>
#include <stdlib.h>

enum { FETCH_AHEAD = 4 };

/* Frames to encode into: the last drain's, if nobody needs them any more. */
static struct fm_frames *frames_for(struct fm_frames **kept)
{
    if (*kept && (*kept)->refs > 1)
        fm_frames_unref(kept);
    if (*kept)
        fm_frames_reset(*kept);
    else
        *kept = fm_frames_new();
    return *kept;
}

/* Lets go of the messages, and of the memory if it is much. */
static void frames_done(struct fm_frames **kept)
{
    struct fm_frames *f = *kept;
    if (!f)
        return;
    if (f->refs > 1 || f->bytes.cap > 4 * FM_WRITE_MAX)
        fm_frames_unref(kept);
    else
        fm_frames_reset(f);
}

/* The frames of a run in one format; NULL without memory. */
static struct fm_frames *encode(struct fm_worker *w, const struct fm_wtopic *t, const struct fm_batch *b, unsigned format)
{
    struct fm_frames *f = frames_for(&w->frames[format]);
    if (!f)
        return NULL;
    t->protos[format]->encode(f, format, b->at, b->n, &t->at);
    return f->bytes.failed ? NULL : fm_frames_ref(f);
}

/* Appends a frame compressed, or as it is where that is not smaller. *longest: of what was compressed. */
static void pack_frame(struct fm_worker *w, struct fm_frames *to, struct fm_slice frame, const struct fm_msg *msg, size_t *longest)
{
    struct fm_slice payload = {0}, rest = frame;
    unsigned opcode = 0;
    (void)fm_frames_next(&rest, &opcode, &payload);
    if (payload.n >= w->config.deflate_min) {
        size_t opened = fm_frames_open(to), begun = to->bytes.n;
        enum fm_err err = fm_pack(&w->packer, payload, &to->bytes);
        size_t n = to->bytes.n - begun;
        if (err == FM_OK && n < payload.n) {
            fm_frames_close(to, opened, opcode | FM_WS_PACKED, msg);
            *longest = payload.n > *longest ? payload.n : *longest;
            fm_stat_add(&w->stats.deflated, 1);
            fm_stat_add(&w->stats.deflated_from, payload.n);
            fm_stat_add(&w->stats.deflated_to, n);
            return;
        }
        fm_frames_abandon(to, opened);
    }
    fm_frames_add(to, opcode, payload, msg);
}

/* The same frames for those who take them compressed; NULL: there is nothing to gain, or no memory, and they get the others. */
static struct fm_frames *pack(struct fm_worker *w, const struct fm_frames *f, uint8_t *window)
{
    struct fm_frames *to = fm_frames_new();
    size_t longest = 0;
    for (uint32_t i = 0; to && i < f->n; i++)
        pack_frame(w, to, fm_piece_bytes(f, i, i + 1), f->marks[i].msg, &longest);
    if (to && (to->bytes.failed || longest == 0))
        fm_frames_unref(&to);
    *window = FM_DEFLATE_WINDOW_MIN;
    while (*window < FM_DEFLATE_WINDOW_MAX && longest > (size_t)1 << *window)
        (*window)++;
    return to;
}

/* Not what it pushed itself to others, nor presences if it has not been told who is there. */
static bool is_for(const struct fm_slot *slot, const struct fm_msg *m)
{
    return fm_msg_of_presence(m) ? slot->presence == FM_PRESENCE_TOLD : m->from != slot->sub->id;
}

/* All that is for this sub, as runs of the shared frames. */
static void give_others(const struct fm_slot *slot, struct fm_frames *f)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!f->marks[i].msg || is_for(slot, f->marks[i].msg))
            continue;
        fm_socket_give(slot->socket, f, first, i);
        first = i + 1;
    }
    fm_socket_give(slot->socket, f, first, f->n);
}

void fm_sub_encode(struct fm_frames *f, const struct fm_sub *sub, struct fm_msg *const *msgs, size_t n, const struct fm_vector *at)
{
    const struct fm_proto *proto = sub->socket->proto;
    if (sub->chooses)
        proto->encode_for(f, sub, msgs, n);
    else
        proto->encode(f, sub->format, msgs, n, at);
}

/* A sub that is ahead of this node in some origins gets frames of its own: the position in them is its own, too. So does one that chooses.
 */
static void give_own(struct fm_worker *w, struct fm_wtopic *t, const struct fm_batch *b, struct fm_slot *slot)
{
    struct fm_sub *sub = slot->sub;
    struct fm_vector at = {0};
    struct fm_msg **some = malloc(b->n * sizeof(struct fm_msg *));
    struct fm_frames *f = fm_frames_new();
    size_t n = 0;
    bool ok = some && f && fm_subs_position(sub, &at) == FM_OK;
    for (uint32_t i = 0; ok && i < b->n; i++) {
        struct fm_msg *m = b->at[i];
        if (is_for(slot, m) && (fm_msg_of_presence(m) || !sub->skip || m->id.seq > fm_vector_get(sub->skip, m->id.origin)))
            some[n++] = m;
    }
    if (ok && n) {
        fm_sub_encode(f, sub, some, n, &at);
        ok = !f->bytes.failed;
    }
    if (!ok)
        fm_socket_close(slot->socket, 1013, "out of memory");
    else if (f->n && t->slow != FM_SLOW_DISCONNECT && !fm_socket_fits(slot->socket, f->bytes.n, n == 1))
        fm_subs_lag_feed(w, t, b, slot);
    else
        fm_socket_give(slot->socket, f, 0, f->n);
    fm_frames_unref(&f);
    free(some);
    fm_vector_fini(&at);
}

static bool passed(const struct fm_vector *skip, const struct fm_vector *at)
{
    for (uint32_t i = 0; i < skip->n; i++)
        if (fm_vector_get(at, skip->at[i].origin) < skip->at[i].seq)
            return false;
    return true;
}

static void give_filtered(struct fm_worker *w, struct fm_wtopic *t, const struct fm_batch *b, struct fm_slot *slot)
{
    struct fm_sub *sub = slot->sub;
    if (sub->lag)
        fm_subs_lag_feed(w, t, b, slot);
    else
        give_own(w, t, b, slot);
    if (sub->skip && passed(sub->skip, &t->at))
        fm_subs_skip_drop(sub);
    slot->filtered = sub->skip || sub->lag;
}

/* ---- runs ---- */

/* In a large fan-out no subscriber is in the caches: what the next deliveries look at first is asked for while this one is made. */
static void fetch_ahead(const struct fm_wtopic *t, uint32_t i)
{
    if (i + FETCH_AHEAD < t->n)
        __builtin_prefetch(t->slots[i + FETCH_AHEAD].socket, 1);
}

static void give(struct fm_worker *w, struct fm_wtopic *t, const struct fm_run *run, struct fm_slot *slot)
{
    const struct fm_batch *b = &run->batch;
    struct fm_frames *f = run->frames[slot->format];
    if (slot->window && run->packed[slot->format] && slot->window >= run->window[slot->format])
        f = run->packed[slot->format];
    if (slot->filtered) {
        give_filtered(w, t, b, slot);
    } else if (run->chosen && slot->sub->chooses) {
        give_own(w, t, b, slot);
    } else if (!f) {
        fm_socket_close(slot->socket, 1013, "out of memory");
    } else if (t->slow != FM_SLOW_DISCONNECT && !fm_socket_fits(slot->socket, f->bytes.n, b->n == 1)) {
        fm_subs_lag_feed(w, t, b, slot);
    } else if (b->from) {
        give_others(slot, f);
    } else {
        fm_socket_give(slot->socket, f, 0, f->n);
    }
}

/* Gives it to the next n subscribers. */
static void run_advance(struct fm_worker *w, struct fm_wtopic *t, struct fm_run *run, uint32_t n)
{
    uint32_t end = n < run->end - run->at ? run->at + n : run->end;
    uint64_t given = 0;
    for (; run->at < end; run->at++) {
        struct fm_slot *slot = &t->slots[run->at];
        fetch_ahead(t, run->at);
        give(w, t, run, slot);
        given += !slot->filtered || !slot->sub->lag;
    }
    bool probe = fm_topic_of_probe(fm_slice_of(t->name, t->name_n));
    fm_stat_add(&fm_stats_of(w, probe)->deliveries, given * run->batch.n);
}

static void run_fini(struct fm_worker *w, struct fm_wtopic *t, struct fm_run *run)
{
    for (uint32_t i = 0; i < run->batch.n; i++)
        fm_msg_unref(&run->batch.at[i]);
    if (t->batch.cap == 0)
        t->batch = (struct fm_batch){.at = run->batch.at, .cap = run->batch.cap}; /* for the next */
    else
        free(run->batch.at);
    for (unsigned format = 0; format < FM_FORMATS; format++) {
        if (!run->frames[format])
            continue;
        fm_frames_unref(&run->packed[format]);
        fm_frames_unref(&run->frames[format]);
        frames_done(&w->frames[format]);
    }
}

/* The list is of those that did not fit into one turn, and short. */
static void run_unlink(struct fm_worker *w, struct fm_run *run)
{
    struct fm_run **at = &w->runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
}

static void run_append(struct fm_worker *w, struct fm_run *run)
{
    struct fm_run **at = &w->runs;
    while (*at)
        at = &(*at)->next;
    run->next = NULL;
    *at = run;
}

void fm_subs_run_drop(struct fm_worker *w, struct fm_wtopic *t)
{
    struct fm_run *run = t->run;
    if (!run)
        return;
    t->run = NULL;
    run_unlink(w, run);
    run_fini(w, t, run);
    free(run);
}

void fm_subs_run_finish(struct fm_worker *w, struct fm_wtopic *t)
{
    if (t->run)
        run_advance(w, t, t->run, UINT32_MAX);
    fm_subs_run_drop(w, t);
}

/* The last of a part moves into the hole in it. */
static uint32_t hole_move(struct fm_wtopic *t, uint32_t hole, uint32_t last)
{
    if (hole != last) {
        t->slots[hole] = t->slots[last];
        t->slots[hole].sub->slot = hole;
    }
    return last;
}

uint32_t fm_subs_run_leave(struct fm_wtopic *t, uint32_t slot)
{
    struct fm_run *run = t->run;
    if (run && slot < run->at)
        slot = hole_move(t, slot, --run->at);
    if (run && slot < run->end)
        slot = hole_move(t, slot, --run->end);
    return slot;
}

void fm_subs_hurry(struct fm_worker *w, struct fm_sub *sub)
{
    struct fm_wtopic *t = sub->topic;
    struct fm_run *run = t ? t->run : NULL;
    if (!run || sub->slot < run->at || sub->slot >= run->end)
        return;
    struct fm_slot other = t->slots[run->at];
    t->slots[run->at] = t->slots[sub->slot];
    t->slots[sub->slot] = other;
    other.sub->slot = sub->slot;
    sub->slot = run->at;
    run_advance(w, t, run, 1);
}

bool fm_subs_waits(const struct fm_sub *sub, struct fm_id id)
{
    const struct fm_wtopic *t = sub->topic;
    if (!t || !t->run || fm_vector_get(&t->at, id.origin) >= id.seq)
        return false;
    for (uint32_t i = t->batch.n; i-- > 0;) /* the newest of an origin is the last of it */
        if (t->batch.at[i]->id.origin == id.origin)
            return t->batch.at[i]->id.seq >= id.seq;
    return false;
}

bool fm_subs_advance(struct fm_worker *w)
{
    struct fm_run *run = w->runs;
    if (!run)
        return false;
    struct fm_wtopic *t = run->topic;
    run_advance(w, t, run, w->slice_left);
    w->slice_left = 0;
    if (run->at == run->end) {
        fm_subs_run_drop(w, t);
        fm_subs_flush(w, t); /* what was gathered behind it */
    } else {
        run_unlink(w, run);
        run_append(w, run); /* the next turn is another's */
    }
    return w->runs != NULL;
}

/* What is not given yet goes on in later turns; without memory for that, at once. */
static void run_keep(struct fm_worker *w, struct fm_wtopic *t, struct fm_run *run)
{
    t->run = malloc(sizeof *t->run);
    if (!t->run) {
        run_advance(w, t, run, UINT32_MAX);
        run_fini(w, t, run);
        return;
    }
    *t->run = *run;
    run_append(w, t->run);
}

static bool any_chosen(const struct fm_wtopic *t, const struct fm_batch *b)
{
    for (unsigned format = 0; format < FM_FORMATS; format++)
        for (uint32_t i = 0; t->users[format] && t->protos[format]->chosen && i < b->n; i++)
            if (t->protos[format]->chosen(b->at[i]))
                return true;
    return false;
}

void fm_subs_flush(struct fm_worker *w, struct fm_wtopic *t)
{
    if (t->batch.n == 0 || t->run)
        return;
    w->flushed = true;
    struct fm_run run = {.topic = t, .batch = t->batch, .end = t->n};
    t->batch = (struct fm_batch){0};
    for (uint32_t i = 0; i < run.batch.n; i++)
        if (!fm_msg_of_presence(run.batch.at[i]))
            fm_position_raise(&t->at, run.batch.at[i]->id);
    run.chosen = t->choosers && any_chosen(t, &run.batch);
    for (unsigned format = 0; format < FM_FORMATS; format++) {
        run.frames[format] = t->users[format] ? encode(w, t, &run.batch, format) : NULL;
        if (run.frames[format] && t->packed_users[format])
            run.packed[format] = pack(w, run.frames[format], &run.window[format]);
    }
    uint32_t slice = w->config.fanout_slice;
    if (slice == 0 || t->n <= slice) {
        run_advance(w, t, &run, UINT32_MAX);
    } else {
        run_advance(w, t, &run, w->slice_left);
        w->slice_left -= run.at;
    }
    if (run.at < run.end)
        run_keep(w, t, &run);
    else
        run_fini(w, t, &run);
}

void fm_subs_finish(struct fm_worker *w, struct fm_wtopic *t)
{
    fm_subs_run_finish(w, t);
    fm_subs_flush(w, t);
    fm_subs_run_finish(w, t);
}

void fm_subs_flush_all(struct fm_worker *w)
{
    uint32_t batches = 0;
    for (const struct fm_wtopic *t = w->dirty; t; t = t->dirty_next)
        batches += t->batch.n > 0 && !t->run;
    w->combine = batches > 1;
    struct fm_wtopic **at = &w->dirty;
    while (*at) {
        struct fm_wtopic *t = *at;
        fm_subs_flush(w, t);
        if (t->leavers || !fm_wtopic_wanted(t)) {
            at = &t->dirty_next; /* settle has something to do for it */
            continue;
        }
        *at = t->dirty_next;
        t->dirty = false;
    }
    w->combine = false;
}
