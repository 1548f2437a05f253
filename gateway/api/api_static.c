/* Files under / on the public listener: a demo page and the browser client, not a web server. A few small files, read whole. What can be
 * asked for is narrow: plain path segments that don't begin with a dot, regular files, types of the table. */
#include "api_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 4 << 20, PATH_BYTES_MAX = 256 };

static const struct {
    const char *extension, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".txt", "text/plain; charset=utf-8"},
    {".woff2", "font/woff2"},
};

static const char *type_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(dot, types[i].extension) == 0)
            return types[i].type;
    return NULL;
}

/* The request's path as one relative to web_root: /a/b.js -> a/b.js, / -> index.html. False: not a path that is served. */
static bool relative_path(struct fm_slice path, char out[PATH_BYTES_MAX + 16])
{
    if (path.n == 0 || path.n > PATH_BYTES_MAX || path.p[0] != '/' || memchr(path.p, 0, path.n) || memchr(path.p, '\\', path.n))
        return false;
    for (size_t i = 0; i + 1 < path.n; i++)
        if (path.p[i] == '/' && (path.p[i + 1] == '.' || path.p[i + 1] == '/'))
            return false;
    memcpy(out, path.p + 1, path.n - 1);
    out[path.n - 1] = 0;
    if (path.p[path.n - 1] == '/')
        memcpy(out + path.n - 1, "index.html", sizeof "index.html");
    return true;
}

/* Reads a regular file whole. FM_E_NOT_FOUND, FM_E_TOO_LARGE, FM_E_IO, FM_E_NOMEM. */
static enum fm_err read_file(const char *root, const char *path, struct fm_buf *out)
{
    enum fm_err err = FM_E_NOT_FOUND;
    int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return FM_E_NOT_FOUND;
    /* NONBLOCK: opening a pipe that somebody left there must not stop the worker. */
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    close(dir);
    if (fd < 0)
        return FM_E_NOT_FOUND;
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        goto done;
    err = FM_E_TOO_LARGE;
    if (st.st_size > FILE_BYTES_MAX)
        goto done;
    err = FM_E_NOMEM;
    if (!fm_buf_reserve(out, (size_t)st.st_size + 1))
        goto done;
    err = FM_OK;
    while (out->n < (size_t)st.st_size) {
        ssize_t got = read(fd, out->p + out->n, (size_t)st.st_size - out->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            err = FM_E_IO; /* or it became shorter under our hands: half a file is no answer */
            break;
        }
        out->n += (size_t)got;
    }
done:
    close(fd);
    return err;
}

static void fail_not_found(struct fm_http_request *req, const char *root)
{
    fm_http_fail(req, FM_E_NOT_FOUND,
                 root ? "clients are served the files of web_root, the WebSocket endpoint, /healthz and /readyz here; the API is where "
                        "api_listen says"
                      : "clients are served the WebSocket endpoint, /healthz and /readyz here; the API is where api_listen says");
}

void fm_api_static(struct fm_http_request *req)
{
    const char *root = fm_api_of(req)->config.web_root;
    const struct fm_worker_config *w = fm_worker_config(req->worker);
    char path[PATH_BYTES_MAX + 16];
    /* Where a WebSocket is opened: such a request has mostly come through a proxy that leaves out what it asks with. */
    if (req->method == FM_HTTP_GET && fm_http_mounted(req, w->mount, w->supabase_mount, "/websocket")) {
        fm_http_fail_with(req, &(struct fm_http_error){.err = FM_E_UPGRADE,
                                                       .status = 426,
                                                       .headers = FM_LIT("Upgrade: websocket\r\n"),
                                                       .detail =
                                                           "it has no `Upgrade: websocket`; a proxy on the way has to hand that on, as the "
                                                           "samples in docs/deploy.md do"});
        return;
    }
    if (!root || !relative_path(req->path, path) || !type_of(path)) {
        fail_not_found(req, root);
        return;
    }
    if (req->method != FM_HTTP_GET && req->method != FM_HTTP_HEAD) {
        fm_http_fail_with(req, &(struct fm_http_error){.err = FM_E_METHOD, .headers = FM_LIT("Allow: GET, HEAD\r\n")});
        return;
    }
    struct fm_buf file = {0};
    enum fm_err err = read_file(root, path, &file);
    if (err == FM_E_NOT_FOUND)
        fail_not_found(req, root);
    else if (err)
        fm_http_fail_with(req, &(struct fm_http_error){.err = err, .status = err == FM_E_TOO_LARGE ? 500 : 0});
    else
        fm_http_respond(req, 200, type_of(path), FM_LIT("X-Content-Type-Options: nosniff\r\n"), fm_buf_view(&file));
    fm_buf_fini(&file);
}
