#include "base64.h"

static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

/* The length without padding; padding that is there must fill the last group. */
static enum fm_err strip_padding(struct fm_slice text, size_t *n, size_t *at)
{
    size_t left = text.n;
    while (left && text.n - left < 2 && text.p[left - 1] == '=')
        left--;
    if (left != text.n && text.n % 4 != 0) {
        *at = left;
        return FM_E_SYNTAX;
    }
    *n = left;
    return FM_OK;
}

enum fm_err fm_base64_decode(struct fm_slice text, struct fm_buf *out, size_t *at)
{
    size_t n;
    enum fm_err err = strip_padding(text, &n, at);
    if (err)
        return err;
    if (n % 4 == 1) { /* six bits alone are no byte */
        *at = n - 1;
        return FM_E_SYNTAX;
    }
    if (!fm_buf_reserve(out, n / 4 * 3 + 3))
        return FM_E_NOMEM;
    uint32_t bits = 0, held = 0;
    for (size_t i = 0; i < n; i++) {
        int v = value_of(text.p[i]);
        if (v < 0) {
            *at = i;
            return FM_E_SYNTAX;
        }
        bits = bits << 6 | (uint32_t)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out->p[out->n++] = (uint8_t)(bits >> held);
        }
    }
    if (bits & ((1u << held) - 1)) { /* two texts would stand for the same bytes */
        *at = n - 1;
        return FM_E_SYNTAX;
    }
    return FM_OK;
}

void fm_base64_encode(struct fm_buf *out, struct fm_slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t bits = (uint32_t)bytes.p[i] << 16;
        if (n > 1)
            bits |= (uint32_t)bytes.p[i + 1] << 8;
        if (n > 2)
            bits |= bytes.p[i + 2];
        const char group[4] = {digits[bits >> 18], digits[bits >> 12 & 63], n > 1 ? digits[bits >> 6 & 63] : '=',
                               n > 2 ? digits[bits & 63] : '='};
        fm_buf_put(out, group, sizeof group);
    }
}
