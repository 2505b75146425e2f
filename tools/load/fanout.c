/* One event to many streams. --window events are on their way at a time: with 1 each is written
 * by itself, with more several share a write. Then the floor: a child that writes frames of the
 * same size to as many sockets with nothing but uv_try_write, read by the same code. */
#include "tools/load/load.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    struct load *load;
    struct peer *streams;
    size_t open, events, done_events;
    uint64_t frames; /* seen by all streams in this run */
    int64_t began_us, ends_us, anon_before;
    double cpu_before, cpu_load;
    double per_stream;
    bool on_floor, over;
    /* the floor's child */
    pid_t child;
    int orders, port;
    size_t frame_bytes;
} fan;

static void next_events(void);

/* ---- the floor: one order is "a frame of N bytes to everybody" ---- */

struct floor_conn {
    uv_tcp_t tcp;
};

static struct {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_pipe_t orders;
    struct floor_conn *conns[65536];
    size_t count;
    char frame[8192];
} ground;

static void floor_alloc(uv_handle_t *h, size_t n, uv_buf_t *out)
{
    static char chunk[65536];
    *out = uv_buf_init(chunk, sizeof chunk);
}

static void floor_write(const char *data, size_t n)
{
    uv_buf_t out = uv_buf_init((char *)data, (unsigned)n);

    for (size_t i = 0; i < ground.count; i++)
        if (uv_try_write((uv_stream_t *)&ground.conns[i]->tcp, &out, 1) != (int)n) _exit(3);
}

static void floor_order(uv_stream_t *s, ssize_t n, const uv_buf_t *in)
{
    if (n < 0) _exit(0);
    for (ssize_t at = 0; at + (ssize_t)sizeof(uint32_t) <= n; at += (ssize_t)sizeof(uint32_t)) {
        uint32_t size;
        memcpy(&size, in->base + at, sizeof size);
        memset(ground.frame, 'x', size);
        memcpy(ground.frame + size - 2, "\n\n", 2);
        floor_write(ground.frame, size);
    }
}

static void floor_request(uv_stream_t *s, ssize_t n, const uv_buf_t *in)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    uv_buf_t out = uv_buf_init((char *)head, sizeof head - 1);

    if (n > 0)
        uv_try_write(s, &out, 1);
    else if (n < 0)
        uv_read_stop(s);
}

static void floor_accept(uv_stream_t *listener, int status)
{
    struct floor_conn *c = xcalloc(sizeof *c);

    uv_tcp_init(&ground.loop, &c->tcp);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp)) _exit(3);
    uv_tcp_nodelay(&c->tcp, 1);
    ground.conns[ground.count++] = c;
    uv_read_start((uv_stream_t *)&c->tcp, floor_alloc, floor_request);
}

static void play_floor(int listener, int orders)
{
    uv_loop_init(&ground.loop);
    uv_tcp_init(&ground.loop, &ground.listener);
    uv_tcp_open(&ground.listener, listener);
    uv_listen((uv_stream_t *)&ground.listener, 1024, floor_accept);
    uv_pipe_init(&ground.loop, &ground.orders, 0);
    uv_pipe_open(&ground.orders, orders);
    uv_read_start((uv_stream_t *)&ground.orders, floor_alloc, floor_order);
    uv_run(&ground.loop, UV_RUN_DEFAULT);
    _exit(0);
}

void fanout_fork(struct load *l)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int ends[2], fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1024) ||
        getsockname(fd, (struct sockaddr *)&at, &len) || pipe(ends))
        load_fail("cannot open the floor");
    fan.port = ntohs(at.sin_port);
    fan.child = fork();
    if (fan.child == 0) {
        close(ends[1]);
        play_floor(fd, ends[0]);
    }
    close(ends[0]);
    close(fd);
    fan.orders = ends[1];
}

/* ---- the run ---- */

static int64_t target_pid(void) { return fan.on_floor ? fan.child : fan.load->options.pid; }

