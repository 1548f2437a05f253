/* PROXY protocol headers. The verdict does not depend on how the bytes came or on what follows, and a header that is not whole fits into
 * FM_PROXY_MAX. */
#include "../../gateway/edge/proxy_protocol.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_proxy_head whole, grown;
    enum fm_proxy_result r = fm_proxy_read(fm_slice_of(data, n), &whole), again = FM_PROXY_MORE;
    for (size_t upto = 0; again == FM_PROXY_MORE && upto < n;)
        again = fm_proxy_read(fm_slice_of(data, ++upto), &grown);
    must(n == 0 || r == again);
    if (r == FM_PROXY_MORE)
        must(n < FM_PROXY_MAX);
    if (r == FM_PROXY_BAD)
        must(whole.what && !whole.has_client);
    if (r != FM_PROXY_WHOLE)
        return 0;
    must(whole.n <= n && whole.n <= FM_PROXY_MAX && whole.n == grown.n && whole.has_client == grown.has_client);
    must(fm_proxy_begins(fm_slice_of(data, n)));
    char text[FM_PEER_TEXT_MAX];
    if (whole.has_client) {
        must(memcmp(&whole.client.ip, &grown.client.ip, sizeof whole.client.ip) == 0 && whole.client.port == grown.client.port);
        must(strlen(fm_peer_text(&whole.client, text)) < sizeof text);
    }
    return 0;
}
