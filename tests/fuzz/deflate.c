/* Offers of permessage-deflate, and compressed messages from clients. What is accepted is answered by what would be accepted again; nothing
 * is unpacked beyond its limit; what was packed comes back. */
#include "../../gateway/edge/deflate.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void offer(struct fm_slice header)
{
    struct fm_deflate_terms terms, again;
    if (!fm_deflate_offer(header, &terms)) {
        must(terms.window == 0);
        return;
    }
    must(terms.window >= FM_DEFLATE_WINDOW_MIN && terms.window <= FM_DEFLATE_WINDOW_MAX);
    struct fm_buf answer = {0};
    fm_deflate_answer(&answer, &terms);
    must(fm_deflate_offer(fm_buf_view(&answer), &again) && again.window == terms.window && again.named == terms.named);
    fm_buf_fini(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct fm_packer *packer;
    static struct fm_unpacker *unpacker;
    enum { MAX = 4096 };
    struct fm_slice in = fm_slice_of(data, n);
    struct fm_buf out = {0}, packed = {0};
    offer(in);
    enum fm_err err = fm_unpack(&unpacker, in, MAX, &out);
    must(err == FM_OK || err == FM_E_TOO_LARGE || err == FM_E_SYNTAX);
    must(out.n <= MAX + 1 && (err || out.n <= MAX));
    must(fm_pack(&packer, in, &packed) == FM_OK);
    must(fm_unpack(&unpacker, fm_buf_view(&packed), n, &out) == FM_OK && fm_slice_eq(fm_buf_view(&out), in));
    fm_buf_fini(&out);
    fm_buf_fini(&packed);
    return 0;
}
