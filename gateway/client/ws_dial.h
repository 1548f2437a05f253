/* One blocking WebSocket client connection, for the command line and for tests: dial, send, receive, close. Pings are answered inside
 * fm_ws_recv. wss:// is TLS, and the server's certificate must lead to one that this system trusts (or SSL_CERT_FILE of the environment).
 *
 * -- one owner -- */
#pragma once

#include "ws_client.h"

struct fm_ws_conn;

/* As fm_url_parse for ws:// and wss://, whose port is 443 where the URL has none. */
FM_MUST_CHECK enum fm_err fm_ws_url(const char *text, struct fm_url *url, bool *tls);

enum { FM_WS_SAID_MAX = 1024 };

struct fm_ws_dial {
    const char *url;      /* ws:// or wss://host[:port][/path][?query] */
    const char *headers;  /* "Name: value\r\n"...; may be NULL */
    uint32_t timeout_ms;  /* for connecting and the answer together; 0: 10 s */
    uint32_t message_max; /* 0: FM_WS_MESSAGE_MAX */
    unsigned status;      /* out: the HTTP status, 0 before there was one */
    const char *tls_why;  /* out, FM_E_TLS: what is wrong, a static text */
    struct fm_slice said; /* out, FM_E_FORBIDDEN: how the answer's text begins, as far as it came with its head; points into said_text */
    uint8_t said_text[FM_WS_SAID_MAX];
};

/* FM_E_ADDRESS: not a URL, or its host is unknown. FM_E_IO: refused or broken (errno says why). FM_E_TIMEOUT. FM_E_FORBIDDEN: answered
 * with dial->status. FM_E_SYNTAX: not a WebSocket server. FM_E_TLS: dial->tls_why. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_ws_open(struct fm_ws_conn **conn, struct fm_ws_dial *dial);
/* Waits until all is with the kernel, at most timeout_ms of the dial. FM_E_TIMEOUT, FM_E_CLOSED, FM_E_IO, FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_ws_send(struct fm_ws_conn *conn, enum fm_ws_kind kind, struct fm_slice payload);
/* The next text, binary or close; its payload is good until the next call. timeout_ms < 0: waits for ever. FM_E_TIMEOUT: none came.
 * FM_E_CLOSED: the connection ended without a CLOSE, or after one. Otherwise the errors of fm_ws_next, and FM_E_IO (EINTR too). */
FM_MUST_CHECK enum fm_err fm_ws_recv(struct fm_ws_conn *conn, int timeout_ms, struct fm_ws_event *event);
/* For a poll of one's own; fm_ws_recv may hold messages that poll does not tell of: receive with timeout 0 until FM_E_TIMEOUT first. */
int fm_ws_fd(const struct fm_ws_conn *conn);
/* Sends a CLOSE (code 0: just ends), does not wait for the answer, frees. */
void fm_ws_close(struct fm_ws_conn **conn, unsigned code, const char *reason);
