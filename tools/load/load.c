/* Options, the sandbox, and the tasks that come in. */
#include "tools/load/load.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/base/text.h"

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

struct sim_phone *load_phone(struct load *l, const char *number, const char *name)
{
    struct sim_phone *phone = sim_phone_find(&l->sim.phones, slice_text(number));

    if (phone) return phone;
    sim_server_settle(&l->sim); /* sets the time */
    if (sim_phone_new(&l->sim.phones, slice_text(number), SLICE(""), slice_text(name), &phone) !=
        OK)
        load_fail("phone %s: %s", number, err_trail());
    sim_server_settle(&l->sim);
    return phone;
}

int64_t load_write(struct load *l, size_t i, const char *text)
{
    char from[LOAD_NUMBER_MAX], to[LOAD_NUMBER_MAX], id[SIM_ID_MAX];
    struct sim_phone *phone = load_phone(l, load_contact(i, from), "Contact");
    struct sim_writing w = {.to = slice_text(load_account(i % (size_t)l->task.accounts, to)),
                            .text = slice_text(text)};

    sim_server_settle(&l->sim);
    if (sim_phone_write(phone, &w, id) != OK) load_fail("write: %s", err_trail());
    sim_server_settle(&l->sim);
    return load_us();
}

size_t load_connected(const struct load *l, uint64_t since, uint32_t prekeys)
{
    size_t n = 0;

    LIST_EACH(node, &l->sim.phones.phones)
    {
        const struct sim_phone *p = LIST_ENTRY(node, struct sim_phone, link);
        LIST_EACH(device, &p->account->devices)
        {
            const struct sim_device *d = LIST_ENTRY(device, struct sim_device, link);
            n += d->id != 0 && d->conn && d->conn->id > since && d->bundle.prekey_count >= prekeys;
        }
    }
    return n;
}

/* ---- tasks ---- */

static const struct {
    const char *name;
    void (*start)(struct load *l);
} tasks[] = {
    {"pair", pair_start}, {"phones", phones_start}, {"save", save_start},
    {"wait", wait_start}, {"drop", drop_start},     {"inbound", inbound_start},
    {"fill", fill_start}, {"send", send_start},     {"fanout", fanout_start},
    {"read", read_start},
};

static const struct {
    const char *name;
    size_t at;
} numbers[] = {
#define NUMBER(field)                                                                              \
    {                                                                                              \
#field, offsetof(struct load_task, field)                                                  \
    }
    NUMBER(accounts), NUMBER(active),  NUMBER(rate),     NUMBER(window),
    NUMBER(seconds),  NUMBER(streams), NUMBER(messages), NUMBER(turn),
    NUMBER(prekeys),  NUMBER(bytes),   NUMBER(pid),
#undef NUMBER
};

static const struct {
    const char *name;
    size_t at, room;
} texts[] = {
#define TEXT(field)                                                                                \
    {                                                                                              \
#field, offsetof(struct load_task, field), sizeof(((struct load_task *)0)->field)          \
    }
    TEXT(http),
    TEXT(key),
    TEXT(what),
#undef TEXT
};

static void take_member(struct load_task *t, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (strcmp(name, numbers[i].name) == 0) {
            if (text_i64(slice_text(value), (int64_t *)((char *)t + numbers[i].at)) != OK)
                load_fail("%s wants a number, not '%s'", name, value);
            return;
        }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(name, texts[i].name) == 0) {
            snprintf((char *)t + texts[i].at, texts[i].room, "%s", value);
            return;
        }
    load_fail("what is %s?", name);
}

static void take_endpoint(const char *value, struct sim_endpoint *out)
{
    const char *colon = strrchr(value, ':');
    uint64_t port;

    if (!colon || (size_t)(colon - value) >= sizeof out->host ||
        text_u64(slice_text(colon + 1), &port) != OK || port > UINT16_MAX)
        load_fail("want ADDRESS:PORT, not '%s'", value);
    snprintf(out->host, sizeof out->host, "%.*s", (int)(colon - value), value);
    out->port = (int)port;
}

static void start_task(struct load *l, char *line)
{
    struct sim_endpoint http = {0};
    char *left, *word = strtok_r(line, " ", &left), *name = word;

    l->task = (struct load_task){.accounts = 100,
                                 .active = 50,
                                 .window = 1,
                                 .seconds = 5,
                                 .streams = 1000,
                                 .http = "127.0.0.1:8790"};
    while ((word = strtok_r(NULL, " ", &left))) {
        char *value = strchr(word, '=');
        if (!value) load_fail("want NAME=VALUE, not %s", word);
        *value++ = '\0';
        take_member(&l->task, word, value);
    }
    take_endpoint(l->task.http, &http);
    uv_ip4_addr(http.host, http.port, &l->http);
    for (size_t i = 0; name && i < ARRAY_LEN(tasks); i++)
        if (strcmp(name, tasks[i].name) == 0) {
            l->busy = true;
            tasks[i].start(l);
            return;
        }
    load_fail("there is no task %s", name ? name : "without a name");
}

