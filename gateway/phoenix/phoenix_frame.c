#include "phoenix_frame.h"

#include "../../broker/base64.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>

enum { CLOSE_PROTOCOL = 1002, CLOSE_UNSUPPORTED = 1003, CLOSE_INVALID = 1007 };
enum { KIND_PUSH = 0, KIND_BROADCAST = 2, KIND_USER_PUSH = 3 };
enum { ENCODING_BYTES = 0, ENCODING_JSON = 1 }; /* of KIND_USER_PUSH */
enum { DIGEST_BYTES = 12 };

/* ---- reading ---- */

static bool refuse(struct fm_phx_bad *bad, unsigned code, const char *reason)
{
    bad->code = code;
    snprintf(bad->reason, sizeof bad->reason, "%s", reason);
    return false;
}

/* Bounded room for texts that can't stay slices of the frame. */
struct room {
    uint8_t *p;
    size_t left;
};

static struct room room_of(struct fm_phx_in *in)
{
    return (struct room){in->scratch, sizeof in->scratch};
}

static void room_take(struct room *room, size_t n)
{
    assert(n <= room->left);
    room->p += n;
    room->left -= n;
}

static bool ref_take(const struct fm_json *v, struct fm_slice *ref)
{
    if (v->type != FM_JSON_STRING && v->type != FM_JSON_NULL && v->type != FM_JSON_NUMBER)
        return false;
    *ref = v->raw;
    return v->raw.n <= FM_PHX_REF_MAX;
}

/* A name of at most max bytes; a longer one becomes empty, which no topic or event is. */
static bool name_take(const struct fm_json *v, size_t max, struct room *room, struct fm_slice *name)
{
    if (v->type != FM_JSON_STRING)
        return false;
    if (fm_json_text(v, room->p, max, name) != FM_OK)
        *name = (struct fm_slice){0};
    else if (name->p == room->p)
        room_take(room, name->n);
    return true;
}

static void payload_take(const struct fm_json *v, struct fm_slice *payload)
{
    *payload = v->type == FM_JSON_NULL ? FM_LIT("{}") : v->raw;
}

static bool fields_take(const struct fm_json v[5], struct fm_phx_in *in, struct fm_phx_bad *bad)
{
    struct room room = room_of(in);
    if (!ref_take(&v[0], &in->join_ref))
        return refuse(bad, CLOSE_INVALID, "malformed frame: join_ref must be a string of at most 62 bytes, a number or null");
    if (!ref_take(&v[1], &in->ref))
        return refuse(bad, CLOSE_INVALID, "malformed frame: ref must be a string of at most 62 bytes, a number or null");
    if (!name_take(&v[2], FM_TOPIC_MAX, &room, &in->topic))
        return refuse(bad, CLOSE_INVALID, "malformed frame: topic must be a string");
    if (!name_take(&v[3], FM_EVENT_MAX, &room, &in->event))
        return refuse(bad, CLOSE_INVALID, "malformed frame: event must be a string");
    in->topic_token = v[2].raw;
    payload_take(&v[4], &in->payload);
    return true;
}

static bool parse_v2(const struct fm_json *root, struct fm_phx_in *in, struct fm_phx_bad *bad)
{
    static const char shape[] = "malformed frame: a V2 text frame is an array [join_ref, ref, topic, event, payload]";
    struct fm_json v[5], more;
    if (root->type != FM_JSON_ARRAY)
        return refuse(bad, CLOSE_INVALID, shape);
    struct fm_json_walk w = fm_json_walk_of(root);
    for (size_t i = 0; i < 5; i++)
        if (!fm_json_next(&w, NULL, &v[i]))
            return refuse(bad, CLOSE_INVALID, shape);
    if (fm_json_next(&w, NULL, &more))
        return refuse(bad, CLOSE_INVALID, shape);
    return fields_take(v, in, bad);
}

