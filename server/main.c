/* parleyd: makes everything of struct server in order, runs main's loop, and takes it apart again
 * so that nothing is lost. Start here; server/README.md shows the way on. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "proto/crypto/crypto.h"
#include "server/account/accounts.h"
#include "server/api/claims.h"
#include "server/api/tools.h"
#include "server/config.h"
#include "server/directory.h"
#include "server/events/hub.h"
#include "server/http/http.h"
#include "server/http/pages.h"
#include "server/log.h"
#include "server/mcp/mcp.h"
#include "server/ops.h"
#include "server/rest/rest.h"
#include "server/server.h"
#include "server/tenant/auth.h"
#include "server/upkeep.h"
#include "server/worker.h"
#include "storage/monitor.h"
#include "storage/store.h"
#include "storage/writer.h"

enum { EXIT_USAGE = 2, DESCRIPTORS_WANTED = 65536 };

struct process {
    struct server server;
    struct config config;
    struct upkeep *upkeep;
    char **argv;
    int argc;
    uv_signal_t signals[3];
    unsigned stops; /* of SIGTERM or SIGINT */
    char paths[2][4300];
};

extern char **environ;

static const struct route *const routes[] = {ops_routes, mcp_routes, rest_routes, page_routes,
                                             NULL};

/* ---- start ---- */

static void print_words(const char *what) { fprintf(stderr, "parleyd: %s\n", what); }

/* What the user reads: the words alone, they say what is wrong and what to do. */
static err_t told(err_t e)
{
    if (e != OK) print_words(err_words()[0] ? err_words() : err_text(e));
    return e;
}

/* A link and a stream cost a descriptor each; the shell's soft limit is often 1024. */
static void raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    rlim_t wanted = DESCRIPTORS_WANTED < limit.rlim_max ? DESCRIPTORS_WANTED : limit.rlim_max;
    /* Never above: libwebsockets makes a table of this size for every worker. */
    limit.rlim_cur = wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static err_t make_folder(const char *path)
{
    struct stat found;

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return fail(BAD_ARGUMENT, "cannot make the data folder %s: %s. Choose another with --data.",
                    path, strerror(errno));
    if (stat(path, &found) == 0 && !S_ISDIR(found.st_mode))
        return fail(BAD_ARGUMENT, "%s is not a folder. Choose another with --data.", path);
    if (access(path, R_OK | W_OK | X_OK) != 0)
        return fail(BAD_ARGUMENT,
                    "the data folder %s is not writable: %s. Change its owner, or choose another "
                    "with --data.",
                    path, strerror(errno));
    return OK;
}

static void on_events(void *context, struct log_events *events)
{
    struct server *s = context;

    hubs_publish(s->hubs, events);
}

/* A run that is watched may also be sabotaged and recorded. */
static err_t watch(struct writer *writer)
{
    const char *faults = getenv("PARLEY_FAULTS"), *journal = getenv("PARLEY_JOURNAL");

    monitor_switch(getenv("PARLEY_MONITOR") != NULL);
    if (!monitor_is_on()) return OK;
    if (faults) TRY(faults_parse(writer_faults(writer), slice_text(faults)));
    if (journal) TRY(monitor_journal(journal));
    return OK;
}

static void on_mended(void *context, const char *line) { LOG(ERROR, NULL, "%s", line); }

static err_t open_store(struct process *p)
{
    struct store_options options = {
        .path = p->config.data, .map_size = (size_t)p->config.map_size, .tell = on_mended};
    struct writer_options writer = {.on_events = on_events, .context = &p->server};

    TRY(make_folder(p->config.data));
    TRY(store_open(&options, &p->server.store));
    writer.store = p->server.store;
    p->server.writer = writer_new(&writer);
    return watch(p->server.writer);
}

static void make_workers(struct process *p)
{
    struct server *s = &p->server;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    s->worker_count = p->config.workers ? (size_t)p->config.workers : cpus > 0 ? (size_t)cpus : 1;
    s->main = worker_new(-1);
    s->workers = xcalloc(s->worker_count * sizeof(struct worker *));
    for (size_t i = 0; i < s->worker_count; i++)
        s->workers[i] = worker_new((int)i);
}

/* A port of 0 is the one that was free, from now on: links to pages name it. */
static void name_port(struct config *c, int port)
{
    AUTO(buf) listen = {0};

    buf_printf(&listen, "%.*s:%d", (int)(strrchr(c->listen, ':') - c->listen), c->listen, port);
    free((char *)c->listen);
    c->listen = xstrdup(buf_text(&listen));
}

static err_t open_http(struct process *p)
{
    struct http_config config = {
        .listen = p->config.listen,
        .operator_socket = p->paths[1],
        .hosts = p->config.hosts.items,
        .public_url = p->config.public_url,
        .origins = p->config.origins.items,
        .tables = routes,
        .context = &p->server,
    };

    snprintf(p->paths[1], sizeof p->paths[1], "%s/operator.sock", p->config.data);
    TRY(http_open(&config, p->server.main, p->server.workers, p->server.worker_count,
                  &p->server.http));
    name_port(&p->config, http_port(p->server.http));
    return OK;
}

