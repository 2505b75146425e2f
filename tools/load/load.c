/* Options, the sandbox, and what every mode needs. */
#include "tools/load/load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/text.h"

/* ---- measuring ---- */

int64_t load_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

double load_cpu(int64_t pid)
{
    char path[64], text[1024];
    unsigned long user, system;

    snprintf(path, sizeof path, pid ? "/proc/%ld/stat" : "/proc/self/stat", (long)pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) fclose(f);
    text[n] = '\0';
    char *end = strrchr(text, ')');
    if (!end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                       &system) != 2)
        return -1;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static int64_t read_field(int64_t pid, const char *file, const char *name)
{
    char path[64], line[256];
    long value = 0;

    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0) value = atol(line + strlen(name));
    if (f) fclose(f);
    return value;
}

int64_t load_anon(int64_t pid) { return read_field(pid, "status", "RssAnon:") * 1024; }
int64_t load_written(int64_t pid) { return read_field(pid, "io", "wchar:"); }

void load_fail(const char *format, ...)
{
    char text[2048];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args); /* NOLINT(*-valist.Uninitialized) */
    va_end(args);
    fprintf(stderr, "parley-load: %s\n", text);
    exit(1);
}

/* ---- the sandbox ---- */

const char *load_account(size_t i, char out[LOAD_NUMBER_MAX])
{
    snprintf(out, LOAD_NUMBER_MAX, "1555%07zu", 1000000 + i);
    return out;
}

const char *load_contact(size_t i, char out[LOAD_NUMBER_MAX])
{
    snprintf(out, LOAD_NUMBER_MAX, "1555%07zu", 5000000 + i);
    return out;
}

void load_contacts(struct load *l, size_t n)
{
    char number[LOAD_NUMBER_MAX];
    struct sim_phone *phone;

    for (size_t i = 0; i < n; i++) {
        struct slice s = slice_text(load_contact(i, number));
        if (sim_phone_find(&l->sim.phones, s)) continue;
        if (sim_phone_new(&l->sim.phones, s, SLICE(""), SLICE("Contact"), &phone) != OK)
            load_fail("contact: %s", err_trail());
    }
    sim_server_settle(&l->sim);
}

int64_t load_write(struct load *l, const char *from, const char *to, const char *text)
{
    struct sim_phone *phone = sim_phone_find(&l->sim.phones, slice_text(from));
    struct sim_writing w = {.to = slice_text(to), .text = slice_text(text)};
    char id[SIM_ID_MAX];

    if (!phone) load_fail("there is no phone %s", from);
    sim_server_settle(&l->sim); /* sets the time */
    if (sim_phone_write(phone, &w, id) != OK) load_fail("write: %s", err_trail());
    sim_server_settle(&l->sim);
    return load_us();
}

size_t load_connected(const struct load *l, uint32_t prekeys)
{
    size_t n = 0;

    LIST_EACH(node, &l->sim.phones.phones)
    {
        const struct sim_phone *p = LIST_ENTRY(node, struct sim_phone, link);
        LIST_EACH(device, &p->account->devices)
        {
            const struct sim_device *d = LIST_ENTRY(device, struct sim_device, link);
            n += d->id != 0 && d->conn && d->bundle.prekey_count >= prekeys;
        }
    }
    return n;
}

void load_stop(struct load *l)
{
    fflush(stdout);
    l->sim.settings.state_dir = l->options.state;
    bool keeps = strcmp(l->options.mode, "pair") == 0;
    if (keeps && sim_state_save(&l->sim) != OK) load_fail("not saved: %s", err_trail());
    exit(l->exit_code);
}

static void on_watch(uv_timer_t *t)
{
    struct load *l = t->data;
    size_t n = load_connected(l, 0);

    if (n < (size_t)l->options.accounts) {
        if ((int64_t)uv_now(&l->loop) - l->began_ms > 120 * 1000LL)
            load_fail("only %zu of %ld accounts connected", n, (long)l->options.accounts);
        return;
    }
    fprintf(stderr, "parley-load: %zu accounts connected after %ld ms\n", n,
            (long)((int64_t)uv_now(&l->loop) - l->began_ms));
    uv_timer_stop(t);
    l->on_ready(l);
}

