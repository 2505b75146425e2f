/* One event to many streams. `window` events are on their way at a time: with 1 each is written by
 * itself, with more several share a write. `what` is who writes: parleyd at one of two doors, a
 * server of MCP's TypeScript SDK, or the floor. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/load/load.h"

enum { OPENING_AT_ONCE = 64, SETTLE_MS = 1000 };

struct fan_kind {
    const char *name;
    void (*open)(struct peer *p);
    void (*fire)(struct load *l);
    bool writes; /* contacts write, so they must know their accounts */
};

static struct {
    const struct fan_kind *kind;
    struct peer **streams, *orders;
    size_t begun, open, events, done_events;
    uint64_t frames; /* seen by all streams */
    size_t frame_bytes;
    int64_t ends_us, anon_before;
    double per_stream;
    struct meter meter;
    bool settled;
    pid_t floor; /* and its pipe */
    int floor_in;
} fan;

/* ---- who is asked, and how an event is provoked ---- */

static void open_plain(struct peer *p)
{
    peer_ask(p, "GET", "/v1/events?events=message.received", NULL);
}

static void ask_stream(struct peer *p, int status, struct slice body)
{
    if (status != 200) load_fail("subscribe: %d " SLICE_FMT, status, SLICE_ARG(body));
    peer_ask(p, "GET", "/mcp", NULL);
}

static void ask_subscription(struct peer *p, int status, struct slice body)
{
    static const char call[] =
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/call\",\"params\":{\"name\":"
        "\"subscribe_events\",\"arguments\":{\"events\":[\"message.received\"]}}}";

    if (status / 100 != 2) load_fail("initialized: %d " SLICE_FMT, status, SLICE_ARG(body));
    p->on_answer = ask_stream;
    if (fan.kind->writes)
        peer_ask(p, "POST", "/mcp", call);
    else
        peer_ask(p, "GET", "/mcp", NULL);
}

