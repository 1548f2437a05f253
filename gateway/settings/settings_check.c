/* Settings that make no sense together stop the start: one sentence each, naming the options and the reason. Nothing is said of an option
 * whose own value is wrong already; and that something is missing only where no other mistake may be why. */
#include "settings.h"

#include "../../broker/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

enum { REPAIR_RATE_MIN = 64 << 10, API_KEY_MIN = 8 };

struct check {
    struct fm_report *report;
    const struct fm_settings *s;
    struct fm_option_set *set;
    bool flawless; /* up to here */
};

static bool good(const struct check *c, const char *option)
{
    return !fm_option_from(c->set, option)->bad;
}

static bool is_loopback(const char *text)
{
    struct fm_address a;
    return fm_address_read(text, &a) == FM_OK && fm_address_loopback(&a);
}

/* ---- addresses ---- */

struct listener {
    const char *option, *text;
    struct fm_address at;
};

static bool collide(const struct listener *a, const struct listener *b)
{
    if (a->at.port != b->at.port)
        return false;
    return fm_address_wildcard(&a->at) || fm_address_wildcard(&b->at) || strcasecmp(a->at.host, b->at.host) == 0;
}

static void check_listeners(const struct check *c)
{
    const struct fm_settings *s = c->s;
    bool mesh = fm_option_given(s->mesh_listen);
    struct listener l[4] = {{"listen", s->listen, {{0}, 0}},
                            {"api_listen", s->api_listen, {{0}, 0}},
                            {"mesh_listen", s->mesh_listen, {{0}, 0}},
                            {"mesh_ask_listen", mesh ? s->mesh_ask_listen : "none", {{0}, 0}}};
    size_t n = 0;
    for (size_t i = 0; i < 4; i++) {
        if (good(c, l[i].option) && fm_option_given(l[i].text) && fm_address_read(l[i].text, &l[i].at) == FM_OK)
            l[n++] = l[i];
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (collide(&l[j], &l[i]))
                fm_report_error(c->report, l[i].option, "%s collides with %s = %s; give each its own port", l[i].text, l[j].option,
                                l[j].text);
    if (c->flawless && !s->in_program && !fm_option_given(s->listen) && !fm_option_given(s->api_listen))
        fm_report_error(c->report, NULL, "listen and api_listen are both none, so nobody could reach this node; give one of them");
}

/* All of the three, or none. */
static void check_mesh_tls(const struct check *c)
{
    const struct fm_settings *s = c->s;
    const char *const all[][2] = {{"mesh_tls_ca", s->mesh_tls_ca}, {"mesh_tls_cert", s->mesh_tls_cert}, {"mesh_tls_key", s->mesh_tls_key}};
    const char *there = *all[0][1] ? all[0][0] : *all[1][1] ? all[1][0] : all[2][0];
    bool any = *all[0][1] || *all[1][1] || *all[2][1];
    for (size_t i = 0; any && i < 3 && c->flawless; i++)
        if (!*all[i][1])
            fm_report_error(c->report, all[i][0],
                            "there is %s and no %s; TLS on the mesh needs mesh_tls_ca, mesh_tls_cert and mesh_tls_key", there, all[i][0]);
}

static void check_mesh(const struct check *c)
{
    const struct fm_settings *s = c->s;
    if (!fm_option_given(s->mesh_listen)) {
        if (s->join.n && good(c, "mesh_listen") && good(c, "join"))
            fm_report_error(c->report, "join", "there are nodes to join, but mesh_listen is none; give the mesh an address");
        return;
    }
    const char *const listens[] = {"mesh_listen", s->mesh_listen, "mesh_ask_listen", s->mesh_ask_listen};
    check_mesh_tls(c);
    for (size_t i = 0; i < 4 && c->flawless && !*s->secret && !*s->mesh_tls_ca; i += 2)
        if (!is_loopback(listens[i + 1]))
            fm_report_error(c->report, listens[i],
                            "%s is not a loopback address, and there is no secret: the mesh would be open to everyone; give all nodes the "
                            "same secret_file, or certificates (mesh_tls_ca)",
                            listens[i + 1]);
    if (!*s->mesh_advertise && c->flawless)
        fm_report_error(c->report, "mesh_advertise", "mesh_listen = %s is no address that other nodes can dial; say which one they can",
                        s->mesh_listen);
    struct fm_address a;
    if (*s->mesh_advertise && fm_address_read(s->mesh_advertise, &a) == FM_OK && fm_address_wildcard(&a))
        fm_report_error(c->report, "mesh_advertise", "%s is no address that other nodes can dial", s->mesh_advertise);
    if (strlen(s->mesh_ask_advertise) > 63)
        fm_report_error(c->report, "mesh_ask_advertise", "the address has more than 63 bytes; give a shorter name for this node");
}

/* ---- access ---- */

static void check_web_root(const struct check *c)
{
    const char *root = c->s->web_root;
    struct stat st;
    if (*root && (stat(root, &st) != 0 || !S_ISDIR(st.st_mode)))
        fm_report_error(c->report, "web_root", "%s is not a folder that this process can see; create it or leave the option out", root);
}

static void check_tls(const struct check *c)
{
    const struct fm_settings *s = c->s;
    if (s->tls_cert.n > s->tls_key.n)
        fm_report_error(c->report, "tls_key",
                        "there is no key for the certificate %s; give tls_key once for each tls_cert, in the same order",
                        s->tls_cert.at[s->tls_key.n]);
    if (s->tls_key.n > s->tls_cert.n)
        fm_report_error(c->report, "tls_cert",
                        "there is no certificate for the key %s; give tls_cert once for each tls_key, in the same order",
                        s->tls_key.at[s->tls_cert.n]);
}

/* One that is too short could be guessed, however long the others are. */
static void check_keys(const struct check *c)
{
    const char *p = c->s->api_key;
    while (*(p += strspn(p, " "))) {
        size_t n = strcspn(p, " ");
        if (n < API_KEY_MIN)
            fm_report_error(c->report, "api_key",
                            "one of the keys, which spaces and line ends separate, has %zu bytes; each must have at least %d", n,
                            API_KEY_MIN);
        p += n;
    }
}

static void check_mount(const struct check *c, const char *name, const char *mount)
{
    static const char *const taken[] = {"/api", "/healthz", "/readyz", "/metrics"};
    size_t n = strlen(mount);
    if (mount[0] != '/' || mount[n - 1] == '/' || strpbrk(mount, "?#%\\ \"'<>") || strstr(mount, "//"))
        fm_report_error(c->report, name, "%s is not a path such as /socket: it begins with `/`, ends without, and needs no escapes", mount);
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        size_t len = strlen(taken[i]);
        if (strncmp(mount, taken[i], len) == 0 && (mount[len] == 0 || mount[len] == '/'))
            fm_report_error(c->report, name, "%s is a path of the node itself; choose another", taken[i]);
    }
}

