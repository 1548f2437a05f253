/* What the server said, and what it means for the client and the judge. */
#include "fleet_state.h"

/* What the server said can't be understood or believed. */
static bool malformed(struct fm_client *c)
{
    c->fleet->config.tally->malformed++;
    return true;
}

static void refusal_note(struct fm_fleet *f, struct fm_slice reason)
{
    size_t n = reason.n < sizeof f->stats.last_refusal - 1 ? reason.n : sizeof f->stats.last_refusal - 1;
    if (n)
        memcpy(f->stats.last_refusal, reason.p, n);
    f->stats.last_refusal[n] = 0;
}

/* ---- joins ---- */

/* What the join announced is there, or the node went on to what is new. When that is so of all seats, the client has recovered. */
static void caught_up(struct fm_client *c, struct fm_seat *s)
{
    struct fm_fleet *f = c->fleet;
    if (!s->behind)
        return;
    s->behind = false;
    s->replay = 0;
    if (--c->behind > 0 || !c->lost_ns)
        return;
    fm_hdr_add(f->config.recovery, fm_mono_ns() - c->lost_ns);
    f->stats.recovered++;
    c->lost_ns = 0;
}

/* The seat's cursor is what the answer says. */
static enum fm_err cursor_take(struct fm_client *c, struct fm_seat *s, struct fm_slice response)
{
    struct fm_fleet *f = c->fleet;
    struct fm_vector cursor = {0};
    bool recovered = fm_slice_eq(fm_wire_member(response, "recovered"), FM_LIT("true"));
    enum fm_err err = fm_wire_cursor(fm_wire_member(response, "cursor"), &cursor);
    if (!err)
        err = fm_view_joined(&s->view, &cursor, recovered || !s->was_joined);
    f->stats.unrecovered += s->was_joined && !recovered;
    if (fm_wire_number(response, "replayed", &s->replay))
        f->stats.replayed += s->replay;
    fm_vector_fini(&cursor);
    return err;
}

/* The topic is joined: what comes from now on continues at the cursor of the answer. false: the client starts over. */
static bool join_take(struct fm_client *c, struct fm_seat *s, const struct fm_saying *said)
{
    struct fm_fleet *f = c->fleet;
    enum fm_err err = FM_OK;
    if (!said->ok)
        refusal_note(f, said->detail);
    if (!said->ok || c->state != JOINING || s->joined)
        return false;
    s->joined = true;
    s->replay = 0;
    f->stats.reconnects += s->was_joined;
    if (f->config.ids)
        err = cursor_take(c, s, said->detail);
    else if (s->was_joined && !f->config.mute)
        err = fm_view_returned(&s->view);
    s->was_joined = true;
    if (s->replay == 0)
        caught_up(c, s);
    if (--c->waits == 0) {
        c->state = JOINED;
        f->connecting--;
        f->stats.joined++;
        fm_hdr_add(f->config.joins, fm_mono_ns() - c->since_ns);
    }
    return err ? malformed(c) : true;
}

static bool joined_all(struct fm_client *c)
{
    struct fm_saying joined = {.what = FM_SAID_JOIN, .ok = true};
    bool good = true;
    for (uint32_t j = 0; j < c->fleet->config.spread.per_client; j++)
        good = join_take(c, &fm_client_seats(c)[j], &joined) && good;
    return good;
}

bool fm_client_join(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    const struct fm_framing *framing = f->config.framing;
    struct fm_seat *seats = fm_client_seats(c);
    char topic[FM_FLEET_TOPIC_MAX];
    c->state = JOINING;
    if (f->config.mute)
        return joined_all(c);
    for (uint32_t j = 0; j < f->config.spread.per_client && framing->join; j++) {
        fm_fleet_topic(f, seats[j].topic, topic);
        f->text.n = 0;
        framing->join(&f->text, &f->config.speech, j, fm_slice_str(topic), &seats[j].view.at);
        fm_client_say(c);
    }
    if (framing->answers_joins)
        return true;
    if (!framing->beat_answers_joins)
        return joined_all(c); /* nobody will say so */
    f->text.n = 0;
    framing->beat(&f->text);
    fm_client_say(c);
    return true;
}