static void say_initialized(struct peer *p, int status, struct slice body)
{
    if (status != 200) load_fail("initialize: %d " SLICE_FMT, status, SLICE_ARG(body));
    p->on_answer = ask_subscription;
    peer_ask(p, "POST", "/mcp", "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
}

static void open_mcp(struct peer *p)
{
    static const char initialize[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"
        "\"2025-11-25\",\"capabilities\":{},\"clientInfo\":{\"name\":\"load\",\"version\":\"1\"}}}";

    p->on_answer = say_initialized;
    peer_ask(p, "POST", "/mcp", initialize);
}

static void fire_message(struct load *l)
{
    load_write(l, fan.events % (size_t)l->task.active, "bench: to everybody");
}

static void fire_order(struct load *l)
{
    uint32_t size = (uint32_t)l->task.bytes;

    if (write(fan.floor_in, &size, sizeof size) != sizeof size) load_fail("the floor is gone");
}

/* One at a time on its connection; the next event waits for its frames anyway. */
static void fire_request(struct load *l)
{
    char body[64];

    snprintf(body, sizeof body, "{\"events\":1,\"bytes\":%ld}", (long)l->task.bytes);
    peer_ask(fan.orders, "POST", "/fire", body);
}

static const struct fan_kind kinds[] = {
    {"events", open_plain, fire_message, true},
    {"mcp", open_mcp, fire_message, true},
    {"sdk", open_mcp, fire_request, false},
    {"floor", open_plain, fire_order, false},
};

/* ---- the run ---- */

static void finish(struct load *l)
{
    struct meter *m = &fan.meter;
    double seconds, frames = (double)fan.frames;

    meter_stop(l, m);
    seconds = (double)m->us / 1e6;
    for (size_t i = 0; i < (size_t)l->task.streams; i++)
        peer_close(fan.streams[i]);
    free(fan.streams);
    peer_close(fan.orders);
    if (fan.floor) {
        close(fan.floor_in);
        waitpid(fan.floor, NULL, 0);
    }
    load_done(l,
              "{\"streams\": %ld, \"window\": %ld, \"events\": %zu, \"frames\": %.0f, "
              "\"frame_bytes\": %zu, \"seconds\": %.3f, \"per_second\": %.0f, \"cpu_s\": %.3f, "
              "\"per_cpu_second\": %.0f, \"load_cpu_s\": %.3f, \"bytes_per_stream\": %.0f}",
              (long)l->task.streams, (long)l->task.window, fan.done_events, frames, fan.frame_bytes,
              seconds, frames / seconds, m->target_s, m->target_s > 0 ? frames / m->target_s : 0,
              m->own_s, fan.per_stream);
}

static void on_end(uv_timer_t *t) { finish(t->data); }

static void next_events(struct load *l)
{
    bool over = load_us() > fan.ends_us;

    if (over && fan.done_events == fan.events)
        uv_timer_start(&l->timer, on_end, 0, 0); /* the streams are closed there */
    while (!over && fan.events - fan.done_events < (size_t)l->task.window) {
        fan.kind->fire(l);
        fan.events++;
    }
}

/* Of all streams; the slowest one ends an event. */
static void on_frame(struct peer *p, struct slice frame)
{
    if (!memmem(frame.data, frame.len, "to everybody", 12)) return;
    fan.frame_bytes = frame.len + 2;
    if (++fan.frames % (uint64_t)p->load->task.streams) return;
    fan.done_events++;
    next_events(p->load);
}

static void on_settled(uv_timer_t *t)
{
    struct load *l = t->data;

    fan.per_stream = (double)(load_anon(l->task.pid) - fan.anon_before) / (double)l->task.streams;
    fan.ends_us = load_us() + l->task.seconds * 1000000;
    meter_go(l, &fan.meter);
    next_events(l);
}

static void open_next(struct load *l);

static void on_stream(struct peer *p)
{
    struct load *l = p->load;

    fan.open++;
    if (fan.begun < (size_t)l->task.streams) open_next(l);
    if (fan.open == (size_t)l->task.streams) uv_timer_start(&l->timer, on_settled, SETTLE_MS, 0);
}

static void open_next(struct load *l)
{
    struct peer *p = peer_new(l, NULL);

    fan.streams[fan.begun++] = p;
    p->on_frame = on_frame;
    p->on_stream = on_stream;
    fan.kind->open(p);
}

static void open_streams(struct load *l)
{
    fan.streams = xcalloc((size_t)l->task.streams * sizeof(struct peer *));
    fan.anon_before = load_anon(l->task.pid);
    for (size_t i = 0; i < OPENING_AT_ONCE && fan.begun < (size_t)l->task.streams; i++)
        open_next(l);
}

/* ---- start ---- */

static void start_floor(struct load *l)
{
    int in[2], out[2];
    char line[16] = "";

    if (pipe(in) || pipe(out)) load_fail("no pipe for the floor");
    fan.floor = fork();
    if (fan.floor == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close_range(3, ~0U, 0);
        execl("/proc/self/exe", "parley-load", "floor", "0", NULL);
        _exit(3);
    }
    close(in[0]);
    close(out[1]);
    fan.floor_in = in[1];
    if (read(out[0], line, sizeof line - 1) <= 0) load_fail("the floor does not start");
    close(out[0]);
    l->http.sin_port = htons((uint16_t)atoi(line));
    l->task.pid = fan.floor;
}

static void on_fired(struct peer *p, int status, struct slice body)
{
    if (status / 100 != 2) load_fail("fire: %d " SLICE_FMT, status, SLICE_ARG(body));
}

void fanout_start(struct load *l)
{
    memset(&fan, 0, sizeof fan);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(l->task.what, kinds[i].name) == 0) fan.kind = &kinds[i];
    if (!fan.kind) load_fail("nobody called '%s' writes events", l->task.what);
    if (fan.kind->fire == fire_order) start_floor(l);
    if (fan.kind->fire == fire_request) {
        fan.orders = peer_new(l, NULL);
        fan.orders->on_answer = on_fired;
    }
    if (fan.kind->writes)
        warm_start(l, (size_t)l->task.active, open_streams);
    else
        open_streams(l);
}
