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

/* What the join announced is there, or the node went on to what is new. */
static void recovered_note(struct fm_client *c)
{
    struct fm_fleet *f = c->fleet;
    if (!c->lost_ns)
        return;
    fm_hdr_add(f->config.recovery, fm_loop_now_ns() - c->lost_ns);
    f->stats.recovered++;
    c->lost_ns = c->replay = 0;
}

/* The channel is open: what comes from now on continues at the cursor of the answer. false: the client starts over. */
static bool join_answer(struct fm_client *c, bool ok, struct fm_slice response)
{
    struct fm_fleet *f = c->fleet;
    struct fm_vector cursor = {0};
    uint64_t replayed = 0;
    if (!ok)
        refusal_note(f, fm_wire_text(response, "reason"));
    if (!ok || c->state != JOINING)
        return false;
    c->state = JOINED;
    f->connecting--;
    f->stats.joined++;
    f->stats.reconnects += c->was_joined;
    enum fm_err err = FM_OK;
    if (f->config.plain) {
        err = c->was_joined ? fm_view_returned(&c->view) : FM_OK;
    } else {
        bool recovered = fm_slice_eq(fm_wire_member(response, "recovered"), FM_LIT("true"));
        err = fm_wire_cursor(fm_wire_member(response, "cursor"), &cursor);
        if (!err)
            err = fm_view_joined(&c->view, &cursor, recovered || !c->was_joined);
        f->stats.unrecovered += c->was_joined && !recovered;
        if (fm_wire_number(response, "replayed", &replayed))
            f->stats.replayed += replayed;
        fm_vector_fini(&cursor);
    }
    c->was_joined = true;
    c->replay = replayed;
    if (c->replay == 0)
        recovered_note(c);
    return err ? malformed(c) : true;
}

static bool reply_take(struct fm_client *c, const struct fm_wire *w)
{
    struct fm_fleet *f = c->fleet;
    bool ok = fm_slice_eq(fm_wire_text(w->payload, "status"), FM_LIT("ok"));
    struct fm_slice response = fm_wire_member(w->payload, "response"), id_text = fm_wire_text(response, "id");
    struct fm_id id = {0};
    uint64_t number;
    if (fm_slice_eq(w->ref, FM_LIT("h"))) {
        c->beat_ns = 0;
        return true;
    }
    if (fm_slice_eq(w->ref, FM_LIT("j")))
        return join_answer(c, ok, response);
    if (fm_slice_u64(w->ref, UINT64_MAX, &number) || number >= c->view.ledger->n)
        return malformed(c);
    if (c->unanswered == 0 || (id_text.n && fm_id_parse((const char *)id_text.p, id_text.n, &id)))
        return malformed(c);
    c->unanswered--;
    /* An error with an id: it was accepted, and only not confirmed as was wished. */
    f->config.answered(f->config.ctx, c->topic, number, ok || id.origin, id);
    return true;
}

static bool broadcast_take(struct fm_client *c, const struct fm_wire *w)
{
    struct fm_fleet *f = c->fleet;
    struct fm_stamp stamp;
    struct fm_id order;
    bool has_id = !f->config.plain;
    /* What is replayed carries the join_ref, and comes before anything new. */
    if (c->lost_ns && (w->join_ref.n == 0 || --c->replay == 0))
        recovered_note(c);
    if (!fm_stamp_read(w->payload, &stamp))
        return malformed(c);
    if (has_id ? fm_id_parse((const char *)w->ref.p, w->ref.n, &order) != FM_OK : w->ref.n != 0)
        return malformed(c); /* ids are for channels that asked, and for all of those */
    if (!has_id)
        order = (struct fm_id){stamp.stream, stamp.number + 1};
    enum fm_take take = fm_view_take(&c->view, stamp.number, order, has_id, f->config.tally);
    if (take == FM_TAKE_NOT_NEW)
        return true;
    uint64_t now = fm_loop_now_ns();
    uint64_t took = now > stamp.sent_ns ? now - stamp.sent_ns : 0;
    fm_hdr_add(f->config.latency, took);
    if (f->config.lately)
        fm_hdr_add(f->config.lately, took);
    f->config.taken(f->config.ctx, c->topic, stamp.number, take == FM_TAKE_LAST);
    return true;
}

/* A gap that names no origin: everything up to its cursor. A plain channel has no position that could be compared: all so far. */
static enum fm_err gap_of_all(struct fm_client *c, struct fm_slice list)
{
    struct fm_vector cursor = {0};
    enum fm_err err = fm_wire_cursor(list, &cursor);
    if (!err)
        err = c->fleet->config.plain ? fm_view_returned(&c->view) : fm_view_gap_to(&c->view, &cursor);
    fm_vector_fini(&cursor);
    return err;
}

/* null: nobody knows how far. */
static bool gap_end(struct fm_slice payload, uint64_t *to)
{
    *to = FM_LEDGER_OPEN;
    return fm_slice_eq(fm_wire_member(payload, "to"), FM_LIT("null")) || fm_wire_number(payload, "to", to);
}

/* gap {reason, origin, from, to, cursor}, and members that are of no interest here */
static bool gap_take(struct fm_client *c, const struct fm_wire *w)
{
    struct fm_slice origin = fm_wire_text(w->payload, "origin");
    char text[FM_ID_TEXT_MAX + 1];
    struct fm_id id;
    uint64_t from, to;
    c->fleet->stats.gaps++;
    if (origin.n == 0)
        return gap_of_all(c, fm_wire_member(w->payload, "cursor")) ? malformed(c) : true;
    if (origin.n > FM_ORIGIN_TEXT_MAX || !fm_wire_number(w->payload, "from", &from) || !gap_end(w->payload, &to))
        return malformed(c);
    memcpy(text, origin.p, origin.n);
    memcpy(text + origin.n, "-0", 2);
    if (fm_id_parse(text, origin.n + 2, &id) || fm_view_gap(&c->view, id.origin, from, to))
        return malformed(c);
    return true;
}

bool fm_client_text(struct fm_client *c, struct fm_slice text)
{
    struct fm_wire w;
    char topic[FM_FLEET_TOPIC_MAX];
    if (fm_wire_read(text, &w))
        return malformed(c);
    if (fm_slice_eq(w.event, FM_LIT("phx_reply")))
        return reply_take(c, &w);
    if (fm_slice_eq(w.event, FM_LIT("phx_error")) || fm_slice_eq(w.event, FM_LIT("phx_close")))
        return false;
    fm_fleet_topic(c->fleet, c->topic, topic);
    if (!fm_slice_eq(w.topic, fm_slice_str(topic)) || c->state != JOINED)
        return malformed(c);
    if (fm_slice_eq(w.event, FM_LIT(FM_LOAD_EVENT)))
        return broadcast_take(c, &w);
    if (fm_slice_eq(w.event, FM_LIT("gap")))
        return gap_take(c, &w);
    return malformed(c);
}
