/* Whatever a server under test says, in any of the load generator's framings: it is read without a fault; what is given lies in what was
 * read; a stream cut in two at any byte gives the same as the whole; and so does a chunked body. */
#include "../../load/lib/framing.h"
#include "../../load/lib/http_answer.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t mix(uint64_t h, struct fm_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ s.p[i]) * 0x100000001b3u;
    return h ^ s.n;
}

static bool inside(struct fm_slice part, struct fm_slice in)
{
    return part.n == 0 || (part.p >= in.p && part.p + part.n <= in.p + in.n);
}

/* All that is said in in[*at..) as one number; *at moves behind what was taken. */
static enum fm_err listen(const struct fm_framing *f, struct fm_slice in, size_t *at, uint64_t *sum)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(in.p + *at, in.n - *at));
    enum fm_err err = FM_OK;
    struct fm_saying said;
    struct fm_stamp stamp;
    while (fm_rd_left(&r) && !(err = f->next(&r, &said))) {
        size_t now = (size_t)(r.p - in.p);
        assert(now > *at);
        *at = now;
        bool fixed = said.what == FM_SAID_OVER || said.what == FM_SAID_JOIN; /* their reasons may be the reader's own words */
        assert(inside(said.topic, in) && inside(said.id, in) && (fixed || inside(said.detail, in)));
        *sum = mix(mix(*sum * 31 + said.what * 65536 + said.seat, said.topic), said.detail);
        if (said.what == FM_SAID_MESSAGE && fm_stamp_read(said.detail, &stamp))
            *sum ^= stamp.number + stamp.topic;
    }
    return err;
}

static enum fm_err unchunk(struct fm_chunks *c, struct fm_slice in, size_t *at, struct fm_buf *out)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(in.p + *at, in.n - *at));
    struct fm_slice bytes;
    enum fm_err err;
    while (!(err = fm_chunks_next(c, &r, &bytes))) {
        assert(bytes.n && inside(bytes, in));
        fm_buf_slice(out, bytes);
    }
    *at = (size_t)(r.p - in.p);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    const struct fm_framing *f = fm_framings[data[0] % FM_FRAMINGS_N];
    struct fm_slice in = fm_slice_of(data + 3, size - 3);
    size_t cut = (size_t)(data[1] << 8 | data[2]) % in.n, at = 0, split_at = 0;
    uint64_t sum = 0, split_sum = 0;
    enum fm_err err = listen(f, in, &at, &sum);
    if (f->carrier != FM_CARRIER_MESSAGES) {
        enum fm_err split = listen(f, fm_slice_of(in.p, cut), &split_at, &split_sum);
        if (split == FM_E_SHORT || split == FM_OK)
            split = listen(f, in, &split_at, &split_sum);
        assert(split == err && at == split_at && sum == split_sum);
    }

    struct fm_http_answer answer;
    if (!fm_http_answer_read(in, &answer))
        assert(answer.headers <= in.n && answer.body <= FM_ANSWER_BODY_MAX);
    struct fm_chunks whole = {0}, halves = {0};
    struct fm_buf all = {0}, parts = {0};
    at = split_at = 0;
    err = unchunk(&whole, in, &at, &all);
    enum fm_err split = unchunk(&halves, fm_slice_of(in.p, cut), &split_at, &parts);
    if (split == FM_E_SHORT)
        split = unchunk(&halves, in, &split_at, &parts);
    assert(split == err && fm_slice_eq(fm_buf_view(&all), fm_buf_view(&parts)));
    fm_buf_fini(&all);
    fm_buf_fini(&parts);
    return 0;
}
