/* What the mesh carries and what it costs, without clients: hubs with their threads and the NNG mesh, each in a process of its own, one of
 * which publishes. Every message is checked at every node that subscribes, so a figure of a run that lost something is worth nothing. */
#include "../broker/diag.h"
#include "mesh_node.h"
#include "mesh_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ULL(x) ((unsigned long long)(x))

enum { GOOD, BROKEN, UNUSABLE };

static double ms(const struct fm_hdr *h, double percent)
{
    return (double)fm_hdr_percentile(h, percent) * 1e-6;
}

static bool good(const struct fm_mesh_options *o, const struct fm_mesh_report *r)
{
    return !atomic_load(&r->failed) && fm_mesh_check_good(&r->tally, o->messages);
}

/* ---- telling ---- */

static double seconds(const struct fm_mesh_options *o, const struct fm_mesh_shared *s)
{
    uint64_t last = 0;
    for (uint64_t i = 1; i < o->nodes; i++)
        last = s->at[i].last_ns > last ? s->at[i].last_ns : last;
    return last > s->begin_ns ? (double)(last - s->begin_ns) * 1e-9 : 0;
}

static double per_s(const struct fm_mesh_options *o, const struct fm_mesh_shared *s)
{
    double t = seconds(o, s);
    return t > 0 ? (double)o->messages / t : 0;
}

static double us(const struct fm_mesh_options *o, uint64_t ns)
{
    return (double)ns / 1000. / (double)o->messages;
}

static void node_text(const struct fm_mesh_options *o, const struct fm_mesh_report *r, uint64_t number)
{
    const struct fm_mesh_tally *t = &r->tally;
    printf("node %-2llu     %.3f us of CPU a message, and %.3f us in the bench itself", ULL(number), us(o, r->cost.node - r->cost.own),
           us(o, r->cost.own));
    if (r->latency.count)
        printf("; p50 %.3f ms, p99 %.3f ms, max %.3f ms", ms(&r->latency, 50), ms(&r->latency, 99), ms(&r->latency, 100));
    printf("\n");
#define X(name, prose) \
    if (r->name) \
        printf("            %llu %s\n", ULL(r->name), prose);
    FM_MESH_COUNTERS(X)
#undef X
    if (!good(o, r))
        printf("            BROKEN: %llu missing, %llu doubled, %llu disordered, %llu strange, %llu gaps, %llu overruns%s\n",
               ULL(o->messages - t->received), ULL(t->doubled), ULL(t->disordered), ULL(t->strange), ULL(t->gaps), ULL(t->overruns),
               atomic_load(&r->failed) ? ", and it failed" : "");
}

static void result_text(const struct fm_mesh_options *o, const struct fm_mesh_shared *s)
{
    printf("messages    %llu of %llu bytes from one node to %llu others in %.3f s: %.0f a second\n", ULL(o->messages), ULL(o->payload),
           ULL(o->nodes - 1), seconds(o, s), per_s(o, s));
    if (s->refused)
        printf("            %llu publishes were refused and tried again\n", ULL(s->refused));
    for (uint64_t i = 0; i < o->nodes; i++)
        node_text(o, &s->at[i], i);
}

static void node_json(const struct fm_mesh_options *o, const struct fm_mesh_report *r)
{
    const struct fm_mesh_tally *t = &r->tally;
    printf("{\"cpu_us\":%.4f,\"bench_cpu_us\":%.4f,\"received\":%llu,\"missing\":%llu,\"doubled\":%llu,\"disordered\":%llu,"
           "\"strange\":%llu,\"gaps_told\":%llu,\"overruns\":%llu",
           us(o, r->cost.node - r->cost.own), us(o, r->cost.own), ULL(t->received), ULL(o->messages - t->received), ULL(t->doubled),
           ULL(t->disordered), ULL(t->strange), ULL(t->gaps), ULL(t->overruns));
    if (r->latency.count)
        printf(",\"latency_ms\":{\"p50\":%.4f,\"p99\":%.4f,\"p99_9\":%.4f,\"max\":%.4f}", ms(&r->latency, 50), ms(&r->latency, 99),
               ms(&r->latency, 99.9), ms(&r->latency, 100));
#define X(name, prose) printf(",\"" #name "\":%llu", ULL(r->name));
    FM_MESH_COUNTERS(X)
#undef X
    printf("}");
}

