#include "http1.h"

#include <strings.h>

enum { TLS_FIRST = 0x16 /* of a ClientHello */ };

static bool is_token_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool equals_nocase(struct fm_slice s, const char *word)
{
    return s.n == strlen(word) && strncasecmp((const char *)s.p, word, s.n) == 0;
}

struct fm_slice fm_http1_trim(struct fm_slice s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = fm_slice_of(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Cuts what lies before the first `c` off *rest; false (and *rest untouched) where there is none. */
static bool cut(struct fm_slice *rest, char c, struct fm_slice *before)
{
    const uint8_t *at = rest->n ? memchr(rest->p, c, rest->n) : NULL;
    if (!at)
        return false;
    size_t n = (size_t)(at - rest->p);
    *before = fm_slice_of(rest->p, n);
    *rest = fm_slice_of(at + 1, rest->n - n - 1);
    return true;
}

static enum fm_http1_result bad(struct fm_http1_head *h, unsigned status, const char *what)
{
    h->status = status;
    h->what = what;
    return FM_HTTP1_BAD;
}

bool fm_http1_lists(struct fm_slice list, const char *word)
{
    struct fm_slice item;
    while (cut(&list, ',', &item))
        if (equals_nocase(fm_http1_trim(item), word))
            return true;
    return equals_nocase(fm_http1_trim(list), word);
}

/* ---- request line ---- */

static enum fm_http_method method_of(struct fm_slice name)
{
    for (enum fm_http_method m = FM_HTTP_GET; m < FM_HTTP_OTHER; m++)
        if (fm_slice_eq(name, fm_slice_str(fm_http_method_name(m))))
            return m;
    return FM_HTTP_OTHER;
}

/* Path and query; of an absolute URL (as proxies send it) what follows the host. */
static bool read_target(struct fm_slice target, struct fm_http1_head *h)
{
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] == 0x7f || target.p[i] == '#')
            return false;
    if (target.n >= 7 && strncasecmp((const char *)target.p, "http://", 7) == 0) {
        target = fm_slice_of(target.p + 7, target.n - 7);
        const uint8_t *slash = target.n ? memchr(target.p, '/', target.n) : NULL;
        if (!slash)
            return false;
        target.n -= (size_t)(slash - target.p);
        target.p = slash;
    }
    if (target.n == 0 || target.p[0] != '/')
        return false;
    if (!cut(&target, '?', &h->path))
        h->path = target;
    else
        h->query = target;
    return true;
}

static enum fm_http1_result read_request_line(struct fm_slice line, struct fm_http1_head *h)
{
    struct fm_slice method, target;
    if (!cut(&line, ' ', &method) || !cut(&line, ' ', &target) || method.n == 0)
        return bad(h, 400, "the first line is not `METHOD /path HTTP/1.1`");
    for (size_t i = 0; i < method.n; i++)
        if (!is_token_char(method.p[i]))
            return bad(h, 400, "the method is not a token");
    if (line.n != 8 || !fm_slice_starts(line, FM_LIT("HTTP/")) || line.p[6] != '.')
        return bad(h, 400, "the first line does not end in HTTP/1.1");
    if (line.p[5] != '1' || (line.p[7] != '0' && line.p[7] != '1'))
        return bad(h, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    h->minor = (unsigned)(line.p[7] - '0');
    h->method = method_of(method);
    if (!read_target(target, h))
        return bad(h, 400, "the path is not an absolute path of printable characters");
    return FM_HTTP1_WHOLE;
}

/* ---- header fields ---- */

static enum fm_http1_result read_length(struct fm_slice value, struct fm_http1_head *h)
{
    if (h->has_length)
        return bad(h, 400, "Content-Length is there twice");
    if (value.n == 0 || value.n > 18 || fm_slice_u64(value, UINT64_MAX, &h->length) != FM_OK)
        return bad(h, 400, "Content-Length is not a number of bytes");
    h->has_length = true;
    return FM_HTTP1_WHOLE;
}

static void read_connection(struct fm_slice value, struct fm_http1_head *h)
{
    h->close = h->close || fm_http1_lists(value, "close");
    h->keep_alive = h->keep_alive || fm_http1_lists(value, "keep-alive");
    h->connection_upgrade = h->connection_upgrade || fm_http1_lists(value, "upgrade");
}

static enum fm_http1_result take_field(struct fm_slice name, struct fm_slice value, struct fm_http1_head *h)
{
    const struct {
        const char *name;
        struct fm_slice *to;
    } plain[] = {
        {"host", &h->host},
        {"origin", &h->origin},
        {"authorization", &h->authorization},
        {"content-type", &h->content_type},
        {"accept", &h->accept},
        {"idempotency-key", &h->idempotency_key},
        {"apikey", &h->apikey},
        {"expect", &h->expect},
        {"upgrade", &h->upgrade},
        {"sec-websocket-key", &h->ws_key},
        {"sec-websocket-version", &h->ws_version},
        {"sec-websocket-protocol", &h->ws_protocols},
    };
    if (equals_nocase(name, "content-length"))
        return read_length(value, h);
    if (equals_nocase(name, "transfer-encoding"))
        h->transfer_encoding = true;
    if (equals_nocase(name, "connection"))
        read_connection(value, h);
    if (equals_nocase(name, "sec-websocket-extensions") && !h->ws_extensions.p)
        h->ws_extensions = value;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (!equals_nocase(name, plain[i].name))
            continue;
        if (plain[i].to->p)
            return bad(h, 400, "a header field that may be there once is there twice");
        *plain[i].to = value;
    }
    return FM_HTTP1_WHOLE;
}

