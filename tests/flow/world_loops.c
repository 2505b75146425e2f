/* Points are counted by kind (enum loop_kind): `all` fails each of them in a world of its own,
 * `sample` some of them, drawn from a seed. After the failure the flow may end as it likes; then
 * everything must come back, the flow must succeed when it is run again, what is stored, what
 * arrived and what was answered must agree (world_judge.c), and no memory may be missing. */
#include "tests/flow/world_loops.h"

#include <time.h>

#include "proto/base/xalloc.h"
#include "tests/support/arguments.h"

static const char *const kinds[LOOP_KINDS] = {"memory", "socket", "commit", "flush"};

enum { LOOP_SEED = 4 }; /* two workers, no storm */

void *__real_xtry(void *p, size_t size);
void *__wrap_xtry(void *p, size_t size);

/* Of the server alone: the simulated WhatsApp has the same code. */
void *__wrap_xtry(void *p, size_t size)
{
    struct town *w = the_town;

    if (w && w->serving && loop_due(w, LOOP_MEMORY)) return NULL;
    return __real_xtry(p, size);
}

bool loop_due(struct town *w, enum loop_kind kind)
{
    struct loop *l = &w->loop;

    if (!l->armed || ++l->points[kind] != l->fail_at || kind != l->kind) return false;
    l->fired = true;
    note(w, "FAULT %s %lu", kinds[kind], l->fail_at);
    return true;
}

/* ---- one point ---- */

struct outcome {
    bool good, fired;
    unsigned long points[LOOP_KINDS];
};

static bool say(struct town *w, const struct flow *f, const char *what)
{
    printf("%s, %s %lu: %s\n", f->name, kinds[w->loop.kind], w->loop.fail_at, what);
    return false;
}

/* Point 0: nothing fails, and the flow must succeed at once. */
static bool live_through(struct town *w, const struct flow *f, enum loop_kind kind,
                         unsigned long fail_at)
{
    bool done;

    traffic_settle_in(w);
    if (w->violations) return say(w, f, "the world does not settle in");
    w->strangers = 1; /* a device may be logged out while it logs in */
    w->loop = (struct loop){.armed = true, .kind = kind, .fail_at = fail_at};
    done = f->run(w);
    world_pass(w, 5000); /* receipts and acks that nobody waits for */
    w->loop.armed = false;
    if (!done && !w->loop.fired) return say(w, f, "the flow fails, and nothing else did");
    world_settle_down(w);
    if (!f->run(w)) return say(w, f, "the flow does not succeed afterwards");
    world_settle_down(w);
    if (!w->violations) judge(w);
    return w->violations == 0 || say(w, f, "a promise is broken");
}

static struct outcome try_point(const struct flow *f, enum loop_kind kind, unsigned long fail_at,
                                bool verbose)
{
    size_t before = memory_in_use(), missing;
    struct town *w = xcalloc(sizeof *w);
    struct outcome o;

    world_begin(w, LOOP_SEED, verbose);
    o.good = live_through(w, f, kind, fail_at);
    o.fired = w->loop.fired;
    memcpy(o.points, w->loop.points, sizeof o.points);
    world_end(w);
    o.good &= w->violations == 0;
    free(w);
    missing = memory_missing(before);
    if (missing) {
        printf("%s, %s %lu: %zu bytes were not given back\n", f->name, kinds[kind], fail_at,
               missing);
        o.good = false;
    }
    if (!o.good)
        printf("replay with: tests/flow/run --faults all --flow %s --point %s:%lu --verbose\n",
               f->name, kinds[kind], fail_at);
    return o;
}

/* ---- all of them, or some ---- */

struct wanted {
    const char *flow, *kind; /* NULL: each */
    unsigned long point;     /* 0: each */
    unsigned long sample;    /* so many, drawn; 0: all */
    uint64_t seed;
    int64_t seconds; /* 0: until it is through */
    bool verbose;
};

static unsigned long bad, tried, of_kind[LOOP_KINDS];

static void try_it(const struct flow *f, enum loop_kind kind, unsigned long at, bool verbose)
{
    struct outcome o = try_point(f, kind, at, verbose);

    tried++;
    of_kind[kind]++;
    bad += !o.good;
    fflush(stdout);
}

static bool is_wanted(const char *name, const char *wanted)
{
    return !wanted || strcmp(name, wanted) == 0;
}

/* An earlier point may move the later ones: it goes on until one is not reached. */
static void loop_kind(const struct flow *f, enum loop_kind kind, unsigned long expected,
                      const struct wanted *want)
{
    struct outcome o = {.fired = true};
    unsigned long at = 0, failed = 0;

    while (o.fired && at < 4 * expected + 10) {
        o = try_point(f, kind, ++at, want->verbose);
        tried += o.fired;
        of_kind[kind] += o.fired;
        failed += !o.good;
    }
    printf("%-14s %-7s %5lu points, %lu bad\n", f->name, kinds[kind], at - 1, failed);
    bad += failed;
    fflush(stdout);
}

