/* parley-sim: a WhatsApp for tests, newcomers and users' own agents. Options, signals, one line
 * when ready. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"
#include "tools/sim/server.h"

struct option {
    const char *name, *argument, *text;
    err_t (*take)(struct sim_settings *s, const char *value);
};

static err_t take_endpoint(const char *value, struct sim_endpoint *out)
{
    const char *colon = strrchr(value, ':');
    uint64_t port;

    if (!colon || colon == value || (size_t)(colon - value) >= sizeof out->host)
        return fail(BAD_ARGUMENT, "no port, or no address");
    snprintf(out->host, sizeof out->host, "%.*s", (int)(colon - value), value);
    if (text_u64(slice_text(colon + 1), &port) != OK || port > 65535)
        return fail(BAD_ARGUMENT, "no port");
    out->port = (int)port;
    return OK;
}

static err_t take_listen(struct sim_settings *s, const char *v)
{
    return take_endpoint(v, &s->listen);
}

static err_t take_control(struct sim_settings *s, const char *v)
{
    return take_endpoint(v, &s->control);
}

static err_t take_root_key(struct sim_settings *s, const char *v)
{
    s->root_key_file = v;
    return OK;
}

static err_t take_cert(struct sim_settings *s, const char *v)
{
    s->tls_cert = v;
    return OK;
}

static err_t take_key(struct sim_settings *s, const char *v)
{
    s->tls_key = v;
    return OK;
}

static err_t take_state(struct sim_settings *s, const char *v)
{
    s->state_dir = v;
    return OK;
}

static err_t take_alive(struct sim_settings *s, const char *v)
{
    s->alive = true;
    return OK;
}

static err_t take_seed(struct sim_settings *s, const char *v)
{
    return text_u64(slice_text(v), &s->relay.seed);
}

static const struct option options[] = {
    {"--listen", "ADDRESS:PORT", "WebSocket listener (127.0.0.1:7800; port 0 = any free one)",
     take_listen},
    {"--control", "ADDRESS:PORT", "control API, loopback only (127.0.0.1:7801)", take_control},
    {"--root-key-file", "FILE", "secret root key as hex; made when missing", take_root_key},
    {"--tls-cert", "FILE", "certificate chain, PEM; the listener speaks TLS then", take_cert},
    {"--tls-key", "FILE", "its key, PEM", take_key},
    {"--state", "DIR", "keeps devices, keys and queues over a restart", take_state},
    {"--alive", NULL, "living contacts write and answer by themselves", take_alive},
    {"--seed", "N", "what ids, numbers and living contacts follow from (1)", take_seed},
};

static void print_help(FILE *to)
{
    fprintf(to, "parley-sim %s: a simulated WhatsApp\n\n", PARLEY_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        fprintf(to, "  %-16s %-13s %s\n", options[i].name,
                options[i].argument ? options[i].argument : "", options[i].text);
    fprintf(to, "  %-16s %-13s this text\n", "--help", "");
}

static const struct option *find_option(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strcmp(name, options[i].name) == 0) return &options[i];
    return NULL;
}

static err_t read_options(int argc, char **argv, struct sim_settings *s)
{
    for (int i = 1; i < argc; i++) {
        const struct option *o = find_option(argv[i]);

        if (!o) return fail(BAD_ARGUMENT, "unknown option %s", argv[i]);
        if (o->argument && i + 1 == argc)
            return fail(BAD_ARGUMENT, "%s wants %s", o->name, o->argument);
        if (o->take(s, o->argument ? argv[++i] : NULL) != OK)
            return fail(BAD_ARGUMENT, "%s wants %s, not '%s'", o->name, o->argument, argv[i]);
    }
    if (!s->tls_cert != !s->tls_key)
        return fail(BAD_ARGUMENT, "--tls-cert and --tls-key belong together");
    return OK;
}

static void print_ready(const struct sim_server *s)
{
    AUTO(buf) key = {0};

    text_hex(SLICE_ARRAY(s->relay.keys.root.public.bytes), &key);
    printf("parley-sim: ready on %s://%s:%d/ws/chat, control http://%s:%d, root key %s\n",
           s->settings.tls_cert ? "wss" : "ws", s->settings.listen.host,
           sim_listener_port(s->listener), s->settings.control.host, sim_control_port(s->control),
           buf_text(&key));
    fflush(stdout);
}

struct signals {
    uv_signal_t handles[2];
    struct sim_server *server;
};

static void on_signal(uv_signal_t *handle, int number)
{
    struct signals *signals = handle->data;

    for (size_t i = 0; i < ARRAY_LEN(signals->handles); i++)
        uv_close((uv_handle_t *)&signals->handles[i], NULL);
    sim_server_stop(signals->server);
}

static void watch_signals(uv_loop_t *loop, struct signals *signals, struct sim_server *server)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    signals->server = server;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(loop, &signals->handles[i]);
        signals->handles[i].data = signals;
        uv_signal_start(&signals->handles[i], on_signal, numbers[i]);
    }
}

static int complain(void)
{
    fprintf(stderr, "parley-sim: %s\n", err_words());
    return 1;
}

static int run(const struct sim_settings *settings)
{
    static struct sim_server server;
    static struct signals signals;
    uv_loop_t loop;
    int status = 0;

    uv_loop_init(&loop);
    if (sim_server_init(&server, &loop, settings) == OK && sim_server_open(&server) == OK) {
        watch_signals(&loop, &signals, &server);
        print_ready(&server);
    } else {
        status = complain();
        sim_server_stop(&server);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    sim_server_done(&server);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return status;
}

int main(int argc, char **argv)
{
    struct sim_settings settings = {
        .listen = {"127.0.0.1", 7800},
        .control = {"127.0.0.1", 7801},
        .relay = {.seed = 1, .offline_grace_ms = 3000, .ping = true},
    };

    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (read_options(argc, argv, &settings) != OK) {
        complain();
        fprintf(stderr, "parley-sim --help lists the options\n");
        return 2;
    }
    return run(&settings);
}
