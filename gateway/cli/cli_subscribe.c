/* subscribe: the connection around a channel (cli_channel.h): dial, join, beat, print, and do it again when it breaks. */
#include "cli_channel.h"
#include "cli_http.h"
#include "cli_tables.h"
#include "../auth/jwt.h"
#include "../client/ws_dial.h"

#include "../../broker/clock.h"
#include "../../broker/diag.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BEAT_MS = 15000, URL_MAX = 2048, CLOSE_NORMAL = 1000 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

struct subscribe {
    const struct fm_command *command;
    struct fm_subscribe_options *o;
    struct fm_option_set *set; /* that o was read with */
    struct fm_channel channel;
    struct fm_ws_conn *conn;
    uint64_t beat_ms;    /* when the next heartbeat is due */
    uint64_t beat_n;     /* sent on this connection */
    uint64_t join_by_ms; /* JOINING: when the node must have answered */
    bool heard;          /* something came since the last heartbeat */
    bool opened;         /* this connection joined */
    uint64_t printed;
    char url[URL_MAX];
};

/* SOCKET[?QUERY] -> SOCKET/websocket?[QUERY&]vsn=2.0.0 */
static bool url_make(struct subscribe *s)
{
    const char *url = s->o->socket_url, *query = strchr(url, '?');
    size_t n = query ? (size_t)(query - url) : strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    int len = snprintf(s->url, sizeof s->url, "%.*s/websocket?%s%svsn=2.0.0", (int)n, url, query ? query + 1 : "", query ? "&" : "");
    return len > 0 && (size_t)len < sizeof s->url;
}

/* Whether it can be dialled at all; says what is wrong. */
static bool url_good(struct subscribe *s)
{
    struct fm_url url;
    char quote[URL_MAX / 4];
    bool tls;
    if (fm_ws_url(s->url, &url, &tls) == FM_OK)
        return true;
    fm_cli_complain(s->command, "--socket-url %s can't be used: give ws://host:port/path or wss://..., without user names",
                    fm_cli_url(quote, sizeof quote, s->o->socket_url));
    return false;
}

/* ---- output ---- */

static bool is_gap(const char *line)
{
    return strncmp(line, "{\"id\":null,\"event\":\"gap\"", 24) == 0;
}

/* Prints what the channel has, at most up to --count messages. False: standard output is gone. */
static bool lines_print(struct subscribe *s)
{
    struct fm_buf *b = &s->channel.lines;
    const char *p = (const char *)b->p, *end = p + b->n;
    bool ok = true;
    while (p < end && ok && (s->o->count == 0 || s->printed < s->o->count)) {
        size_t n = (size_t)((const char *)memchr(p, '\n', (size_t)(end - p)) - p) + 1; /* every line has its end */
        s->printed += is_gap(p) ? 0 : 1;
        ok = fwrite(p, 1, n, stdout) == n;
        p += n;
    }
    b->n = 0;
    ok = fflush(stdout) == 0 && ok;
    if (!ok)
        fm_cli_complain(s->command, "can't write to standard output: %s", strerror(errno));
    return ok;
}

static bool is_done(const struct subscribe *s)
{
    return interrupted || (s->o->count && s->printed >= s->o->count);
}

/* ---- one connection ---- */

static enum fm_err send_join(struct subscribe *s)
{
    struct fm_buf frame = {0};
    fm_channel_join(&s->channel, &frame);
    enum fm_err err = frame.failed ? FM_E_NOMEM : fm_ws_send(s->conn, FM_WS_TEXT, fm_buf_view(&frame));
    fm_buf_fini(&frame);
    s->join_by_ms = fm_mono_ms() + s->o->timeout_ms;
    return err;
}

/* A server that answered nothing since the last heartbeat is gone. */
static enum fm_err beat(struct subscribe *s)
{
    char frame[80];
    if (s->beat_n && !s->heard)
        return FM_E_TIMEOUT;
    int n = snprintf(frame, sizeof frame, "[null,\"beat%llu\",\"phoenix\",\"heartbeat\",{}]", (unsigned long long)s->beat_n++);
    s->heard = false;
    s->beat_ms = fm_mono_ms() + BEAT_MS;
    return fm_ws_send(s->conn, FM_WS_TEXT, fm_slice_of(frame, (size_t)n));
}

