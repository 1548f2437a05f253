/* What a join replays, which may be a topic's whole history, for many clients at once after a restart. So no client's copy of it is made
 * before it can be sent: a source holds the messages, which all clients share, and encodes some whenever the socket has taken the last. */
#include "../supabase/supabase.h"

#include <stdlib.h>

enum { AT_ONCE_BYTES = 32 << 10 }; /* goes with the reply */

struct replay {
    struct fm_source source; /* first */
    enum fm_phx_version version;
    unsigned format;
    bool asked;    /* a Supabase channel's `replay`, of which the messages say that they are it */
    bool position; /* fm_cursor is due behind it */
    uint32_t next, n;
    struct fm_msg **msgs; /* references */
    struct fm_vector at;
    uint8_t join_ref_n;
    uint8_t topic_n;
    uint16_t wants_n;
    uint8_t text[]; /* join_ref, topic, and what a Supabase channel wants of changes */
};

static struct fm_phx_to head_of(const struct replay *r)
{
    return (struct fm_phx_to){.version = r->version,
                              .join_ref = fm_slice_of(r->text, r->join_ref_n),
                              .ref = FM_LIT("null"),
                              .topic = fm_slice_of(r->text + r->join_ref_n, r->topic_n)};
}

/* The next messages, until f holds `bytes`. false: that was all, and the position is behind them where it is due. */
static bool replay_more(struct fm_source *source, struct fm_frames *f, size_t bytes)
{
    struct replay *r = (struct replay *)source;
    struct fm_phx_to to = head_of(r);
    while (r->next < r->n && f->bytes.n < bytes && !f->bytes.failed) {
        struct fm_msg **m = &r->msgs[r->next++];
        if (r->format == FM_FORMAT_SUPA2 || r->format == FM_FORMAT_SUPA1)
            fm_supabase_message(f, r->format, r->asked, fm_slice_of(r->text + r->join_ref_n + r->topic_n, r->wants_n), *m);
        else
            fm_phx_message(f, r->version, to.join_ref, fm_phx_id_of(r->format), *m);
        fm_msg_unref(m);
    }
    if (r->next < r->n)
        return true;
    if (r->position)
        fm_phx_cursor_event(f, &to, &r->at);
    return false;
}

static void replay_free(struct fm_source *source)
{
    struct replay *r = (struct replay *)source;
    for (uint32_t i = r->next; i < r->n; i++)
        fm_msg_unref(&r->msgs[i]);
    free(r->msgs);
    fm_vector_fini(&r->at);
    free(r);
}

static struct replay *replay_new(const struct fm_sub *sub, struct fm_join *j)
{
    struct fm_slice wants = fm_supabase_wants_of(sub);
    struct replay *r = malloc(sizeof *r + sub->join_ref_n + sub->topic_n + wants.n);
    if (!r)
        return NULL;
    *r = (struct replay){
        .source = {.cost = (uint32_t)(sizeof *r + j->replayed * sizeof(struct fm_msg *)), .more = replay_more, .free = replay_free},
        .version = (enum fm_phx_version)fm_socket_variant(sub->socket),
        .format = sub->format,
        .asked = sub->flags & FM_SUPABASE_REPLAY,
        .n = j->replayed,
        .msgs = j->replay,
        .join_ref_n = (uint8_t)sub->join_ref_n,
        .topic_n = (uint8_t)sub->topic_n,
        .wants_n = (uint16_t)wants.n,
    };
    struct fm_slice join_ref = fm_sub_join_ref(sub), topic = fm_sub_topic(sub);
    memcpy(r->text, join_ref.p, join_ref.n);
    memcpy(r->text + join_ref.n, topic.p, topic.n);
    if (wants.n)
        memcpy(r->text + join_ref.n + topic.n, wants.p, wants.n);
    j->replay = NULL;
    j->replayed = 0;
    for (uint32_t i = 0; i < r->n && sub->format == FM_FORMAT_PHX2_CURSOR && !r->position; i++)
        r->position = (r->msgs[i]->flags & FM_MSG_BINARY) != 0;
    return r;
}

/* at: behind the replay, and never before what the client has from elsewhere. */
static bool position_set(struct replay *r, const struct fm_sub *sub, const struct fm_join *j)
{
    enum fm_err err = fm_vector_copy(&r->at, &j->at);
    for (uint32_t i = 0; sub->skip && i < sub->skip->n && err != FM_E_NOMEM; i++)
        err = fm_vector_raise(&r->at, sub->skip->at[i].origin, sub->skip->at[i].seq);
    return err != FM_E_NOMEM;
}

bool fm_phx_replay(struct fm_frames *f, const struct fm_sub *sub, struct fm_join *j, struct fm_source **rest)
{
    *rest = NULL;
    if (j->replayed == 0)
        return true;
    struct replay *r = replay_new(sub, j);
    if (!r)
        return false;
    if (r->position && !position_set(r, sub, j)) {
        replay_free(&r->source);
        return false;
    }
    if (replay_more(&r->source, f, AT_ONCE_BYTES))
        *rest = &r->source;
    else
        replay_free(&r->source);
    return true;
}
