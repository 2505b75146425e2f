/* The floor of the fan-out: frames of the same size written to as many sockets with nothing but
 * uv_try_write. An order on stdin is the size of a frame for everybody, and orders that arrive
 * together share a write; the port that was taken is one line on stdout. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/load/load.h"

enum { CONNS_MAX = 16384, FRAMES_MAX = 256 * 1024 };

static struct {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_pipe_t orders;
    uv_tcp_t *conns[CONNS_MAX];
    size_t count;
    char frames[FRAMES_MAX];
} ground;

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *out)
{
    static char chunk[65536];
    *out = uv_buf_init(chunk, sizeof chunk);
}

/* One frame behind what is there already; its length then. */
static size_t add_frame(size_t at, uint32_t size)
{
    static const char tail[] = "to everybody\n\n";

    if (at + size > FRAMES_MAX || size < sizeof tail) exit(3);
    memset(ground.frames + at, 'x', size);
    memcpy(ground.frames + at + size - sizeof tail + 1, tail, sizeof tail - 1);
    return at + size;
}

static void write_all(size_t len)
{
    uv_buf_t out = uv_buf_init(ground.frames, (unsigned)len);

    for (size_t i = 0; i < ground.count; i++)
        if (uv_try_write((uv_stream_t *)ground.conns[i], &out, 1) != (int)len) exit(3);
}

static void on_order(uv_stream_t *s, ssize_t n, const uv_buf_t *in)
{
    uint32_t size;
    size_t len = 0;

    if (n < 0) exit(0);
    for (ssize_t at = 0; at + (ssize_t)sizeof size <= n; at += (ssize_t)sizeof size) {
        memcpy(&size, in->base + at, sizeof size);
        len = add_frame(len, size);
    }
    write_all(len);
}

static void on_request(uv_stream_t *s, ssize_t n, const uv_buf_t *in)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    uv_buf_t out = uv_buf_init((char *)head, sizeof head - 1);

    if (n > 0) uv_try_write(s, &out, 1);
    if (n < 0) uv_read_stop(s);
}

static void on_accept(uv_stream_t *listener, int status)
{
    uv_tcp_t *c = xcalloc(sizeof *c);

    if (ground.count == CONNS_MAX) exit(3);
    uv_tcp_init(&ground.loop, c);
    if (uv_accept(listener, (uv_stream_t *)c)) exit(3);
    uv_tcp_nodelay(c, 1);
    ground.conns[ground.count++] = c;
    uv_read_start((uv_stream_t *)c, on_alloc, on_request);
}

int floor_main(int port)
{
    struct sockaddr_in at;
    int size = sizeof at;

    uv_ip4_addr("127.0.0.1", port, &at);
    uv_loop_init(&ground.loop);
    uv_tcp_init(&ground.loop, &ground.listener);
    if (uv_tcp_bind(&ground.listener, (struct sockaddr *)&at, 0) ||
        uv_listen((uv_stream_t *)&ground.listener, 1024, on_accept) ||
        uv_tcp_getsockname(&ground.listener, (struct sockaddr *)&at, &size))
        load_fail("the floor cannot listen");
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    uv_pipe_init(&ground.loop, &ground.orders, 0);
    uv_pipe_open(&ground.orders, STDIN_FILENO);
    uv_read_start((uv_stream_t *)&ground.orders, on_alloc, on_order);
    return uv_run(&ground.loop, UV_RUN_DEFAULT);
}
