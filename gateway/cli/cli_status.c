/* status: what one node knows of the cluster, and what it does, as plain tables. */
#include "cli_http.h"
#include "cli_table.h"
#include "cli_tables.h"
#include "../json/json_slice.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEPTH_MAX = 64, TEXT_MAX = 80 };

/* The columns: title, what stands in it, on which side. The legend under the table is made from it. */
#define STATUS_COLUMNS(X) \
    X(NODE, false, "") \
    X(STATE, false, "") \
    X(READY, false, "") \
    X(HEARD, true, "how long ago") \
    X(CLIENTS, true, "connected to it") \
    X(BEHIND, true, "messages of the asked node that it has not confirmed") \
    X(MISSING, true, "messages that it knows of and is fetching") \
    X(REPAIRED, true, "messages that it had to fetch") \
    X(DROPPED, true, "packets of the mesh that a full queue dropped; they are fetched") \
    X(GAPS, true, "losses that its clients were told") \
    X(SLOW, true, "times that a client was too slow") \
    X(MESH, false, "")

enum column {
#define X(name, right, legend) COLUMN_##name,
    STATUS_COLUMNS(X)
#undef X
        COLUMNS
};

static const struct fm_table_column columns[] = {
#define X(name, right, legend) {#name, right},
    STATUS_COLUMNS(X)
#undef X
};

static const char *const legends[] = {
#define X(name, right, legend) legend,
    STATUS_COLUMNS(X)
#undef X
};

struct row {
    char at[COLUMNS][TEXT_MAX];
};

/* A member as text for people: strings without quotes, control characters replaced, anything else as it stands; "-" if it is not there. */
static void member(const struct fm_json *object, const char *name, char out[TEXT_MAX])
{
    struct fm_json value;
    struct fm_slice text;
    char space[TEXT_MAX];
    snprintf(out, TEXT_MAX, "-");
    if (!fm_json_get(object, fm_slice_str(name), &value))
        return;
    text = value.raw;
    if (value.type == FM_JSON_STRING && fm_json_text(&value, space, sizeof space - 1, &text) != FM_OK)
        return;
    if (text.n == 0 || text.n >= TEXT_MAX)
        return;
    for (size_t i = 0; i < text.n; i++)
        out[i] = (char)fm_shown(text.p[i]);
    out[text.n] = 0;
}

static bool is_true(const struct fm_json *object, const char *name)
{
    struct fm_json value;
    return fm_json_get(object, fm_slice_str(name), &value) && value.type == FM_JSON_TRUE;
}

static bool says(const struct fm_json *object, const char *name, const char *text)
{
    struct fm_json value;
    return fm_json_get(object, fm_slice_str(name), &value) && fm_json_is(&value, fm_slice_str(text));
}

static bool is_heard(const struct fm_json *peer)
{
    return says(peer, "state", "up") || says(peer, "state", "suspect");
}

/* It was heard just now, but nothing can come any more: it may have died a moment ago. */
static bool is_cut(const struct fm_json *peer)
{
    return is_heard(peer) && !is_true(peer, "linked");
}

static void ago(const struct fm_json *peer, char out[TEXT_MAX])
{
    struct fm_json value;
    uint64_t ms;
    snprintf(out, TEXT_MAX, "-");
    if (!fm_json_get(peer, FM_LIT("heard_ms_ago"), &value) || fm_json_u64(&value, UINT64_MAX, &ms) != FM_OK)
        return;
    fm_ms_text(out, TEXT_MAX, ms);
}

static void row_begin(const struct fm_json *node, bool heard, struct row *r)
{
    static const struct {
        enum column column;
        const char *name;
    } of_load[] = {{COLUMN_CLIENTS, "clients"}, {COLUMN_MISSING, "missing"}, {COLUMN_REPAIRED, "repaired"},
                   {COLUMN_DROPPED, "dropped"}, {COLUMN_GAPS, "gaps"},       {COLUMN_SLOW, "slow"}};
    struct fm_json load;
    for (size_t i = 0; i < COLUMNS; i++)
        snprintf(r->at[i], TEXT_MAX, "-");
    member(node, "name", r->at[COLUMN_NODE]);
    member(node, "mesh", r->at[COLUMN_MESH]);
    if (!heard || !fm_json_get(node, FM_LIT("load"), &load))
        return;
    for (size_t i = 0; i < sizeof of_load / sizeof of_load[0]; i++)
        member(&load, of_load[i].name, r->at[of_load[i].column]);
}

static void self_row(const struct fm_json *self, bool deaf, struct row *r)
{
    row_begin(self, true, r);
    snprintf(r->at[COLUMN_STATE], TEXT_MAX, "asked");
    snprintf(r->at[COLUMN_READY], TEXT_MAX, "%s",
             is_true(self, "draining") ? "draining"
             : !is_true(self, "ready") ? "no"
             : deaf                    ? "deaf"
                                       : "yes");
}

