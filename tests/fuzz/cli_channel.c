/* Frames from a server that `subscribe` talks to: the first byte chooses text or binary; a byte 0xff separates frames. Lines are whole
 * lines. */
#include "../../gateway/cli/cli_channel.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_channel c = {.topic = "t", .last = 1};
    struct fm_buf join = {0};
    fm_channel_join(&c, &join);
    while (n > 0) {
        const uint8_t *end = memchr(data, 0xff, n); /* no byte of UTF-8 */
        size_t len = end ? (size_t)(end - data) : n;
        struct fm_slice frame = fm_slice_of(data, len);
        enum fm_err err = len && (data[0] == 0 || data[0] == 2) ? fm_channel_binary(&c, frame) : fm_channel_text(&c, frame);
        if (err)
            break;
        if (c.lines.n && c.lines.p[c.lines.n - 1] != '\n')
            abort();
        data += end ? len + 1 : len;
        n -= end ? len + 1 : len;
    }
    fm_buf_fini(&join);
    fm_channel_fini(&c);
    return 0;
}
