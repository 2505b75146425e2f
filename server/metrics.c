/* Counters in a table of workers by rows, and the text a scrape gets. */
#include "server/metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/directory.h"
#include "server/http/http.h"
#include "server/server.h"
#include "storage/monitor.h"
#include "storage/store.h"
#include "storage/writer.h"

/* Index 0 is main's, and every thread's that is no worker. */
static struct row {
    _Alignas(64) atomic_ullong counts[METRIC_COUNT];
} rows[METRICS_WORKERS_MAX];

static struct row *own_row(void)
{
    struct worker *w = worker_self();
    int slot = w ? worker_index(w) + 1 : 0;

    return &rows[slot < METRICS_WORKERS_MAX ? slot : 0];
}

void metric_add(enum metric m, uint64_t n)
{
    atomic_fetch_add_explicit(&own_row()->counts[m], n, memory_order_relaxed);
}

uint64_t metric_sum(enum metric m)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < METRICS_WORKERS_MAX; i++)
        sum += atomic_load_explicit(&rows[i].counts[m], memory_order_relaxed);
    return sum;
}

/* ---- gauges ---- */

struct scrape {
    struct server *server;
    struct writer_stats writer;
};

static uint64_t anonymous_bytes(void)
{
    char line[128];
    unsigned long kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "re");

    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %lu kB", &kilobytes) == 1) break;
    fclose(f);
    return (uint64_t)kilobytes * 1024;
}

static uint64_t used_bytes(const struct scrape *s)
{
    size_t used = 0;

    if (store_used(s->server->store, &used) != OK) return 0;
    return used;
}

/* The system's clock: that of main's loop is main's alone. */
static uint64_t uptime(const struct scrape *s)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    int64_t up = now.tv_sec - s->server->started_at / 1000;
    return up > 0 ? (uint64_t)up : 0;
}

static uint64_t gauge(const struct scrape *s, enum metric m)
{
    switch (m) {
    case METRIC_http_streams: return s->server->http ? http_streams(s->server->http) : 0;
    case METRIC_http_connections: return s->server->http ? http_connections(s->server->http) : 0;
    case METRIC_commits: return s->writer.commits;
    case METRIC_commit_batches: return s->writer.batches;
    case METRIC_commit_bytes: return s->writer.written;
    case METRIC_commit_us: return s->writer.commit_us_total;
    case METRIC_commit_queue: return s->writer.queued;
    case METRIC_events: return s->writer.events;
    case METRIC_store_bytes: return used_bytes(s);
    case METRIC_store_full: return s->writer.full;
    case METRIC_rows_damaged: return store_damaged(s->server->store);
    case METRIC_memory_bytes: return anonymous_bytes();
    case METRIC_uptime_seconds: return uptime(s);
    default: return 0;
    }
}

static void write_states(const struct scrape *s, const char *name, struct buf *out)
{
    struct directory_counts counts;

    directory_count(s->server->directory, &counts);
    for (unsigned i = 0; i < ARRAY_LEN(counts.by_state); i++)
        buf_printf(out, "%s{state=\"%s\"} %zu\n", name, account_state_text((enum account_state)i),
                   counts.by_state[i]);
}

static void write_row(const struct scrape *s, enum metric m, bool is_counter, const char *name,
                      const char *help, struct buf *out)
{
    size_t length = strlen(name);

    if (m == METRIC_early_releases && !monitor_is_on()) return; /* nobody counts */
    bool rises = length > 6 && strcmp(name + length - 6, "_total") == 0;

    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, rises ? "counter" : "gauge");
    if (m == METRIC_accounts)
        write_states(s, name, out);
    else if (m == METRIC_build_info)
        buf_printf(out, "%s{version=\"%s\"} 1\n", name, PARLEY_VERSION);
    else
        buf_printf(out, "%s %llu\n", name,
                   (unsigned long long)(is_counter ? metric_sum(m) : gauge(s, m)));
}

void metrics_write(struct server *server, struct buf *out)
{
    enum { COUNTER, GAUGE };
    struct scrape s = {.server = server};

    writer_stats(server->writer, &s.writer);
#define METRIC(name, type, public_name, help)                                                      \
    write_row(&s, METRIC_##name, type == COUNTER, public_name, help, out);
#include "server/metrics.def"
#undef METRIC
}
