/* A connection of the HTTP server over a pair of sockets, without listening: what the peer writes
 * is the input, in pieces whose size the first byte says. Whatever comes, the answer is HTTP, and
 * when the peer is gone nothing is left. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct worker *worker;
static struct http_server server;
static struct http_worker home;

static void on_echo(struct request *r)
{
    AUTO(buf) out = {0};

    buf_put(&out, r->path);
    buf_put(&out, request_query(r, "q"));
    buf_put(&out, request_header(r, "x"));
    buf_put(&out, r->body);
    reply_header(r, "X", request_header(r, "x"));
    reply_bytes(r, 200, "text/plain", buf_slice(&out));
}

static void on_param(struct request *r) { reply_json(r, 200, r->params[0]); }
static void on_gone(struct request *r) {}
static void on_hold(struct request *r) { r->on_gone = on_gone; } /* never answered */
static void on_stream(struct request *r)
{
    struct sse *s = sse_start(r, NULL, NULL);
    sse_write(s, SLICE("data: x\n\n"));
}

/* More than a socket holds: the peer takes it in pieces. */
static void on_big(struct request *r)
{
    static uint8_t big[1 << 20];

    reply_bytes(r, 200, "text/plain", SLICE_ARRAY(big));
}

static const struct route routes[] = {
    {"GET", "/big", on_big},   {"*", "/echo", on_echo},       {"GET", "/p/{name}", on_param},
    {"GET", "/hold", on_hold}, {"GET", "/stream", on_stream}, {0},
};
static const struct route *const tables[] = {routes, NULL};

static void start(void)
{
    worker = worker_new(0);
    server = (struct http_server){
        .config.tables = tables, .main = worker, .workers = &home, .worker_count = 1};
    home = (struct http_worker){.server = &server,
                                .worker = worker,
                                .next_id = 1,
                                .keepalive = shared_bytes_new(SLICE(": keepalive\n\n"))};
    list_init(&home.conns);
    list_init(&home.greedy);
}

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        uv_run(worker_loop(worker), UV_RUN_NOWAIT);
}

static void read_answer(int fd)
{
    char bytes[65536];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n > 0 && (n < 9 || memcmp(bytes, "HTTP/1.1 ", 9) != 0)) abort();
    while (n > 0) {
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n < 0) turn();
        if (n < 0) n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    }
}

static void speak(int fd, const uint8_t *data, size_t size, size_t piece)
{
    while (size) {
        size_t n = piece < size ? piece : size;
        if (send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n) return;
        turn();
        data += n;
        size -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];

    if (!worker) start();
    if (size == 0 || size > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return 0;
    atomic_fetch_add(&home.conn_count, 1);
    atomic_fetch_add(&server.conn_total, 1);
    conn_open(&home, ends[0], data[0] & 1);
    speak(ends[1], data + 1, size - 1, data[0] & 2 ? SIZE_MAX : 1u + data[0]);
    read_answer(ends[1]);
    shutdown(ends[1], SHUT_WR);
    turn();
    close(ends[1]);
    /* What was asked is answered one after the other, also when nobody listens: some turns each. */
    for (int i = 0; i < 10000 && !list_empty(&home.conns); i++)
        turn();
    turn();
    if (!list_empty(&home.conns) || home.requests.count || home.body_bytes) abort();
    return 0;
}