static void result_json(const struct fm_mesh_options *o, const struct fm_mesh_shared *s, bool ok)
{
    printf("{\"good\":%s,\"nodes\":%llu,\"silent\":%llu,\"messages\":%llu,\"payload\":%llu,\"rate\":%llu,\"seconds\":%.4f,"
           "\"per_second\":%.1f,\"refused\":%llu,\"node\":[",
           ok ? "true" : "false", ULL(o->nodes), ULL(o->silent), ULL(o->messages), ULL(o->payload), ULL(o->rate), seconds(o, s),
           per_s(o, s), ULL(s->refused));
    for (uint64_t i = 0; i < o->nodes; i++) {
        printf(i ? "," : "");
        node_json(o, &s->at[i]);
    }
    printf("]}\n");
}

/* ---- running ---- */

static bool all_ready(const struct fm_mesh_options *o, struct fm_mesh_shared *s)
{
    bool ok = true;
    for (uint64_t i = 0; i < o->nodes; i++) {
        while (!atomic_load(&s->at[i].ready)) {
            if (waitpid(-1, NULL, WNOHANG) > 0)
                return false; /* none ends by itself */
            usleep(1000);
        }
        ok &= !atomic_load(&s->at[i].failed);
    }
    return ok;
}

static bool all_done(const struct fm_mesh_options *o, struct fm_mesh_shared *s)
{
    for (uint64_t i = 0; i < o->nodes; i++) {
        while (!atomic_load(&s->at[i].done)) {
            if (waitpid(-1, NULL, WNOHANG) > 0)
                return false;
            usleep(1000);
        }
    }
    return true;
}

static int run(const struct fm_mesh_options *o)
{
    struct fm_mesh_shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED) {
        perror("mesh-bench: memory to share");
        return UNUSABLE;
    }
    for (unsigned i = 0; i < o->nodes; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            fm_mesh_node_run(o, i, s);
            _exit(0);
        }
        if (pid < 0) {
            perror("mesh-bench: fork");
            atomic_store(&s->stop, true);
            return UNUSABLE;
        }
    }
    bool ran = all_ready(o, s), ok = true;
    if (ran) {
        atomic_store(&s->go, true);
        ran = all_done(o, s);
    }
    atomic_store(&s->stop, true);
    while (wait(NULL) > 0)
        ;
    if (!ran) {
        fprintf(stderr, "mesh-bench: a node could not be started, or ended early\n");
        return UNUSABLE;
    }
    for (uint64_t i = 0; i < o->nodes; i++)
        ok &= good(o, &s->at[i]);
    if (o->json)
        result_json(o, s, ok);
    else
        result_text(o, s);
    return ok ? GOOD : BROKEN;
}

static int simulate(const struct fm_mesh_options *o)
{
    struct fm_mesh_steps_result r = {0};
    enum fm_err err = fm_mesh_steps_run(o, &r);
    if (err) {
        fprintf(stderr, "mesh-bench: %s\n", fm_err_text(err));
        return BROKEN;
    }
    if (o->json)
        printf("{\"good\":true,\"messages\":%llu,\"envelopes\":%llu}\n", ULL(r.messages), ULL(r.envelopes));
    else
        printf("messages    %llu in %llu envelopes were counted\n", ULL(r.messages), ULL(r.envelopes));
    return GOOD;
}

int main(int argc, char **argv)
{
    static struct fm_mesh_options o;
    bool go;
    int result = fm_mesh_options_read(&o, argc - 1, argv + 1, &go);
    if (!go)
        return result;
    fm_diag_level_set(FM_WARN);
    return o.simulate ? simulate(&o) : run(&o);
}
