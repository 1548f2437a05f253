#include "cli_http.h"
#include "../json/json_slice.h"

#include "../../broker/diag.h"

#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>

enum { URL_MAX = 2048, QUOTE_MAX = 256, DEPTH_MAX = 64 };

static size_t on_bytes(char *bytes, size_t size, size_t n, void *user)
{
    struct fm_buf *b = user;
    if (b->n + size * n > FM_CALL_ANSWER_MAX)
        return 0; /* ends the transfer with an error */
    fm_buf_put(b, bytes, size * n);
    return b->failed ? 0 : size * n;
}

/* "NAME VALUE"; an empty value: none. */
static bool header_add(struct curl_slist *list, const char *name, struct fm_slice value)
{
    struct fm_buf line = {0};
    if (value.n == 0)
        return true;
    fm_buf_str(&line, name);
    fm_buf_slice(&line, value);
    fm_buf_u8(&line, 0);
    bool ok = !line.failed && curl_slist_append(list, (const char *)line.p);
    if (line.p)
        explicit_bzero(line.p, line.n);
    fm_buf_fini(&line);
    return ok;
}

static bool headers_make(const struct fm_call *call, struct curl_slist **headers)
{
    struct curl_slist *list = curl_slist_append(NULL, call->body.p ? "Content-Type: application/json" : "Accept: */*");
    *headers = list;
    /* Without `Expect:` curl waits for 100 Continue before it sends a large body. */
    return list && curl_slist_append(list, "Expect:") && header_add(list, "Idempotency-Key: ", fm_slice_str(call->once)) &&
           header_add(list, "Authorization: Bearer ", fm_slice_of(call->key, strcspn(call->key, " ")));
}

static void curl_set_up(CURL *curl, struct fm_call *call, const char *url, struct curl_slist *headers)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "fanmesh/" FM_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &call->answer);
    if (call->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    if (!call->body.p)
        return;
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.p);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.n);
}

bool fm_cli_error_text(struct fm_slice answer, char *out, size_t size)
{
    struct fm_json root, error, code, message;
    struct fm_slice code_text, message_text;
    char code_buf[64], message_buf[768];
    if (fm_json_parse(answer, DEPTH_MAX, &root, NULL) || !fm_json_get(&root, FM_LIT("error"), &error) ||
        !fm_json_get(&error, FM_LIT("code"), &code) || fm_json_text(&code, code_buf, sizeof code_buf, &code_text) ||
        !fm_json_get(&error, FM_LIT("message"), &message) || fm_json_text(&message, message_buf, sizeof message_buf, &message_text))
        return false;
    snprintf(out, size, "%.*s: %.*s", (int)code_text.n, (const char *)code_text.p, (int)message_text.n, (const char *)message_text.p);
    return true;
}

/* The id of a message that was accepted all the same (not_replicated) follows. */
static void complain_of_answer(const struct fm_command *command, const char *url, const struct fm_call *call)
{
    struct fm_json root, id;
    struct fm_slice id_text = {0};
    char text[FM_ERROR_TEXT_MAX], id_buf[64], quote[QUOTE_MAX];
    if (!fm_cli_error_text(fm_buf_view(&call->answer), text, sizeof text)) {
        fm_cli_complain(command, "%s answered with HTTP status %u, which no fanmesh node sends here; is this the address of its API?",
                        fm_cli_url(quote, sizeof quote, url), call->status);
        return;
    }
    if (fm_json_parse(fm_buf_view(&call->answer), DEPTH_MAX, &root, NULL) || !fm_json_get(&root, FM_LIT("id"), &id) ||
        fm_json_text(&id, id_buf, sizeof id_buf, &id_text) != FM_OK)
        id_text = (struct fm_slice){0};
    fm_cli_complain(command, "%s%s%.*s%s", text, id_text.n ? "; its id is " : "", (int)id_text.n, (const char *)id_text.p,
                    call->status == 401 ? "; give it with --api-key-file or FANMESH_API_KEY" : "");
}

static bool is_scheme(const char *url, const char *scheme)
{
    size_t n = strlen(scheme);
    return strncasecmp(url, scheme, n) == 0 && strncmp(url + n, "://", 3) == 0;
}