/* What it said of itself; of one that is late, or gone, nobody knows. */
static void peer_row(const struct fm_json *peer, struct row *r)
{
    bool known = says(peer, "state", "up") && !is_cut(peer);
    row_begin(peer, known, r);
    member(peer, "state", r->at[COLUMN_STATE]);
    if (is_cut(peer))
        snprintf(r->at[COLUMN_STATE], TEXT_MAX, "link lost");
    if (known)
        snprintf(r->at[COLUMN_READY], TEXT_MAX, "%s", is_true(peer, "draining") ? "draining" : is_true(peer, "ready") ? "yes" : "no");
    ago(peer, r->at[COLUMN_HEARD]);
    member(peer, "lag", r->at[COLUMN_BEHIND]);
}

static void legend_print(struct fm_buf *out)
{
    fm_buf_u8(out, '\n');
    for (size_t c = 0; c < COLUMNS; c++)
        if (*legends[c])
            fm_buf_printf(out, "%-8s  %s\n", columns[c].title, legends[c]);
}

/* ---- metrics ---- */

/* Sum of a metric's series in the Prometheus text: `name value` or `name{labels} value`. The worker of the API serves no clients: its
 * connections are calls like this one. Returns how many there were. */
static unsigned metric_sum(struct fm_slice text, const char *name, double *sum)
{
    const char *p = (const char *)text.p, *end = p + text.n, *nl;
    size_t n = strlen(name);
    unsigned found = 0;
    *sum = 0;
    for (; p < end; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl)
            break;
        size_t len = (size_t)(nl - p);
        if (len <= n || memcmp(p, name, n) != 0 || (p[n] != ' ' && p[n] != '{'))
            continue;
        if (memmem(p, len, "worker=\"internal\"", 17))
            continue;
        const char *space = memrchr(p, ' ', len);
        char number[64], *rest;
        snprintf(number, sizeof number, "%.*s", space ? (int)(nl - space - 1) : 0, space ? space + 1 : "");
        double value = strtod(number, &rest);
        if (rest != number) {
            *sum += value;
            found++;
        }
    }
    return found;
}

/* ---- the nodes ---- */

struct nodes {
    struct row rows[FM_PEERS_MAX + 1];
    size_t n;
    unsigned n_others, lost, cut, unready, left; /* other nodes, by state */
    bool ready, draining;                        /* this one */
};

static bool nodes_read(struct nodes *t, struct fm_slice answer, bool deaf)
{
    struct fm_json root, self, peers, peer;
    if (fm_json_parse(answer, DEPTH_MAX, &root, NULL) || !fm_json_get(&root, FM_LIT("self"), &self) ||
        !fm_json_get(&root, FM_LIT("peers"), &peers))
        return false;
    *t = (struct nodes){.n = 1, .ready = is_true(&self, "ready"), .draining = is_true(&self, "draining")};
    self_row(&self, deaf, &t->rows[0]);
    for (struct fm_json_walk w = fm_json_walk_of(&peers); t->n < FM_PEERS_MAX + 1 && fm_json_next(&w, NULL, &peer);) {
        if (says(&peer, "state", "left")) {
            t->left++;
            continue;
        }
        t->n_others++;
        if (!is_heard(&peer))
            t->lost++;
        else if (is_cut(&peer))
            t->cut++;
        else if (!is_true(&peer, "ready") || is_true(&peer, "draining"))
            t->unready++;
        peer_row(&peer, &t->rows[t->n++]);
    }
    return true;
}

/* What is wrong, a line each; nothing if all is well. */
static void print_wrong(struct fm_buf *out, const struct nodes *t, struct fm_slice metrics, bool deaf)
{
    double sum;
    if (t->draining)
        fm_buf_str(out, "DRAINING: this node shuts down\n");
    else if (!t->ready)
        fm_buf_str(out, "NOT READY: this node is still taking over the cluster's state\n");
    if (deaf)
        fm_buf_str(out, "DEAF: this node does not hear what it sends to itself; /readyz and its log say which part\n");
    if (metric_sum(metrics, "fanmesh_mesh_isolated", &sum) && sum > 0)
        fm_buf_str(out, "ISOLATED: this node reaches no other; what it accepts reaches them after they are back\n");
    if (t->lost)
        fm_buf_printf(out, "%u of %u other nodes out of reach\n", t->lost, t->n_others);
    if (t->cut)
        fm_buf_printf(out, "%u of %u other nodes just lost the link; they are dialled again, and down if they stay silent for down_ms\n",
                      t->cut, t->n_others);
    if (t->unready)
        fm_buf_printf(out, "%u of %u other nodes not ready, or shutting down\n", t->unready, t->n_others);
}

