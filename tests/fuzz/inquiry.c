/* Fuzz target: questions about clients and their answers. What is read is written again, no longer than it came, and read
 * again; answers merge in order. */
#include "../../broker/inquiry.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_order(const struct fm_found *f)
{
    for (uint32_t i = 1; i < f->n; i++)
        must(fm_connection_compare(f->at[i - 1].connection, f->at[i].connection) <= 0);
}

static void try_found(struct fm_slice body)
{
    struct fm_found f, all = {0};
    struct fm_buf b = {0};
    bool complete;
    if (fm_found_read(body, &f, &complete) != FM_OK) {
        must(f.at == NULL && f.n == 0);
        return;
    }
    fm_found_write(&b, &f, complete);
    struct fm_found again;
    must(!b.failed && b.n <= body.n);
    must(fm_found_read(fm_buf_view(&b), &again, &complete) == FM_OK && again.n == f.n && again.count == f.count);
    fm_found_fini(&again);
    check_order(&f);
    must(fm_found_merge(&all, &f, FM_FOUND_MAX) == FM_OK && all.n == f.n && all.count == f.count);
    must(fm_found_merge(&all, &f, 3) == FM_OK && all.n <= 3);
    check_order(&all);
    for (uint32_t i = 0; i < all.n; i++)
        must(all.at[i].user.n <= FM_USER_MAX && all.at[i].address.n <= FM_FOUND_ADDRESS_MAX);
    fm_found_fini(&all);
    fm_found_fini(&f);
    fm_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_inquiry q;
    struct fm_buf b = {0};
    if (fm_inquiry_read(fm_slice_of(data, n), &q) == FM_OK) {
        fm_inquiry_write(&b, &q);
        must(!b.failed && b.n <= n && fm_inquiry_read(fm_buf_view(&b), &q) == FM_OK);
    }
    fm_buf_fini(&b);
    try_found(fm_slice_of(data, n));
    return 0;
}
