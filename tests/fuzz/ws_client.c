/* Whatever a server sends: URL, answer and frames are read without a fault; a stream cut in two at any byte gives the same events as the
 * whole; a payload lies where it may; and what the client writes has the length it says. */
#include "../../gateway/client/ws_client.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t mix(uint64_t h, struct fm_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ s.p[i]) * 0x100000001b3u;
    return h ^ s.n;
}

/* The events of in[from..to) as one number; *at moves behind what was taken. */
static enum fm_err drain(struct fm_ws_in *ws, struct fm_buf *parts, struct fm_slice in, size_t *at, uint64_t *sum)
{
    struct fm_rd r = fm_rd_of(fm_slice_of(in.p + *at, in.n - *at));
    for (;;) {
        struct fm_ws_event e;
        enum fm_err err = fm_ws_next(ws, &r, parts, &e);
        *at = (size_t)(r.p - in.p);
        if (err)
            return err;
        bool inside = e.payload.n == 0 || (e.payload.p >= in.p && e.payload.p + e.payload.n <= in.p + in.n);
        assert(inside || e.payload.p == parts->p);
        assert(e.payload.n <= ws->message_max || (e.kind & 8));
        *sum = mix(*sum * 31 + e.kind * 65536 + e.code, e.payload);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fm_ws_key key = {"dGhlIHNhbXBsZSBub25jZQ=="};
    struct fm_ws_answer answer;
    struct fm_url url;
    if (size < 3)
        return 0;
    size_t cut = (size_t)(data[0] << 8 | data[1]);
    uint32_t max = 1u + data[2];
    struct fm_slice in = fm_slice_of(data + 3, size - 3);
    cut = in.n ? cut % in.n : 0;

    if (!fm_url_parse(in, "ws", &url))
        assert(url.host[0] && url.target[0] == '/' && !strchr(url.target, '\n'));
    enum fm_err err = fm_ws_answer_read(in, &key, &answer);
    assert((err != FM_OK && err != FM_E_FORBIDDEN) || (answer.used <= in.n && answer.used > 0));

    struct fm_ws_in whole = {.message_max = max}, split = {.message_max = max};
    struct fm_buf parts = {0}, split_parts = {0}, out = {0};
    size_t at = 0, split_at = 0;
    uint64_t sum = 0, split_sum = 0;
    err = drain(&whole, &parts, in, &at, &sum);
    enum fm_err split_err = drain(&split, &split_parts, fm_slice_of(in.p, cut), &split_at, &split_sum);
    if (split_err == FM_E_SHORT)
        split_err = drain(&split, &split_parts, in, &split_at, &split_sum);
    assert(err == split_err && (at == split_at || err != FM_E_SHORT) && sum == split_sum);

    fm_ws_frame_put(&out, FM_WS_TEXT, in, (uint32_t)cut);
    assert(out.n == in.n + 6 + (in.n > 65535 ? 8 : in.n > 125 ? 2 : 0));
    fm_buf_fini(&parts);
    fm_buf_fini(&split_parts);
    fm_buf_fini(&out);
    return 0;
}
