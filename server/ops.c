/* /livez answers as long as a worker's loop turns. /readyz asks what a caller would need: a
 * database that takes writes, and a server that is not on its way out. */
#include "server/ops.h"

#include <stdlib.h>

#include "server/account/accounts.h"
#include "server/config.h"
#include "server/directory.h"
#include "server/metrics.h"
#include "server/server.h"
#include "storage/store.h"
#include "storage/writer.h"

#define TEXT "text/plain; charset=utf-8"

static void on_livez(struct request *r) { reply_bytes(r, 200, TEXT, SLICE("ok\n")); }

/* ---- /readyz ---- */

struct check {
    const char *name;
    /* NULL: fine; else why not. */
    const char *(*why_not)(struct server *s);
};

static const char *check_running(struct server *s)
{
    return atomic_load(&s->stopping) ? "the server is stopping" : NULL;
}

static const char *check_store(struct server *s)
{
    size_t used;

    return store_used(s->store, &used) == OK ? NULL : "the database cannot be read";
}

static const char *check_space(struct server *s)
{
    return writer_is_full(s->writer)
               ? "the disk or the database is full: links are down, reads go on"
               : NULL;
}

static const struct check checks[] = {
    {"running", check_running},
    {"store", check_store},
    {"space", check_space},
};

static void write_accounts(struct server *s, struct buf *out)
{
    struct directory_counts counts;

    directory_count(s->directory, &counts);
    buf_printf(out, "accounts %zu", counts.accounts);
    for (unsigned i = 0; i < ARRAY_LEN(counts.by_state); i++)
        if (counts.by_state[i])
            buf_printf(out, " %s=%zu", account_state_text((enum account_state)i),
                       counts.by_state[i]);
    buf_put_u8(out, '\n');
}

static void on_readyz(struct request *r)
{
    struct server *s = http_context(r);
    bool verbose = !slice_is_none(request_query(r, "verbose")), ready = true;
    AUTO(buf) text = {0};

    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        const char *why_not = checks[i].why_not(s);
        ready = ready && !why_not;
        if (verbose || why_not)
            buf_printf(&text, "[%c] %s %s\n", why_not ? '-' : '+', checks[i].name,
                       why_not ? why_not : "ok");
    }
    if (verbose) write_accounts(s, &text);
    buf_put_text(&text, ready ? "ok\n" : "not ready\n");
    reply_bytes(r, ready ? 200 : 503, TEXT, buf_slice(&text));
}

/* ---- /metrics ---- */

#define PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"

static void on_metrics(struct request *r)
{
    AUTO(buf) text = {0};

    metrics_write(http_context(r), &text);
    reply_bytes(r, 200, PROMETHEUS, buf_slice(&text));
}

struct figures_request {
    struct accounts_ask ask;
    uint64_t request;
};

static const struct {
    const char *name, *help;
    size_t offset;
    bool is_counter; /* an int64_t */
} series[] = {
    {"parley_account_memory_bytes", "Heap bytes of the account",
     offsetof(struct account_figures, memory_bytes), false},
    {"parley_account_undurable_turns", "Turns waiting for their commit",
     offsetof(struct account_figures, undurable), false},
    {"parley_account_lag_ms", "Age of the oldest turn that waits for its commit",
     offsetof(struct account_figures, lag_ms), false},
    {"parley_account_waiting_calls", "Calls waiting for WhatsApp",
     offsetof(struct account_figures, waiting_calls), false},
    {"parley_account_outbox", "Stanzas not acknowledged yet",
     offsetof(struct account_figures, outbox), false},
    {"parley_account_links_total", "Links opened since the start",
     offsetof(struct account_figures, reconnects), true},
};

static void write_series(const struct accounts_ask *q, size_t row, struct buf *out)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", series[row].name, series[row].help,
               series[row].name, series[row].is_counter ? "counter" : "gauge");
    for (size_t i = 0; i < q->count; i++) {
        const char *field = (const char *)&q->items[i] + series[row].offset;
        unsigned long long value = series[row].is_counter
                                       ? (unsigned long long)*(const int64_t *)(const void *)field
                                       : (unsigned long long)*(const size_t *)(const void *)field;
        buf_printf(out, "%s{account=\"%s\",state=\"%s\"} %llu\n", series[row].name, q->items[i].id,
                   account_state_text(q->items[i].state), value);
    }
}

static void on_figures(struct accounts_ask *q)
{
    struct figures_request *f = CONTAINER_OF(q, struct figures_request, ask);
    struct request *r = request_find(q->home, f->request);
    AUTO(buf) text = {0};

    for (size_t row = 0; r && row < ARRAY_LEN(series); row++)
        write_series(q, row, &text);
    if (r) reply_bytes(r, 200, PROMETHEUS, buf_slice(&text));
    free(q->items);
    free(f);
}

static void on_metrics_accounts(struct request *r)
{
    struct server *s = http_context(r);

    if (!s->config->metrics_accounts) {
        reply_problem(r, 404, "not_found", "series per account are off; see --metrics-accounts");
        return;
    }
    struct figures_request *f = xcalloc(sizeof *f);
    f->request = r->id;
    f->ask.home = r->worker;
    f->ask.max = (size_t)s->config->metrics_accounts;
    f->ask.done = on_figures;
    accounts_figures(s->accounts, &f->ask);
}

const struct route ops_routes[] = {
    {"GET", "/livez", on_livez},
    {"GET", "/readyz", on_readyz},
    {"GET", "/ready", on_readyz},
    {"GET", "/health", on_readyz},
    {"GET", "/healthz", on_readyz},
    {"GET", "/metrics", on_metrics},
    {"GET", "/metrics/accounts", on_metrics_accounts},
    {0},
};
