/* Fuzz target: the outer envelope and every body. What a reader accepts is written again and read again, and must then say the same. */
#include "../../broker/envelope.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* ---- bodies: read, write, read, write; both writings are equal, and no longer than what came ---- */

static bool rewrite_hello(struct fm_slice body, struct fm_buf *out)
{
    static struct fm_env_hello h;
    if (fm_env_hello_read(body, &h))
        return false;
    fm_env_hello_write(out, &h);
    return true;
}

static bool rewrite_state(struct fm_slice body, struct fm_buf *out)
{
    static struct fm_env_state s;
    if (fm_env_state_read(body, &s))
        return false;
    fm_env_state_write(out, &s);
    return true;
}

static bool rewrite_pull(struct fm_slice body, struct fm_buf *out)
{
    struct fm_env_pull p;
    if (fm_env_pull_read(body, &p))
        return false;
    fm_env_pull_write(out, &p);
    return true;
}

static bool rewrite_bye(struct fm_slice body, struct fm_buf *out)
{
    uint64_t seq;
    if (fm_env_bye_read(body, &seq))
        return false;
    fm_env_bye_write(out, seq);
    return true;
}

static bool rewrite_parcels(struct fm_slice body, struct fm_buf *out)
{
    struct fm_slice rest;
    struct fm_env_parcel p;
    if (fm_env_parcels_read(body, &rest))
        return false;
    fm_env_parcels_begin(out);
    while (rest.n) {
        must(fm_env_parcel_next(&rest, &p) == FM_OK);
        fm_env_parcel_write(out, &p);
    }
    return true;
}

static bool rewrite_taken(struct fm_slice body, struct fm_buf *out)
{
    if (fm_env_taken_read(body))
        return false;
    fm_env_taken_write(out);
    return true;
}

static void rewrite_record(struct fm_env_range_writer *w, uint64_t origin, const struct fm_env_record_view *rec)
{
    if (rec->kind == FM_RECORD_TOMB) {
        fm_env_range_tomb(w, rec->topic, rec->seq);
        return;
    }
    struct fm_msg *m = fm_msg_new(rec->topic, rec->event, rec->keys, rec->payload, rec->flags);
    must(m != NULL);
    fm_msg_accept(m, (struct fm_id){origin, rec->seq}, rec->prev, rec->ts_ms);
    fm_env_range_msg(w, m, rec->age_ms);
    fm_msg_unref(&m);
}

static bool rewrite_range(struct fm_slice body, struct fm_buf *out)
{
    struct fm_env_range r;
    struct fm_env_range_writer w;
    if (fm_env_range_read(body, &r))
        return false;
    fm_env_range_begin(&w, out, &r);
    for (;;) {
        struct fm_env_record_view rec;
        uint64_t before = r.last_seq;
        if (fm_env_range_next(&r, &rec))
            return false;
        if (rec.kind == FM_RECORD_END)
            break;
        must(rec.topic.n <= FM_TOPIC_MAX && rec.event.n <= FM_EVENT_MAX && rec.payload.n <= FM_PAYLOAD_MAX);
        must(rec.keys.idempotency.n <= FM_KEY_MAX && rec.keys.conflation.n <= FM_KEY_MAX);
        must(rec.kind == FM_RECORD_TOMB || (rec.seq > before && rec.seq >= r.from && rec.prev < rec.seq));
        rewrite_record(&w, r.origin, &rec);
    }
    fm_env_range_finish(&w, r.upto);
    return true;
}

static bool rewrite_presence(struct fm_slice body, struct fm_buf *out)
{
    struct fm_env_presence p;
    struct fm_env_presence_writer w;
    if (fm_env_presence_read(body, &p))
        return false;
    fm_env_presence_begin(&w, out, &p);
    for (;;) {
        struct fm_env_presence_record rec;
        bool more;
        uint64_t before = p.last_ver;
        if (fm_env_presence_next(&p, &rec, &more))
            return false;
        if (!more)
            break;
        must(rec.ver > before && rec.ver <= p.upto);
        must(rec.gone || (rec.topic.n && rec.topic.n <= FM_TOPIC_MAX && rec.key.n && rec.key.n <= FM_PRESENCE_KEY_MAX));
        must(rec.gone || (rec.meta.n >= 2 && rec.meta.n <= FM_PRESENCE_META_MAX && rec.prev < rec.ref && rec.ref <= rec.ver));
        fm_env_presence_put(&w, &rec);
    }
    fm_env_presence_finish(&w, p.flags, p.upto);
    return true;
}

