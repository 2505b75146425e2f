/* Worlds from seeds: client, turn, storage and sim in one process on fake time (world.h).
 *
 *   tests/flow/run [--seeds N] [--from S]     N worlds, then how often each fault fired
 *   tests/flow/run --seed S [--verbose]       one world, twice; with --verbose what happened in it
 *   tests/flow/run --faults all|sample …      fault loops (world_loops.h)
 *
 * Exits with 1 when an invariant broke (the seed is printed), when one seed gave two histories,
 * or when in at least 250 worlds some fault never fired. */
#include "tests/flow/world_loops.h"

#include <malloc.h>
#include <signal.h>

#include "server/api/tools.h"

/* AddressSanitizer counts every byte; mallinfo() takes what the allocator caches for in use. */
#ifdef __SANITIZE_ADDRESS__
enum { SLACK = 0 };
size_t __sanitizer_get_current_allocated_bytes(void); /* of libasan */
void __sanitizer_set_death_callback(void (*callback)(void));
static void on_death(void (*callback)(void)) { __sanitizer_set_death_callback(callback); }
size_t memory_in_use(void) { return __sanitizer_get_current_allocated_bytes(); }
#else
enum { SLACK = 256 * 1024 };
static void on_death(void (*callback)(void)) {}
size_t memory_in_use(void) { return mallinfo2().uordblks; }
#endif

/* ---- the one loop ---- */

static int64_t server_due(struct town *w)
{
    int64_t due = clock_due(w);

    return due == INT64_MAX ? due : due - w->skew;
}

static int64_t next_due(struct town *w)
{
    int64_t at = net_due(w),
            due[] = {server_due(w), sim_relay_due(&w->relay), w->commit_at, w->probe_at};

    for (size_t i = 0; i < ARRAY_LEN(due); i++)
        if (due[i] < at) at = due[i];
    return at;
}

/* What the relay heard and said since the last time. */
static void print_trace(struct town *w)
{
    AUTO(buf) text = {0};

    LIST_EACH(node, &w->relay.trace.lines)
    {
        struct sim_traced *line = LIST_ENTRY(node, struct sim_traced, link);

        if (line->seq <= w->printed) continue;
        w->printed = line->seq;
        buf_reset(&text);
        sim_trace_text(line, &text);
        printf("      %s %s %.300s\n", line->who, line->from_client ? "->" : "<-", buf_text(&text));
    }
}

void world_settle(struct town *w)
{
    if (w->running) clock_posts(w);
    do {
        sim_relay_tick(&w->relay, w->now);
        sim_phones_pump(&w->phones);
    } while (sim_relay_due(&w->relay) <= w->now || !list_empty(&w->phones.arrived));
    if (w->running) house_look(w);
    if (w->running) traffic_look(w);
    if (w->verbose) print_trace(w);
}

/* The first of those that are due; each leaves the others as they are. */
static void happen(struct town *w)
{
    clock_set(w);
    if (net_due(w) <= w->now)
        net_deliver(w);
    else if (w->commit_at <= w->now)
        house_commit(w);
    else if (server_due(w) <= w->now)
        clock_fire(w);
    else if (w->probe_at <= w->now)
        house_probe(w);
    if (w->fatal && !w->leaving) house_kill(w);
    world_settle(w);
}

void world_pass(struct town *w, int64_t ms)
{
    int64_t until = w->now + ms, at;

    world_settle(w);
    while ((at = next_due(w)) <= until) {
        if (at > w->now) w->now = at;
        happen(w);
    }
    w->now = until;
    clock_set(w);
}

/* ---- a life ---- */

void world_begin(struct town *w, uint64_t seed, bool verbose)
{
    struct sim_options options = {.seed = seed, .offline_grace_ms = 3000};
    struct sim_host host = net_host(w);
    struct sim_keys keys;

    *w = (struct town){.seed = seed, .verbose = verbose, .dice = seed * 0x9e3779b97f4a7c15u + 1};
    w->now = 1800000000000;
    w->storm = seed % 4 == 3;
    w->history = 0xcbf29ce484222325u;
    list_init(&w->errands);
    calls_init(w);
    clock_seed(seed);
    net_init(w);
    crypto_pair_new(&keys.root);
    crypto_pair_new(&keys.intermediate);
    crypto_pair_new(&keys.server);
    sim_relay_init(&w->relay, &host, &options, &keys, w->now);
    sim_phones_init(&w->phones, &w->relay);
    house_open(w);
}