static bool parse_v1(const struct fm_json *root, struct fm_phx_in *in, struct fm_phx_bad *bad)
{
    static const struct fm_slice names[5] = {
        {(const uint8_t *)"join_ref", 8}, {(const uint8_t *)"ref", 3},     {(const uint8_t *)"topic", 5},
        {(const uint8_t *)"event", 5},    {(const uint8_t *)"payload", 7},
    };
    static const struct fm_json null = {FM_JSON_NULL, {(const uint8_t *)"null", 4}};
    if (root->type != FM_JSON_OBJECT)
        return refuse(bad, CLOSE_INVALID, "malformed frame: a V1 frame is an object {topic, event, payload, ref}");
    struct fm_json v[5] = {null, null, null, null, null}, name, item;
    for (struct fm_json_walk w = fm_json_walk_of(root); fm_json_next(&w, &name, &item);)
        for (size_t i = 0; i < 5; i++)
            if (fm_json_is(&name, names[i]))
                v[i] = item;
    return fields_take(v, in, bad);
}

static bool parse_text(enum fm_phx_version version, struct fm_slice bytes, struct fm_phx_in *in, struct fm_phx_bad *bad)
{
    struct fm_json root;
    struct fm_json_error e;
    if (fm_json_parse(bytes, FM_JSON_DEPTH, &root, &e) != FM_OK) {
        bad->code = CLOSE_INVALID;
        snprintf(bad->reason, sizeof bad->reason, "bad JSON at byte %zu: %s", e.at, e.what);
        return false;
    }
    return version == FM_PHX_V1 ? parse_v1(&root, in, bad) : parse_v2(&root, in, bad);
}

/* A binary frame's ref as the token that the text frame would have had. Empty: null. */
static bool ref_quote(struct fm_slice s, struct room *room, struct fm_slice *ref)
{
    *ref = FM_LIT("null");
    if (s.n == 0)
        return true;
    if (!fm_utf8_valid(s))
        return false;
    uint8_t *out = room->p;
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (n + 3 > FM_PHX_REF_MAX || c < 0x20)
            return false;
        if (c == '"' || c == '\\')
            out[n++] = '\\';
        out[n++] = c;
    }
    out[n++] = '"';
    *ref = fm_slice_of(out, n);
    room_take(room, n);
    return true;
}

/* Some releases of Supabase's client write the low byte of each UTF-16 unit: what isn't UTF-8 is Latin-1, if it is anything. A name that
 * gets longer than max is one that nothing has. */
static void latin1_take(struct fm_slice *name, size_t max, struct room *room)
{
    if (fm_utf8_valid(*name))
        return;
    size_t wanted = name->n, n = 0;
    for (size_t i = 0; i < name->n; i++)
        wanted += name->p[i] >= 0x80;
    for (size_t i = 0; i < name->n && wanted <= max; i++) {
        uint8_t c = name->p[i];
        if (c >= 0x80)
            room->p[n++] = (uint8_t)(0xc0 | c >> 6);
        room->p[n++] = c < 0x80 ? c : (uint8_t)(0x80 | (c & 0x3f));
    }
    *name = fm_slice_of(room->p, n);
    room_take(room, n);
}

/* What a broadcast carries, by its encoding. */
static bool broadcast_take(uint8_t encoding, struct fm_phx_in *in, struct fm_phx_bad *bad)
{
    struct fm_json root;
    struct fm_json_error e;
    in->binary = encoding == ENCODING_BYTES;
    if (in->binary)
        return true;
    if (encoding != ENCODING_JSON)
        return refuse(bad, CLOSE_INVALID, "malformed binary frame: a broadcast's encoding must be 0, bytes, or 1, JSON");
    if (fm_json_parse(in->payload, FM_JSON_DEPTH - 1, &root, &e) != FM_OK) {
        bad->code = CLOSE_INVALID;
        snprintf(bad->reason, sizeof bad->reason, "bad JSON at byte %zu of a broadcast's payload: %s", e.at, e.what);
        return false;
    }
    payload_take(&root, &in->payload);
    return true;
}

