/* bench_link_traps [CONNECTIONS]: what libwebsockets costs as the links set it up
 * (server/account/link.c) and as it would be without: timers of its own, a limit of descriptors,
 * sending by the size that it reads by. CPU of the client's thread alone; the server is a thread of
 * plain sockets. Ends with 1 when ours is not the cheaper one by the factor that stands beside it.
 */
#include <arpa/inet.h>
#include <libwebsockets.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/account/link.h"
#include "server/worker.h"
#include "tests/support/arguments.h"

enum { FRAME = 256 << 10, FRAMES = 128, MESSAGES = 5, WINDOWS = 3, USUAL = 5000 };

static void must(bool ok, const char *what)
{
    if (ok) return;
    perror(what);
    exit(1);
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* ---- the server: accepts all, then does what is wished ---- */

enum wish { NOTHING, SEND_SMALL, SEND_LARGE, SWALLOW, LEAVE };

static struct {
    int listener;
    uint16_t port;
    size_t expected;
    int *sockets;
    pthread_t thread;
    _Atomic enum wish wish;
} server;

static void answer_upgrade(int fd)
{
    char in[2048] = "", out[256];
    size_t n = 0;
    uint8_t digest[20];
    AUTO(buf) accept = {0};

    while (!strstr(in, "\r\n\r\n")) {
        ssize_t did = read(fd, in + n, sizeof in - 1 - n);
        must(did > 0, "upgrade");
        in[n += (size_t)did] = '\0';
    }
    char *key = strstr(in, "Sec-WebSocket-Key: ");
    must(key, "no key in the upgrade");
    key += 19;
    struct slice pieces[] = {slice_of(key, strcspn(key, "\r")),
                             SLICE("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")};
    crypto_sha1_v(pieces, 2, digest);
    text_base64(SLICE_ARRAY(digest), &accept);
    int len = snprintf(out, sizeof out,
                       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                       buf_text(&accept));
    must(write(fd, out, (size_t)len) == len, "answer");
}

static void write_all(int fd, const uint8_t *at, size_t n)
{
    while (n) {
        ssize_t did = send(fd, at, n, MSG_NOSIGNAL);
        must(did > 0, "write");
        at += did;
        n -= (size_t)did;
    }
}

static void fulfil(enum wish wish)
{
    static uint8_t small[12] = {0x82, 10}, large[10 + FRAME] = {0x82, 127, [7] = FRAME >> 16};
    static uint8_t sink[1 << 20];

    for (size_t i = 0; wish == SEND_SMALL && i < MESSAGES * server.expected; i++)
        write_all(server.sockets[i % server.expected], small, sizeof small);
    for (int i = 0; wish == SEND_LARGE && i < FRAMES; i++)
        write_all(server.sockets[0], large, sizeof large);
    for (size_t got = 0; wish == SWALLOW && got < (size_t)FRAMES * FRAME;) {
        ssize_t did = read(server.sockets[0], sink, sizeof sink);
        must(did > 0, "read");
        got += (size_t)did;
    }
}

static void *serve(void *arg)
{
    struct linger at_once = {.l_onoff = 1}; /* or thousands of ports stay taken for a minute */
    enum wish wish;

    for (size_t i = 0; i < server.expected; i++) {
        server.sockets[i] = accept(server.listener, NULL, NULL);
        must(server.sockets[i] >= 0, "accept");
        answer_upgrade(server.sockets[i]);
    }
    while ((wish = atomic_exchange(&server.wish, NOTHING)) != LEAVE) {
        fulfil(wish);
        usleep(200);
    }
    for (size_t i = 0; i < server.expected; i++) {
        setsockopt(server.sockets[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(server.sockets[i]);
    }
    return NULL;
}

static void server_start(size_t connections)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;

    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    must(bind(server.listener, (struct sockaddr *)&at, n) == 0, "bind");
    must(listen(server.listener, 64) == 0, "listen");
    getsockname(server.listener, (struct sockaddr *)&at, &n);
    server.port = ntohs(at.sin_port);
    server.expected = connections;
    server.sockets = xcalloc(connections * sizeof(int));
    pthread_create(&server.thread, NULL, serve, NULL);
}

static void server_stop(void)
{
    atomic_store(&server.wish, LEAVE);
    pthread_join(server.thread, NULL);
    close(server.listener);
    free(server.sockets);
}

/* ---- the client: libwebsockets on a uv loop, as server/account/link.c sets it up ---- */

struct setting {
    unsigned fd_limit;
    uint16_t hangup_s; /* not 0: a timer of the library for each connection */
    size_t rx, tx;
};
static const struct setting ours = {0, 0, LINK_RX_BYTES, LINK_TX_BYTES};

static struct {
    uv_loop_t loop;
    struct lws_context *context;
    struct lws_protocols protocols[2];
    lws_retry_bo_t policy;
    struct lws *one;
    size_t up, down, messages, to_write;
} client;

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
    static uint8_t frame[LWS_PRE + FRAME];

    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED: client.up++; break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR: must(false, in ? in : "no connection"); break;
    case LWS_CALLBACK_CLIENT_CLOSED: client.down++; break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        client.messages += lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        if (!client.to_write) break;
        client.to_write--;
        must(lws_write(wsi, frame + LWS_PRE, FRAME, LWS_WRITE_BINARY) >= FRAME, "lws_write");
        if (client.to_write) lws_callback_on_writable(wsi);
        break;
    default: break;
    }
    return 0;
}