/* Where it is not, a star before `example.org` would take evil-example.org in. */
static bool is_star_whole(const char *origin)
{
    const char *star = strchr(origin, '*');
    if (!star || star == origin)
        return !star;
    bool port = star[-1] == ':' && star[1] == 0, host = star[-1] == '/' && star[1] == '.' && star[2];
    return !strchr(star + 1, '*') && (port || host);
}

static void check_access(const struct check *c)
{
    const struct fm_settings *s = c->s;
    check_keys(c);
    check_web_root(c);
    if (c->flawless)
        check_tls(c);
    if (c->flawless && fm_option_given(s->api_listen) && !*s->api_key) {
        if (!s->dev)
            fm_report_error(
                c->report, "api_key",
                "the API needs a key: give api_key_file or FANMESH_API_KEY, or api_listen = none, or use --dev to try things out");
        else if (!is_loopback(s->api_listen))
            fm_report_error(c->report, "api_listen", "%s is not a loopback address; even with --dev the API then needs an api_key",
                            s->api_listen);
    }
    if (good(c, "presence_ttl") && good(c, "presence_ttl_max") && s->presence_ttl > s->presence_ttl_max)
        fm_report_error(c->report, "presence_ttl", "it is longer than presence_ttl_max, the longest that there is");
    if (s->dev_api && !s->dev)
        fm_report_error(c->report, "dev_api", "it is for trying things out, with dev; a real node's API is where api_listen says");
    if (s->dev_api && s->dev && good(c, "listen") && !is_loopback(s->listen))
        fm_report_error(c->report, "dev_api",
                        "listen = %s is not a loopback address: the API would be open to the network; leave dev_api out", s->listen);
    check_mount(c, "mount", s->mount);
    if (fm_option_given(s->supabase_mount))
        check_mount(c, "supabase_mount", s->supabase_mount);
    for (size_t i = 0; i < s->origins.n; i++) {
        const char *o = s->origins.at[i], *host = strstr(o, "://");
        if (strcmp(o, "*") != 0 && (!host || host == o || !host[3] || strchr(host + 3, '/')))
            fm_report_error(c->report, "origins", "%s is not an origin; write scheme and host, such as https://app.example.org", o);
        else if (strcmp(o, "*") != 0 && !is_star_whole(o))
            fm_report_error(c->report, "origins",
                            "%s: a `*` stands for whole parts of a host, or for the port, and only once: https://*.example.org, "
                            "http://localhost:*",
                            o);
    }
    fm_auth_settings_check(c->set, s);
    if (c->flawless && !fm_rules_at(s->rules, 0))
        fm_report_warning(c->report, NULL, "there is no [topic] rule, so every join and publish will be refused");
}