static enum fm_http1_result read_field(struct fm_slice line, struct fm_http1_head *h)
{
    struct fm_slice name;
    if (!cut(&line, ':', &name) || name.n == 0)
        return bad(h, 400, "a header line has no `Name:`");
    for (size_t i = 0; i < name.n; i++)
        if (!is_token_char(name.p[i]))
            return bad(h, 400, "a header's name is not a token");
    for (size_t i = 0; i < line.n; i++)
        if ((line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
            return bad(h, 400, "a header's value holds a control character");
    return take_field(name, fm_http1_trim(line), h);
}

/* ---- the head ---- */

/* The offset behind the empty line that ends the head which begins at `from`, 0: not there yet. */
static size_t find_end(struct fm_slice in, size_t from, size_t *scanned)
{
    size_t i = *scanned;
    while (i < in.n) {
        const uint8_t *lf = memchr(in.p + i, '\n', in.n - i);
        if (!lf)
            break;
        i = (size_t)(lf - in.p) + 1;
        if (i - from >= 4 && memcmp(in.p + i - 4, "\r\n\r\n", 4) == 0)
            return i;
    }
    *scanned = in.n;
    return 0;
}

enum fm_http1_result fm_http1_read(struct fm_slice in, size_t *scanned, struct fm_http1_head *h)
{
    *h = (struct fm_http1_head){0};
    if (in.n && in.p[0] == TLS_FIRST) /* no head would ever end it: the client is told at once */
        return bad(h, 400, "it begins a TLS handshake, and plain HTTP is spoken here: use ws:// or http://, or set tls_cert");
    size_t blank = 0; /* empty lines before a request are passed over, as RFC 9112, 2.2 asks */
    while (in.n - blank >= 2 && in.p[blank] == '\r' && in.p[blank + 1] == '\n' && blank < 8)
        blank += 2;
    if (*scanned < blank)
        *scanned = blank;
    size_t end = find_end(in, blank, scanned);
    if (end > FM_HTTP1_HEAD_MAX || (end == 0 && in.n >= FM_HTTP1_HEAD_MAX))
        return bad(h, 431, "the request's head is larger than 16 KiB");
    if (end == 0)
        return FM_HTTP1_MORE;
    h->n = end;
    struct fm_slice rest = fm_slice_of(in.p + blank, end - blank - 2), line;
    bool first = true;
    while (cut(&rest, '\n', &line)) {
        if (line.n == 0 || line.p[line.n - 1] != '\r')
            return bad(h, 400, "a line does not end in CR LF");
        line.n--;
        enum fm_http1_result r = first ? read_request_line(line, h) : read_field(line, h);
        if (r != FM_HTTP1_WHOLE)
            return r;
        first = false;
    }
    if (h->minor == 1 && !h->host.p)
        return bad(h, 400, "there is no Host");
    return FM_HTTP1_WHOLE;
}

struct fm_slice fm_http1_fields(struct fm_slice head)
{
    struct fm_slice line = {0};
    while (cut(&head, '\n', &line) && line.n == 1)
        ; /* the empty lines before it */
    return head;
}

bool fm_http1_field(struct fm_slice *rest, struct fm_slice *name, struct fm_slice *value)
{
    if (!cut(rest, '\n', value) || !cut(value, ':', name))
        return false;
    value->n--; /* CR */
    *value = fm_http1_trim(*value);
    return true;
}

/* ---- values ---- */

/* Nobody here has a use for `.` and `..`; where files are served they would be a way out of the folder. */
static bool has_dot_segment(struct fm_slice path)
{
    struct fm_slice segment;
    bool more = true;
    while (more) {
        more = cut(&path, '/', &segment);
        if (!more)
            segment = path;
        if (fm_slice_eq(segment, FM_LIT(".")) || fm_slice_eq(segment, FM_LIT("..")))
            return true;
    }
    return false;
}

enum fm_err fm_http1_path(struct fm_slice raw, struct fm_buf *out)
{
    out->n = 0;
    for (size_t i = 0; i < raw.n;) {
        uint8_t c;
        if (!fm_percent_read(raw, &i, &c))
            return FM_E_SYNTAX;
        fm_buf_u8(out, c);
    }
    if (out->failed)
        return FM_E_NOMEM;
    return has_dot_segment(fm_buf_view(out)) ? FM_E_SYNTAX : FM_OK;
}

bool fm_http1_ws_key(struct fm_slice key)
{
    if (key.n != 24 || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        uint8_t c = key.p[i];
        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '+' || c == '/'))
            return false;
    }
    return true;
}

const char *fm_http1_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } table[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].status == status)
            return table[i].text;
    return "Status";
}