static void client_start(const struct setting *s)
{
    void *loops[] = {&client.loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = client.protocols,
        .options = LWS_SERVER_OPTION_LIBUV,
        .foreign_loops = loops,
        .fd_limit_per_thread = s->fd_limit,
        .retry_and_idle_policy = &client.policy,
        .pcontext = &client.context,
        .gid = -1,
        .uid = -1,
    };

    memset(&client, 0, sizeof client);
    client.protocols[0] = (struct lws_protocols){
        .name = "link", .callback = on_lws, .rx_buffer_size = s->rx, .tx_packet_size = s->tx};
    client.policy =
        (lws_retry_bo_t){.secs_since_valid_ping = 0xffff, .secs_since_valid_hangup = s->hangup_s};
    uv_loop_init(&client.loop);
    lws_set_log_level(LLL_ERR, NULL);
    client.context = lws_create_context(&info);
    must(client.context, "libwebsockets does not start (is libwebsockets-evlib-uv there?)");
}

static void connect_one(void)
{
    struct lws_client_connect_info info = {.context = client.context,
                                           .address = "127.0.0.1",
                                           .port = server.port,
                                           .path = "/ws",
                                           .host = "localhost",
                                           .origin = "localhost",
                                           .local_protocol_name = "link",
                                           .retry_and_idle_policy = &client.policy,
                                           .pwsi = &client.one};

    must(lws_client_connect_via_info(&info), "connect");
    for (size_t before = client.up; client.up == before;)
        uv_run(&client.loop, UV_RUN_ONCE);
}

static void count_closing(uv_handle_t *handle, void *arg)
{
    *(unsigned *)arg += uv_is_closing(handle) != 0;
}

/* The server has gone. In two steps, as on_poll() of server/account/link.c. */
static void client_stop(void)
{
    for (unsigned closing = 1; client.context || closing;) {
        closing = 0;
        uv_run(&client.loop, UV_RUN_NOWAIT);
        uv_walk(&client.loop, count_closing, &closing);
        if (!closing && client.down == client.up && client.context)
            lws_context_destroy(client.context);
    }
    uv_run(&client.loop, UV_RUN_NOWAIT);
    uv_loop_close(&client.loop);
}

/* ---- measurements, each of CPU in us; of several windows the smallest counts ---- */

enum what { CONNECT, MESSAGE, READ, WRITE, ARM, WHATS };
struct cost {
    double of[WHATS];
};

static void least(struct cost *c, enum what what, double began, double count)
{
    double us = (cpu_us() - began) / count;
    if (!c->of[what] || us < c->of[what]) c->of[what] = us;
}

/* The last tenth of the connects, beside all those that stand, and a message to each. */
static void measure_many(struct setting s, size_t connections, struct cost *c)
{
    size_t last = connections / 10;

    server_start(connections);
    client_start(&s);
    while (client.up < connections - last)
        connect_one();
    double began = cpu_us();
    while (client.up < connections)
        connect_one();
    least(c, CONNECT, began, (double)last);
    began = cpu_us();
    atomic_store(&server.wish, SEND_SMALL);
    while (client.messages < MESSAGES * connections)
        uv_run(&client.loop, UV_RUN_ONCE);
    least(c, MESSAGE, began, (double)(MESSAGES * connections));
    server_stop();
    client_stop();
}

static void measure_large(struct setting s, struct cost *c)
{
    double mb = (double)FRAMES * FRAME / 1e6;

    server_start(1);
    client_start(&s);
    connect_one();
    double began = cpu_us();
    atomic_store(&server.wish, SEND_LARGE);
    while (client.messages < FRAMES)
        uv_run(&client.loop, UV_RUN_ONCE);
    least(c, READ, began, mb);
    atomic_store(&server.wish, SWALLOW);
    client.to_write = FRAMES;
    lws_callback_on_writable(client.one);
    began = cpu_us();
    while (client.to_write || lws_partial_buffered(client.one))
        uv_run(&client.loop, UV_RUN_ONCE);
    least(c, WRITE, began, mb);
    server_stop();
    client_stop();
}

static void on_timer(lws_sorted_usec_list_t *timer) {}