/* ---- messages ---- */

static bool topic_number(const struct fm_fleet *f, struct fm_slice name, uint32_t *topic)
{
    uint64_t n;
    if (name.n <= f->prefix_n || memcmp(name.p, f->config.topic_prefix, f->prefix_n) != 0)
        return false;
    if (fm_slice_u64(fm_slice_of(name.p + f->prefix_n, name.n - f->prefix_n), UINT32_MAX, &n))
        return false;
    *topic = (uint32_t)n;
    return true;
}

/* Whose it is; NULL: of none of this client's. */
static struct fm_seat *seat_of(const struct fm_client *c, const struct fm_saying *said)
{
    const struct fm_fleet *f = c->fleet;
    uint32_t seat = said->seat, topic;
    if (seat == FM_SEAT_NONE && topic_number(f, said->topic, &topic))
        seat = fm_spread_seat(&f->config.spread, f->config.first + (uint32_t)(c - f->at), topic);
    return seat < f->config.spread.per_client ? &fm_client_seats(c)[seat] : NULL;
}

static void latency_note(struct fm_fleet *f, uint64_t sent_ns, uint64_t now)
{
    const struct fm_times *t = f->config.times;
    uint64_t took = now > sent_ns ? now - sent_ns : 0;
    if (f->config.lately)
        fm_hdr_add(f->config.lately, took);
    if (sent_ns < atomic_load_explicit(&t->measure_ns, memory_order_relaxed))
        return;
    bool storm = sent_ns >= atomic_load_explicit(&t->storm_ns, memory_order_relaxed) &&
                 sent_ns < atomic_load_explicit(&t->calm_ns, memory_order_relaxed);
    fm_hdr_add(storm ? f->config.stormy : f->config.latency, took);
}

static bool message_take(struct fm_client *c, const struct fm_saying *said)
{
    struct fm_fleet *f = c->fleet;
    const struct fm_fleet_config *config = &f->config;
    struct fm_seat *s = NULL;
    struct fm_stamp stamp;
    struct fm_id order;
    bool stamped = fm_stamp_read(said->detail, &stamp), named = said->seat != FM_SEAT_NONE || said->topic.n;
    if (named)
        s = seat_of(c, said);
    else if (stamped && stamp.topic <= UINT32_MAX)
        s = seat_of(
            c, &(struct fm_saying){.seat = fm_spread_seat(&config->spread, config->first + (uint32_t)(c - f->at), (uint32_t)stamp.topic)});
    if (!s || !s->joined)
        return malformed(c);
    /* What is replayed says so, and comes before anything new. */
    if (s->behind && (!said->replayed || s->replay == 0 || --s->replay == 0))
        caught_up(c, s);
    if (!stamped)
        return malformed(c);
    if (config->ids ? fm_id_parse((const char *)said->id.p, said->id.n, &order) != FM_OK : said->id.n != 0)
        return malformed(c); /* ids are for channels that asked, and for all of those */
    if (!config->ids)
        order = (struct fm_id){stamp.stream, stamp.number + 1};
    if (stamp.number >= s->view.ledger->n && config->follow)
        config->follow(config->ctx);
    if (stamp.topic != s->topic) {
        config->tally->strange++;
        return true;
    }
    enum fm_take take = config->verify ? fm_view_take(&s->view, stamp.number, order, config->ids, config->tally)
                                       : fm_view_count(&s->view, stamp.number, config->tally);
    if (take == FM_TAKE_NOT_NEW)
        return true;
    uint64_t now = fm_mono_ns();
    latency_note(f, stamp.sent_ns, now);
    if (take == FM_TAKE_LAST)
        config->taken(config->ctx, s->topic, stamp.number, stamp.sent_ns, now);
    return true;
}

