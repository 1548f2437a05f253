#include "fetch.h"

#include "../settings/network.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct fm_fetcher {
    CURLM *multi;
    struct fm_fetch *under_way;
};

/* ---- life ---- */

enum fm_err fm_fetcher_new(struct fm_fetcher **out, uint32_t connections)
{
    struct fm_fetcher *f = calloc(1, sizeof *f);
    *out = f;
    if (!f)
        return FM_E_NOMEM;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(f);
        *out = NULL;
        return FM_E_NOMEM;
    }
    f->multi = curl_multi_init();
    if (!f->multi) {
        fm_fetcher_free(out);
        return FM_E_NOMEM;
    }
    curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)connections);
    return FM_OK;
}

static void take(struct fm_fetcher *f, struct fm_fetch *it)
{
    curl_multi_remove_handle(f->multi, it->easy);
    curl_easy_cleanup(it->easy);
    curl_slist_free_all(it->list);
    it->easy = it->list = NULL;
    *it->link = it->next;
    if (it->next)
        it->next->link = it->link;
}

void fm_fetcher_free(struct fm_fetcher **fp)
{
    struct fm_fetcher *f = *fp;
    *fp = NULL;
    if (!f)
        return;
    while (f->under_way) {
        struct fm_fetch *it = f->under_way;
        it->end = FM_FETCH_ENDED;
        take(f, it);
        it->done(it);
    }
    curl_multi_cleanup(f->multi);
    curl_global_cleanup();
    free(f);
}

void fm_fetch_fini(struct fm_fetch *it)
{
    fm_buf_fini(&it->answer);
}

/* ---- a request ---- */

static size_t on_bytes(char *bytes, size_t size, size_t n, void *user)
{
    struct fm_fetch *it = user;
    if (size * n > it->answer_max - it->answer.n) {
        it->too_large = true;
        return 0; /* ends the transfer with an error */
    }
    fm_buf_put(&it->answer, bytes, size * n);
    return it->answer.failed ? 0 : size * n;
}

static bool list_add(struct fm_fetch *it, const char *line)
{
    struct curl_slist *longer = curl_slist_append(it->list, line);
    if (longer)
        it->list = longer;
    return longer != NULL;
}

static bool set_up(CURL *easy, struct fm_fetch *it)
{
    bool system_ca = !it->ca || !*it->ca;
    if (!list_add(it, "Expect:")) /* without this curl waits for 100 Continue before it sends a large body */
        return false;
    for (size_t i = 0; it->headers && it->headers[i]; i++)
        if (!list_add(it, it->headers[i]))
            return false;
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_URL, it->url);
    rc |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    rc |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    rc |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    rc |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a look-up of a name that hangs must not hold up the end */
    rc |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)it->timeout_ms);
    rc |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)it->timeout_ms);
    rc |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "fanmesh/" FM_VERSION);
    rc |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, (struct curl_slist *)it->list);
    rc |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, it->why);
    rc |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    rc |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, it);
    rc |= curl_easy_setopt(easy, CURLOPT_PRIVATE, it);
    if (!system_ca) {
        rc |= curl_easy_setopt(easy, CURLOPT_CAINFO, it->ca);
        rc |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        rc |= curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* the file may change */
    }
    if (!it->proxy || strcmp(it->proxy, "environment") != 0)
        rc |= curl_easy_setopt(easy, CURLOPT_PROXY, it->proxy ? it->proxy : "");
    if (it->body.p) {
        rc |= curl_easy_setopt(easy, CURLOPT_POST, 1L);
        rc |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)it->body.n);
        rc |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, it->body.p);
    }
    return rc == CURLE_OK;
}