/* ---- sizes and times that depend on each other ---- */

static uint64_t value_of(const struct check *c, const char *name)
{
    const struct fm_option *o = fm_option_find(fm_options, FM_OPTIONS_N, name);
    return *(const uint64_t *)((const char *)c->s + o->offset);
}

static void print_pair(struct fm_buf *b, const struct check *c, const char *name)
{
    fm_buf_printf(b, "%s = ", name);
    fm_option_print(b, fm_option_find(fm_options, FM_OPTIONS_N, name), c->s);
}

/* `low` times `times` must not be above (with strict: must be below) `high`. */
static void check_order(const struct check *c, const char *low, unsigned times, bool strict, const char *high, const char *why)
{
    if (!good(c, low) || !good(c, high))
        return;
    uint64_t a = value_of(c, low), b = value_of(c, high);
    struct fm_buf text = {0};
    if (__builtin_mul_overflow(a, times, &a))
        a = UINT64_MAX;
    if (a < b || (!strict && a == b))
        return;
    print_pair(&text, c, low);
    fm_buf_str(&text, strict ? " must be below " : " must not exceed ");
    if (times > 1)
        fm_buf_printf(&text, "1/%u of ", times);
    print_pair(&text, c, high);
    fm_report_error(c->report, NULL, "%.*s: %s; lower %s or raise %s", (int)text.n, (const char *)text.p, why, low, high);
    fm_buf_fini(&text);
}

static const char forgotten_too_soon[] =
    "a dead node would be named to nobody any more while its messages are still kept; a node that starts then would lack them unknowingly";

/* {user} stands in it once, and nothing else in braces. */
static void check_user_topic(const struct check *c)
{
    const char *text = c->s->user_topic, *at = strstr(text, "{user}");
    if (good(c, "user_topic") && (!at || strpbrk(at + 6, "{}*") || strcspn(text, "{}*") != (size_t)(at - text)))
        fm_report_error(c->report, NULL, "user_topic = %s must hold {user} once, and no other brace and no `*`", text);
}