/* A gap that names no origin: everything up to its cursor. A plain channel has no position that could be compared: all so far. */
static enum fm_err gap_of_all(struct fm_client *c, struct fm_seat *s, struct fm_slice list)
{
    struct fm_vector cursor = {0};
    enum fm_err err = fm_wire_cursor(list, &cursor);
    if (!err)
        err = c->fleet->config.ids ? fm_view_gap_to(&s->view, &cursor) : fm_view_returned(&s->view);
    fm_vector_fini(&cursor);
    return err;
}

/* null: nobody knows how far. */
static bool gap_end(struct fm_slice detail, uint64_t *to)
{
    *to = FM_LEDGER_OPEN;
    return fm_slice_eq(fm_wire_member(detail, "to"), FM_LIT("null")) || fm_wire_number(detail, "to", to);
}

/* gap {reason, origin, from, to, cursor}, and members that are of no interest here */
static bool gap_take(struct fm_client *c, const struct fm_saying *said)
{
    struct fm_slice origin = fm_wire_text(said->detail, "origin");
    struct fm_seat *s = seat_of(c, said);
    char text[FM_ID_TEXT_MAX + 1];
    struct fm_id id;
    uint64_t from, to;
    if (!s || !s->joined)
        return malformed(c);
    c->fleet->stats.gaps++;
    if (origin.n == 0)
        return gap_of_all(c, s, fm_wire_member(said->detail, "cursor")) ? malformed(c) : true;
    if (origin.n > FM_ORIGIN_TEXT_MAX || !fm_wire_number(said->detail, "from", &from) || !gap_end(said->detail, &to))
        return malformed(c);
    memcpy(text, origin.p, origin.n);
    memcpy(text + origin.n, "-0", 2);
    if (fm_id_parse(text, origin.n + 2, &id) || fm_view_gap(&s->view, id.origin, from, to))
        return malformed(c);
    return true;
}

/* ---- all of it ---- */

static bool push_answer_take(struct fm_client *c, const struct fm_saying *said)
{
    struct fm_seat *s = seat_of(c, said);
    struct fm_id id = {0};
    if (!s || s->unanswered == 0 || said->number >= s->view.ledger->n)
        return malformed(c);
    if (said->id.n && fm_id_parse((const char *)said->id.p, said->id.n, &id))
        return malformed(c);
    s->unanswered--;
    /* An error with an id: it was accepted, and only not confirmed as was wished. */
    c->fleet->config.answered(c->fleet->config.ctx, s->topic, said->number, said->ok || id.origin, id);
    return true;
}

static bool beat_take(struct fm_client *c)
{
    c->beat_ns = 0;
    if (c->state == GREETING)
        return fm_client_join(c);
    if (c->state == JOINING && c->fleet->config.framing->beat_answers_joins)
        return joined_all(c);
    return true;
}

bool fm_client_take(struct fm_client *c, const struct fm_saying *said)
{
    struct fm_fleet *f = c->fleet;
    const struct fm_framing *framing = f->config.framing;
    struct fm_seat *s;
    switch (said->what) {
    case FM_SAID_MESSAGE:
        return f->config.mute || message_take(c, said);
    case FM_SAID_PUSH:
        return push_answer_take(c, said);
    case FM_SAID_GAP:
        return gap_take(c, said);
    case FM_SAID_BEAT:
        return beat_take(c);
    case FM_SAID_NOTHING:
        return true;
    case FM_SAID_JOIN:
        s = seat_of(c, said);
        return s ? join_take(c, s, said) : malformed(c);
    case FM_SAID_WELCOME:
        return c->state != GREETING || fm_client_join(c);
    case FM_SAID_HELLO: /* said again later it is only news */
    case FM_SAID_PING:
        f->text.n = 0;
        if (said->what == FM_SAID_PING)
            framing->pong(&f->text);
        else if (c->state == GREETING)
            framing->hello(&f->text, &f->config.speech, c->stream);
        fm_client_say(c);
        return true;
    case FM_SAID_OVER:
    default:
        refusal_note(f, said->detail);
        return false;
    }
}
