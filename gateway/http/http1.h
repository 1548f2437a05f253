/* Reads the head of an HTTP/1.1 request (RFC 9112) from a buffer. Pure: no connection, no allocation, nothing beyond the slice is read.
 *
 * Strict where laxness has been an attack elsewhere: lines end in CR LF, no folding, no space before a colon, one Host, one Content-Length
 * of digits. Header fields that nobody here asks for are checked and passed over.
 *
 * -- any thread -- */
#pragma once

#include "http.h"

enum { FM_HTTP1_HEAD_MAX = 16 << 10 }; /* bytes of a request's head; phoenix.js puts its parameters into the path */

enum fm_http1_result { FM_HTTP1_WHOLE, FM_HTTP1_MORE, FM_HTTP1_BAD };

struct fm_http1_head { /* slices point into the input; n == 0 where absent */
    size_t n;          /* bytes of the head with its empty line */
    enum fm_http_method method;
    unsigned minor;              /* HTTP/1.minor */
    struct fm_slice path, query; /* raw; without scheme and host, without '?' */
    struct fm_slice host, origin, authorization, content_type, accept, idempotency_key, apikey, expect;
    struct fm_slice upgrade, ws_key, ws_version, ws_protocols;
    struct fm_slice ws_extensions;              /* the first line of them: offers on others are as if they were not made */
    bool close, keep_alive, connection_upgrade; /* what Connection lists */
    bool transfer_encoding;
    bool has_length;
    uint64_t length; /* Content-Length */
    /* FM_HTTP1_BAD */
    unsigned status;  /* 400, 431, 505 */
    const char *what; /* a static text */
};

/* *scanned: 0 at first; remembers how far the end of the head was looked for, so that input that comes byte by byte is not read again
 * and again. FM_HTTP1_MORE: the head is not whole yet. */
enum fm_http1_result fm_http1_read(struct fm_slice in, size_t *scanned, struct fm_http1_head *head);

/* The fields of a head that was found whole (its first head.n bytes), one after another: for those that may be there several times. false:
 * there are no more. */
struct fm_slice fm_http1_fields(struct fm_slice head);
bool fm_http1_field(struct fm_slice *rest, struct fm_slice *name, struct fm_slice *value);
/* Without the blanks and tabs around it. */
struct fm_slice fm_http1_trim(struct fm_slice s);

/* Percent-decodes a path into out. FM_E_SYNTAX: a broken escape, a zero byte, a segment that is `.` or `..`. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_http1_path(struct fm_slice raw, struct fm_buf *out);
/* Is `word` in a comma-separated list? Without regard to case. */
bool fm_http1_lists(struct fm_slice list, const char *word);
/* Is it 16 bytes in base64, as Sec-WebSocket-Key must be? */
bool fm_http1_ws_key(struct fm_slice key);
/* "Not Found" and so on. */
const char *fm_http1_reason(unsigned status);