/* ---- start ---- */

static void take_endpoint(const char *value, struct sim_endpoint *out)
{
    const char *colon = strrchr(value, ':');

    if (!colon || (size_t)(colon - value) >= sizeof out->host) load_fail("want ADDRESS:PORT");
    snprintf(out->host, sizeof out->host, "%.*s", (int)(colon - value), value);
    out->port = atoi(colon + 1);
}

static const struct {
    const char *name;
    size_t at;
} numbers[] = {
#define NUMBER(field)                                                                              \
    {                                                                                              \
#field, offsetof(struct load_options, field)                                               \
    }
    NUMBER(accounts), NUMBER(active),  NUMBER(rate), NUMBER(window),
    NUMBER(seconds),  NUMBER(streams), NUMBER(pid),
#undef NUMBER
};

static void take_option(struct load_options *o, const char *name, const char *value)
{
    if (strcmp(name, "state") == 0)
        o->state = value;
    else if (strcmp(name, "http") == 0)
        o->http = value;
    else if (strcmp(name, "key") == 0)
        o->key = value;
    else if (strcmp(name, "listen") == 0)
        take_endpoint(value, &o->listen);
    else if (strcmp(name, "control") == 0)
        take_endpoint(value, &o->control);
    else {
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
            if (strcmp(name, numbers[i].name) != 0) continue;
            *(int64_t *)((char *)o + numbers[i].at) = strtoll(value, NULL, 10);
            return;
        }
        load_fail("unknown option --%s", name);
    }
}

static void read_options(struct load_options *o, int argc, char **argv)
{
    *o = (struct load_options){.http = "127.0.0.1:8790",
                               .listen = {"127.0.0.1", 7800},
                               .control = {"127.0.0.1", 7801},
                               .accounts = 100,
                               .active = 50,
                               .window = 1,
                               .seconds = 5,
                               .streams = 1000};
    if (argc < 2) load_fail("usage: parley-load pair|inbound|send|fanout [--option value]...");
    o->mode = argv[1];
    for (int i = 2; i < argc; i += 2) {
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc) load_fail("what is %s?", argv[i]);
        take_option(o, argv[i] + 2, argv[i + 1]);
    }
}

static void raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void open_sim(struct load *l)
{
    struct sim_settings settings = {.listen = l->options.listen,
                                    .control = l->options.control,
                                    .state_dir = l->options.state,
                                    .relay.seed = 1};

    uv_loop_init(&l->loop);
    if (sim_server_init(&l->sim, &l->loop, &settings) != OK || sim_server_open(&l->sim) != OK)
        load_fail("sandbox: %s", err_trail());
    l->sim.settings.state_dir = NULL; /* nothing is saved while it is measured */
}

int main(int argc, char **argv)
{
    static struct load l;
    struct sim_endpoint http = {0};

    signal(SIGPIPE, SIG_IGN);
    read_options(&l.options, argc, argv);
    take_endpoint(l.options.http, &http);
    uv_ip4_addr(http.host, http.port, &l.http);
    raise_limits();
    if (strcmp(l.options.mode, "fanout") == 0) fanout_fork(&l);
    open_sim(&l);
    printf("ready\n");
    fflush(stdout);
    l.began_ms = (int64_t)uv_now(&l.loop);
    uv_timer_init(&l.loop, &l.watch);
    l.watch.data = &l;
    if (strcmp(l.options.mode, "pair") == 0)
        pair_start(&l);
    else if (strcmp(l.options.mode, "inbound") == 0)
        l.on_ready = inbound_start;
    else if (strcmp(l.options.mode, "send") == 0)
        l.on_ready = send_start;
    else if (strcmp(l.options.mode, "fanout") == 0)
        l.on_ready = fanout_start;
    else
        load_fail("there is no mode %s", l.options.mode);
    if (l.on_ready) uv_timer_start(&l.watch, on_watch, 50, 50);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    return 0;
}