/* How many points a run has in which nothing fails. */
static bool count_points(struct outcome counts[])
{
    bool all = true;

    for (size_t i = 0; i < flow_count; i++) {
        counts[i] = try_point(&flows[i], LOOP_MEMORY, 0, false);
        all &= counts[i].good;
        printf("%-14s", flows[i].name);
        for (int k = 0; k < LOOP_KINDS; k++)
            printf(" %5lu %s", counts[i].points[k], kinds[k]);
        printf("\n");
    }
    return all;
}

static void run_all(const struct wanted *want, const struct outcome counts[])
{
    for (size_t i = 0; i < flow_count; i++) {
        if (!is_wanted(flows[i].name, want->flow)) continue;
        for (int k = 0; k < LOOP_KINDS; k++) {
            if (!is_wanted(kinds[k], want->kind)) continue;
            if (want->point)
                try_it(&flows[i], (enum loop_kind)k, want->point, want->verbose);
            else
                loop_kind(&flows[i], (enum loop_kind)k, counts[i].points[k], want);
        }
    }
}

static uint64_t draw(uint64_t *state, uint64_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return n ? (*state >> 33) % n : 0;
}

/* Flow by flow, kind by kind, a point of each. */
static void run_sample(const struct wanted *want, const struct outcome counts[])
{
    time_t until = time(NULL) + want->seconds;
    uint64_t dice = want->seed;

    for (unsigned long i = 0; i < want->sample; i++) {
        size_t at = i % flow_count, kind = i / flow_count % LOOP_KINDS;
        unsigned long points = counts[at].points[kind];

        if (want->seconds && time(NULL) >= until) break;
        if (!points) continue;
        try_it(&flows[at], (enum loop_kind)kind, 1 + draw(&dice, points), want->verbose);
    }
}

static const char usage[] =
    "run --faults all [--flow NAME] [--kind KIND] [--point KIND:N] [--verbose]\n"
    "       run --faults sample [--points N | --seconds S] [--seed S] [--verbose]";

/* One of the names, or the end of the program with all of them. */
static const char *take_name(const char *option, const char *value, bool is_flow)
{
    char wants[256] = "one of";
    size_t count = is_flow ? flow_count : LOOP_KINDS;

    for (size_t i = 0; i < count; i++) {
        const char *name = is_flow ? flows[i].name : kinds[i];
        if (value && strcmp(name, value) == 0) return value;
        size_t n = strlen(wants);
        snprintf(wants + n, sizeof wants - n, " %s", name);
    }
    argument_refuse(usage, option, wants, value);
}

static void take_point(const char *option, char *value, struct wanted *out)
{
    char *colon = value ? strchr(value, ':') : NULL;

    if (!colon) argument_refuse(usage, option, "KIND:N", value);
    *colon = '\0';
    out->kind = take_name(option, value, false);
    out->point = argument_number(usage, option, colon + 1, 1, UINT32_MAX);
}

static void take_option(struct wanted *out, const char *name, char *value)
{
    if (strcmp(name, "--faults") == 0 && value && strcmp(value, "sample") == 0)
        out->sample = out->sample ? out->sample : 96;
    else if (strcmp(name, "--faults") == 0 && (!value || strcmp(value, "all") != 0))
        argument_refuse(usage, name, "all or sample", value);
    else if (strcmp(name, "--points") == 0)
        out->sample = argument_number(usage, name, value, 1, UINT32_MAX);
    else if (strcmp(name, "--seconds") == 0)
        out->seconds = (int64_t)argument_number(usage, name, value, 1, INT32_MAX),
        out->sample = UINT32_MAX;
    else if (strcmp(name, "--seed") == 0)
        out->seed = argument_number(usage, name, value, 0, INT64_MAX);
    else if (strcmp(name, "--flow") == 0)
        out->flow = take_name(name, value, true);
    else if (strcmp(name, "--kind") == 0)
        out->kind = take_name(name, value, false);
    else if (strcmp(name, "--point") == 0)
        take_point(name, value, out);
    else if (strcmp(name, "--faults") != 0)
        argument_refuse(usage, "run", "one of its options", name);
}

static struct wanted read_options(int argc, char **argv)
{
    struct wanted want = {.seed = 1};
    bool is_all = argc > 1 && strcmp(argv[1], "all") == 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            want.verbose = log_aloud = true;
            continue;
        }
        take_option(&want, argv[i], argv[i + 1]);
        i++;
    }
    if (is_all && want.sample)
        argument_refuse(usage, "--faults all", "no --points and no --seconds", "one");
    if (!is_all && (want.flow || want.kind))
        argument_refuse(usage, "--faults sample", "no --flow, --kind or --point", "one");
    return want;
}

int loops_main(int argc, char **argv, void (*start)(void))
{
    struct wanted want = read_options(argc, argv);
    struct outcome *counts = xcalloc(flow_count * sizeof *counts);

    start();
    if (!want.point && !count_points(counts)) {
        free(counts);
        return 1;
    }
    if (want.sample)
        run_sample(&want, counts);
    else
        run_all(&want, counts);
    for (int k = 0; k < LOOP_KINDS; k++)
        printf("%-7s %6lu points failed\n", kinds[k], of_kind[k]);
    printf("%lu points, %lu bad\n", tried, bad);
    free(counts);
    return bad != 0;
}
