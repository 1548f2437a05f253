#include "raw_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void raw_open_small(struct raw_client *c, uint16_t port, int receive_bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *c = (struct raw_client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(c->fd >= 0);
    if (receive_bytes)
        assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes), 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
}

void raw_open(struct raw_client *c, uint16_t port)
{
    raw_open_small(c, port, 0);
}

void raw_close(struct raw_client *c)
{
    close(c->fd);
    fm_buf_fini(&c->in);
    c->fd = -1;
}

void raw_send(struct raw_client *c, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n) {
        ssize_t done = send(c->fd, p, n, MSG_NOSIGNAL);
        if (done < 0)
            return; /* the server closed; what it said is read next */
        p += done;
        n -= (size_t)done;
    }
}

void raw_puts(struct raw_client *c, const char *text)
{
    raw_send(c, text, strlen(text));
}

/* false: nothing came within ms. *end: the connection is over. */
static bool read_more(struct raw_client *c, int ms, bool *end)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    *end = false;
    if (poll(&p, 1, ms) <= 0)
        return false;
    assert_true(fm_buf_reserve(&c->in, 65536));
    ssize_t n = recv(c->fd, c->in.p + c->in.n, 65536, 0);
    if (n <= 0)
        *end = true;
    else
        c->in.n += (size_t)n;
    return true;
}

/* At least n bytes; false: the connection ended before. */
static bool need(struct raw_client *c, size_t n)
{
    while (c->in.n < n) {
        bool end;
        if (!read_more(c, RAW_SOON_MS, &end))
            fail_msg("nothing came within %d ms; have %zu of %zu bytes: %.*s", RAW_SOON_MS, c->in.n, n, (int)c->in.n, c->in.p);
        if (end)
            return false;
    }
    return true;
}

static void take(struct raw_client *c, void *to, size_t n)
{
    if (to)
        memcpy(to, c->in.p, n);
    c->in.n -= n;
    memmove(c->in.p, c->in.p + n, c->in.n);
}

static const char *find(const struct raw_client *c, size_t n, const char *what)
{
    return memmem(c->in.p, n, what, strlen(what));
}

void raw_until(struct raw_client *c, const char *text)
{
    while (!c->in.n || !find(c, c->in.n, text))
        assert_true(need(c, c->in.n + 1));
}

unsigned raw_answer(struct raw_client *c, char *body, size_t body_size)
{
    const char *end;
    body[0] = 0;
    while (!(end = c->in.n ? find(c, c->in.n, "\r\n\r\n") : NULL))
        if (!need(c, c->in.n + 1))
            return 0;
    size_t head_n = (size_t)(end + 4 - (const char *)c->in.p), body_n = 0;
    unsigned status = (unsigned)strtoul((const char *)c->in.p + 9, NULL, 10);
    const char *length = find(c, head_n, "Content-Length: ");
    if (length)
        body_n = strtoul(length + 16, NULL, 10);
    assert_true(body_n < body_size);
    assert_true(need(c, head_n + body_n));
    take(c, NULL, head_n);
    take(c, body, body_n);
    body[body_n] = 0;
    return status;
}

bool raw_ends(struct raw_client *c, int ms)
{
    bool end;
    c->in.n = 0;
    while (read_more(c, ms, &end))
        if (end)
            return true;
    return false;
}

void raw_upgrade(struct raw_client *c, const char *path, const char *headers)
{
    struct fm_buf request = {0};
    char body[4096];
    fm_buf_printf(&request,
                  "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                  path, headers);
    raw_send(c, request.p, request.n);
    fm_buf_fini(&request);
    raw_until(c, "\r\n\r\n");
    assert_non_null(find(c, c->in.n, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_int_equal(raw_answer(c, body, sizeof body), 101);
}

void raw_connect(struct raw_client *c, uint16_t port)
{
    raw_open(c, port);
    raw_upgrade(c, "/socket/websocket?vsn=2.0.0", "");
}

void raw_frame(struct raw_client *c, unsigned first, const void *payload, size_t n)
{
    struct fm_buf f = {0};
    const uint8_t mask[4] = {0x12, 0xab, 0x00, 0x77}, *p = payload;
    fm_buf_u8(&f, (uint8_t)first);
    if (n < 126) {
        fm_buf_u8(&f, (uint8_t)(0x80 | n));
    } else {
        int bytes = n <= UINT16_MAX ? 2 : 8;
        fm_buf_u8(&f, bytes == 2 ? 0x80 | 126 : 0x80 | 127);
        for (int i = bytes - 1; i >= 0; i--)
            fm_buf_u8(&f, (uint8_t)((uint64_t)n >> (8 * i)));
    }
    fm_buf_put(&f, mask, 4);
    for (size_t i = 0; i < n; i++)
        fm_buf_u8(&f, p[i] ^ mask[i & 3]);
    raw_send(c, f.p, f.n);
    fm_buf_fini(&f);
}

void raw_text(struct raw_client *c, const char *text)
{
    raw_frame(c, 0x81, text, strlen(text));
}

struct raw_message raw_next(struct raw_client *c)
{
    struct raw_message m = {0};
    if (!need(c, 2))
        return m;
    size_t n = c->in.p[1] & 0x7f, head = n == 126 ? 4 : n == 127 ? 10 : 2;
    assert_int_equal(c->in.p[0] & 0xf0, 0x80); /* servers here send whole messages without extensions */
    assert_int_equal(c->in.p[1] & 0x80, 0);
    if (!need(c, head))
        return m;
    if (head > 2) {
        n = 0;
        for (size_t i = 2; i < head; i++)
            n = n << 8 | c->in.p[i];
    }
    if (!need(c, head + n))
        return m;
    m.opcode = c->in.p[0] & 15;
    m.n = n;
    m.bytes = malloc(n + 1);
    assert_non_null(m.bytes);
    take(c, NULL, head);
    take(c, m.bytes, n);
    m.bytes[n] = 0;
    return m;
}

void raw_expect(struct raw_client *c, const char *text)
{
    struct raw_message m = raw_next(c);
    assert_int_equal(m.opcode, 1);
    assert_string_equal((const char *)m.bytes, text);
    free(m.bytes);
}

void raw_expect_close(struct raw_client *c, unsigned code)
{
    struct raw_message m = raw_next(c);
    while (m.opcode == 1 || m.opcode == 2) {
        free(m.bytes);
        m = raw_next(c);
    }
    assert_int_equal(m.opcode, 8);
    assert_true(m.n >= 2);
    assert_int_equal(m.bytes[0] << 8 | m.bytes[1], code);
    raw_frame(c, 0x88, m.bytes, 2);
    free(m.bytes);
    assert_true(raw_ends(c, RAW_SOON_MS));
}

bool raw_quiet(struct raw_client *c, int ms)
{
    bool end;
    return c->in.n == 0 && !read_more(c, ms, &end);
}
