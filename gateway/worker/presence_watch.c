/* Which subs of this worker are told who is on their topics.
 *
 * A sub that is to be told waits for its topic's state and is given no diff before it, since a client applies what it was given too early
 * behind the state (phoenix#2255). Diffs are given out like messages, to all at once; a sub that misses some, because it is slow or the
 * worker was overrun, waits for the state again, from which a client makes the difference by itself. */
#include "worker_core.h"

#include <assert.h>
#include <stdlib.h>

void fm_track_post(struct fm_worker *w, struct fm_track *t, enum fm_track_op op)
{
    t->op = op;
    t->token = 0;
    t->worker = w->config.index;
    enum fm_err err = fm_hub_post(w->config.hub, &t->item);
    assert(err == FM_OK); /* all but FM_TRACK are always taken */
    (void)err;
}

static void ask(struct fm_worker *w, struct fm_wtopic *t)
{
    const struct fm_track_parts parts = {.topic = fm_slice_of(t->name, t->name_n)};
    struct fm_track *watch = t->watch_asked ? NULL : fm_track_new(FM_PRESENCE_WATCH, w->config.index, 0, &parts);
    if (t->watch_asked)
        return;
    w->watch_again |= !watch; /* without memory the next tick tries again */
    if (!watch)
        return;
    t->watch_asked = true;
    t->watch_no = watch->holder = ++w->watch_no;
    fm_track_post(w, watch, FM_PRESENCE_WATCH);
}

static void await(struct fm_worker *w, struct fm_wtopic *t, struct fm_slot *slot)
{
    fm_slot_watch(t, slot, FM_PRESENCE_AWAITED);
    ask(w, t);
}

void fm_subs_watch(struct fm_worker *w, struct fm_sub *sub)
{
    struct fm_wtopic *t = sub->topic;
    assert(t && t->slots[sub->slot].presence == FM_PRESENCE_NONE);
    t->watchers++;
    await(w, t, &t->slots[sub->slot]);
}

void fm_subs_unwatch(struct fm_worker *w, struct fm_wtopic *t, struct fm_slot *slot)
{
    bool last = slot->presence != FM_PRESENCE_NONE && --t->watchers == 0;
    fm_slot_watch(t, slot, FM_PRESENCE_NONE);
    if (!last)
        return;
    const struct fm_track_parts parts = {.topic = fm_slice_of(t->name, t->name_n)};
    struct fm_track *unwatch = fm_track_new(FM_PRESENCE_UNWATCH, w->config.index, 0, &parts);
    t->watch_asked = false;
    if (!unwatch)
        return; /* diffs go on to come, and are dropped */
    unwatch->holder = ++w->watch_no;
    fm_track_post(w, unwatch, FM_PRESENCE_UNWATCH);
}

void fm_subs_presence_miss(struct fm_worker *w, struct fm_wtopic *t)
{
    t->watch_asked = false; /* the answer may have been lost, too */
    for (uint32_t i = 0; t->watchers && i < t->n; i++)
        if (t->slots[i].presence != FM_PRESENCE_NONE)
            await(w, t, &t->slots[i]);
}

void fm_subs_presence_caught_up(struct fm_worker *w, const struct fm_sub *sub)
{
    struct fm_slot *slot = &sub->topic->slots[sub->slot];
    if (slot->presence == FM_PRESENCE_AWAITED)
        ask(w, sub->topic);
}

void fm_subs_presence_again(struct fm_worker *w)
{
    struct fm_wtopic *t, *tmp;
    if (!w->watch_again)
        return;
    w->watch_again = false;
    HASH_ITER (hh, w->topics, t, tmp)
        for (uint32_t i = 0; t->watchers && !t->watch_asked && i < t->n; i++)
            if (t->slots[i].presence == FM_PRESENCE_AWAITED)
                ask(w, t);
}

/* ---- the state ---- */

struct rest { /* what did not go with the first write: the frames of all who are given them */
    struct fm_source source;
    struct fm_frames *frames;
    uint32_t next;
};