/* The next line, if there is one and nothing runs. */
static void next_task(struct load *l)
{
    struct slice all = buf_slice(&l->line);
    const char *end = all.len ? memchr(all.data, '\n', all.len) : NULL;
    char line[512];

    if (l->busy) return;
    if (!end && l->ended) exit(0);
    if (!end) return;
    size_t n = (size_t)(end - (const char *)all.data);
    if (n >= sizeof line) load_fail("a task is too long");
    memcpy(line, all.data, n);
    line[n] = '\0';
    buf_drop_front(&l->line, n + 1);
    start_task(l, line);
}

static void on_next(uv_timer_t *t) { next_task(t->data); }

void load_done(struct load *l, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args); /* NOLINT(*-valist.Uninitialized) */
    va_end(args);
    printf("\n");
    fflush(stdout);
    l->busy = false;
    uv_timer_start(&l->timer, on_next, 0, 0); /* not inside a callback of a connection */
}

/* ---- start ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    static char chunk[4096];
    *out = uv_buf_init(chunk, sizeof chunk);
}

static void on_line(uv_stream_t *s, ssize_t n, const uv_buf_t *bytes)
{
    struct load *l = s->data;

    if (n > 0) buf_put(&l->line, slice_of(bytes->base, (size_t)n));
    if (n < 0) {
        l->ended = true;
        uv_read_stop(s);
    }
    next_task(l);
}

static void read_options(struct load_options *o, int argc, char **argv)
{
    const struct {
        const char *name;
        const char **text;
        struct sim_endpoint *endpoint;
    } all[] = {{"--state", &o->state, NULL},     {"--tls-cert", &o->tls_cert, NULL},
               {"--tls-key", &o->tls_key, NULL}, {"--least-prekeys", &o->least_prekeys, NULL},
               {"--listen", NULL, &o->listen},   {"--control", NULL, &o->control}};

    *o = (struct load_options){.listen = {"127.0.0.1", 7800}, .control = {"127.0.0.1", 7801}};
    for (int i = 1; i < argc; i += 2) {
        size_t at = 0;
        while (at < ARRAY_LEN(all) && strcmp(argv[i], all[at].name) != 0)
            at++;
        if (at == ARRAY_LEN(all) || i + 1 == argc) load_fail("what is %s?", argv[i]);
        if (all[at].text)
            *all[at].text = argv[i + 1];
        else
            take_endpoint(argv[i + 1], all[at].endpoint);
    }
    if (!o->state) load_fail("--state DIR is missing");
}

/* 0 without a text. */
static uint64_t number_of(const char *name, const char *text)
{
    uint64_t n = 0;

    if (text && (text_u64(slice_text(text), &n) != OK || n > INT32_MAX))
        load_fail("%s wants a number, not '%s'", name, text);
    return n;
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
                                    .tls_cert = l->options.tls_cert,
                                    .tls_key = l->options.tls_key,
                                    .state_dir = l->options.state,
                                    .relay.seed = 1,
                                    .relay.phone_prekeys = LOAD_PHONE_PREKEYS};
    settings.relay.least_prekeys = (uint32_t)number_of("--least-prekeys", l->options.least_prekeys);
    if (sim_server_init(&l->sim, &l->loop, &settings) != OK || sim_server_open(&l->sim) != OK)
        load_fail("sandbox: %s", err_trail());
    l->sim.settings.state_dir = NULL; /* nothing is saved while it is measured */
}

static void print_ready(const struct load *l)
{
    AUTO(buf) key = {0};

    text_hex(SLICE_ARRAY(l->sim.relay.keys.root.public.bytes), &key);
    printf("{\"ready\": true, \"root_key\": \"%s\"}\n", buf_text(&key));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct load l;

    signal(SIGPIPE, SIG_IGN);
    raise_limits();
    if (argc == 3 && strcmp(argv[1], "floor") == 0)
        return floor_main((int)number_of("floor", argv[2]));
    read_options(&l.options, argc, argv);
    uv_loop_init(&l.loop);
    open_sim(&l);
    uv_timer_init(&l.loop, &l.timer);
    l.timer.data = &l;
    uv_pipe_init(&l.loop, &l.tasks, 0);
    l.tasks.data = &l;
    uv_pipe_open(&l.tasks, STDIN_FILENO);
    print_ready(&l);
    uv_read_start((uv_stream_t *)&l.tasks, on_alloc, on_line);
    uv_run(&l.loop, UV_RUN_DEFAULT);
    return 0;
}
