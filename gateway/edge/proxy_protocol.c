#include "proxy_protocol.h"

enum {
    V1_MAX = 107, /* bytes of a line with its CR LF */
    V2_FIXED = 16,
    V2_LOCAL = 0x20,
    V2_PROXY = 0x21,
    V2_FAMILY_MAX = 3,
    V2_TRANSPORT_MAX = 2,
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_TCP4_BYTES = 12,
    V2_TCP6_BYTES = 36,
};

static const struct fm_slice v1_begin = FM_LIT("PROXY "), v2_begin = FM_LIT("\r\n\r\n\0\r\nQUIT\n");

static enum fm_proxy_result bad(struct fm_proxy_head *h, const char *what)
{
    h->what = what;
    return FM_PROXY_BAD;
}

/* As far as both reach. */
static bool agree(struct fm_slice a, struct fm_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    return n == 0 || memcmp(a.p, b.p, n) == 0;
}

/* ---- version 1: PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 ---- */

/* What precedes the next single space, or is left. */
static struct fm_slice word(struct fm_slice *rest)
{
    const uint8_t *space = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;
    struct fm_slice w = fm_slice_of(rest->p, space ? (size_t)(space - rest->p) : rest->n);
    *rest = space ? fm_slice_of(space + 1, rest->n - w.n - 1) : fm_slice_of(NULL, 0);
    return w;
}

static bool address_read(struct fm_slice text, bool v4, struct fm_ip *ip)
{
    return fm_ip_read(text, ip) == FM_OK && (memchr(text.p, ':', text.n) == NULL) == v4;
}

static bool port_read(struct fm_slice text, uint16_t *port)
{
    uint64_t v;
    if (text.n > 5 || fm_slice_u64(text, UINT16_MAX, &v))
        return false;
    *port = (uint16_t)v;
    return true;
}

static enum fm_proxy_result v1_line(struct fm_slice line, struct fm_proxy_head *h)
{
    struct fm_ip to;
    uint16_t to_port;
    struct fm_slice rest = fm_slice_of(line.p + v1_begin.n, line.n - v1_begin.n), family = word(&rest);
    if (fm_slice_eq(family, FM_LIT("UNKNOWN")))
        return FM_PROXY_WHOLE; /* what follows is to be passed over */
    bool v4 = fm_slice_eq(family, FM_LIT("TCP4"));
    if (!v4 && !fm_slice_eq(family, FM_LIT("TCP6")))
        return bad(h, "its protocol is none of TCP4, TCP6 and UNKNOWN");
    struct fm_slice from = word(&rest), at = word(&rest), from_port = word(&rest);
    if (!address_read(from, v4, &h->client.ip) || !address_read(at, v4, &to))
        return bad(h, "an address in it is none of its protocol");
    if (!port_read(from_port, &h->client.port) || !port_read(rest, &to_port))
        return bad(h, "a port in it is none");
    h->has_client = true;
    return FM_PROXY_WHOLE;
}

static enum fm_proxy_result v1_read(struct fm_slice in, struct fm_proxy_head *h)
{
    size_t most = in.n < V1_MAX ? in.n : V1_MAX;
    const uint8_t *lf = memchr(in.p, '\n', most);
    if (!lf)
        return most < V1_MAX ? FM_PROXY_MORE : bad(h, "its line does not end within 107 bytes");
    size_t n = (size_t)(lf - in.p) + 1;
    if (n < v1_begin.n + 2 || lf[-1] != '\r')
        return bad(h, "its line does not end in CR LF");
    h->n = n;
    return v1_line(fm_slice_of(in.p, n - 2), h);
}

/* ---- version 2 ---- */

static uint16_t big_endian(const uint8_t p[2])
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* TLVs behind the addresses are passed over. Sockets of UNIX and datagrams are no client's of ours: as where it is unknown. */
static enum fm_proxy_result v2_addresses(uint8_t kind, struct fm_slice body, struct fm_proxy_head *h)
{
    if (kind >> 4 > V2_FAMILY_MAX || (kind & 15) > V2_TRANSPORT_MAX)
        return bad(h, "its address family or transport does not exist");
    if (kind != V2_TCP4 && kind != V2_TCP6)
        return FM_PROXY_WHOLE;
    size_t host_n = kind == V2_TCP4 ? 4 : 16;
    if (body.n < (kind == V2_TCP4 ? V2_TCP4_BYTES : V2_TCP6_BYTES))
        return bad(h, "it is too short for its addresses");
    struct fm_rd r = fm_rd_of(body);
    struct fm_slice from = fm_rd_bytes(&r, host_n), to = fm_rd_bytes(&r, host_n), port = fm_rd_bytes(&r, 2);
    (void)to;
    if (r.bad)
        return bad(h, "it is too short for its addresses");
    if (host_n == 4)
        h->client.ip = fm_ip_of_v4(from.p);
    else
        memcpy(h->client.ip.b, from.p, 16);
    h->client.port = big_endian(port.p);
    h->has_client = true;
    return FM_PROXY_WHOLE;
}

static enum fm_proxy_result v2_read(struct fm_slice in, struct fm_proxy_head *h)
{
    if (in.n < V2_FIXED)
        return FM_PROXY_MORE;
    uint8_t command = in.p[12], kind = in.p[13];
    size_t n = V2_FIXED + (size_t)big_endian(in.p + 14);
    if (command != V2_LOCAL && command != V2_PROXY)
        return bad(h, "its version or command does not exist");
    if (n > FM_PROXY_MAX)
        return bad(h, "it is larger than 4096 bytes");
    if (in.n < n)
        return FM_PROXY_MORE;
    h->n = n;
    return command == V2_LOCAL ? FM_PROXY_WHOLE : v2_addresses(kind, fm_slice_of(in.p + V2_FIXED, n - V2_FIXED), h);
}

/* ---- both ---- */

enum fm_proxy_result fm_proxy_read(struct fm_slice in, struct fm_proxy_head *h)
{
    *h = (struct fm_proxy_head){0};
    if (in.n == 0)
        return FM_PROXY_MORE;
    if (!agree(in, v1_begin) && !agree(in, v2_begin))
        return bad(h, "there is none");
    return in.p[0] == v1_begin.p[0] ? v1_read(in, h) : v2_read(in, h);
}

bool fm_proxy_begins(struct fm_slice in)
{
    return fm_slice_starts(in, v1_begin) || fm_slice_starts(in, v2_begin);
}
