/* Any bytes as a frame of each version, text and binary: either a refusal with a close code and a sentence that fits a close frame, or
 * fields that lie where they may and that can be written and read again. The first byte chooses version and kind. */
#include "../../gateway/phoenix/phoenix_frame.h"
#include "../../gateway/supabase/supabase.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct fm_slice payload_of(const struct fm_frames *f)
{
    check(f->n == 1 && f->bytes.n >= 2);
    size_t head = f->bytes.p[1] < 126 ? 2 : f->bytes.p[1] == 126 ? 4 : 10;
    return fm_slice_of(f->bytes.p + head, f->bytes.n - head);
}

/* The same message as Supabase's clients get it. */
static void write_supabase(const struct fm_phx_in *in, const struct fm_msg *m)
{
    struct fm_frames f = {0};
    struct fm_phx_in back;
    struct fm_phx_bad bad;
    fm_supabase_message(&f, FM_FORMAT_SUPA2, true, (struct fm_slice){0}, m);
    check(!f.bytes.failed && (f.bytes.p[0] & 0xf) == FM_WS_BINARY);
    struct fm_rd r = fm_rd_of(payload_of(&f));
    check(fm_rd_u8(&r) == 4);
    uint8_t topic_n = fm_rd_u8(&r), event_n = fm_rd_u8(&r), meta_n = fm_rd_u8(&r);
    check(fm_rd_u8(&r) == !in->binary);
    check(fm_slice_eq(fm_rd_bytes(&r, topic_n), in->topic) && fm_slice_eq(fm_rd_bytes(&r, event_n), in->event));
    struct fm_json meta;
    check(fm_json_parse(fm_rd_bytes(&r, meta_n), 1, &meta, NULL) == FM_OK);
    check(fm_slice_eq(fm_rd_bytes(&r, fm_rd_left(&r)), in->payload) && !r.bad);
    fm_frames_reset(&f);
    fm_supabase_message(&f, FM_FORMAT_SUPA1, false, (struct fm_slice){0}, m);
    check(!f.bytes.failed && fm_phx_parse(FM_PHX_V1, false, payload_of(&f), &back, &bad));
    check(fm_slice_eq(back.topic, in->topic) && fm_slice_eq(back.event, FM_LIT("broadcast")));
    fm_frames_fini(&f);
}

static void write_and_read(enum fm_phx_version version, const struct fm_phx_in *in)
{
    struct fm_frames f = {0};
    struct fm_phx_to to = {version, in->join_ref, in->ref, in->topic_token, in->topic};
    fm_phx_event(&f, &to, in->event, in->binary ? FM_LIT("{}") : in->payload);
    struct fm_phx_in back;
    struct fm_phx_bad bad;
    check(!f.bytes.failed);
    check(fm_phx_parse(version, false, payload_of(&f), &back, &bad));
    check(fm_slice_eq(back.topic, in->topic) && fm_slice_eq(back.event, in->event));
    check(fm_phx_ref_eq(back.ref, in->ref));
    check(version == FM_PHX_V1 || fm_phx_ref_eq(back.join_ref, in->join_ref));
    check(in->binary || fm_slice_eq(back.payload, in->payload));
    fm_frames_reset(&f);
    struct fm_msg_keys keys = {.idempotency = fm_slice_of(in->event.p, in->event.n < FM_KEY_MAX ? in->event.n : FM_KEY_MAX)};
    struct fm_msg *m = fm_msg_new(in->topic, in->event, keys, in->payload, in->binary ? FM_MSG_BINARY : 0);
    check(m != NULL);
    fm_msg_accept(m, (struct fm_id){1, 1}, 0, 1);
    fm_phx_message(&f, version, in->join_ref, version == FM_PHX_V2 ? FM_PHX_ID_KEY : FM_PHX_ID, m);
    check(!f.bytes.failed && f.n == (in->binary && version == FM_PHX_V2 ? 2 : 1));
    bool binary = (f.bytes.p[0] & 0xf) == FM_WS_BINARY;
    check(binary == (in->binary && version == FM_PHX_V2));
    if (!binary) {
        check(fm_phx_parse(version, false, payload_of(&f), &back, &bad));
        check(fm_slice_eq(back.topic, in->topic) && fm_slice_eq(back.event, in->event));
    }
    write_supabase(in, m);
    fm_msg_unref(&m);
    fm_frames_fini(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    enum fm_phx_version version = data[0] & 1 ? FM_PHX_V1 : FM_PHX_V2;
    struct fm_phx_in in;
    struct fm_phx_bad bad = {0};
    if (fm_phx_parse(version, data[0] & 2, fm_slice_of(data + 1, n - 1), &in, &bad)) {
        check(in.topic.n <= FM_TOPIC_MAX && in.event.n <= FM_EVENT_MAX);
        check(in.ref.n <= FM_PHX_REF_MAX && in.join_ref.n <= FM_PHX_REF_MAX && in.ref.n > 0 && in.join_ref.n > 0);
        write_and_read(version, &in);
    } else {
        check(bad.code >= 1000 && bad.code < 1100);
        size_t len = strlen(bad.reason);
        check(len > 0 && len <= 123);
    }
    return 0;
}
