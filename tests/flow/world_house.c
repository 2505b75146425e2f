/* The server of a world: its parts as main.c makes them, without doors and upkeep. The writer has
 * no thread: house_commit() is its loop body, when the world's clock says so. */
#include "tests/flow/world.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "proto/base/text.h"

static bool on_tmpfs(void) { return access("/dev/shm", W_OK) == 0; }

static void on_events(void *context, struct log_events *events)
{
    struct world *w = context;

    for (size_t i = 0; i < events->count; i++) {
        const struct log_event *e = &events->items[i];

        if (e->tenant != TENANT) violated(w, "an event of tenant %u", e->tenant);
        if (e->seq != w->last_seq + 1)
            violated(w, "event %llu follows %llu", (unsigned long long)e->seq,
                     (unsigned long long)w->last_seq);
        w->last_seq = e->seq;
        mix(w, e->bytes);
    }
}

static void on_fatal(void *context, err_t error)
{
    struct world *w = context;

    note(w, "the writer gives up: %s", err_name(error));
    w->fatal = true;
}

static void must(struct world *w, err_t e, const char *what)
{
    if (e == OK) return;
    printf("seed %llu: %s: %s\n", (unsigned long long)w->seed, what, err_trail());
    exit(2);
}

static void make_folder(struct world *w)
{
    snprintf(w->folder, sizeof w->folder, "%s/parley-world-XXXXXX",
             on_tmpfs() ? "/dev/shm" : "/tmp");
    if (!mkdtemp(w->folder)) must(w, fail(SYSTEM, "%s", w->folder), "folder");
}

static void start(struct world *w)
{
    struct server *s = &w->server;
    char *args[] = {
        (char *)"world", (char *)"--data",          w->folder,    (char *)"--sandbox-root-key",
        w->root_key,     (char *)"--first-prekeys", (char *)"12", NULL};
    const char *plant = getenv("PARLEY_FAULTS"); /* of tests/inject */
    struct store_options options = {
        .path = w->folder, .map_size = (size_t)64 << 20, .without_sync = true};

    must(w, config_load(&w->config, 7, args, NULL), "options");
    must(w, store_open(&options, &s->store), "store");
    s->config = &w->config;
    s->writer = writer_new(&(struct writer_options){
        .store = s->store, .on_events = on_events, .on_fatal = on_fatal, .context = w});
    if (plant) must(w, faults_parse(writer_faults(s->writer), slice_text(plant)), "PARLEY_FAULTS");
    s->main = w->worker = clock_open(w);
    s->worker_count = 1;
    s->workers = xcalloc(sizeof *s->workers);
    s->workers[0] = w->worker;
    s->directory = directory_new();
    must(w, accounts_open(s, &s->accounts), "accounts");
    accounts_start(s->accounts);
    w->commit_at = w->probe_at = INT64_MAX;
    w->running = true;
    w->fatal = false;
    clock_posts(w->worker);
}

static void stop(struct world *w)
{
    struct server *s = &w->server;

    w->running = false;
    accounts_free(s->accounts);
    directory_free(s->directory);
    writer_free(s->writer);
    store_close(s->store);
    clock_close(w->worker);
    w->worker = NULL;
    free(s->workers);
    config_done(&w->config);
    *s = (struct server){0};
    monitor_reset(); /* turn numbers start over with the process */
}

void house_open(struct world *w)
{
    AUTO(buf) hex = {0};

    text_hex(SLICE_ARRAY(w->relay.keys.root.public.bytes), &hex);
    snprintf(w->root_key, sizeof w->root_key, "%s", buf_text(&hex));
    make_folder(w);
    start(w);
}

static void remove_folder(struct world *w)
{
    DIR *folder = opendir(w->folder);

    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));)
        unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    if (rmdir(w->folder) != 0) must(w, fail(SYSTEM, "%s", w->folder), "folder");
}

static void on_stopped(void *arg) { ((struct world *)arg)->stopped = true; }

void house_close(struct world *w)
{
    w->stopped = false;
    accounts_stop(w->server.accounts, on_stopped, w);
    for (int i = 0; i < 600 && !w->stopped; i++)
        world_pass(w, 100);
    if (!w->stopped) violated(w, "the accounts do not stop");
    traffic_lose_calls(w);
    stop(w);
    remove_folder(w);
}

/* What is queued fails, as if it had never been; then everything is let go. */
void house_kill(struct world *w)
{
    struct faults *faults = writer_faults(w->server.writer);

    note(w, "the server is killed");
    w->deaf = true;
    atomic_store(&faults->full, 1);
    do {
        clock_posts(w->worker);
    } while (writer_step(w->server.writer));
    clock_posts(w->worker);
    w->probing = false;
    net_kill(w);
    traffic_lose_calls(w);
    stop(w);
    w->deaf = false;
    w->full_until = w->slow_until = w->quota_until = 0;
    start(w);
}

/* ---- commits ---- */

void house_look(struct world *w)
{
    struct writer_stats stats;
    int64_t in = (int64_t)roll(w, 4);

    if (w->commit_at != INT64_MAX) return;
    writer_stats(w->server.writer, &stats);
    if (!stats.queued) return;
    if (w->slow_until > w->now) in += 200 + (int64_t)roll(w, 4000);
    w->commit_at = w->now + in;
}

void house_commit(struct world *w)
{
    struct faults *faults = writer_faults(w->server.writer);

    if (w->quota_until && w->quota_until <= w->now) {
        atomic_store(&faults->fail_put_owner, 0);
        w->quota_until = 0;
    }
    if (w->full_until && w->full_until <= w->now) {
        atomic_store(&faults->full, 0);
        w->full_until = 0;
        note(w, "the disk has room again");
    }
    w->commit_at = INT64_MAX;
    note(w, "commit of %zu", writer_step(w->server.writer));
    if (writer_is_full(w->server.writer) && w->probe_at == INT64_MAX) w->probe_at = w->now + 1000;
}

void house_fill_disk(struct world *w, int64_t ms)
{
    atomic_store(&writer_faults(w->server.writer)->full, 1);
    w->full_until = w->now + ms;
}

static void on_probed(struct batch *b)
{
    struct world *w = b->context;

    batch_done(b);
    w->probing = false;
}

/* What upkeep does while the disk is full. */
void house_probe(struct world *w)
{
    w->probe_at = INT64_MAX;
    if (w->full_until && w->full_until <= w->now) {
        atomic_store(&writer_faults(w->server.writer)->full, 0);
        w->full_until = 0;
    }
    if (!writer_is_full(w->server.writer)) return;
    if (!w->probing) {
        batch_init(&w->probe);
        batch_probe(&w->probe);
        w->probe.done = on_probed;
        w->probe.context = w;
        w->probing = true;
        writer_post(w->server.writer, &w->probe);
    }
    w->probe_at = w->now + 1000;
}