static enum fm_err one_event(struct subscribe *s, const struct fm_ws_event *event)
{
    char quote[200];
    s->heard = true;
    if (event->kind == FM_WS_TEXT)
        return fm_channel_text(&s->channel, event->payload);
    if (event->kind == FM_WS_BINARY)
        return fm_channel_binary(&s->channel, event->payload);
    snprintf(s->channel.why, sizeof s->channel.why, "the node closed the connection with code %u %s", event->code,
             fm_diag_quote(quote, sizeof quote, (const char *)event->payload.p, event->payload.n));
    return FM_E_CLOSED;
}

/* Waits for the next frame, or for what is due by time. */
static enum fm_err step(struct subscribe *s)
{
    struct fm_ws_event event;
    uint64_t now = fm_mono_ms(), due = s->beat_ms;
    if (s->channel.state == FM_CHANNEL_JOINING && s->join_by_ms < due)
        due = s->join_by_ms;
    enum fm_err err = fm_ws_recv(s->conn, due > now ? (int)(due - now) : 0, &event);
    if (err == FM_OK)
        return one_event(s, &event);
    if (err != FM_E_TIMEOUT)
        return err;
    if (s->channel.state == FM_CHANNEL_JOINING && fm_mono_ms() >= s->join_by_ms) {
        snprintf(s->channel.why, sizeof s->channel.why, "the node did not answer the join within --timeout-ms");
        return FM_E_CLOSED;
    }
    return fm_mono_ms() >= s->beat_ms ? beat(s) : FM_OK;
}

/* What a reason means that only names what is wrong. */
static const char *hint(const struct subscribe *s, const char *why)
{
    if (strstr(why, "token_missing") && !*s->o->token)
        return " (no token was sent; give one with --token-file or FANMESH_TOKEN)";
    if (strstr(why, "\"unmatched topic\""))
        return " (no [topic] rule of the node's settings matches it)";
    if (strstr(why, "\"not_granted\""))
        return " (the token does not grant it; `fanmesh token verify` prints what it grants)";
    if (strstr(why, "\"unavailable\"") || strstr(why, "\"timeout\"") || strstr(why, "\"bad_answer\""))
        return " (who decides this, the backend of hook_url or the program around the node, gave no decision; the node's log says more)";
    return "";
}

/* Why the connection or its channel ended. */
static void complain_of_end(const struct subscribe *s, enum fm_err err)
{
    const char *why = s->channel.why[0] ? s->channel.why : fm_err_text(err);
    fm_cli_complain(s->command, "%s%s", why, hint(s, why));
}

static void complain_of_dial(struct subscribe *s, enum fm_err err, const struct fm_ws_dial *dial)
{
    char quote[URL_MAX / 4], said[2 * FM_WS_SAID_MAX];
    const char *url = fm_cli_url(quote, sizeof quote, s->url);
    if (err == FM_E_ADDRESS)
        fm_cli_complain(s->command, "%s has a host that can't be found; give --socket-url as ws://host:port/path", url);
    else if (err == FM_E_IO)
        fm_cli_complain(s->command, "can't connect to %s: %s; start a node there, or give its --socket-url", url, strerror(errno));
    else if (err == FM_E_TLS)
        fm_cli_complain(s->command,
                        "no TLS with %s: %s; a certificate of one's own is trusted with SSL_CERT_FILE=cert.pem, and ws:// is for a node "
                        "without tls_cert",
                        url, dial->tls_why);
    else if (err == FM_E_FORBIDDEN && dial->status == 404)
        fm_cli_complain(s->command,
                        "%s answered with HTTP status 404 instead of opening a WebSocket; is this where clients connect (listen), with the "
                        "path of the option mount (/socket)?",
                        url);
    else if (err == FM_E_FORBIDDEN && fm_cli_error_text(dial->said, said, sizeof said))
        fm_cli_complain(s->command, "%s answered with HTTP status %u instead of opening a WebSocket: %s%s", url, dial->status, said,
                        hint(s, said));
    else if (err == FM_E_FORBIDDEN)
        fm_cli_complain(s->command, "%s answered with HTTP status %u instead of opening a WebSocket%s%s", url, dial->status,
                        dial->said.n ? ", and says " : "",
                        dial->said.n ? fm_diag_quote(said, sizeof said, (const char *)dial->said.p, dial->said.n) : "");
    else
        fm_cli_complain(s->command, "can't connect to %s: %s", url, fm_err_text(err));
}

