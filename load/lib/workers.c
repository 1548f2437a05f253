/* The processes beside the leader. */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_NS = 100 * 1000000 };

/* ---- the leader's side ---- */

static bool child_make(struct fm_run *r, enum fm_role role, uint32_t self)
{
    pid_t leader = getpid(), pid = fork();
    if (pid < 0) {
        fm_run_complain("--processes", strerror(errno));
        return false;
    }
    if (pid > 0) {
        r->children[r->children_n++] = pid;
        return true;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left behind */
    if (getppid() != leader)
        _exit(1);
    signal(SIGINT, SIG_IGN); /* the leader says when it is over */
    signal(SIGTERM, SIG_IGN);
    r->role = role;
    r->self = self;
    r->share = &r->board->shares[self];
    r->children_n = 0;
    return true;
}

bool fm_run_fork(struct fm_run *r)
{
    uint32_t n = (uint32_t)r->options.processes;
    bool good = true;
    for (uint32_t i = 1; good && i < n && r->role == FM_ROLE_LEADER; i++)
        good = child_make(r, FM_ROLE_WORKER, i);
    if (good && r->options.storm && r->role == FM_ROLE_LEADER)
        good = child_make(r, FM_ROLE_STORM, n);
    return good;
}

bool fm_run_others_live(struct fm_run *r, uint64_t now_ns)
{
    if (now_ns - r->looked_ns < LOOK_NS || r->child_died)
        return !r->child_died;
    r->looked_ns = now_ns;
    for (uint32_t i = 0; i < r->children_n; i++)
        r->child_died |= waitpid(r->children[i], NULL, WNOHANG) != 0;
    if (r->child_died)
        fprintf(stderr, "fanmesh-load: one of its processes ended before the run did: nothing is proven\n");
    return !r->child_died;
}

bool fm_run_others_end(struct fm_run *r)
{
    bool good = !r->child_died;
    for (uint32_t i = 0; i < r->children_n && good; i++) {
        int status;
        good = waitpid(r->children[i], &status, 0) == r->children[i] && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    if (!good && !r->child_died)
        fprintf(stderr, "fanmesh-load: one of its processes did not end well: nothing is proven\n");
    return good;
}

/* ---- a worker ---- */

/* A chat's: it publishes by itself. */
static void speak(struct fm_run *r, enum fm_phase phase, uint64_t now, uint64_t *settling_ns)
{
    if (phase < FM_PHASE_PUBLISH)
        return;
    if (phase == FM_PHASE_SETTLE && !*settling_ns) {
        fm_publisher_stop(r->publisher);
        *settling_ns = now;
    }
    fm_publisher_tick(r->publisher, now);
    r->share->published = fm_publisher_done(r->publisher);
    if (!*settling_ns)
        return;
    if (r->last_ns > *settling_ns)
        *settling_ns = r->last_ns;
    if (fm_run_complete(r) || now - *settling_ns > fm_run_settle_ns(r))
        r->share->settled = true;
}

static void measure(void *ctx, uint64_t due_ns)
{
    struct fm_run *r = ctx;
    atomic_store(&r->share->times.measure_ns, due_ns);
}

int fm_run_work(struct fm_run *r)
{
    uint64_t settling_ns = 0;
    enum fm_phase phase;
    if (!fm_run_set_up(r, measure))
        return 1;
    while ((phase = r->board->phase) != FM_PHASE_JUDGE) {
        uint64_t now = fm_run_step(r);
        if (!r->common)
            speak(r, phase, now, &settling_ns);
    }
    if (r->common) {
        if (fm_board_follow(r->board, r->ledgers, &r->followed))
            return 1;
        fm_board_fates(r->board, r->ledgers, &r->share->part.tally);
    }
    fm_run_judge(r);
    return 0;
}

/* ---- the storm ---- */

/* All are cut off, so many a second, or at once. */
static void storm_cut(struct fm_run *r, uint32_t n)
{
    uint64_t rate = r->options.storm_rate, began = fm_mono_ns(), now = began;
    uint32_t cut = 0;
    while (cut < n && r->board->phase != FM_PHASE_JUDGE) {
        double due = rate ? (double)(now - began) * 1e-9 * (double)rate : n;
        uint32_t want = due < n ? (uint32_t)due : n;
        uint32_t got = fm_fleet_cut(r->fleet, cut, want - cut);
        cut += got;
        now = fm_run_step(r);
    }
}

static void storm_await(struct fm_run *r, uint32_t n)
{
    uint64_t began = fm_mono_ns(), now = began;
    while (fm_fleet_stats(r->fleet)->joined < n && now - began < r->options.connect_ms * 1000000u && r->board->phase != FM_PHASE_JUDGE)
        now = fm_run_step(r);
}

int fm_run_storm(struct fm_run *r)
{
    uint32_t n = (uint32_t)r->options.storm_connections;
    unsigned kind = r->options.storm;
    if (!fm_run_set_up(r, measure))
        return 1;
    fm_fleet_hold(r->fleet, kind == FM_STORM_CONNECT);
    while (r->board->storm == FM_STORM_WAIT && r->board->phase != FM_PHASE_JUDGE)
        fm_run_step(r);
    r->share->part.joins = (struct fm_hdr){0};
    fm_fleet_rate(r->fleet, kind == FM_STORM_CONNECT ? (uint32_t)r->options.storm_rate : 0);
    fm_fleet_hold(r->fleet, kind == FM_STORM_DISCONNECT);
    for (uint64_t i = 0; i < r->options.storm_rounds; i++) {
        if (kind != FM_STORM_CONNECT || i > 0)
            storm_cut(r, n);
        if (kind != FM_STORM_DISCONNECT)
            storm_await(r, n);
    }
    r->board->storm = FM_STORM_DONE;
    while (r->board->phase != FM_PHASE_JUDGE)
        fm_run_step(r);
    fm_run_judge(r);
    return 0;
}
