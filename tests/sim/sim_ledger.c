/* Noting what happens in a simulation, and judging what can be judged at once. */
#include "sim_ledger.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name, *text;
} fault_names[] = {
#define X(name, text) {#name, text},
    FM_FAULT_TABLE(X)
#undef X
};

const char *fm_fault_name(enum fm_fault fault)
{
    assert(fault < FM_FAULT_COUNT);
    return fault_names[fault].name;
}

void ledger_grow(void **array, uint32_t *cap, uint32_t n, size_t size)
{
    if (n < *cap)
        return;
    uint32_t more = n + 1 > *cap * 2 ? n + 16 : *cap * 2;
    uint8_t *p = realloc(*array, more * size);
    if (!p)
        abort();
    memset(p + *cap * size, 0, (more - *cap) * size);
    *array = p;
    *cap = more;
}

/* ---- faults ---- */

static void note_va(struct fm_verdict *v, enum fm_fault fault, const char *fmt, va_list args)
{
    v->faults++;
    if (v->count[fault]++)
        return;
    (void)vsnprintf(v->first[fault], sizeof v->first[fault], fmt, args);
}

void ledger_note(struct fm_verdict *v, enum fm_fault fault, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    note_va(v, fault, fmt, args);
    va_end(args);
}

void fm_ledger_fault(struct fm_ledger *l, enum fm_fault fault, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    note_va(&l->online, fault, fmt, args);
    va_end(args);
}

unsigned fm_ledger_faults(const struct fm_ledger *l)
{
    return l->online.faults;
}

/* ---- life ---- */

struct fm_ledger *fm_ledger_new(unsigned flags)
{
    struct fm_ledger *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    l->flags = flags;
    LEDGER_GROW(l->messages, l->messages_cap, 1);
    l->messages_n = 1;
    return l;
}

void fm_ledger_free(struct fm_ledger **lp)
{
    struct fm_ledger *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    fm_ledger_final_clear(l);
    HASH_CLEAR(hh, l->by_id);
    for (uint32_t i = 0; i < l->copies_n; i++)
        free(l->copies[i]);
    for (uint32_t i = 0; i < l->clients_n; i++) {
        struct ledger_client *c = &l->clients[i];
        fm_vector_fini(&c->cursor);
        fm_vector_fini(&c->last);
        free(c->covers);
        free(c->given_by);
        free(c->given);
    }
    for (uint32_t i = 0; i < l->topics_n; i++)
        free((void *)l->topics[i].p);
    for (uint32_t i = 0; i < l->firsts_cap; i++)
        for (struct ledger_first *f = l->firsts[i], *next; f; f = next) {
            next = f->next;
            free(f);
        }
    free(l->firsts);
    free(l->copies);
    free(l->clients);
    free(l->topics);
    free(l->messages);
    free(l->nodes);
    free(l->finals);
    free(l);
}

void fm_ledger_keys_age(struct fm_ledger *l, const struct fm_sim_clock *clock, uint64_t us)
{
    l->time = clock;
    l->key_age_us = us;
}

uint64_t fm_ledger_clock(const struct fm_ledger *l)
{
    return l->clock;
}

/* ---- nodes ---- */

struct ledger_node *ledger_node(const struct fm_ledger *l, uint64_t incarnation)
{
    for (uint32_t i = 0; i < l->nodes_n; i++)
        if (l->nodes[i].incarnation == incarnation)
            return &l->nodes[i];
    return NULL;
}

void fm_ledger_node_up(struct fm_ledger *l, uint64_t incarnation, unsigned slot, unsigned life)
{
    struct ledger_node *again = ledger_node(l, incarnation);
    if (again) { /* a mutation: the ids that it gives away will tell */
        again->gone_at = 0;
        again->life = life;
        return;
    }
    LEDGER_GROW(l->nodes, l->nodes_cap, l->nodes_n);
    l->nodes[l->nodes_n++] = (struct ledger_node){.incarnation = incarnation, .slot = slot, .life = life, .up_at = ++l->clock};
}

void fm_ledger_node_gone(struct fm_ledger *l, uint64_t incarnation, bool left)
{
    struct ledger_node *n = ledger_node(l, incarnation);
    assert(n && n->gone_at == 0);
    n->gone_at = ++l->clock;
    n->left = left;
}