static void report(void)
{
    const struct load_options *o = &fan.load->options;
    double seconds = (double)(load_us() - fan.began_us) / 1e6;
    double cpu = load_cpu(target_pid()) - fan.cpu_before;

    printf(
        "{\"what\": \"%s\", \"streams\": %ld, \"window\": %ld, \"events\": %zu, \"frames\": %lu, "
        "\"frame_bytes\": %zu, \"seconds\": %.2f, \"frames_per_second\": %.0f, \"cpu_s\": %.2f, "
        "\"frames_per_cpu_second\": %.0f, \"load_cpu_s\": %.2f, \"bytes_per_stream\": %.0f}\n",
        fan.on_floor ? "floor" : "parleyd", (long)o->streams, (long)o->window, fan.done_events,
        (unsigned long)fan.frames, fan.frame_bytes, seconds, (double)fan.frames / seconds, cpu,
        cpu > 0 ? (double)fan.frames / cpu : 0, load_cpu(0) - fan.cpu_load, fan.per_stream);
}

static void begin(void)
{
    fan.events = fan.done_events = 0;
    fan.frames = 0;
    fan.over = false;
    fan.cpu_before = load_cpu(target_pid());
    fan.cpu_load = load_cpu(0);
    fan.began_us = load_us();
    fan.ends_us = fan.began_us + fan.load->options.seconds * 1000000;
    next_events();
}

static void open_streams(const char *path);

static void end_of_run(void)
{
    const struct load_options *o = &fan.load->options;

    report();
    if (fan.on_floor) {
        close(fan.orders);
        waitpid(fan.child, NULL, 0);
        load_stop(fan.load);
    }
    for (int64_t i = 0; i < o->streams; i++)
        peer_close(&fan.streams[i]);
    fan.on_floor = true;
    fan.load->http.sin_port = htons((uint16_t)fan.port);
    open_streams("/");
}

/* Not inside a callback of a stream: they are closed here. */
static void on_end(uv_timer_t *t) { end_of_run(); }

static void one_event(void)
{
    char from[LOAD_NUMBER_MAX], to[LOAD_NUMBER_MAX];
    size_t i = fan.events % (size_t)fan.load->options.active;
    uint32_t size = (uint32_t)fan.frame_bytes;

    fan.events++;
    if (!fan.on_floor)
        load_write(fan.load, load_contact(i, from), load_account(i, to), "bench: to everybody");
    else if (write(fan.orders, &size, sizeof size) != sizeof size)
        load_fail("the floor is gone");
}

static void next_events(void)
{
    const struct load_options *o = &fan.load->options;

    if (load_us() > fan.ends_us) fan.over = true;
    if (fan.over && fan.done_events == fan.events)
        uv_timer_start(&fan.load->watch, on_end, 0, 0);
    else
        while (!fan.over && fan.events - fan.done_events < (size_t)o->window)
            one_event();
}

/* Of all streams; the slowest one ends an event. */
static void on_frame(struct peer *p, struct slice frame)
{
    if (frame.len && frame.data[0] == ':') return;
    fan.frame_bytes = frame.len + 2;
    fan.frames++;
    if (fan.frames % (uint64_t)fan.load->options.streams == 0) {
        fan.done_events++;
        next_events();
    }
}

static void on_settled(uv_timer_t *t)
{
    if (!fan.on_floor)
        fan.per_stream = (double)(load_anon(fan.load->options.pid) - fan.anon_before) /
                         (double)fan.load->options.streams;
    begin();
}

static void on_stream(struct peer *p)
{
    if (++fan.open < (size_t)fan.load->options.streams) return;
    uv_timer_start(&fan.load->watch, on_settled, 500, 0);
}

static void open_streams(const char *path)
{
    const struct load_options *o = &fan.load->options;

    fan.open = 0;
    fan.streams = xcalloc((size_t)o->streams * sizeof *fan.streams);
    for (int64_t i = 0; i < o->streams; i++) {
        struct peer *p = &fan.streams[i];
        peer_init(fan.load, p);
        p->on_frame = on_frame;
        p->on_stream = on_stream;
        peer_ask(p, "GET", path, NULL);
    }
}

static void on_warm(struct load *l)
{
    fan.anon_before = load_anon(l->options.pid);
    open_streams("/v1/events?events=message.received");
}

void fanout_start(struct load *l)
{
    fan.load = l;
    warm_start(l, (size_t)l->options.active, on_warm);
}
