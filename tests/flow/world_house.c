/* The server of a world: its parts as main.c makes them, without doors: callers come in through
 * server/api and streams through the hubs (world_calls.c, world_streams.c). Upkeep runs in tidy
 * worlds; in the others somebody probes the full disk in its place. The writer has no thread:
 * house_commit() is its loop body, when the world's clock says so. */
#include "tests/flow/world.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "server/api/claims.h"
#include "server/events/hub.h"
#include "server/log.h"
#include "server/upkeep.h"

static bool on_tmpfs(void) { return access("/dev/shm", W_OK) == 0; }

static void on_events(void *context, struct log_events *events)
{
    struct town *w = context;

    for (size_t i = 0; i < events->count; i++) {
        const struct log_event *e = &events->items[i];

        if (e->tenant != TENANT) violated(w, "an event of tenant %u", e->tenant);
        if (!e->seq) {
            note(w, "two chats became one: peer %u of account %u", e->head.peer, e->head.account);
            streams_look_up(w);
            continue;
        }
        if (e->seq != w->last_seq + 1)
            violated(w, "event %llu follows %llu", (unsigned long long)e->seq,
                     (unsigned long long)w->last_seq);
        w->last_seq = e->seq;
        log_take(w, e);
        streams_take(w, &w->past.events[w->past.count - 1]);
        mix(w, e->bytes);
    }
    streams_look_up(w); /* also who was told of no merge */
    hubs_publish(w->server.hubs, events);
}

static void on_fatal(void *context, err_t error)
{
    struct town *w = context;

    note(w, "the writer gives up: %s", err_name(error));
    w->fatal = true;
}

static void must(struct town *w, err_t e, const char *what)
{
    if (e == OK) return;
    printf("seed %llu: %s: %s\n", (unsigned long long)w->seed, what, err_trail());
    exit(2);
}

static void make_folder(struct town *w)
{
    snprintf(w->folder, sizeof w->folder, "%s/parley-world-XXXXXX",
             on_tmpfs() ? "/dev/shm" : "/tmp");
    if (!mkdtemp(w->folder)) must(w, fail(SYSTEM, "%s", w->folder), "folder");
}

static void open_workers(struct town *w)
{
    struct server *s = &w->server;

    w->worker_count = s->worker_count = 1 + w->seed % WORKERS_MAX;
    s->main = w->main = clock_open(w, -1);
    s->workers = w->workers;
    for (size_t i = 0; i < w->worker_count; i++)
        w->workers[i] = clock_open(w, (int)i);
    clock_enter(w->main);
    clock_leave();
}

/* The test key made at first start. */
static struct principal test_key(struct server *s)
{
    struct key_info keys[8];
    size_t n = auth_keys(s->tenants, TENANT, keys, ARRAY_LEN(keys));
    struct principal who = {.tenant = TENANT, .world = WORLD_TEST, .rights = RIGHTS_TOOLS};

    for (size_t i = 0; i < n; i++)
        if (keys[i].world == WORLD_TEST) memcpy(who.key, keys[i].id, sizeof who.key);
    return who;
}

static void on_mended(void *context, const char *line)
{
    ((struct town *)context)->mended++;
    LOG(ERROR, NULL, "%s", line);
}

static void open_store(struct town *w)
{
    struct server *s = &w->server;
    const char *plant = w->seed ? getenv("PARLEY_FAULTS") : NULL; /* of tests/inject; 0 warms up */
    struct store_options options = {.path = w->folder,
                                    .map_size = (size_t)64 << 20,
                                    .without_sync = true,
                                    .tell = on_mended,
                                    .context = w};

    must(w, store_open(&options, &s->store), "store");
    s->writer = writer_new(&(struct writer_options){
        .store = s->store, .on_events = on_events, .on_fatal = on_fatal, .context = w});
    if (plant) must(w, faults_parse(writer_faults(s->writer), slice_text(plant)), "PARLEY_FAULTS");
}

static void open_upkeep(struct town *w)
{
    w->upkeep = upkeep_new(&w->server);
    upkeep_start(w->upkeep);
}

void house_start(struct town *w)
{
    struct server *s = &w->server;
    char keys[128];
    char *args[] = {
        (char *)"world", (char *)"--data",          w->folder,    (char *)"--sandbox-root-key",
        w->root_key,     (char *)"--first-prekeys", (char *)"12", NULL};

    must(w, config_load(&w->config, 7, args, NULL), "options");
    s->config = &w->config;
    if (w->tidy) w->config.event_bytes = w->log_bytes;
    open_store(w);
    open_workers(w);
    s->directory = directory_new();
    snprintf(keys, sizeof keys, "%s/first-keys", w->folder);
    must(w, tenants_open(s, keys, &s->tenants), "keys");
    s->claims = claims_new();
    must(w, accounts_open(s, &s->accounts), "accounts");
    must(w, hubs_new(s, &s->hubs), "hubs");
    must(w, tenants_start(s), "subscriptions");
    w->who = test_key(s);
    accounts_start(s->accounts);
    w->commit_at = w->probe_at = INT64_MAX;
    w->running = true;
    w->fatal = false;
    clock_posts(w);
    if (w->tidy) log_look(w);
    if (w->tidy) open_upkeep(w);
    streams_open(w);
}

void house_tidy(struct town *w)
{
    w->tidy = true;
    w->log_bytes_least = w->config.event_bytes;
    open_upkeep(w);
}

/* As if it had been started with that option. */
void house_keep(struct town *w, int64_t bytes)
{
    w->log_bytes = w->config.event_bytes = bytes;
    if (bytes < w->log_bytes_least) w->log_bytes_least = bytes;
}