const char *fm_ledger_id_text(const struct fm_ledger *l, struct fm_id id)
{
    static char texts[8][48];
    static unsigned next;
    char *text = texts[next++ % 8];
    const struct ledger_node *n = ledger_node(l, id.origin);
    if (n)
        (void)snprintf(text, sizeof texts[0], "n%u.%u-%llu", n->slot, n->life, (unsigned long long)id.seq);
    else
        (void)snprintf(text, sizeof texts[0], "%llx-%llu", (unsigned long long)id.origin, (unsigned long long)id.seq);
    return text;
}

const char *fm_ledger_vector_text(const struct fm_ledger *l, const struct fm_vector *v)
{
    static char text[160];
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < v->n && at < sizeof text; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, " %s", fm_ledger_id_text(l, v->at[i]));
    return text;
}

/* ---- messages ---- */

uint32_t ledger_topic(struct fm_ledger *l, struct fm_slice topic)
{
    for (uint32_t i = 0; i < l->topics_n; i++)
        if (fm_slice_eq(l->topics[i], topic))
            return i;
    LEDGER_GROW(l->topics, l->topics_cap, l->topics_n);
    uint8_t *copy = malloc(topic.n);
    if (!copy)
        abort();
    memcpy(copy, topic.p, topic.n);
    l->topics[l->topics_n] = fm_slice_of(copy, topic.n);
    return l->topics_n++;
}

uint32_t fm_ledger_message(struct fm_ledger *l, struct fm_slice topic, bool keyed)
{
    LEDGER_GROW(l->messages, l->messages_cap, l->messages_n);
    uint64_t made_us = l->time ? fm_sim_now_us(l->time) : 0;
    l->messages[l->messages_n] = (struct ledger_message){.topic = ledger_topic(l, topic), .keyed = keyed, .made_us = made_us};
    return l->messages_n++;
}

void fm_ledger_payload(struct fm_buf *b, uint32_t no, uint32_t pad)
{
    fm_buf_u8(b, '"');
    fm_buf_dec(b, no);
    fm_buf_u8(b, ':');
    for (uint32_t i = 0; i < pad; i++)
        fm_buf_u8(b, (uint8_t)('a' + (no + i) % 26));
    fm_buf_u8(b, '"');
}

uint32_t fm_ledger_payload_no(struct fm_slice payload)
{
    const uint8_t *colon = payload.n ? memchr(payload.p, ':', payload.n) : NULL;
    uint64_t no;
    if (!colon || fm_slice_u64(fm_slice_of(payload.p + 1, (size_t)(colon - payload.p - 1)), UINT32_MAX, &no) != FM_OK)
        return 0;
    return (uint32_t)no;
}

struct ledger_copy *ledger_copy_find(const struct fm_ledger *l, struct fm_id id)
{
    struct ledger_copy *copy;
    HASH_FIND(hh, l->by_id, &id, sizeof id, copy);
    return copy;
}

struct ledger_copy *ledger_copy_note(struct fm_ledger *l, struct fm_id id, uint32_t no)
{
    if (no == 0 || no >= l->messages_n) {
        fm_ledger_fault(l, FM_FAULT_FOREIGN, "%s: nobody published its payload", fm_ledger_id_text(l, id));
        return NULL;
    }
    struct ledger_copy *copy = ledger_copy_find(l, id);
    if (copy && copy->no != no) {
        fm_ledger_fault(l, FM_FAULT_FOREIGN, "%s is message %u and message %u", fm_ledger_id_text(l, id), copy->no, no);
        return NULL;
    }
    if (copy)
        return copy;
    copy = calloc(1, sizeof *copy);
    if (!copy)
        abort();
    copy->id = id;
    copy->no = no;
    copy->index = l->copies_n;
    LEDGER_GROW(l->copies, l->copies_cap, l->copies_n);
    l->copies[l->copies_n++] = copy;
    HASH_ADD(hh, l->by_id, id, sizeof copy->id, copy);
    l->messages[no].copies++;
    return copy;
}

void fm_ledger_posted(struct fm_ledger *l, uint32_t no)
{
    l->messages[no].posts++;
}

