/* Where a request has its token, for heads that were read whole. */
#include "../../gateway/auth/credential.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fm_http1_head head;
    size_t scanned = 0;
    if (fm_http1_read(fm_slice_of(data, size), &scanned, &head) != FM_HTTP1_WHOLE)
        return 0;
    static struct fm_credential c;
    const char *why = NULL;
    bool ok = fm_credential_find(fm_slice_of(data, head.n), head.query, "token", "jwt", &c, &why);
    check(ok == !why);
    if (ok) {
        check(c.n <= FM_TOKEN_MAX && c.token[c.n] == 0);
        check(c.from != FM_CREDENTIAL_COOKIE || c.n > 0);
    }
    fm_credential_fini(&c);
    struct fm_buf rest = {0};
    char text[64];
    fm_credential_strip(&rest, head.query, "token");
    check(rest.failed || fm_query_param(fm_buf_view(&rest), "token", false, text, sizeof text) == FM_E_NOT_FOUND);
    fm_buf_fini(&rest);
    return 0;
}