enum fm_err fm_fetch_start(struct fm_fetcher *f, struct fm_fetch *it)
{
    CURL *easy = curl_easy_init();
    it->easy = easy;
    it->list = NULL;
    it->why[0] = 0;
    it->answer.n = 0;
    it->too_large = false;
    if (!easy || !set_up(easy, it) || curl_multi_add_handle(f->multi, easy) != CURLM_OK) {
        curl_slist_free_all(it->list);
        curl_easy_cleanup(easy);
        it->easy = it->list = NULL;
        return FM_E_NOMEM;
    }
    it->next = f->under_way;
    it->link = &f->under_way;
    if (it->next)
        it->next->link = &it->next;
    f->under_way = it;
    return FM_OK;
}

static enum fm_fetch_end end_of(const struct fm_fetch *it, CURLcode rc)
{
    long sent = 0;
    if (rc == CURLE_OK)
        return FM_FETCH_ANSWERED;
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return FM_FETCH_TIMEOUT;
    if (it->too_large)
        return FM_FETCH_TOO_LARGE;
    curl_easy_getinfo(it->easy, CURLINFO_REQUEST_SIZE, &sent);
    return sent > 0 ? FM_FETCH_BROKEN : FM_FETCH_UNSENT;
}

static void finish(struct fm_fetcher *f, struct fm_fetch *it, CURLcode rc)
{
    long status = 0;
    curl_off_t took = 0;
    it->end = end_of(it, rc);
    curl_easy_getinfo(it->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(it->easy, CURLINFO_TOTAL_TIME_T, &took);
    it->status = (unsigned)status;
    it->took_us = (uint64_t)took;
    if (rc != CURLE_OK && !it->why[0])
        snprintf(it->why, sizeof it->why, "%s", curl_easy_strerror(rc));
    if (it->end == FM_FETCH_TOO_LARGE)
        snprintf(it->why, sizeof it->why, "the answer has more than %zu bytes", it->answer_max);
    take(f, it);
    it->done(it); /* it may be gone after this */
}

void fm_fetcher_run(struct fm_fetcher *f)
{
    int running, left;
    CURLMsg *msg;
    curl_multi_perform(f->multi, &running);
    while ((msg = curl_multi_info_read(f->multi, &left))) {
        char *it = NULL;
        CURLcode rc = msg->data.result; /* the message is gone with its handle */
        if (msg->msg != CURLMSG_DONE || curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &it) != CURLE_OK || !it)
            continue;
        finish(f, (struct fm_fetch *)(void *)it, rc);
    }
}

void fm_fetcher_wait(struct fm_fetcher *f, int fd, uint32_t ms)
{
    struct curl_waitfd bell = {.fd = fd, .events = CURL_WAIT_POLLIN};
    curl_multi_poll(f->multi, &bell, 1, (int)ms, NULL);
}

/* ---- URLs ---- */

/* A name such as 127.0.0.1.example.org is none. */
static bool host_is_loopback(const char *host)
{
    struct fm_ip ip;
    bool v4 = fm_ip_read(fm_slice_str(host), &ip) == FM_OK && fm_ip_is_v4(&ip) && ip.b[12] == 127;
    return v4 || strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static const char *parts_check(CURLU *u, bool *loopback)
{
    char *scheme = NULL, *host = NULL, *user = NULL, *password = NULL, *fragment = NULL;
    const char *why = NULL;
    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    curl_url_get(u, CURLUPART_HOST, &host, 0);
    curl_url_get(u, CURLUPART_USER, &user, 0);
    curl_url_get(u, CURLUPART_PASSWORD, &password, 0);
    curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0);
    if (!scheme || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        why = "it must begin with http:// or https://";
    else if (user || password)
        why = "it must not hold a user or password, which would stand in logs; requests are signed instead";
    else if (fragment)
        why = "it must not hold a `#`";
    *loopback = host && host_is_loopback(host);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(password);
    curl_free(fragment);
    return why;
}

const char *fm_fetch_url_check(const char *url, bool *loopback)
{
    *loopback = false;
    CURLU *u = curl_url();
    if (!u)
        return "out of memory";
    const char *why = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK
                          ? parts_check(u, loopback)
                          : "it is no URL; give one such as https://app.example.org/fanmesh";
    curl_url_cleanup(u);
    return why;
}
