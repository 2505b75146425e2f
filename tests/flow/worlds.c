/* Worlds from seeds: client, turn, storage and sim in one process on fake time (world.h).
 *
 *   tests/flow/run [--seeds N] [--from S] [--all-fired]
 *                                             N worlds, then how often each fault fired
 *   tests/flow/run --seed S [--verbose]       one world, twice; with --verbose what happened in it
 *   tests/flow/run --faults all|sample …      fault loops (world_loops.h)
 *
 * Exits with 1 when an invariant broke (the seed is printed), when one seed gave two histories,
 * or when some fault never fired: in 250 worlds and more, with --all-fired in any number. */
#include "tests/flow/world_loops.h"

#include <signal.h>

#include "server/api/tools.h"
#include "tests/support/arguments.h"

#ifdef __SANITIZE_ADDRESS__
void __sanitizer_set_death_callback(void (*callback)(void));
static void on_death(void (*callback)(void)) { __sanitizer_set_death_callback(callback); }
#else
static void on_death(void (*callback)(void)) {}
#endif

static void live(struct town *w)
{
    int64_t until = w->now + 60 * 1000 + (int64_t)roll(w, 120 * 1000);
    int64_t fault_at = w->now + (int64_t)roll(w, 10000), every = 300 + (int64_t)roll(w, 9000);

    while (w->now < until && !w->violations) {
        world_pass(w, (int64_t)roll(w, 2500));
        traffic_act(w);
        if (chance(w, 60)) people_meet(w);
        calls_follow(w);
        streams_act(w);
        if (w->now >= fault_at) {
            plan_strike(w);
            fault_at = w->now + (int64_t)roll(w, (uint64_t)every);
        }
        world_settle(w);
    }
}

/* Two worlds in five; the others keep every event, and nobody may be told of a gap there. */
static bool is_tidy(uint64_t seed) { return seed % 5 == 0 || seed % 5 == 3; }

static uint64_t run_world(uint64_t seed, bool verbose, unsigned *out_violations)
{
    struct town *w = xcalloc(sizeof *w);

    world_begin(w, seed, verbose);
    if (is_tidy(seed)) {
        house_tidy(w);
        house_keep(w, 1000 + (int64_t)roll(w, 30000));
    }
    traffic_settle_in(w);
    live(w);
    if (!w->violations) world_settle_down(w);
    if (!w->violations) judge(w);
    if (!w->violations) judge_memory(w);
    world_end(w);
    uint64_t history = w->history;
    *out_violations = w->violations;
    free(w);
    return history;
}

/* ---- many ---- */

static bool returns_memory(uint64_t seed, size_t before)
{
    size_t missing = memory_missing(before);

    if (!missing) return true;
    printf("seed %llu: %zu bytes were not given back\n", (unsigned long long)seed, missing);
    return false;
}

static bool try_seed(uint64_t seed, bool verbose, bool single)
{
    enum { TWICE_EVERY = 23 };
    bool twice = single || seed % TWICE_EVERY == 0;
    size_t before = memory_in_use();
    unsigned violations;
    uint64_t history = run_world(seed, verbose, &violations);
    bool good = violations == 0 && returns_memory(seed, before);

    if (twice && good && run_world(seed, false, &violations) != history) {
        printf("seed %llu: one seed, two histories\n", (unsigned long long)seed);
        good = false;
    }
    if (verbose || single)
        printf("seed %llu: history %016llx\n", (unsigned long long)seed,
               (unsigned long long)history);
    if (!good)
        printf("replay with: tests/flow/run --seed %llu --verbose\n", (unsigned long long)seed);
    fflush(stdout);
    return good;
}

static void on_abort(int signal) { clock_obituary(); }

/* With a world that warms up: what is made once a process is made in it. */
static void start_process(void)
{
    unsigned violations;

    signal(SIGABRT, on_abort);
    on_death(clock_obituary);
    setvbuf(stdout, NULL, _IOLBF, 0);
    crypto_start();
    tools_start();
    run_world(0, false, &violations);
    if (violations) exit(1);
}

static const char usage[] = "run [--seeds N] [--from S] [--all-fired] | --seed S [--verbose] | "
                            "--faults …";

struct seeds {
    uint64_t from, count;
    bool verbose, single, all_fired;
};

static struct seeds read_options(int argc, char **argv)
{
    enum { ENOUGH = 250 };
    struct seeds s = {.from = 1, .count = 100};

    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--verbose") == 0)
            s.verbose = log_aloud = true;
        else if (strcmp(name, "--all-fired") == 0)
            s.all_fired = true;
        else if (strcmp(name, "--seeds") == 0)
            s.count = argument_number(usage, name, argv[++i], 1, UINT32_MAX);
        else if (strcmp(name, "--from") == 0)
            s.from = argument_number(usage, name, argv[++i], 0, INT64_MAX);
        else if (strcmp(name, "--seed") == 0)
            s.from = argument_number(usage, name, argv[++i], 0, INT64_MAX), s.single = true;
        else
            argument_refuse(usage, "run", "one of its options", name);
    }
    if (s.single) s.count = 1;
    s.all_fired |= s.count >= ENOUGH;
    return s;
}

int main(int argc, char **argv)
{
    uint64_t bad = 0;

    if (argc > 1 && strcmp(argv[1], "--faults") == 0)
        return loops_main(argc - 1, argv + 1, start_process);
    struct seeds s = read_options(argc, argv);
    start_process();
    for (uint64_t seed = s.from; seed < s.from + s.count; seed++)
        bad += !try_seed(seed, s.verbose, s.single);
    if (s.single) {
        judge_report();
        return bad != 0;
    }
    bool all = plan_report();
    judge_report();
    printf("%llu worlds, %llu bad\n", (unsigned long long)s.count, (unsigned long long)bad);
    bool missed = s.all_fired && !all;
    if (missed) printf("a fault never fired\n");
    return bad != 0 || missed;
}