/* A retry may have been taken for new by a node that has not answered yet. */
bool ledger_doubled(const struct fm_ledger *l, uint32_t no)
{
    return l->messages[no].copies > 1 || l->messages[no].posts > 1;
}

/* Must a node that has had the message know its key, whether it still has the message or not? */
static bool key_is_known(const struct fm_ledger *l, uint32_t no)
{
    return !l->time || fm_sim_now_us(l->time) - l->messages[no].made_us < l->key_age_us;
}

/* When this incarnation first had the message for certain, 0: never. */
static uint64_t first_had(const struct fm_ledger *l, uint64_t incarnation, uint32_t no)
{
    for (const struct ledger_first *f = no < l->firsts_cap ? l->firsts[no] : NULL; f; f = f->next)
        if (f->incarnation == incarnation)
            return f->at;
    return 0;
}

static void first_note(struct fm_ledger *l, uint64_t incarnation, uint32_t no)
{
    if (first_had(l, incarnation, no))
        return;
    struct ledger_first *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    LEDGER_GROW(l->firsts, l->firsts_cap, no);
    *f = (struct ledger_first){incarnation, l->clock, no, l->firsts[no]};
    l->firsts[no] = f;
}

void fm_ledger_accepted(struct fm_ledger *l, uint64_t incarnation, uint64_t posted, uint32_t no, const struct fm_publish_result *result,
                        uint32_t replicas)
{
    l->clock++;
    const struct ledger_copy *known = ledger_copy_find(l, result->id);
    const char *text = fm_ledger_id_text(l, result->id);
    if (result->duplicate && !l->messages[no].keyed)
        fm_ledger_fault(l, FM_FAULT_KEY, "message %u without a key was taken for a retry of %s", no, text);
    if (result->duplicate && known && known->no != no)
        fm_ledger_fault(l, FM_FAULT_KEY, "message %u was taken for a retry of %s, which is message %u", no, text, known->no);
    if (!result->duplicate && result->id.origin != incarnation)
        fm_ledger_fault(l, FM_FAULT_FOREIGN, "message %u got the id %s, which is not the accepting node's own", no, text);
    if (!result->duplicate && known && known->accepted_by)
        fm_ledger_fault(l, FM_FAULT_FOREIGN, "the id %s was given away twice", text);
    uint64_t had = first_had(l, incarnation, no);
    if (!result->duplicate && l->messages[no].keyed && had && had < posted && key_is_known(l, no))
        fm_ledger_fault(l, FM_FAULT_KEY, "message %u was accepted again as %s by a node that had it", no, text);
    struct ledger_copy *copy = ledger_copy_note(l, result->id, no);
    if (!copy)
        return;
    if (!result->duplicate)
        copy->accepted_by = incarnation;
    if (!copy->acked || replicas > copy->replicas) {
        copy->posted_at = posted;
        copy->acked_at = l->clock;
        copy->replicas = replicas;
        copy->acked = true;
    }
    first_note(l, incarnation, no);
}

/* ---- clients ---- */

uint32_t fm_ledger_client(struct fm_ledger *l, struct fm_slice topic)
{
    LEDGER_GROW(l->clients, l->clients_cap, l->clients_n);
    l->clients[l->clients_n] = (struct ledger_client){.topic = ledger_topic(l, topic)};
    return l->clients_n++;
}

const struct fm_vector *fm_ledger_cursor(const struct fm_ledger *l, uint32_t client)
{
    return &l->clients[client].cursor;
}

void fm_ledger_client_gone(struct fm_ledger *l, uint32_t client)
{
    l->clients[client].gone = true;
}

static void cover(struct ledger_client *c, uint64_t origin, uint64_t from, uint64_t to)
{
    if (from > to)
        return;
    LEDGER_GROW(c->covers, c->covers_cap, c->covers_n);
    c->covers[c->covers_n++] = (struct ledger_cover){origin, from, to};
}

bool ledger_covered(const struct ledger_client *c, struct fm_id id)
{
    for (uint32_t i = 0; i < c->covers_n; i++)
        if (c->covers[i].origin == id.origin && c->covers[i].from <= id.seq && id.seq <= c->covers[i].to)
            return true;
    return false;
}

static void copied(enum fm_err err)
{
    if (err)
        abort();
}

