/* Request heads. What is whole lies inside the input, says the same however the bytes came, and names what is wrong if it is refused. */
#include "../../gateway/http/http1.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void inside(struct fm_slice s, const uint8_t *data, size_t n)
{
    must(s.n == 0 || (s.p >= data && s.p + s.n <= data + n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_http1_head whole, grown;
    size_t scanned = 0, step = n / 7 + 1;
    enum fm_http1_result r = fm_http1_read(fm_slice_of(data, n), &scanned, &whole), again = FM_HTTP1_MORE;
    scanned = 0;
    for (size_t upto = 0; again == FM_HTTP1_MORE && upto < n;) {
        upto = upto + step < n ? upto + step : n;
        again = fm_http1_read(fm_slice_of(data, upto), &scanned, &grown);
    }
    if (n)
        must(r == again || n >= FM_HTTP1_HEAD_MAX);
    if (r == FM_HTTP1_BAD)
        must(whole.what && whole.status >= 400);
    if (r != FM_HTTP1_WHOLE)
        return 0;
    must(whole.n <= n && whole.n <= FM_HTTP1_HEAD_MAX && grown.n == whole.n);
    const struct fm_slice all[] = {whole.path,          whole.query,        whole.host,   whole.origin,
                                   whole.authorization, whole.content_type, whole.accept, whole.idempotency_key,
                                   whole.expect,        whole.upgrade,      whole.ws_key, whole.ws_version,
                                   whole.ws_protocols,  whole.ws_extensions};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        inside(all[i], data, whole.n);
    must(whole.path.n > 0 && whole.path.p[0] == '/');
    struct fm_buf path = {0};
    if (fm_http1_path(whole.path, &path) == FM_OK)
        must(path.n > 0 && path.n <= whole.path.n && !memchr(path.p, 0, path.n));
    fm_buf_fini(&path);
    (void)fm_http1_ws_key(whole.ws_key);
    (void)fm_http1_lists(whole.upgrade, "websocket");
    return 0;
}