/* NULL, or what is wrong. curl takes a URL without a scheme for one of http. */
static const char *url_bad(const char *url)
{
    if (is_scheme(url, "ws") || is_scheme(url, "wss"))
        return "that is where clients connect (--socket-url of subscribe)";
    if (strstr(url, "://") && !is_scheme(url, "http") && !is_scheme(url, "https"))
        return "it is not http:// or https://";
    if (strpbrk(url, "?#"))
        return "it has a `?` or `#`, behind which no path can follow";
    CURLU *parts = curl_url();
    struct fm_buf text = {0};
    fm_buf_str(&text, strstr(url, "://") ? "" : "http://");
    fm_buf_str(&text, url);
    fm_buf_u8(&text, 0);
    CURLUcode rc = parts && !text.failed ? curl_url_set(parts, CURLUPART_URL, (const char *)text.p, 0) : CURLUE_OUT_OF_MEMORY;
    curl_url_cleanup(parts);
    fm_buf_fini(&text);
    return rc == CURLUE_OK                ? NULL
           : rc == CURLUE_BAD_PORT_NUMBER ? "its port is not a number up to 65535"
           : rc == CURLUE_NO_HOST         ? "it has no host"
                                          : curl_url_strerror(rc);
}

bool fm_cli_api_url_good(const struct fm_command *command, const char *option, const char *url)
{
    char quote[QUOTE_MAX];
    const char *why = url_bad(url);
    if (why)
        fm_cli_complain(command, "%s is %s: %s; give the address of a node's api_listen, as http://host:port", option,
                        fm_cli_url(quote, sizeof quote, url), why);
    return !why;
}

/* A port that was left out is 80, where a proxy may be. */
static bool has_port(const char *url)
{
    const char *host = strstr(url, "://"), *after;
    host = host ? host + 3 : url;
    after = host + strcspn(host, "/");
    const char *colon = memrchr(host, ':', (size_t)(after - host)), *bracket = memrchr(host, ']', (size_t)(after - host));
    return colon && (!bracket || colon > bracket);
}

static void complain_of_curl(const struct fm_command *command, const char *url, CURLcode rc)
{
    char quote[QUOTE_MAX];
    fm_cli_url(quote, sizeof quote, url);
    if (rc == CURLE_COULDNT_CONNECT)
        fm_cli_complain(command, "nothing listens at %s%s; start a node there, or give the address of its API with --api-url", quote,
                        has_port(url) ? "" : " (without a port it is that of http or https; a node's api_listen is 4001 by default)");
    else if (rc == CURLE_OPERATION_TIMEDOUT)
        fm_cli_complain(command, "%s did not answer within --timeout-ms", quote);
    else if (rc == CURLE_WRITE_ERROR)
        fm_cli_complain(command, "the answer of %s is larger than what this command takes", quote);
    else if (rc == CURLE_SSL_CONNECT_ERROR)
        fm_cli_complain(command, "no TLS with %s; a node's api_listen speaks plain http://", quote);
    else if (rc == CURLE_UNSUPPORTED_PROTOCOL) /* what came is no HTTP */
        fm_cli_complain(command, "what listens at %s does not answer in HTTP; is this the address of its API, api_listen?", quote);
    else
        fm_cli_complain(command, "can't call %s: %s", quote, curl_easy_strerror(rc));
}

bool fm_call(const struct fm_command *command, struct fm_call *call)
{
    char url[URL_MAX];
    bool ok = false;
    size_t n = strlen(call->url);
    while (n && call->url[n - 1] == '/')
        n--;
    int len = snprintf(url, sizeof url, "%.*s%s", (int)n, call->url, call->path);
    if (len < 0 || (size_t)len >= sizeof url) {
        fm_cli_complain(command, "url is too long");
        return false;
    }
    struct curl_slist *headers = NULL;
    CURL *curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    if (!curl || !headers_make(call, &headers)) {
        fm_cli_complain(command, "%s", fm_err_text(FM_E_NOMEM));
        goto out;
    }
    curl_set_up(curl, call, url, headers);
    CURLcode rc = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    call->status = (unsigned)status;
    ok = rc == CURLE_OK && status == 200;
    if (rc != CURLE_OK)
        complain_of_curl(command, url, rc);
    else if (!ok)
        complain_of_answer(command, url, call);
out:
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return ok;
}

void fm_call_fini(struct fm_call *call)
{
    fm_buf_fini(&call->answer);
}