void world_end(struct town *w)
{
    house_close(w);
    net_done(w);
    sim_phones_done(&w->phones);
    sim_relay_done(&w->relay);
    traffic_done(w);
    calls_done(w);
    streams_done(w);
    the_town = NULL;
}

static void live(struct town *w)
{
    int64_t until = w->now + 60 * 1000 + (int64_t)roll(w, 120 * 1000);
    int64_t fault_at = w->now + (int64_t)roll(w, 10000), every = 300 + (int64_t)roll(w, 9000);

    while (w->now < until && !w->violations) {
        world_pass(w, (int64_t)roll(w, 2500));
        traffic_act(w);
        calls_follow(w);
        streams_act(w);
        if (w->now >= fault_at) {
            plan_strike(w);
            fault_at = w->now + (int64_t)roll(w, (uint64_t)every);
        }
        world_settle(w);
    }
}

/* Replaced accounts stay away until somebody asks; all others come back by themselves. */
static void ask_replaced_back(struct town *w)
{
    struct account_status status;

    for (unsigned i = 0; i < RESIDENTS; i++)
        if (!resident_is_connected(w, i, &status) && status.reason == WA_REASON_REPLACED)
            traffic_reconnect(w, i);
}

static void pair_unlinked(struct town *w)
{
    for (unsigned i = 0; i < RESIDENTS; i++)
        if (w->residents[i].unlinked) traffic_pair(w, i);
}

/* A stanza that was dropped comes again with the next connection. */
static void recycle(struct town *w)
{
    for (unsigned i = 0; i < RESIDENTS; i++) {
        struct sim_device *dev = resident_device(w, i);
        if (dev && dev->conn) sim_conn_end(dev->conn, 0);
    }
}

void world_settle_down(struct town *w)
{
    enum { LONG_S = 4 * 3600, STEP_S = 20 };

    plan_stop(w);
    w->storm = false;
    streams_resume(w);
    for (int s = 0; s < LONG_S; s += STEP_S) {
        world_pass(w, STEP_S * 1000);
        if (s % 600 == 0) ask_replaced_back(w);
        if (s % 900 == 300) recycle(w);
        pair_unlinked(w);
        calls_follow(w);
        if (s > 600 && judge_is_settled(w)) break;
    }
    world_pass(w, 60 * 1000);
}

static uint64_t run_world(uint64_t seed, bool verbose, unsigned *out_violations)
{
    struct town *w = xcalloc(sizeof *w);

    world_begin(w, seed, verbose);
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

size_t memory_missing(size_t before)
{
    size_t after = memory_in_use();

    return after > before + SLACK ? after - before : 0;
}

static bool returns_memory(uint64_t seed, size_t before)
{
    size_t missing = memory_missing(before);

    if (!missing) return true;
    printf("seed %llu: %zu bytes were not given back\n", (unsigned long long)seed, missing);
    return false;
}

static bool try_seed(uint64_t seed, bool verbose, bool single)
{
    enum { TWICE_EVERY = 25 };
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

static uint64_t number(const char *text) { return strtoull(text, NULL, 10); }

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

int main(int argc, char **argv)
{
    enum { ENOUGH = 250 };
    uint64_t from = 1, count = 100, bad = 0;
    bool verbose = false, single = false;

    if (argc > 1 && strcmp(argv[1], "--faults") == 0) {
        start_process();
        return loops_main(argc - 1, argv + 1);
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = log_aloud = true;
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            count = number(argv[++i]);
        else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
            from = number(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            from = number(argv[++i]), count = 1, single = true;
        else
            return fprintf(stderr, "usage: run [--seeds N] [--from S] | --seed S [--verbose]\n"), 2;
    }
    start_process();
    for (uint64_t seed = from; seed < from + count; seed++)
        bad += !try_seed(seed, verbose, single);
    if (single) {
        judge_report();
        return bad != 0;
    }
    bool all = plan_report();
    judge_report();
    printf("%llu worlds, %llu bad\n", (unsigned long long)count, (unsigned long long)bad);
    if (!all && count >= ENOUGH) printf("a fault never fired\n");
    return bad != 0 || (!all && count >= ENOUGH);
}