static void check_limits(const struct check *c)
{
    check_order(c, "message_max", 1, false, "api_body_max", "a call could not carry the largest message");
    check_order(c, "message_max", 2, false, "api_request_bytes", "a call could not hold the largest message");
    check_order(c, "message_max", 1, false, "outbox_bytes", "one message would end every socket that it can't be sent to at once");
    check_order(c, "message_max", 2, false, "worker_inbox_bytes", "a worker could hold one message only");
    check_order(c, "message_max", 2, false, "hub_inbox_bytes", "the hub could hold one message only");
    check_order(c, "message_max", 2, false, "log_bytes", "a message would be gone before it could be repaired");
    check_order(c, "log_bytes", 1, false, "memory_bytes", "the log of one node must fit into the memory for all");
    check_order(c, "heartbeat_ms", 2, false, "down_ms", "a node would be down after one late heartbeat");
    check_order(c, "repair_after_ms", 1, true, "gap_ms", "a hole would be declared before anyone was asked to fill it");
    check_order(c, "gap_ms", 1, true, "log_age", "messages would be gone before a hole in them could be filled");
    check_order(c, "log_age", 2, false, "cursor_ttl", forgotten_too_soon);
    if (good(c, "repair_rate") && c->s->repair_rate && c->s->repair_rate < REPAIR_RATE_MIN)
        fm_report_error(
            c->report, NULL,
            "repair_rate = %llu is less than one answer of another node holds, so that a hole would wait for longer than gap_ms; "
            "give at least 64KiB, or 0 for no limit",
            (unsigned long long)c->s->repair_rate);
    struct fm_rule *rule;
    for (size_t i = 0; (rule = fm_rules_at(c->s->rules, i)); i++) {
        char where[FM_TOPIC_MAX + 32];
        snprintf(where, sizeof where, "[topic \"%s\"]", rule->pattern);
        if (good(c, "message_max") && rule->message_max > c->s->message_max)
            fm_report_error(c->report, where, "message_max = %u exceeds the node's message_max = %llu, which would refuse such a message",
                            rule->message_max, (unsigned long long)c->s->message_max);
        if (good(c, "outbox_bytes") && rule->slow != FM_SLOW_DISCONNECT && rule->message_max > c->s->outbox_bytes / 2)
            fm_report_error(
                c->report, where,
                "message_max = %u exceeds 1/2 of outbox_bytes = %llu: under slow = drop or conflate two such messages would not "
                "fit, and clients that keep up would be taken for slow",
                rule->message_max, (unsigned long long)c->s->outbox_bytes);
        if (good(c, "memory_bytes") && rule->history.bytes > c->s->memory_bytes)
            fm_report_error(c->report, where, "history_bytes exceeds memory_bytes, which holds all histories of the node");
        if (good(c, "cursor_ttl") && rule->history.count && rule->history.age_ms > c->s->cursor_ttl / 2)
            fm_report_error(c->report, where, "history_age = %llus exceeds 1/2 of cursor_ttl = %llus: %s; raise cursor_ttl, or keep less",
                            (unsigned long long)rule->history.age_ms / 1000, (unsigned long long)c->s->cursor_ttl / 1000,
                            forgotten_too_soon);
    }
}

void fm_settings_check(struct fm_option_set *set, const struct fm_settings *s)
{
    const struct check c = {set->report, s, set, set->report->n_errors == 0};
    check_listeners(&c);
    check_mesh(&c);
    check_access(&c);
    check_limits(&c);
    check_user_topic(&c);
    fm_hook_settings_check(set, s);
}

/* ---- variables that nobody reads: only what looks like a slip is said, since the environment holds other people's as well (Kubernetes
 * makes FANMESH_SERVICE_HOST for a service of that name) ---- */

static const char *const client_options[] = {
#define X(group, type, name, min, max, def, help) #name,
    FM_OPTIONS_PUBLISH(X) FM_OPTIONS_SUBSCRIBE(X) FM_OPTIONS_STATUS(X) FM_OPTIONS_SIGN(X) FM_OPTIONS_DISCONNECT(X) FM_OPTIONS_REVOKE(X)
        FM_OPTIONS_TOPICS(X) FM_OPTIONS_CONNECTIONS(X)
#undef X
};

static void env_check_one(const char *name, size_t n, struct fm_report *report)
{
    static const char prefix[] = "FANMESH_";
    char option[64], shown[64];
    size_t at = sizeof prefix - 1, i = 0;
    for (; at + i < n && i < sizeof option - 1; i++) {
        char c = name[at + i];
        option[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    option[i] = 0;
    if (fm_option_find(fm_options, FM_OPTIONS_N, option))
        return;
    for (size_t k = 0; k < sizeof client_options / sizeof client_options[0]; k++)
        if (strcmp(option, client_options[k]) == 0)
            return;
    struct fm_option_set set = {fm_options, FM_OPTIONS_N, NULL, NULL, NULL, report};
    const char *near = fm_option_nearest(&set, option, false);
    if (*near)
        fm_report_warning(report, fm_diag_quote(shown, sizeof shown, name, n), "no option has this variable%s", near);
}

void fm_settings_env_check(char *const *env, struct fm_report *report)
{
    for (; env && *env; env++) {
        size_t n = strcspn(*env, "=");
        if (strncmp(*env, "FANMESH_", 8) == 0)
            env_check_one(*env, n, report);
    }
}