/* The file may hold a new token by now. One that can't be read leaves the old. */
static void token_again(struct subscribe *s)
{
    struct fm_report report = {0}, *before = s->set->report;
    char *old = s->o->token, *none = strdup("");
    if (!none || !*s->o->token_file) {
        free(none);
        return;
    }
    s->o->token = none;
    s->set->report = &report;
    fm_option_secret_file(s->set, "token", "token_file", false);
    s->set->report = before;
    if (report.n_errors) {
        fm_cli_report(s->command, &report.errors, "warning: ");
        free(s->o->token);
        s->o->token = old;
    } else {
        explicit_bzero(old, strlen(old));
        free(old);
    }
    fm_report_fini(&report);
}

static enum fm_err dial_with_token(struct subscribe *s, struct fm_ws_dial *dial)
{
    static const char name[] = "Authorization: Bearer ";
    char header[FM_TOKEN_MAX + sizeof name + 2];
    if (*s->o->token) {
        snprintf(header, sizeof header, "%s%s\r\n", name, s->o->token);
        dial->headers = header;
    }
    enum fm_err err = fm_ws_open(&s->conn, dial);
    dial->headers = NULL;
    explicit_bzero(header, sizeof header);
    return err;
}

/* Connects, joins, and prints until the connection breaks, the channel ends or the work is done. FM_OK: done. */
static enum fm_err session(struct subscribe *s)
{
    struct fm_ws_dial dial = {.url = s->url, .timeout_ms = (uint32_t)s->o->timeout_ms};
    if (s->channel.joined_once)
        token_again(s);
    enum fm_err err = dial_with_token(s, &dial);
    if (err) {
        if (!interrupted)
            complain_of_dial(s, err, &dial);
        return err;
    }
    s->channel.why[0] = 0;
    s->beat_n = 0;
    s->beat_ms = fm_mono_ms() + BEAT_MS;
    err = send_join(s);
    while (!err && !is_done(s)) {
        err = step(s);
        s->opened = s->opened || s->channel.state == FM_CHANNEL_OPEN;
        if (s->channel.unrecovered) {
            s->channel.unrecovered = false;
            fm_cli_complain(s->command, "warning: messages were missed that the node no longer has");
        }
        if (!lines_print(s))
            err = FM_E_IO;
        if (s->channel.state == FM_CHANNEL_AGAIN || s->channel.state == FM_CHANNEL_ENDED)
            err = FM_E_CLOSED;
    }
    if (err && !interrupted)
        complain_of_end(s, err);
    fm_ws_close(&s->conn, CLOSE_NORMAL, "");
    return interrupted ? FM_OK : err;
}

static enum fm_exit subscribe(struct subscribe *s)
{
    static const unsigned waits_ms[] = {100, 200, 500, 1000, 2000, 5000};
    size_t tries = 0;
    if (!url_make(s)) {
        fm_cli_complain(s->command, "--socket-url is too long");
        return FM_EXIT_USAGE;
    }
    if (!url_good(s))
        return FM_EXIT_USAGE;
    while (!is_done(s)) {
        s->opened = false;
        if (session(s) == FM_OK || is_done(s))
            break;
        /* The first connection must work; after that only what is final ends it. */
        bool again = s->channel.state == FM_CHANNEL_AGAIN || s->channel.joined_once;
        if (s->channel.state == FM_CHANNEL_ENDED || !again || ferror(stdout))
            return FM_EXIT_FAILED;
        tries = s->opened ? 0 : tries;
        unsigned ms = waits_ms[tries < 5 ? tries++ : 5];
        nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
    }
    return FM_EXIT_OK;
}

static void interrupts_take(void)
{
    struct sigaction sa = {.sa_handler = on_interrupt}; /* without SA_RESTART: a wait ends with EINTR */
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

static enum fm_exit run(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    struct fm_subscribe_options *o = set->base;
    struct subscribe s = {.command = command, .o = o, .set = set, .channel = {.topic = args->positional[0], .last = o->last}};
    if (!fm_cli_topic_good(command, args->positional[0]))
        return FM_EXIT_USAGE;
    interrupts_take();
    enum fm_exit code = subscribe(&s);
    fm_channel_fini(&s.channel);
    return code;
}

enum fm_exit fm_run_subscribe(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_subscribe_options o = {0};
    return fm_cli_run(command, argc, argv, &o, 1, run);
}
