/* The life of a world (world.h): what happens next, its beginning, its settling down, its end. Read
 * worlds.c next: which worlds are lived. */
#include "tests/flow/world.h"

#include <malloc.h>

/* AddressSanitizer counts every byte; mallinfo() takes what the allocator caches for in use. */
#ifdef __SANITIZE_ADDRESS__
enum { SLACK = 0 };
size_t __sanitizer_get_current_allocated_bytes(void); /* of libasan */
size_t memory_in_use(void) { return __sanitizer_get_current_allocated_bytes(); }
#else
enum { SLACK = 256 * 1024 };
size_t memory_in_use(void) { return mallinfo2().uordblks; }
#endif

size_t memory_missing(size_t before)
{
    size_t after = memory_in_use();

    return after > before + SLACK ? after - before : 0;
}

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
    log_done(w);
    the_town = NULL;
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