static bool replay_has(const struct fm_join *reply, struct fm_id id)
{
    for (uint32_t i = 0; i < reply->replayed; i++)
        if (reply->replay[i]->id.seq == id.seq && reply->replay[i]->id.origin == id.origin)
            return true;
    return false;
}

/* Ascending by origin, above the reply's cursor, at most its position. */
static void replay_order(struct fm_ledger *l, const struct fm_join *reply)
{
    struct fm_vector last = {0};
    copied(fm_vector_copy(&last, &reply->cursor));
    for (uint32_t i = 0; i < reply->replayed; i++) {
        const struct fm_msg *m = reply->replay[i];
        if (m->id.seq <= fm_vector_get(&last, m->id.origin))
            fm_ledger_fault(l, FM_FAULT_REPLAY, "a replay holds %s at or below its cursor, or not in order", fm_ledger_id_text(l, m->id));
        if (m->id.seq > fm_vector_get(&reply->at, m->id.origin))
            fm_ledger_fault(l, FM_FAULT_REPLAY, "a replay holds %s, above the position it names", fm_ledger_id_text(l, m->id));
        copied(fm_vector_set(&last, m->id.origin, m->id.seq));
    }
    fm_vector_fini(&last);
}

void fm_ledger_replied(struct fm_ledger *l, uint64_t incarnation, const struct fm_join *reply)
{
    l->clock++;
    struct fm_slice name = fm_slice_of(reply->topic, reply->topic_n);
    uint32_t topic = ledger_topic(l, name);
    for (uint32_t i = 0; i < reply->replayed; i++) {
        const struct fm_msg *m = reply->replay[i];
        const struct ledger_copy *copy = ledger_copy_note(l, m->id, fm_ledger_payload_no(fm_msg_payload(m)));
        if (!fm_slice_eq(fm_msg_topic(m), name) || (copy && l->messages[copy->no].topic != topic))
            fm_ledger_fault(l, FM_FAULT_FOREIGN, "a replay holds %s of another topic", fm_ledger_id_text(l, m->id));
        if (copy)
            first_note(l, incarnation, copy->no);
    }
    replay_order(l, reply);
    if (!reply->recovered && (l->flags & FM_LEDGER_CALM))
        fm_ledger_fault(l, FM_FAULT_EAGER, "recovered: false on %.*s", (int)name.n, (const char *)name.p);
    if (!reply->has_cursor && !(l->flags & FM_LEDGER_CALM))
        return; /* the newest n may reach over a gap that was told before */
    for (uint32_t i = 0; i < l->copies_n; i++) {
        const struct ledger_copy *c = l->copies[i];
        if (l->messages[c->no].topic != topic || ledger_doubled(l, c->no) || replay_has(reply, c->id))
            continue;
        if (c->id.seq > fm_vector_get(&reply->cursor, c->id.origin) && c->id.seq <= fm_vector_get(&reply->at, c->id.origin))
            fm_ledger_fault(l, FM_FAULT_REPLAY, "a replay on %.*s lacks %s, between its cursor and its position", (int)name.n,
                            (const char *)name.p, fm_ledger_id_text(l, c->id));
    }
}

/* Does the reply leave the client where it was, in every origin, at a node that knows them all? */
static bool nothing_missed(const struct fm_vector *cursor, const struct fm_join *reply)
{
    for (uint32_t i = 0; i < cursor->n; i++)
        if (cursor->at[i].origin != FM_CURSOR_ASOF &&
            (!fm_vector_get(&reply->at, cursor->at[i].origin) || fm_vector_get(&reply->cursor, cursor->at[i].origin) != cursor->at[i].seq))
            return false;
    for (uint32_t i = 0; i < reply->cursor.n; i++)
        if (reply->cursor.at[i].origin != FM_CURSOR_ASOF && fm_vector_get(cursor, reply->cursor.at[i].origin) != reply->cursor.at[i].seq)
            return false;
    return true;
}