static bool is_deaf(struct fm_slice metrics)
{
    double sum;
    unsigned parts = metric_sum(metrics, "fanmesh_probe_ok", &sum);
    return parts > 0 && sum < parts;
}

static void print_nodes(struct fm_buf *out, const struct nodes *t, const struct fm_buf *wrong)
{
    struct fm_table table = {.columns = columns, .n = COLUMNS};
    if (wrong->n) {
        fm_buf_slice(out, fm_buf_view(wrong));
        fm_buf_u8(out, '\n');
    }
    for (size_t i = 0; i < t->n; i++)
        for (size_t c = 0; c < COLUMNS; c++)
            fm_table_cell(&table, fm_slice_str(t->rows[i].at[c]));
    fm_table_print(&table, out);
    fm_table_fini(&table);
    if (t->left)
        fm_buf_printf(out, "(not listed: %u that left or were started anew; /api/cluster has them)\n", t->left);
    legend_print(out);
}

/* {"well":BOOL,"wrong":["..."],"cluster":THE ANSWER OF /api/cluster} */
static void print_json(struct fm_buf *out, const struct fm_buf *wrong, struct fm_slice cluster)
{
    const char *p = (const char *)wrong->p, *end = p + wrong->n, *nl, *comma = "";
    fm_buf_printf(out, "{\"well\":%s,\"wrong\":[", wrong->n ? "false" : "true");
    for (; p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1, comma = ",") {
        fm_buf_str(out, comma);
        fm_buf_json(out, fm_slice_of(p, (size_t)(nl - p)));
    }
    fm_buf_str(out, "],\"cluster\":");
    while (cluster.n && cluster.p[cluster.n - 1] == '\n')
        cluster.n--;
    fm_buf_slice(out, cluster);
    fm_buf_str(out, "}\n");
}

/* ---- what it does ---- */

static void print_counters(struct fm_buf *out, struct fm_slice metrics)
{
    static const struct {
        const char *metric, *text;
        double by;
    } lines[] = {
        {"fanmesh_subscriptions", "channels open", 1},
        {"fanmesh_topics", "topics known", 1},
        {"fanmesh_published_total", "messages accepted here", 1},
        {"fanmesh_deliveries_total", "deliveries to clients", 1},
        {"fanmesh_slow_skipped_total", "messages left out for slow clients, told to them as gaps", 1},
        {"fanmesh_slow_disconnects_total", "slow clients disconnected", 1},
        {"fanmesh_mesh_links_refused_total", "links of the mesh refused: another secret, cluster or version", 1},
        {"fanmesh_mesh_dials_ended_total", "dials ended by the other side before it said anything: compare secret and cluster", 1},
        {"fanmesh_log_bytes", "KiB in logs and histories", 1024},
        {"process_resident_memory_bytes", "KiB of memory", 1024},
    };
    fm_buf_str(out, "\nThe asked node alone, since its start:\n");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        double sum;
        if (metric_sum(metrics, lines[i].metric, &sum))
            fm_buf_printf(out, "%12.0f  %s\n", sum / lines[i].by, lines[i].text);
    }
}

/* False: this is not the answer of a node. */
static bool report(const struct fm_status_options *o, struct fm_slice cluster, struct fm_slice metrics, struct fm_buf *out, bool *well)
{
    struct nodes t;
    struct fm_buf wrong = {0};
    bool deaf = is_deaf(metrics);
    if (!nodes_read(&t, cluster, deaf))
        return false;
    print_wrong(&wrong, &t, metrics, deaf);
    *well = wrong.n == 0 && !wrong.failed;
    out->failed |= wrong.failed;
    if (o->json) {
        print_json(out, &wrong, cluster);
    } else {
        print_nodes(out, &t, &wrong);
        print_counters(out, metrics);
    }
    fm_buf_fini(&wrong);
    return true;
}

static enum fm_exit status(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    (void)args;
    const struct fm_status_options *o = set->base;
    struct fm_call cluster = {FM_CALL_OF(o), .path = "/api/cluster"};
    struct fm_call metrics = {FM_CALL_OF(o), .path = "/metrics"};
    struct fm_buf out = {0};
    enum fm_exit code = FM_EXIT_FAILED;
    bool well = false;
    if (fm_call(command, &cluster) && fm_call(command, &metrics)) {
        if (report(o, fm_buf_view(&cluster.answer), fm_buf_view(&metrics.answer), &out, &well)) {
            code = fm_cli_print(command, &out);
            if (o->check && !well)
                code = FM_EXIT_FAILED;
        } else {
            fm_cli_complain(command, "the answer is not what a fanmesh node says of its cluster; is this the address of its API?");
        }
    }
    fm_buf_fini(&out);
    fm_call_fini(&cluster);
    fm_call_fini(&metrics);
    return code;
}

enum fm_exit fm_run_status(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_status_options o = {0};
    return fm_cli_run(command, argc, argv, &o, 0, status);
}
