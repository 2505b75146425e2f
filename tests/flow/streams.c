/* One tenant, accounts on every worker writing at full speed through the real writer, and streams
 * on the real hubs that stall, fill up, are cut, lose the end of what was on its way and resume,
 * on this worker or another, while retention eats the log behind them.
 *
 *     flow-streams [--seed N] [--events N] [--workers N] [--plant "skip_number=500"]
 *
 * Judged at the end, from what the writer said it gave each event (the truth) and what every
 * stream noted:
 *   - the log has no hole, and an account's events stand in it in the order it wrote them;
 *   - every stream's sequence is strictly rising and holds each event of its filter, byte for byte
 *     what was written, from where it began to the end, but for announced gaps;
 *   - a gap is announced only for what retention removed.
 * Every kind of misfortune must have happened, or the run proves nothing and fails. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/flow/streams.h"
#include "tests/support/arguments.h"
#include "tests/support/clock.h"

enum { DEADLINE_S = 500 };
#define MAP_SIZE ((size_t)4 << 30)

struct house house;

void must(err_t e, const char *what)
{
    if (e == OK) return;
    fprintf(stderr, "%s: %s\n", what, err_trail());
    exit(2);
}

static void open_house(const char *plant)
{
    struct store_options store = {.path = house.path, .map_size = MAP_SIZE};
    struct server *s = &house.server;

    snprintf(house.path, sizeof(house.path), "%s/parley-flow-XXXXXX", P_tmpdir);
    if (!mkdtemp(house.path)) must(fail(SYSTEM, "cannot make a folder"), "temporary folder");
    must(store_open(&store, &s->store), "store");
    s->workers = house.workers;
    for (size_t i = 0; i < s->worker_count; i++) {
        house.workers[i] = worker_new((int)i);
        must(view_new(s->store, &house.views[i]), "view");
    }
    must(hubs_new(s, &s->hubs), "hubs");
    hubs_set_key_filters(s->hubs, SLICE(KEY), key_filters, KEY_FILTERS);
    s->writer = writer_new(
        &(struct writer_options){.store = s->store, .on_events = hubs_publish, .context = s->hubs});
    must(faults_parse(writer_faults(s->writer), slice_text(plant)), "--plant");
    must(writer_start(s->writer), "writer");
}

/* Typing and the like: reaches who listens now, moves no cursor. */
static void say_something_passing(void)
{
    struct event_head head = {.account = 1, .peer = 1, .type = event_number(EVENT_TYPING_STARTED)};
    hubs_publish_live(house.server.hubs, TENANT, &head, SLICE("{\"event\":\"typing.started\"}"));
}

static bool wait_for(atomic_uint *count, unsigned target, time_t deadline)
{
    while (atomic_load(count) < target) {
        if (time(NULL) > deadline) return false;
        say_something_passing();
        nap(5);
    }
    return true;
}

static void close_house(void)
{
    struct server *s = &house.server;
    static const char *const files[] = {"data.mdb", "lock.mdb", "parley.lock"};
    char name[96];

    writer_stop(s->writer);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_stop(house.workers[i]);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_join(house.workers[i]);
    hubs_free(s->hubs);
    for (size_t i = 0; i < s->worker_count; i++) {
        view_free(house.views[i]);
        worker_free(house.workers[i]);
    }
    writer_free(s->writer);
    store_close(s->store);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(name, sizeof(name), "%s/%s", house.path, files[i]);
        unlink(name);
    }
    rmdir(house.path);
}

static bool run(uint64_t seed, const char *plant)
{
    time_t deadline = time(NULL) + DEADLINE_S;
    bool ended;

    house.truth_max = house.wanted + 16;
    house.truth = xcalloc((house.truth_max + 1) * sizeof(*house.truth));
    open_house(plant);
    writers_start();
    readers_start(seed);
    for (size_t i = 0; i < house.server.worker_count; i++)
        must(worker_start(house.workers[i]), "worker");
    ended = wait_for(&house.ended, ACCOUNTS * TURNS, deadline);
    atomic_store(&house.finishing, true);
    ended = ended && wait_for(&house.settled, STREAMS, deadline);
    if (!ended) {
        printf("not at its end after %d s: %u of %d turns, %u of %d streams\n", DEADLINE_S,
               house.ended, ACCOUNTS * TURNS, house.settled, STREAMS);
        _exit(1);
    }
    close_house();
    return judge() == 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", 1, NULL, 's'},
                                            {"events", 1, NULL, 'e'},
                                            {"workers", 1, NULL, 'w'},
                                            {"plant", 1, NULL, 'p'},
                                            {0}};
    static const char usage[] =
        "flow_streams [--seed S] [--events N] [--workers N] [--plant FAULT]";
    uint64_t seed = (uint64_t)time(NULL);
    const char *plant = "";
    int c;
    bool good;

    house.wanted = 200000;
    house.server.worker_count = 2;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 's': seed = argument_number(usage, "--seed", optarg, 0, UINT64_MAX); break;
        case 'e':
            house.wanted = (uint32_t)argument_number(usage, "--events", optarg, 1, 100000000);
            break;
        case 'w':
            house.server.worker_count = argument_number(usage, "--workers", optarg, 1, WORKERS_MAX);
            break;
        case 'p': plant = optarg; break;
        default: return fprintf(stderr, "usage: %s\n", usage), 2;
        }
    argument_end(usage, argc, argv, optind - 1);
    printf("seed %lu, %zu workers\n", (unsigned long)seed, house.server.worker_count);
    good = run(seed, plant);
    readers_done();
    writers_done();
    free(house.truth);
    printf("%s\n", good ? "complete" : "BROKEN");
    return good ? 0 : 1;
}