void fm_ledger_joined(struct fm_ledger *l, uint32_t client, const struct fm_join *reply)
{
    l->clock++;
    struct ledger_client *c = &l->clients[client];
    bool first = !c->joined;
    c->joined = true;
    if (!first && !reply->recovered && !(l->flags & FM_LEDGER_FORGETS) && nothing_missed(&c->cursor, reply))
        fm_ledger_fault(l, FM_FAULT_EAGER, "client %u was answered recovered: false, and resumes from where it was", client);
    for (uint32_t i = 0; i < reply->cursor.n && (first || !reply->recovered); i++)
        cover(c, reply->cursor.at[i].origin, 1, reply->cursor.at[i].seq);
    for (uint32_t i = 0; i < l->nodes_n && l->flags & FM_LEDGER_FORGETS && (first || !reply->recovered); i++)
        if (l->nodes[i].gone_at && !fm_vector_has(&reply->at, l->nodes[i].incarnation))
            cover(c, l->nodes[i].incarnation, 1, UINT64_MAX); /* an origin that the node may have forgotten */
    for (uint32_t i = 0; i < reply->at.n && first; i++) {     /* holes within the newest n are from before its time */
        uint64_t from = fm_vector_get(&reply->cursor, reply->at.at[i].origin) + 1;
        for (uint32_t k = 0; k < reply->replayed; k++)
            if (reply->replay[k]->id.origin == reply->at.at[i].origin) {
                cover(c, reply->at.at[i].origin, from, reply->replay[k]->id.seq - 1);
                from = reply->replay[k]->id.seq + 1;
            }
        cover(c, reply->at.at[i].origin, from, reply->at.at[i].seq);
    }
    copied(fm_vector_copy(&c->cursor, &reply->cursor));
}

void fm_ledger_given(struct fm_ledger *l, uint32_t client, uint64_t incarnation, const struct fm_msg *m)
{
    l->clock++;
    struct ledger_client *c = &l->clients[client];
    const char *text = fm_ledger_id_text(l, m->id);
    struct ledger_copy *copy = ledger_copy_note(l, m->id, fm_ledger_payload_no(fm_msg_payload(m)));
    if (!copy)
        return;
    if (l->messages[copy->no].topic != c->topic || !fm_slice_eq(fm_msg_topic(m), l->topics[c->topic]))
        fm_ledger_fault(l, FM_FAULT_FOREIGN, "client %u was given %s of another topic", client, text);
    LEDGER_GROW(c->given, c->given_cap, copy->index);
    LEDGER_GROW(c->given_by, c->given_by_cap, copy->no);
    if (c->given[copy->index])
        fm_ledger_fault(l, FM_FAULT_DOUBLE, "client %u was given %s twice", client, text);
    else if (m->id.seq <= fm_vector_get(&c->last, m->id.origin))
        fm_ledger_fault(l, FM_FAULT_DISORDER, "client %u was given %s after %s", client, text,
                        fm_ledger_id_text(l, (struct fm_id){m->id.origin, fm_vector_get(&c->last, m->id.origin)}));
    else if (c->given_by[copy->no] == incarnation && key_is_known(l, copy->no))
        fm_ledger_fault(l, FM_FAULT_KEY, "client %u was given message %u again, as %s, by the same node", client, copy->no, text);
    l->online.doubles_by_key += !c->given[copy->index] && c->given_by[copy->no];
    l->online.given++;
    c->given[copy->index] = 1;
    c->given_by[copy->no] = incarnation;
    copied(fm_vector_raise(&c->last, m->id.origin, m->id.seq));
    copied(fm_vector_raise(&c->cursor, m->id.origin, m->id.seq));
    first_note(l, incarnation, copy->no);
}

void fm_ledger_gap(struct fm_ledger *l, uint32_t client, const struct fm_gap *gap)
{
    l->clock++;
    struct ledger_client *c = &l->clients[client];
    for (uint32_t i = 0; i < l->nodes_n && gap->to == FM_GAP_OPEN; i++) /* who was told that asks for all of it */
        if (l->nodes[i].gone_at)
            cover(c, l->nodes[i].incarnation, 1, UINT64_MAX);
    if (gap->origin)
        cover(c, gap->origin, gap->from, gap->to);
    if (gap->cursor.n)
        copied(fm_vector_copy(&c->cursor, &gap->cursor));
    else
        copied(fm_vector_raise(&c->cursor, gap->origin, gap->to));
    if (l->flags & FM_LEDGER_CALM)
        fm_ledger_fault(l, FM_FAULT_EAGER, "client %u was told a gap up to %s", client,
                        fm_ledger_id_text(l, (struct fm_id){gap->origin, gap->to}));
}
