/* Whatever a client sends over WebSocket: read without a fault, and the same in one piece as cut in two anywhere. */
#include "../../gateway/http/ws_feed.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    return (h ^ x) * 0x100000001b3u;
}

/* The parts of bytes[0..n) as one number, whatever pieces messages come in. false: refused. */
static bool feed(struct fm_ws_feed *f, uint8_t *bytes, size_t n, uint64_t *sum)
{
    struct fm_ws_part part;
    uint8_t *p = bytes;
    for (;;) {
        const uint8_t *before = p;
        size_t left = n;
        enum fm_ws_fed fed = fm_ws_feed(f, &p, &n, &part);
        must(p >= before && n <= left && (size_t)(p - before) == left - n);
        if (fed == FM_WS_FED_MORE) {
            must(n == 0);
            return true;
        }
        if (fed == FM_WS_FED_BAD) {
            must(part.reason != NULL);
            return false;
        }
        if (fed == FM_WS_FED_CONTROL)
            must(part.n <= 125 && (part.kind == FM_WS_CLOSE || part.kind == FM_WS_PING || part.kind == FM_WS_PONG));
        else
            must(part.bytes >= bytes && part.bytes + part.n <= p && (part.kind == FM_WS_TEXT || part.kind == FM_WS_BINARY));
        for (size_t i = 0; i < part.n; i++)
            *sum = mix(*sum, part.bytes[i]);
        if (fed == FM_WS_FED_CONTROL || (part.to_come == 0 && part.last))
            *sum = mix(*sum, 256 + (uint64_t)part.kind);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    bool packed = data[0] & 1;
    size_t cut = 1 + data[1] % n;
    data++, n--;
    if (cut > n)
        cut = n;
    uint8_t *whole = malloc(n), *parts = malloc(n);
    must(whole && parts);
    memcpy(whole, data, n);
    memcpy(parts, data, n);
    struct fm_ws_feed a = {.packed = packed}, b = {.packed = packed};
    uint64_t one = 1, two = 1;
    bool good = feed(&a, whole, n, &one);
    bool also = feed(&b, parts, cut, &two) && feed(&b, parts + cut, n - cut, &two);
    must(good == also && one == two);
    free(whole);
    free(parts);
    return 0;
}