static bool parse_binary(struct fm_slice bytes, struct fm_phx_in *in, struct fm_phx_bad *bad)
{
    struct fm_rd r = fm_rd_of(bytes);
    uint8_t kind = fm_rd_u8(&r);
    in->broadcast = kind == KIND_USER_PUSH;
    if (!r.bad && kind != KIND_PUSH && !in->broadcast)
        return refuse(bad, CLOSE_UNSUPPORTED, "malformed binary frame: its kind must be 0, a push, or 3, a broadcast");
    uint8_t join_ref_n = fm_rd_u8(&r), ref_n = fm_rd_u8(&r), topic_n = fm_rd_u8(&r), event_n = fm_rd_u8(&r);
    uint8_t meta_n = in->broadcast ? fm_rd_u8(&r) : 0, encoding = in->broadcast ? fm_rd_u8(&r) : ENCODING_BYTES;
    struct fm_slice join_ref = fm_rd_bytes(&r, join_ref_n), ref = fm_rd_bytes(&r, ref_n);
    in->topic = fm_rd_bytes(&r, topic_n);
    in->event = fm_rd_bytes(&r, event_n);
    in->meta = fm_rd_bytes(&r, meta_n);
    in->payload = fm_rd_bytes(&r, fm_rd_left(&r));
    if (r.bad)
        return refuse(bad, CLOSE_PROTOCOL, "malformed binary frame: it ends before the fields whose lengths its header gives");
    struct room room = room_of(in);
    if (!ref_quote(join_ref, &room, &in->join_ref) || !ref_quote(ref, &room, &in->ref))
        return refuse(bad, CLOSE_INVALID, "malformed binary frame: a ref must be UTF-8 of at most 62 bytes without control characters");
    if (in->broadcast) {
        latin1_take(&in->topic, FM_TOPIC_MAX, &room);
        latin1_take(&in->event, FM_EVENT_MAX, &room);
        return broadcast_take(encoding, in, bad);
    }
    if (!fm_utf8_valid(in->topic) || !fm_utf8_valid(in->event))
        return refuse(bad, CLOSE_INVALID, "malformed binary frame: topic and event must be UTF-8");
    return true;
}

bool fm_phx_parse(enum fm_phx_version version, bool binary, struct fm_slice bytes, struct fm_phx_in *in, struct fm_phx_bad *bad)
{
    in->topic_token = in->topic = in->event = in->payload = in->meta = (struct fm_slice){0};
    in->binary = binary;
    in->broadcast = false;
    if (!binary)
        return parse_text(version, bytes, in, bad);
    if (version == FM_PHX_V1)
        return refuse(bad, CLOSE_UNSUPPORTED, "binary frames need protocol version 2: connect with vsn=2.0.0");
    return parse_binary(bytes, in, bad);
}

bool fm_phx_ref_eq(struct fm_slice a, struct fm_slice b)
{
    if (fm_slice_eq(a, b))
        return true;
    if (a.n == 0 || b.n == 0 || a.p[0] != '"' || b.p[0] != '"')
        return false;
    struct fm_json left = {FM_JSON_STRING, a}, right = {FM_JSON_STRING, b};
    uint8_t out[FM_PHX_REF_MAX];
    struct fm_slice text;
    return fm_json_text(&left, out, sizeof out, &text) == FM_OK && fm_json_is(&right, text);
}

/* ---- writing ---- */

static void head_write(struct fm_buf *b, const struct fm_phx_to *to, struct fm_slice event)
{
    bool v2 = to->version == FM_PHX_V2;
    if (v2) {
        fm_buf_u8(b, '[');
        fm_buf_slice(b, to->join_ref);
        fm_buf_u8(b, ',');
        fm_buf_slice(b, to->ref);
        fm_buf_u8(b, ',');
    } else {
        fm_buf_slice(b, FM_LIT("{\"topic\":"));
    }
    if (to->topic_token.n)
        fm_buf_slice(b, to->topic_token);
    else
        fm_buf_json(b, to->topic);
    fm_buf_slice(b, v2 ? FM_LIT(",") : FM_LIT(",\"event\":"));
    fm_buf_json(b, event);
    if (!v2) {
        fm_buf_slice(b, FM_LIT(",\"ref\":"));
        fm_buf_slice(b, to->ref);
    }
    fm_buf_slice(b, v2 ? FM_LIT(",") : FM_LIT(",\"payload\":"));
}