/* Everything that can fail, before anything runs. */
static err_t open_all(struct process *p)
{
    struct server *s = &p->server;

    TRY(open_store(p));
    make_workers(p);
    s->started_at = worker_now(s->main);
    s->directory = directory_new();
    snprintf(p->paths[0], sizeof p->paths[0], "%s/first-keys", p->config.data);
    TRY(tenants_open(s, p->paths[0], &s->tenants));
    s->claims = claims_new();
    TRY(accounts_open(s, &s->accounts));
    TRY(hubs_new(s, &s->hubs));
    TRY(mcp_open(s, &mcp_offer, &s->mcp));
    s->on_status = mcp_on_status;
    TRY(tenants_start(s));
    TRY(open_http(p));
    p->upkeep = upkeep_new(s);
    TRY(writer_start(s->writer));
    for (size_t i = 0; i < s->worker_count; i++)
        TRY(worker_start(s->workers[i]));
    mcp_start(s->mcp);
    accounts_start(s->accounts);
    upkeep_start(p->upkeep);
    return OK;
}

/* ---- stop: doors, accounts, upkeep, writer ---- */

static void on_upkeep_stopped(void *arg)
{
    struct process *p = arg;

    for (size_t i = 0; i < ARRAY_LEN(p->signals); i++)
        uv_close((uv_handle_t *)&p->signals[i], NULL);
    writer_stop(p->server.writer); /* everything queued is durable now */
    for (size_t i = 0; i < p->server.worker_count; i++)
        worker_stop(p->server.workers[i]);
    worker_stop(p->server.main);
    /* A name lookup that hangs would keep main's loop; nothing waits for it any more. */
    if (!accounts_are_quiet(p->server.accounts)) {
        LOG(INFO, NULL, "stopped");
        _exit(EXIT_SUCCESS);
    }
}

static void on_accounts_stopped(void *arg)
{
    struct process *p = arg;

    upkeep_stop(p->upkeep, on_upkeep_stopped, p);
}

static void on_http_closed(void *arg)
{
    struct process *p = arg;

    accounts_stop(p->server.accounts, on_accounts_stopped, p);
}

static void stop(struct process *p, const char *why)
{
    if (p->stops++ == 0) {
        LOG(INFO, NULL, "stopping (%s)", why);
        atomic_store(&p->server.stopping, true);
        http_close(p->server.http, on_http_closed, p);
    } else if (p->stops > 2) {
        LOG(WARN, NULL, "stopping at once; what is not durable comes again");
        _exit(EXIT_FAILURE);
    }
}

static void free_all(struct process *p)
{
    server_join(&p->server);
    upkeep_free(p->upkeep);
    server_free(&p->server);
    config_done(&p->config);
}

/* ---- signals ---- */

/* Only the app version may change while we run: an outdated client is mended without a restart. */
static void reload(struct process *p)
{
    struct config now;
    uint32_t version[3];
    err_t e = config_load(&now, p->argc, p->argv, environ);

    if (e == OK) e = config_version(now.wa_version, version);
    if (e != OK) {
        LOG(ERROR, NULL, "SIGHUP: %s", err_words());
        return;
    }
    LOG(INFO, NULL, "SIGHUP: wa-version=%s from the next connect on", now.wa_version);
    accounts_set_version(p->server.accounts, version);
    config_done(&now);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct process *p = handle->data;

    if (number == SIGHUP)
        reload(p);
    else
        stop(p, number == SIGINT ? "SIGINT" : "SIGTERM");
}

static void watch_signals(struct process *p)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(worker_loop(p->server.main), &p->signals[i]);
        p->signals[i].data = p;
        uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
}

/* ---- main ---- */

static int print_action(enum config_action action)
{
    AUTO(buf) text = {0};

    if (action == CONFIG_HELP) config_help(&text);
    if (action == CONFIG_EXAMPLE) config_example(&text);
    if (action == CONFIG_VERSION) buf_printf(&text, "parleyd %s\n", PARLEY_VERSION);
    return fwrite(text.data, 1, text.len, stdout) == text.len ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Exit 2 is for options, 1 for everything that stands in the way of running. */
int main(int argc, char **argv)
{
    static struct process p;

    p.argc = argc;
    p.argv = argv;
    if (told(config_load(&p.config, argc, argv, environ)) != OK) return EXIT_USAGE;
    if (p.config.action != CONFIG_RUN) {
        int status = print_action(p.config.action);
        config_done(&p.config);
        return status;
    }
    p.server.config = &p.config;
    log_start((enum log_level)p.config.log_level, p.config.log_json);
    raise_limits();
    crypto_start();
    tools_start();
    umask(077);
    /* What was opened so far is left to the end of the process. */
    if (told(open_all(&p)) != OK) {
        fflush(stderr);
        _exit(EXIT_FAILURE);
    }
    watch_signals(&p);
    LOG(INFO, NULL, "ready listen=%s data=%s workers=%zu", p.config.listen, p.config.data,
        p.server.worker_count);
    worker_run(p.server.main);
    free_all(&p);
    tools_stop();
    LOG(INFO, NULL, "stopped");
    return EXIT_SUCCESS;
}