static bool rewrite_presence_pull(struct fm_slice body, struct fm_buf *out)
{
    struct fm_env_presence_pull p;
    if (fm_env_presence_pull_read(body, &p))
        return false;
    fm_env_presence_pull_write(out, &p);
    return true;
}

static const struct {
    enum fm_envelope_type type;
    bool (*rewrite)(struct fm_slice, struct fm_buf *);
} rewriters[] = {{FM_ENV_HELLO, rewrite_hello}, {FM_ENV_STATE, rewrite_state},       {FM_ENV_RANGE, rewrite_range},
                 {FM_ENV_PULL, rewrite_pull},   {FM_ENV_BYE, rewrite_bye},           {FM_ENV_PARCEL, rewrite_parcels},
                 {FM_ENV_TAKEN, rewrite_taken}, {FM_ENV_PRESENCE, rewrite_presence}, {FM_ENV_PRESENCE_PULL, rewrite_presence_pull}};

static void try_bodies(struct fm_slice body)
{
    unsigned accepted = 0;
    for (size_t i = 0; i < sizeof rewriters / sizeof rewriters[0]; i++) {
        struct fm_buf once = {0}, twice = {0};
        if (rewriters[i].rewrite(body, &once)) {
            accepted++;
            must(!once.failed && once.n <= body.n && fm_env_type(body) == rewriters[i].type);
            must(rewriters[i].rewrite(fm_buf_view(&once), &twice) && fm_slice_eq(fm_buf_view(&once), fm_buf_view(&twice)));
        }
        fm_buf_fini(&once);
        fm_buf_fini(&twice);
    }
    must(accepted <= 1);
}

/* ---- the outer part ---- */

static struct fm_seal *clear_seal, *secret_seal;

static void try_open(struct fm_seal *seal, enum fm_plane plane, const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    must(copy != NULL);
    if (n)
        memcpy(copy, data, n);
    struct fm_env env;
    if (fm_seal_open(seal, plane, (struct fm_env_bind){0}, copy, n, &env) == FM_OK) {
        must(env.incarnation != 0 && env.counter != 0 && env.plane == plane);
        must(env.body.p == copy + FM_ENV_HEADER && env.body.n <= n - FM_ENV_HEADER);
        try_bodies(env.body);
    }
    free(copy);
}

/* What is sealed must open to the same. */
static void try_round_trip(struct fm_seal *seal, const uint8_t *data, size_t n)
{
    struct fm_buf e = {0};
    struct fm_env env;
    uint64_t counter;
    must(fm_seal_close(seal, FM_PLANE_ASK, (struct fm_env_bind){3, 4}, fm_slice_of(data, n), &e, &counter) == FM_OK);
    must(fm_seal_open(seal, FM_PLANE_ASK, (struct fm_env_bind){3, 4}, e.p, e.n, &env) == FM_OK);
    must(env.counter == counter && fm_slice_eq(env.body, fm_slice_of(data, n)));
    fm_buf_fini(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!clear_seal) {
        must(fm_seal_new(&clear_seal, FM_LIT("fuzz"), (struct fm_slice){0}, 1) == FM_OK);
        must(fm_seal_new(&secret_seal, FM_LIT("fuzz"), FM_LIT("secret"), 2) == FM_OK);
    }
    try_bodies(fm_slice_of(data, n));
    try_open(clear_seal, FM_PLANE_BUS, data, n);
    try_open(secret_seal, FM_PLANE_ANSWER, data, n);
    try_round_trip(secret_seal, data, n);
    return 0;
}