static void tail_write(struct fm_buf *b, enum fm_phx_version version)
{
    fm_buf_u8(b, version == FM_PHX_V2 ? ']' : '}');
}

size_t fm_phx_event_open(struct fm_frames *f, const struct fm_phx_to *to, struct fm_slice event)
{
    size_t opened = fm_frames_open(f);
    head_write(&f->bytes, to, event);
    return opened;
}

void fm_phx_event_close_with(struct fm_frames *f, const struct fm_phx_to *to, size_t opened, const struct fm_msg *carried)
{
    tail_write(&f->bytes, to->version);
    fm_frames_close(f, opened, FM_WS_TEXT, carried);
}

void fm_phx_event_close(struct fm_frames *f, const struct fm_phx_to *to, size_t opened)
{
    fm_phx_event_close_with(f, to, opened, NULL);
}

void fm_phx_event(struct fm_frames *f, const struct fm_phx_to *to, struct fm_slice event, struct fm_slice payload)
{
    size_t opened = fm_phx_event_open(f, to, event);
    fm_buf_slice(&f->bytes, payload);
    fm_phx_event_close(f, to, opened);
}

size_t fm_phx_reply_open(struct fm_frames *f, const struct fm_phx_to *to, bool ok)
{
    size_t opened = fm_phx_event_open(f, to, FM_LIT("phx_reply"));
    fm_buf_slice(&f->bytes, ok ? FM_LIT("{\"status\":\"ok\",\"response\":") : FM_LIT("{\"status\":\"error\",\"response\":"));
    return opened;
}

void fm_phx_reply_close(struct fm_frames *f, const struct fm_phx_to *to, size_t opened)
{
    fm_buf_u8(&f->bytes, '}');
    fm_phx_event_close(f, to, opened);
}

void fm_phx_reply(struct fm_frames *f, const struct fm_phx_to *to, bool ok, struct fm_slice response)
{
    size_t opened = fm_phx_reply_open(f, to, ok);
    fm_buf_slice(&f->bytes, response);
    fm_phx_reply_close(f, to, opened);
}

void fm_phx_payload_write(struct fm_buf *b, struct fm_slice payload, bool binary)
{
    if (!binary) {
        fm_buf_slice(b, payload);
        return;
    }
    fm_buf_slice(b, FM_LIT("{\"base64\":\""));
    fm_base64_encode(b, payload);
    fm_buf_slice(b, FM_LIT("\"}"));
}

static void binary_write(struct fm_frames *f, struct fm_slice join_ref, const struct fm_msg *m)
{
    struct fm_slice topic = fm_msg_topic(m), event = fm_msg_event(m), to = {0};
    uint8_t scratch[FM_PHX_REF_MAX];
    bool push = !fm_phx_is_null(join_ref);
    if (push && join_ref.p[0] == '"') {
        struct fm_json token = {FM_JSON_STRING, join_ref};
        if (fm_json_text(&token, scratch, sizeof scratch, &to) != FM_OK)
            to = (struct fm_slice){0};
    } else if (push) {
        to = join_ref; /* a number: its digits */
    }
    size_t opened = fm_frames_open(f);
    struct fm_buf *b = &f->bytes;
    fm_buf_u8(b, push ? KIND_PUSH : KIND_BROADCAST);
    if (push)
        fm_buf_u8(b, (uint8_t)to.n);
    fm_buf_u8(b, (uint8_t)topic.n);
    fm_buf_u8(b, (uint8_t)event.n);
    fm_buf_slice(b, to);
    fm_buf_slice(b, topic);
    fm_buf_slice(b, event);
    fm_buf_slice(b, fm_msg_payload(m));
    fm_frames_close(f, opened, FM_WS_BINARY, m);
}