static bool rest_more(struct fm_source *source, struct fm_frames *f, size_t bytes)
{
    struct rest *r = (struct rest *)source;
    while (r->next < r->frames->n && f->bytes.n < bytes && !f->bytes.failed) {
        struct fm_slice frame = fm_piece_bytes(r->frames, r->next, r->next + 1);
        size_t header = fm_frame_header_n(frame);
        fm_frames_add(f, frame.p[0] & 0x0f, fm_slice_of(frame.p + header, frame.n - header), NULL);
        r->next++;
    }
    return r->next < r->frames->n;
}

static void rest_free(struct fm_source *source)
{
    struct rest *r = (struct rest *)source;
    fm_frames_unref(&r->frames);
    free(r);
}

/* The first frame is shared by all; the others are made when there is room for them, since all together may be more than a socket may
 * owe. */
static void state_give(struct fm_socket *s, struct fm_frames *f)
{
    fm_socket_give(s, f, 0, 1);
    if (f->n == 1)
        return;
    struct rest *r = malloc(sizeof *r);
    if (!r) {
        fm_socket_close(s, 1013, "out of memory");
        return;
    }
    *r = (struct rest){.source = {.cost = sizeof *r, .more = rest_more, .free = rest_free}, .frames = fm_frames_ref(f), .next = 1};
    fm_socket_send_source(s, &r->source);
}

static struct fm_frames *state_encode(const struct fm_wtopic *t, const struct fm_presence_state *state, unsigned format)
{
    struct fm_frames *f = fm_frames_new();
    if (f)
        t->protos[format]->encode(f, format, state->msgs, state->n, &t->at);
    if (f && f->bytes.failed)
        fm_frames_unref(&f);
    return f;
}

void fm_subs_presence_state(struct fm_worker *w, const struct fm_presence_state *state)
{
    struct fm_frames *frames[FM_FORMATS] = {NULL};
    struct fm_wtopic *t = state->n ? fm_wtopic_find(w, fm_msg_topic(state->msgs[0])) : NULL;
    /* One that is older than the question: there may have been a time between in which nobody here was told of changes. */
    if (!t || t->n == 0 || state->heard < t->watch_no)
        return;
    t->watch_asked = false;
    fm_subs_finish(w, t);                            /* diffs that came before it are in it */
    for (uint32_t i = t->n; i && t->awaiting; i--) { /* who has just come is among the last */
        struct fm_slot *slot = &t->slots[i - 1];
        if (slot->presence != FM_PRESENCE_AWAITED || slot->sub->lag)
            continue;
        struct fm_frames **f = &frames[slot->format];
        if (!*f)
            *f = state_encode(t, state, slot->format);
        if (*f)
            state_give(slot->socket, *f);
        else
            fm_socket_close(slot->socket, 1013, "out of memory");
        fm_slot_watch(t, slot, FM_PRESENCE_TOLD);
    }
    for (unsigned format = 0; format < FM_FORMATS; format++)
        fm_frames_unref(&frames[format]);
}

/* A list that nothing changes any more would show those for ever who were there last. */
void fm_subs_watch_end(struct fm_worker *w, struct fm_sub *sub)
{
    struct fm_wtopic *t = sub->topic;
    struct fm_slot *slot = t ? &t->slots[sub->slot] : NULL;
    sub->watch = false;
    if (!slot || slot->presence == FM_PRESENCE_NONE)
        return;
    fm_subs_unwatch(w, t, slot);
    slot->presence = FM_PRESENCE_NONE;
    struct fm_msg *nobody = fm_msg_new(fm_sub_topic(sub), FM_LIT("presence_state"), (struct fm_msg_keys){0}, FM_LIT("{}"), 0);
    struct fm_frames *f = nobody ? fm_frames_new() : NULL;
    if (f)
        t->protos[slot->format]->encode(f, slot->format, &nobody, 1, &t->at);
    if (f && !f->bytes.failed)
        fm_socket_give(slot->socket, f, 0, f->n);
    else
        fm_socket_close(slot->socket, 1013, "out of memory");
    fm_frames_unref(&f);
    fm_msg_unref(&nobody);
}
