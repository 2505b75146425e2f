/* parleyd-conformance: the HTTP server and the MCP door of parleyd with the fixture behind it. The
 * suite has no way to send a key, so every request gets the first test key here; for that reason
 * it listens where it is told, and refuses what is not loopback. Options are those of parleyd. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "proto/crypto/crypto.h"
#include "server/api/claims.h"
#include "server/config.h"
#include "server/directory.h"
#include "server/events/hub.h"
#include "server/http/http.h"
#include "server/log.h"
#include "server/server.h"
#include "server/tenant/auth.h"
#include "storage/store.h"
#include "storage/writer.h"
#include "tests/conformance/fixture.h"

static struct {
    struct server server;
    struct config config;
    uv_signal_t signals[2];
    char keys[4300], bearer[AUTH_KEY_MAX + 8];
} P;

extern char **environ;

/* ---- no authentication ---- */

static void handle(struct request *r)
{
    if (r->header_count < HTTP_HEADERS_MAX && slice_is_none(request_header(r, "authorization")))
        r->headers[r->header_count++] =
            (struct header){SLICE("authorization"), slice_text(P.bearer)};
    mcp_http_handle(r);
}

static const struct route door[] = {{"*", "/mcp", handle}, {0}};
static const struct route *const tables[] = {door, NULL};

/* The second line of the file that the first start wrote. */
static err_t read_key(void)
{
    FILE *f = fopen(P.keys, "r");
    char key[AUTH_KEY_MAX + 1] = "";

    if (!f) return fail(SYSTEM, "%s cannot be read", P.keys);
    while (fgets(key, sizeof(key), f) && !strstr(key, "_test_"))
        ;
    fclose(f);
    key[strcspn(key, "\n")] = '\0';
    snprintf(P.bearer, sizeof(P.bearer), "Bearer %s", key);
    return OK;
}

/* ---- start ---- */

static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "localhost:", 10) == 0 ||
           strncmp(listen, "[::1]:", 6) == 0;
}

static void on_events(void *context, struct log_events *events)
{
    hubs_publish(P.server.hubs, events);
}

static err_t open_store(void)
{
    struct store_options options = {.path = P.config.data, .map_size = (size_t)P.config.map_size};
    struct writer_options writer = {.on_events = on_events};

    mkdir(P.config.data, 0700);
    TRY(store_open(&options, &P.server.store));
    writer.store = P.server.store;
    P.server.writer = writer_new(&writer);
    return OK;
}

static void make_workers(struct server *s)
{
    s->worker_count = P.config.workers ? (size_t)P.config.workers : 2;
    s->main = worker_new(-1);
    s->workers = xcalloc(s->worker_count * sizeof(struct worker *));
    for (size_t i = 0; i < s->worker_count; i++)
        s->workers[i] = worker_new((int)i);
}

static err_t open_all(void)
{
    struct server *s = &P.server;
    struct http_config http = {.listen = P.config.listen, .tables = tables, .context = s};

    ENSURE(is_loopback(P.config.listen), BAD_ARGUMENT);
    TRY(open_store());
    make_workers(s);
    s->directory = directory_new();
    snprintf(P.keys, sizeof(P.keys), "%s/first-keys", P.config.data);
    TRY(tenants_open(s, P.keys, &s->tenants));
    s->claims = claims_new();
    TRY(read_key());
    TRY(hubs_new(s, &s->hubs));
    TRY(mcp_open(s, &conformance_offer, &s->mcp));
    TRY(tenants_start(s));
    TRY(http_open(&http, s->main, s->workers, s->worker_count, &s->http));
    TRY(writer_start(s->writer));
    for (size_t i = 0; i < s->worker_count; i++)
        TRY(worker_start(s->workers[i]));
    mcp_start(s->mcp);
    return OK;
}

/* ---- stop ---- */

static void on_http_closed(void *arg)
{
    struct server *s = &P.server;

    for (size_t i = 0; i < ARRAY_LEN(P.signals); i++)
        uv_close((uv_handle_t *)&P.signals[i], NULL);
    writer_stop(s->writer);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_stop(s->workers[i]);
    worker_stop(s->main);
}

static void on_signal(uv_signal_t *handle, int number)
{
    if (!atomic_exchange(&P.server.stopping, true)) http_close(P.server.http, on_http_closed, NULL);
}

int main(int argc, char **argv)
{
    static const int numbers[] = {SIGTERM, SIGINT};

    if (config_load(&P.config, argc, argv, environ) != OK) {
        fprintf(stderr, "parleyd-conformance: %s\n", err_words());
        return 2;
    }
    P.server.config = &P.config;
    signal(SIGPIPE, SIG_IGN);
    log_start((enum log_level)P.config.log_level, P.config.log_json);
    crypto_start();
    umask(077);
    if (open_all() != OK) {
        fprintf(stderr, "parleyd-conformance: %s\n", err_trail());
        _exit(EXIT_FAILURE);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(worker_loop(P.server.main), &P.signals[i]);
        uv_signal_start(&P.signals[i], on_signal, numbers[i]);
    }
    worker_run(P.server.main);
    server_join(&P.server);
    server_free(&P.server);
    config_done(&P.config);
    return EXIT_SUCCESS;
}
