/* X-Forwarded-For in any head that is whole: the client is the proxy, or an address that the head holds; never a trusted one behind one
 * that is not. */
#include "../../gateway/edge/forwarded.h"
#include "../../gateway/http/http1.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct fm_nets all, some;
    struct fm_http1_head h;
    struct fm_peer proxy = {.port = 1};
    size_t scanned = 0;
    char text[FM_PEER_TEXT_MAX];
    if (fm_ip_read(FM_LIT("10.0.0.1"), &proxy.ip))
        abort();
    fm_nets_read(&all, (const char *const[]){"::/0", NULL});
    fm_nets_read(&some, (const char *const[]){"10.0.0.0/8", NULL});
    if (fm_http1_read(fm_slice_of(data, n), &scanned, &h) != FM_HTTP1_WHOLE)
        return 0;
    struct fm_slice head = fm_slice_of(data, h.n), rest = fm_http1_fields(head), name, value;
    size_t fields = 0;
    for (; fm_http1_field(&rest, &name, &value); fields++)
        if (name.p < data || value.p < name.p || value.p + value.n > data + h.n)
            abort();
    struct fm_peer first = fm_forwarded_for(&proxy, &all, head), last = fm_forwarded_for(&proxy, &some, head);
    if (fields == 0 && memcmp(&first.ip, &proxy.ip, sizeof proxy.ip) != 0)
        abort();
    if (strlen(fm_peer_text(&first, text)) >= sizeof text || strlen(fm_peer_text(&last, text)) >= sizeof text)
        abort();
    return 0;
}