void fm_phx_text_of(struct fm_buf *b, struct fm_slice binary)
{
    struct fm_rd r = fm_rd_of(binary);
    bool push = fm_rd_u8(&r) == KIND_PUSH;
    uint8_t join_ref_n = push ? fm_rd_u8(&r) : 0, topic_n = fm_rd_u8(&r), event_n = fm_rd_u8(&r);
    struct fm_slice join_ref = fm_rd_bytes(&r, join_ref_n), topic = fm_rd_bytes(&r, topic_n), event = fm_rd_bytes(&r, event_n);
    struct fm_slice payload = fm_rd_bytes(&r, fm_rd_left(&r));
    assert(!r.bad);
    struct fm_buf ref = {0};
    if (push)
        fm_buf_json(&ref, join_ref);
    head_write(b, &(struct fm_phx_to){FM_PHX_V2, push ? fm_buf_view(&ref) : FM_LIT("null"), FM_LIT("null"), {0}, topic}, event);
    fm_phx_payload_write(b, payload, true);
    tail_write(b, FM_PHX_V2);
    b->failed |= ref.failed;
    fm_buf_fini(&ref);
}

/* Tells clients which messages have one key on one topic, and nothing of what the key is: it is the backends' own. Returns the length. */
static size_t digest_print(const struct fm_msg *m, char out[2 * DIGEST_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t text[FM_TOPIC_MAX + 1 + FM_KEY_MAX], md[EVP_MAX_MD_SIZE];
    struct fm_slice topic = fm_msg_topic(m), key = fm_msg_key(m);
    memcpy(text, topic.p, topic.n);
    text[topic.n] = 0;
    memcpy(text + topic.n + 1, key.p, key.n);
    if (EVP_Digest(text, topic.n + 1 + key.n, md, NULL, EVP_sha256(), NULL) != 1)
        return 0;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        out[2 * i] = hex[md[i] >> 4];
        out[2 * i + 1] = hex[md[i] & 0xf];
    }
    return 2 * DIGEST_BYTES;
}

/* The token; returns its length, 0 without memory. */
static size_t ref_print(const struct fm_msg *m, enum fm_phx_id with, char out[FM_PHX_REF_MAX])
{
    _Static_assert(1 + FM_ID_TEXT_MAX + 1 + 2 * DIGEST_BYTES + 1 <= FM_PHX_REF_MAX, "a ref holds an id and a digest");
    if (with == FM_PHX_NO_ID) {
        memcpy(out, "null", 4);
        return 4;
    }
    out[0] = '"';
    size_t n = 1 + fm_id_print(m->id, out + 1);
    if (with == FM_PHX_ID_KEY && m->key_n) {
        out[n++] = ' ';
        size_t digest_n = digest_print(m, out + n);
        if (!digest_n)
            return 0;
        n += digest_n;
    }
    out[n++] = '"';
    return n;
}

void fm_phx_message(struct fm_frames *f, enum fm_phx_version version, struct fm_slice join_ref, enum fm_phx_id with, const struct fm_msg *m)
{
    bool binary = version == FM_PHX_V2 && m->flags & FM_MSG_BINARY;
    if (fm_msg_of_presence(m))
        with = FM_PHX_NO_ID;
    if (binary)
        binary_write(f, join_ref, m);
    if (binary && with != FM_PHX_ID_KEY)
        return;
    char ref[FM_PHX_REF_MAX];
    struct fm_phx_to to = {
        .version = version, .join_ref = join_ref, .ref = fm_slice_of(ref, ref_print(m, with, ref)), .topic = fm_msg_topic(m)};
    size_t opened = fm_frames_open(f);
    head_write(&f->bytes, &to, binary ? FM_LIT("fm_id") : fm_msg_event(m));
    if (binary)
        fm_buf_slice(&f->bytes, FM_LIT("{}"));
    else
        fm_phx_payload_write(&f->bytes, fm_msg_payload(m), m->flags & FM_MSG_BINARY);
    f->bytes.failed |= to.ref.n == 0;
    fm_phx_event_close_with(f, &to, opened, m);
}