void house_stop(struct town *w)
{
    struct server *s = &w->server;

    w->running = false;
    accounts_free(s->accounts);
    calls_bury(w);
    upkeep_free(w->upkeep);
    w->upkeep = NULL;
    hubs_free(s->hubs);
    claims_free(s->claims);
    tenants_close(s->tenants);
    directory_free(s->directory);
    writer_free(s->writer);
    store_close(s->store);
    for (size_t i = 0; i < w->worker_count; i++)
        clock_close(w->workers[i]);
    clock_close(w->main);
    config_done(&w->config);
    *s = (struct server){0};
    monitor_reset(); /* turn numbers start over with the process */
}

void house_open(struct town *w)
{
    AUTO(buf) hex = {0};

    text_hex(SLICE_ARRAY(w->relay.keys.root.public.bytes), &hex);
    snprintf(w->root_key, sizeof w->root_key, "%s", buf_text(&hex));
    make_folder(w);
    house_start(w);
}

void house_remove_folder(struct town *w)
{
    DIR *folder = opendir(w->folder);

    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));)
        unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    if (rmdir(w->folder) != 0) must(w, fail(SYSTEM, "%s", w->folder), "folder");
}

static void on_stopped(void *arg) { ((struct town *)arg)->stopped = true; }

static void on_accounts_stopped(void *arg)
{
    struct town *w = arg;

    if (w->upkeep)
        upkeep_stop(w->upkeep, on_stopped, w);
    else
        on_stopped(w);
}

/* Doors, accounts, the rest: as main.c does it. False when the disk gave up meanwhile. */
static bool leave(struct town *w)
{
    w->stopped = false;
    w->leaving = true;
    streams_cut(w);
    calls_cut(w);
    clock_enter(w->main);
    accounts_stop(w->server.accounts, on_accounts_stopped, w);
    clock_leave();
    for (int i = 0; i < 600 && !w->stopped && !w->fatal; i++)
        world_pass(w, 100);
    while (!w->fatal && writer_step(w->server.writer)) /* a probe, which no account waits for */
        clock_posts(w);
    w->leaving = false;
    if (w->fatal) return false;
    if (!w->stopped) violated(w, "the accounts do not stop");
    traffic_lose_calls(w);
    house_stop(w);
    return true;
}

void house_close(struct town *w)
{
    if (!leave(w)) violated(w, "the disk gave up after the faults had stopped");
    house_remove_folder(w);
}

void house_restart(struct town *w)
{
    note(w, "the server is restarted");
    if (!leave(w)) {
        house_kill(w);
        return;
    }
    w->probing = false;
    w->full_until = w->slow_until = w->quota_until = 0;
    house_start(w);
}

void house_lose_queued(struct town *w)
{
    struct faults *faults = writer_faults(w->server.writer);

    w->deaf = true;
    streams_cut(w);
    calls_cut(w);
    atomic_store(&faults->full, 1);
    do {
        clock_posts(w);
    } while (writer_step(w->server.writer));
    clock_posts(w);
}

void house_kill(struct town *w)
{
    note(w, "the server is killed");
    house_lose_queued(w);
    w->probing = false;
    net_kill(w);
    traffic_lose_calls(w);
    house_stop(w);
    w->deaf = false;
    w->full_until = w->slow_until = w->quota_until = 0;
    house_start(w);
}

struct account *house_account(struct town *w, unsigned resident)
{
    struct worker *k = directory_worker(w->server.directory, slice_text(w->residents[resident].id));

    return k ? accounts_find(&w->server.accounts->workers[worker_index(k)],
                             w->residents[resident].number)
             : NULL;
}

/* ---- commits ---- */

void house_look(struct town *w)
{
    struct writer_stats stats;
    int64_t in = (int64_t)roll(w, 4);

    if (w->commit_at != INT64_MAX) return;
    writer_stats(w->server.writer, &stats);
    if (!stats.queued) return;
    if (w->slow_until > w->now) {
        in += 200 + (int64_t)roll(w, 4000);
        plan_met("slow_disk");
    }
    w->commit_at = w->now + in;
}

/* What a commit may meet, by the writer's name and by the world's. */
static const struct {
    const char *fault, *row;
} met[] = {{"fail_put", "failed_commit"},
           {"fail_put_owner", "quota"},
           {"full", "disk_full"},
           {"fail_flush", "failed_flush"}};

static void commit(struct town *w)
{
    unsigned long long before[ARRAY_LEN(met)];

    for (size_t i = 0; i < ARRAY_LEN(met); i++)
        before[i] = faults_fired(met[i].fault);
    note(w, "commit of %zu", writer_step(w->server.writer));
    for (size_t i = 0; i < ARRAY_LEN(met); i++)
        if (faults_fired(met[i].fault) > before[i]) plan_met(met[i].row);
}

void house_commit(struct town *w)
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
    bool full = loop_due(w, LOOP_COMMIT);
    if (full) atomic_store(&faults->full, 1);
    if (loop_due(w, LOOP_FLUSH)) atomic_store(&faults->fail_flush, 1);
    commit(w);
    if (full) atomic_store(&faults->full, 0);
    if (w->tidy) log_look(w);
    if (w->upkeep) return; /* it probes by itself */
    if (writer_is_full(w->server.writer) && w->probe_at == INT64_MAX) w->probe_at = w->now + 1000;
}

void house_fill_disk(struct town *w, int64_t ms)
{
    atomic_store(&writer_faults(w->server.writer)->full, 1);
    w->full_until = w->now + ms;
}

static void on_probed(struct batch *b)
{
    struct town *w = b->context;

    batch_done(b);
    w->probing = false;
}

/* What upkeep would do while the disk is full. */
void house_probe(struct town *w)
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