/* Deadlines of one length: each is later than all that are armed. */
static void measure_timers(size_t count, struct cost *own, struct cost *library)
{
    enum { TIMES = 5000 };
    struct worker *w = worker_new(0);
    struct timer *timers = xcalloc(count * sizeof *timers);
    lws_sorted_usec_list_t *theirs = xcalloc(count * sizeof *theirs);
    int64_t at = worker_now(w) + 3600 * 1000;
    double began = 0;

    for (size_t i = 0; i < count + TIMES; i++) {
        if (i == count) began = cpu_us();
        timer_arm(w, &timers[i % count], at++);
    }
    least(own, ARM, began, TIMES);
    client_start(&ours);
    for (size_t i = 0; i < count + TIMES; i++) {
        if (i == count) began = cpu_us();
        lws_sul_schedule(client.context, 0, &theirs[i % count], on_timer, 3600ll * LWS_US_PER_SEC);
    }
    least(library, ARM, began, TIMES);
    for (size_t i = 0; i < count; i++) {
        timer_disarm(w, &timers[i]);
        lws_sul_cancel(&theirs[i]);
    }
    client_stop();
    worker_free(w);
    free(timers);
    free(theirs);
}

/* `wanted` 0: it is only told. */
static bool row(const char *what, const char *instead, double own, double other, double wanted)
{
    bool missed = wanted > 0 && other < own * wanted;

    printf("%-32s %9.2f %9.2f %7.2f", what, own, other, other / own);
    if (wanted > 0) printf(" %7.2f", wanted);
    printf("%*s  %s%s\n", wanted > 0 ? 0 : 8, "", instead, missed ? "  MISSED" : "");
    return missed;
}

/* Both ends of every connection are descriptors of this process. libwebsockets makes a table of as
 * many as the soft limit says, which may be a thousand million. */
static size_t fitting(size_t wanted)
{
    struct rlimit most;
    rlim_t need = 2 * wanted + 1000;

    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max < need ? most.rlim_max : need;
    must(setrlimit(RLIMIT_NOFILE, &most) == 0, "setrlimit");
    must(most.rlim_cur >= 400, "too few descriptors");
    return most.rlim_cur < need ? (size_t)(most.rlim_cur - 200) / 2 : wanted;
}

int main(int argc, char **argv)
{
    static const char usage[] = "bench_link_traps [CONNECTIONS]";
    size_t wanted = USUAL;
    struct cost own = {0}, timed = {0}, limited = {0}, unset = {0}, wide = {0}, single = {0},
                theirs_single = {0};
    struct setting timer = ours, limit = ours, no_tx = ours, wide_rx = ours;
    int missed = 0;

    if (argc > 1) wanted = argument_number(usage, "CONNECTIONS", argv[1], 100, 30000);
    argument_end(usage, argc, argv, 1);
    size_t n = fitting(wanted);
    bool judged = n >= USUAL;
    crypto_start();
    timer.hangup_s = 0xffff;
    limit.fd_limit = (unsigned)n + 100;
    no_tx.tx = 0;
    wide_rx.rx = 64 << 10;
    for (int i = 0; i < WINDOWS; i++) {
        measure_timers(1, &single, &theirs_single);
        measure_timers(n, &own, &timed);
        measure_many(ours, n, &own);
        measure_many(timer, n, &timed);
        measure_many(limit, n, &limited);
        measure_large(ours, &own);
        measure_large(no_tx, &unset);
        measure_large(wide_rx, &wide);
    }
    printf("libwebsockets %s, %zu connections%s\n", lws_get_library_version(), n,
           judged ? "" : ": too few to judge what grows with them (limit of descriptors?)");
    printf("%-32s %9s %9s %7s %7s\n", "CPU us", "ours", "instead", "ratio", "wanted");
    row("arm a timer, no other", "the library's", single.of[ARM], theirs_single.of[ARM], 0);
    missed += row("arm a timer beside one for each", "the library's", own.of[ARM], timed.of[ARM],
                  judged ? 10 : 0);
    missed += row("connect", "a timer of the library for each", own.of[CONNECT], timed.of[CONNECT],
                  judged ? 1.1 : 0);
    missed += row("connect", "fd_limit_per_thread", own.of[CONNECT], limited.of[CONNECT],
                  judged ? 1.15 : 0);
    missed += row("small message in", "fd_limit_per_thread", own.of[MESSAGE], limited.of[MESSAGE],
                  judged ? 1.05 : 0);
    missed += row("a MB out in frames of 256 KB", "no tx_packet_size", own.of[WRITE],
                  unset.of[WRITE], 1.5);
    row("a MB in, in frames of 256 KB", "rx_buffer_size 64 KB for each", own.of[READ],
        wide.of[READ], 0);
    return missed ? 1 : 0;
}
