/* A real server on a real socket; the client is this thread with blocking calls. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/http/conn.h"
#include "server/worker.h"
#include "tests/support/dial.h"

static struct worker *main_worker, *workers[2];
static struct http_server *server;
static char listen_at[32];
static int port;
static uint64_t held_id;
static struct sse *stream;

static void on_echo(struct request *r)
{
    AUTO(buf) out = {0};
    buf_printf(&out, SLICE_FMT " " SLICE_FMT " q=" SLICE_FMT " ", SLICE_ARG(r->method),
               SLICE_ARG(r->path), SLICE_ARG(request_query(r, "q")));
    buf_put(&out, r->body);
    reply_bytes(r, 200, "text/plain", buf_slice(&out));
}

static void on_param(struct request *r) { reply_bytes(r, 200, "text/plain", r->params[0]); }

static void on_local(struct request *r)
{
    reply_bytes(r, 200, "text/plain", request_is_local(r) ? SLICE("here") : SLICE("elsewhere"));
}

static void on_hold(struct request *r) { held_id = r->id; }

static atomic_int kept; /* requests whose handler does not answer */

static void on_keeper_gone(struct request *r) { atomic_fetch_sub(&kept, 1); }

static void on_keep(struct request *r)
{
    r->on_gone = on_keeper_gone;
    atomic_fetch_add(&kept, 1);
}

static void on_stream(struct request *r)
{
    AUTO(buf) frame = {0};
    stream = sse_start(r, NULL, NULL);
    sse_frame(&frame, SLICE("7"), SLICE("x"), SLICE("a\nb"));
    sse_write(stream, buf_slice(&frame));
    sse_end(stream);
}

/* Above what may wait for a reader: alone it goes out, behind others it costs the stream. */
static void write_megabytes(struct sse *s, size_t n)
{
    struct buf frame = {0};

    for (size_t i = 0; i < n << 20; i++)
        buf_put_u8(&frame, 'm');
    sse_write(s, buf_slice(&frame));
    buf_done(&frame);
}

static atomic_int asked_much;
static atomic_size_t unsent_before; /* the newest answer of much */

static void on_big(struct request *r)
{
    stream = sse_start(r, NULL, NULL);
    write_megabytes(stream, 10);
    sse_end(stream);
}

enum { MUCH = 100 * 1000 };

static void on_much(struct request *r)
{
    static char text[MUCH];
    atomic_store(&unsent_before, r->conn->unsent);
    atomic_fetch_add(&asked_much, 1);
    reply_bytes(r, 200, "text/plain", slice_of(text, MUCH));
}

static atomic_int closed_after; /* writes that were done when the stream was closed */

static void on_flood_closed(struct sse *s) { atomic_store(&closed_after, *(int *)s->owner); }

static void on_flood(struct request *r)
{
    static int writes;

    writes = 0;
    stream = sse_start(r, &writes, on_flood_closed);
    for (; writes < 12; writes++)
        write_megabytes(stream, 1);
    cr_expect_gt(sse_unsent(stream), 0); /* whoever writes still has it */
}

enum { DRIP_MB = 10 };
static atomic_int drained;

/* Says something more without asking again. */
static void on_stream_drained(struct sse *s)
{
    cr_expect_eq(sse_unsent(s), 0);
    atomic_fetch_add(&drained, 1);
    sse_write(s, SLICE("data: that was all\n\n"));
}

static void on_drip(struct request *r)
{
    stream = sse_start(r, NULL, NULL);
    stream->on_drained = on_stream_drained;
    write_megabytes(stream, DRIP_MB);
    sse_await_drained(stream);
}

static void on_quiet(struct request *r) { stream = sse_start(r, NULL, NULL); }

static const struct route routes[] = {
    {"GET", "/quiet", on_quiet},
    {"GET", "/big", on_big},
    {"GET", "/flood", on_flood},
    {"GET", "/echo", on_echo},
    {"POST", "/echo", on_echo},
    {"GET", "/p/{name}", on_param},
    {"GET", "/hold", on_hold},
    {"GET", "/stream", on_stream},
    {"GET", "/much", on_much},
    {"POST", "/keep", on_keep},
    {"GET", "/local", on_local},
    {"GET", "/drip", on_drip},
    {0},
};
static const struct route *const tables[] = {routes, NULL};
static const char *const hosts[] = {"parley.example", NULL};

static void start_config(struct http_config config)
{
    signal(SIGPIPE, SIG_IGN); /* as parleyd does */
    config.listen = listen_at;
    config.tables = tables;
    main_worker = worker_new(-1);
    for (int i = 0; i < 2; i++)
        workers[i] = worker_new(i);
    for (port = 20000 + getpid() % 20000;; port++) {
        snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%d", port);
        if (http_open(&config, main_worker, workers, 2, &server) == OK) break;
    }
    for (int i = 0; i < 2; i++)
        cr_assert_eq(worker_start(workers[i]), OK);
    cr_assert_eq(worker_start(main_worker), OK);
}

static void start_with(size_t connections_max, size_t bodies_max)
{
    start_config((struct http_config){.hosts = hosts,
                                      .public_url = "https://public.example:8443/",
                                      .connections_max = connections_max,
                                      .bodies_max = bodies_max});
}

enum { FEW = 3, SMALL = 64 * 1024 };

static void start(void) { start_with(0, 0); }
static void start_with_few_connections(void) { start_with(FEW, 0); }
static void start_with_small_bodies(void) { start_with(0, SMALL); }

/* As the options have it when nobody names anything: an empty text. */
static void start_without_names(void) { start_config((struct http_config){.public_url = ""}); }
static void start_with_url(void)
{
    start_config((struct http_config){.public_url = "https://public.example/"});
}
static void start_with_host(void) { start_config((struct http_config){.hosts = hosts}); }

/* Some containers, and some kernels, have no sock_diag. */
static void start_without_diag(void)
{
    struct sock_filter rows[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(rows), .filter = rows};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    start_without_names();
}

static void on_closed(void *arg)
{
    for (int i = 0; i < 2; i++)
        worker_stop(workers[i]);
    worker_stop(main_worker);
}
static void close_it(struct post *p, struct worker *w) { http_close(server, on_closed, NULL); }

static bool is_stopped; /* by the test itself */

static void stop(void)
{
    struct post p = {.run = close_it};
    if (!is_stopped) worker_post(main_worker, &p);
    for (int i = 0; i < 2; i++)
        worker_join(workers[i]);
    worker_join(main_worker);
    http_free(server);
    for (int i = 0; i < 2; i++)
        worker_free(workers[i]);
    worker_free(main_worker);
}

static int dial_door(void)
{
    struct timeval patience = {.tv_sec = 10};
    int fd = dial(port);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Everything until the server closes, NUL-terminated. */
static const char *hear(int fd)
{
    static char text[1 << 16];
    size_t n = 0;
    ssize_t got;
    while (n < sizeof(text) - 1 && (got = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(fd);
    return text;
}

static const char *ask(const char *text)
{
    int fd = dial_door();
    say(fd, text);
    return hear(fd);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        n++;
    return n;
}

TestSuite(http, .init = start, .fini = stop);

#define H "Host: localhost\r\n"
#define CLOSE "Connection: close\r\n"

Test(http, answers_pipelined_requests_in_order_on_one_connection)
{
    const char *got = ask("GET /echo?q=a%20b+c HTTP/1.1\r\n" H "\r\n"
                          "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"
                          "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                          "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                          "GET /p%2Fy HTTP/1.1\r\n" H CLOSE "\r\n");
    cr_assert_eq(count(got, "HTTP/1.1 200 OK"), 3, "%s", got);
    cr_assert(strstr(got, "GET /echo q=a b c "));
    cr_assert(strstr(got, "POST /echo q= hello"));
    cr_assert(strstr(got, "POST /echo q= abcde"));
    cr_assert_eq(count(got, "HTTP/1.1 404"), 1);
}

static void push(int fd, size_t n, const char *target)
{
    AUTO(buf) all = {0};

    for (size_t i = 0; i < n; i++)
        buf_printf(&all, "GET %s HTTP/1.1\r\n" H "%s\r\n", target, i + 1 == n ? CLOSE : "");
    cr_assert_eq(send(fd, all.data, all.len, MSG_NOSIGNAL), (ssize_t)all.len);
}

Test(http, a_long_pipeline_leaves_room_for_others)
{
    enum { REQUESTS = 250 };
    int greedy[2] = {dial_door(), dial_door()}; /* one on each worker */

    for (int i = 0; i < 2; i++)
        push(greedy[i], REQUESTS, "/p/x");
    cr_assert(strstr(ask("GET /p/modest HTTP/1.1\r\n" H CLOSE "\r\n"), "modest"));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(count(hear(greedy[i]), "HTTP/1.1 200"), REQUESTS);
}

Test(http, who_takes_no_answers_is_asked_nothing_more_until_he_does)
{
    enum { REQUESTS = 300 }; /* 30 MB of answers */
    char *bytes = malloc(1 << 20);
    int fd = dial_door();
    size_t got = 0;
    ssize_t n;

    push(fd, REQUESTS, "/much");
    usleep(300000);
    cr_expect_lt(atomic_load(&asked_much), REQUESTS);
    while ((n = recv(fd, bytes, 1 << 20, 0)) > 0)
        got += (size_t)n;
    close(fd);
    free(bytes);
    cr_assert_eq(n, 0);
    cr_assert_eq(atomic_load(&asked_much), REQUESTS);
    cr_assert_gt(got, (size_t)REQUESTS * MUCH, "%zu", got);
}

Test(http, trailers_are_no_part_of_the_body)
{
    const char *got = ask("POST /echo HTTP/1.1\r\n" H CLOSE "Transfer-Encoding: chunked\r\n\r\n"
                          "3\r\nabc\r\n0\r\nX-Sum: 900150983cd24fb0\r\nY: z\r\n\r\n");
    cr_assert(strstr(got, "POST /echo q= abc"), "%s", got);
    cr_assert(strstr(got, "Content-Length: 17\r\n"), "%s", got);
}

Test(http, a_header_without_a_value_is_no_folded_line)
{
    cr_assert(strstr(ask("GET /echo HTTP/1.1\r\n" H "A: \r\nB:\r\n" CLOSE "\r\n"), " 200 OK"));
}

Test(http, byte_by_byte_is_the_same_request)
{
    int fd = dial_door();
    const char *text = "POST /echo HTTP/1.1\r\n" H CLOSE "Content-Length: 3\r\n\r\nxyz";
    for (const char *at = text; *at; at++) {
        cr_assert_eq(send(fd, at, 1, MSG_NOSIGNAL), 1);
        usleep(200);
    }
    cr_assert(strstr(hear(fd), "POST /echo q= xyz"));
}

Test(http, bad_input_gets_its_status_and_a_json_body)
{
    static const struct {
        const char *text, *status;
    } cases[] = {
        {"nonsense\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\nHost : localhost\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\n" H "A:\r\n c\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"},
        {"GET /echo HTTP/1.1\r\n" H "host: evil.example\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\n" H H "\r\n", "400"},
        {"GET /echo HTTP/1.1\r\n" H "Origin: http://localhost\r\nOrigin: null\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\n" H "Authorization: a\r\nAuthorization: b\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\n" H "Origin: http://evil.example\r\n\r\n", "403"},
        {"GET /nothing HTTP/1.1\r\n" H CLOSE "\r\n", "404"},
        {"DELETE /echo HTTP/1.1\r\n" H CLOSE "\r\n", "405"},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: 99999999\r\n\r\n", "413"},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "400"},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
         "400"},
        {"CONNECT a:1 HTTP/1.1\r\n" H "\r\n", "501"},
        {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
        {"GET /echo HTTP/1.1\r\n" H ": b\r\n\r\n", "400"},
        {"GET /echo HTTP/1.1\r\n: b\r\n" H "\r\n", "400"},
        {"GET /echo HTTP/1.1\r\nHost: localhost:80@evil.example\r\n\r\n", "403"},
        {"GET /echo HTTP/1.1\r\nHost: [::1]evil.example\r\n\r\n", "403"},
        {"GET /echo HTTP/1.1\r\nHost: [::1\r\n\r\n", "403"},
        {"GET /echo HTTP/1.1\r\n" H "Origin: http://localhost:1@evil.example\r\n\r\n", "403"},
        {"GET /echo HTTP/1.1\r\n" H "Origin: http://localhost:1.evil.example\r\n\r\n", "403"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = ask(cases[i].text);
        cr_assert(strncmp(got + 9, cases[i].status, 3) == 0, "%s -> %s", cases[i].text, got);
        cr_assert(strstr(got, "{\"code\":\""), "%s", got);
    }
}

/* RFC 9112 3.2.2: the host of such a target counts, whatever Host says. */
Test(http, a_target_may_be_a_whole_url)
{
    static const struct {
        const char *line, *host, *status, *body;
    } rows[] = {
        {"GET http://localhost/echo?q=1 HTTP/1.1", "Host: localhost\r\n", "200", "GET /echo q=1 "},
        {"GET HTTPS://localhost:443/ec%68o HTTP/1.1", "Host: localhost\r\n", "200",
         "GET /echo q= "},
        {"GET http://localhost/echo HTTP/1.1", "Host: evil.example\r\n", "200", "GET /echo q= "},
        {"GET http://evil.example/echo HTTP/1.1", "Host: localhost\r\n", "403", ""},
        {"GET http://localhost@evil.example/echo HTTP/1.1", "Host: localhost\r\n", "403", ""},
        {"GET http://localhost HTTP/1.1", "Host: localhost\r\n", "404", "GET /"},
        {"GET http://localhost?q=1 HTTP/1.1", "Host: localhost\r\n", "404", "GET /"},
        {"GET http://localhost/echo HTTP/1.1", "", "400", "Host header is missing"},
        {"GET http://localhost/echo HTTP/1.1", "Host: localhost\r\nHost: localhost\r\n", "400", ""},
        {"GET http://evil.example/echo HTTP/1.0", "", "404", ""},
        {"GET /http://localhost/echo HTTP/1.1", "Host: localhost\r\n", "404", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        const char *got;
        snprintf(text, sizeof(text), "%s\r\n%s" CLOSE "\r\n", rows[i].line, rows[i].host);
        got = ask(text);
        cr_expect(strncmp(got + 9, rows[i].status, 3) == 0, "%s -> %s", text, got);
        cr_expect(strstr(got, rows[i].body), "%s -> %s", text, got);
    }
}

/* Java's client offers HTTP/2 with its first request, browsers WebSockets; who understands neither
 * goes on in HTTP/1.1 (RFC 9110 7.8). */
Test(http, an_offer_of_another_protocol_is_not_heard)
{
    const char *got =
        ask("POST /echo HTTP/1.1\r\n" H "Connection: Upgrade, HTTP2-Settings\r\n"
            "Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
            "Content-Length: 4\r\n\r\nbodyGET /echo HTTP/1.1\r\n" H
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /p/third HTTP/1.1\r\n" H CLOSE
            "\r\n");

    cr_expect(strstr(got, "POST /echo q= bodyHTTP/1.1 200 OK"), "%s", got);
    cr_expect(strstr(got, "GET /echo q= HTTP/1.1 200 OK"), "%s", got);
    cr_expect(strstr(got, "\r\n\r\nthird"), "%s", got);
}

/* What a proxy in front took for one segment is one here, too. */
Test(http, an_encoded_slash_parts_no_segments)
{
    cr_assert(strstr(ask("GET /p%2fx HTTP/1.1\r\n" H CLOSE "\r\n"), " 404 "));
    cr_assert(strstr(ask("GET /p/a%2Fb%20c HTTP/1.1\r\n" H CLOSE "\r\n"), "\r\n\r\na%2Fb c"));
}

/* A request whose target has `target` bytes and which has `headers` headers of `value` bytes. */
static const char *ask_sized(size_t target, size_t headers, size_t value)
{
    AUTO(buf) text = {0};

    buf_put_text(&text, "GET /echo?");
    for (size_t i = 10 - 4; i < target; i++)
        buf_put_u8(&text, 'a');
    buf_put_text(&text, " HTTP/1.1\r\n" H CLOSE);
    for (size_t i = 2; i < headers; i++) {
        buf_put_text(&text, "X: ");
        for (size_t k = 0; k < value; k++)
            buf_put_u8(&text, 'v');
        buf_put_text(&text, "\r\n");
    }
    buf_put_text(&text, "\r\n");
    return ask(buf_text(&text));
}

static const char *post_sized(size_t bytes)
{
    AUTO(buf) text = {0};
    struct timeval soon = {.tv_usec = 300000};
    int fd = dial_door();

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
    buf_printf(&text, "POST /keep HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n", bytes);
    say(fd, buf_text(&text));
    return hear(fd);
}

/* One more is refused, the limit itself is not. */
Test(http, a_limit_is_what_it_says_to_the_byte)
{
    /* target, name and value of each of the headers */
    enum { OWN = 4 + 9 + 10 + 5, VALUE = HTTP_HEADER_BYTES_MAX - 100 - OWN - 1 };

    cr_expect(strstr(ask_sized(HTTP_TARGET_MAX, 2, 0), "HTTP/1.1 200"));
    cr_expect(strstr(ask_sized(HTTP_TARGET_MAX + 1, 2, 0), "HTTP/1.1 414"));
    cr_expect(strstr(ask_sized(100, HTTP_HEADERS_MAX, 1), "HTTP/1.1 200"));
    cr_expect(strstr(ask_sized(100, HTTP_HEADERS_MAX + 1, 1), "HTTP/1.1 431"));
    cr_expect(strstr(ask_sized(100, 3, VALUE), "HTTP/1.1 200"));
    cr_expect(strstr(ask_sized(100, 3, VALUE + 1), "HTTP/1.1 431"));
    cr_expect_str_empty(post_sized(HTTP_BODY_MAX));
    cr_expect(strstr(post_sized(HTTP_BODY_MAX + 1), "HTTP/1.1 413"));
}

Test(http, limits_have_their_own_answers)
{
    AUTO(buf) big = {0};
    buf_put_text(&big, "GET /");
    for (int i = 0; i < 5000; i++)
        buf_put_u8(&big, 'a');
    buf_put_text(&big, " HTTP/1.1\r\n" H "\r\n");
    cr_assert(strstr(ask(buf_text(&big)), "HTTP/1.1 414"));

    buf_reset(&big);
    buf_put_text(&big, "GET /echo HTTP/1.1\r\n" H);
    for (int i = 0; i < 70; i++)
        buf_printf(&big, "X-%d: y\r\n", i);
    buf_put_text(&big, "\r\n");
    cr_assert(strstr(ask(buf_text(&big)), "HTTP/1.1 431"));

    buf_reset(&big);
    buf_put_text(&big, "GET /echo HTTP/1.1\r\n" H "X: ");
    for (int i = 0; i < 17000; i++)
        buf_put_u8(&big, 'a');
    buf_put_text(&big, "\r\n\r\n");
    cr_assert(strstr(ask(buf_text(&big)), "HTTP/1.1 431"));
}

/* Dribbles a byte a second, as long as the server takes it. */
static int slow_client(const char *text)
{
    int fd = dial_door();
    struct timeval patience = {.tv_sec = 1};

    say(fd, text);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

/* What it has heard when the server closes or `seconds` are over. */
static const char *dribble(int fd, int seconds)
{
    static char text[4096];
    size_t n = 0;
    ssize_t got = 1;

    for (int i = 0; got != 0 && i < seconds; i++) {
        if (send(fd, "x", 1, MSG_NOSIGNAL) != 1) break;
        got = recv(fd, text + n, sizeof(text) - 1 - n, 0);
        n += got > 0 ? (size_t)got : 0;
    }
    text[n] = '\0';
    close(fd);
    return text;
}

/* Half a request behind answers that nobody takes. */
static int dead_weight(void)
{
    int small = 4096, fd = dial_door();

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    atomic_store(&unsent_before, 0);
    while (!atomic_load(&unsent_before)) {
        int before = atomic_load(&asked_much);
        say(fd, "GET /much HTTP/1.1\r\n" H "\r\n");
        while (atomic_load(&asked_much) == before)
            usleep(1000);
    }
    say(fd, "GET /echo HTTP/1.1\r\nHo");
    return fd;
}

/* Progress does not count: a whole request has its time. All run at once. */
Test(http, what_comes_too_slowly_is_not_waited_for, .timeout = 100)
{
    int left = dead_weight();
    int headers = slow_client("GET /echo HTTP/1.1\r\n" H "X: ");
    int body = slow_client("POST /echo HTTP/1.1\r\n" H "Content-Length: 4000\r\n\r\n");
    int quiet = slow_client("GET /quiet HTTP/1.1\r\n" H "\r\n");
    static char text[4096];
    const char *got;
    size_t n = 0;

    shutdown(left, SHUT_WR); /* its time must not end with its request's */
    got = dribble(headers, 14);
    cr_expect(strncmp(got, "HTTP/1.1 408 ", 13) == 0, "%s", got);
    cr_expect(strstr(got, "{\"code\":\"request_timeout\""), "%s", got);
    for (int i = 0; i < 8 && !strstr(text, ": keepalive\n\n"); i++) {
        ssize_t more = recv(quiet, text + n, sizeof(text) - 1 - n, 0);
        n += more > 0 ? (size_t)more : 0;
    }
    cr_expect(strstr(text, "\r\n\r\n: keepalive\n\n"), "after 15 s: %s", text);
    close(quiet);
#ifdef __SANITIZE_THREAD__
    close(body); /* once is enough */
#else
    got = dribble(body, 65);
    cr_expect(strncmp(got, "HTTP/1.1 408 ", 13) == 0, "%s", got);
    cr_expect(strstr(got, "{\"code\":\"request_timeout\""), "%s", got);
    for (int i = 0; i < 150 && http_connections(server); i++)
        usleep(100 * 1000);
    cr_expect_eq(http_connections(server), 0u);
#endif
    close(left);
}

/* Neither who sends half a request nor who reads a byte now and then keeps it from ending. */
Test(http, who_takes_no_answers_does_not_keep_a_server_that_stops)
{
    int half = dead_weight(), slow = dead_weight(), quiet = dial_door();
    struct post p = {.run = close_it};
    char byte;

    say(slow, "st: localhost\r\nConnection: close\r\n\r\n");
    say(quiet, "GET /quiet HTTP/1.1\r\n" H "\r\n");
    usleep(200 * 1000);
    worker_post(main_worker, &p);
    for (int i = 0; i < 100 && http_connections(server); i++) {
        usleep(100 * 1000);
        recv(slow, &byte, 1, MSG_DONTWAIT);
    }
    cr_expect_eq(http_connections(server), 0u);
    close(half);
    close(slow);
    close(quiet);
    is_stopped = true;
}

Test(http, configured_names_and_head_and_options_work)
{
    cr_assert(
        strstr(ask("GET /echo HTTP/1.1\r\nHost: parley.example:443\r\n" CLOSE "\r\n"), "200"));
    const char *head = ask("HEAD /echo HTTP/1.1\r\n" H CLOSE "\r\n");
    cr_assert(strstr(head, "Content-Length: 14\r\n"));
    cr_assert_str_eq(strstr(head, "\r\n\r\n"), "\r\n\r\n");
    cr_assert(strstr(ask("OPTIONS /echo HTTP/1.1\r\n" H CLOSE "\r\n"), "Allow: GET, HEAD, POST"));
}

Test(http, the_name_of_the_public_url_is_accepted)
{
    static const struct {
        const char *header, *status;
    } rows[] = {
        {"Host: Public.example", "200"},
        {"Host: public.example:8443", "200"},
        {"Host: public.example.org", "403"},
        {"Host: ", "403"},
        {H "Origin: https://public.example:8443", "200"},
        {H "Origin: HTTPS://public.example", "200"},
        {H "Origin: ftp://public.example", "403"},
        {H "Origin: https://elsewhere.example", "403"},
        {H "Origin: public.example", "403"},
        {H "Origin: null", "403"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        snprintf(text, sizeof(text), "GET /echo HTTP/1.1\r\n%s\r\n" CLOSE "\r\n", rows[i].header);
        cr_expect(strncmp(ask(text) + 9, rows[i].status, 3) == 0, "%s", rows[i].header);
    }
}

Test(http, open_streams_are_counted)
{
    int fd = dial_door();

    say(fd, "GET /quiet HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 500 && http_streams(server) != 1; i++)
        usleep(10000);
    cr_expect_eq(http_streams(server), 1);
    close(fd);
    for (int i = 0; i < 500 && http_streams(server) != 0; i++)
        usleep(10000);
    cr_expect_eq(http_streams(server), 0);
    ask("GET /stream HTTP/1.1\r\n" H "\r\n");
    cr_expect_eq(http_streams(server), 0);
}

Test(http, a_stream_frames_each_line_and_ends)
{
    const char *got = ask("GET /stream HTTP/1.1\r\n" H "\r\n");
    cr_assert(strstr(got, "Content-Type: text/event-stream"));
    cr_assert(strstr(got, "X-Accel-Buffering: no"));
    cr_assert(strstr(got, "\r\n\r\nid: 7\nevent: x\ndata: a\ndata: b\n\n"));
}

Test(http, a_frame_of_any_size_reaches_a_reader_that_keeps_up)
{
    char chunk[1 << 16];
    size_t total = 0;
    ssize_t n;
    int fd = dial_door();

    say(fd, "GET /big HTTP/1.1\r\n" H "\r\n");
    while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
        total += (size_t)n;
    close(fd);
    cr_expect_gt(total, (size_t)10 << 20);
}

Test(http, a_slow_reader_is_closed_when_the_writer_is_done)
{
    int fd = dial_door();

    atomic_store(&closed_after, 0);
    say(fd, "GET /flood HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 500 && !atomic_load(&closed_after); i++)
        usleep(10000);
    cr_expect_eq(atomic_load(&closed_after), 12);
    close(fd);
}

Test(http, who_asked_hears_once_that_all_is_out)
{
    char chunk[1 << 16];
    size_t total = 0;
    ssize_t n;
    int fd = dial_door();

    atomic_store(&drained, 0);
    say(fd, "GET /drip HTTP/1.1\r\n" H "\r\n");
    usleep(50000);
    cr_expect_eq(atomic_load(&drained), 0, "a socket holds no %d MB", DRIP_MB);
    while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0) {
        total += (size_t)n;
        if (total > (size_t)DRIP_MB << 20 && chunk[n - 1] == '\n') break; /* what it said then */
    }
    cr_expect_gt(total, (size_t)DRIP_MB << 20);
    usleep(50000);
    cr_expect_eq(atomic_load(&drained), 1);
    close(fd);
}

Test(http, survives_a_client_that_leaves_in_the_middle)
{
    static const char *const parts[] = {"GET /ec",
                                        "POST /echo HTTP/1.1\r\n" H "Content-Length: 50\r\n\r\nabc",
                                        "GET /hold HTTP/1.1\r\n" H "\r\n"};
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            int fd = dial_door();
            say(fd, parts[i]);
            if (round % 2) usleep(1000);
            close(fd);
        }
    cr_assert(strstr(ask("GET /echo HTTP/1.1\r\n" H CLOSE "\r\n"), "200 OK"));
}

Test(http, a_busy_port_names_its_owner)
{
    struct http_config config = {.listen = listen_at, .tables = tables};
    struct http_server *second = NULL;
    char pid[16];
    cr_assert_eq(http_open(&config, main_worker, workers, 2, &second), ERR_BAD_ARGUMENT);
    snprintf(pid, sizeof(pid), "pid %d", getpid());
    cr_assert(strstr(err_words(), pid), "%s", err_words());
}

Test(http, a_full_body_of_four_megabytes_arrives_whole)
{
    enum { SIZE = 4 << 20 };
    char head[128];
    char *body = malloc(SIZE);
    int fd = dial_door();
    memset(body, 'z', SIZE);
    snprintf(head, sizeof(head), "POST /p/x HTTP/1.1\r\n" H CLOSE "Content-Length: %d\r\n\r\n",
             SIZE);
    say(fd, head);
    for (size_t sent = 0; sent < SIZE;) {
        ssize_t n = send(fd, body + sent, SIZE - sent, MSG_NOSIGNAL);
        cr_assert_gt(n, 0);
        sent += (size_t)n;
    }
    cr_assert(strstr(hear(fd), "HTTP/1.1 405"));
    free(body);
}

Test(http, above_the_limit_of_connections_one_is_told_so, .init = start_with_few_connections)
{
    int open[FEW];
    const char *got = NULL, *body;

    for (int i = 0; i < FEW; i++)
        open[i] = dial_door();
    got = hear(dial_door());
    cr_assert(strstr(got, "HTTP/1.1 503 ") && strstr(got, "Retry-After: "), "%s", got);
    body = strstr(got, "\r\n\r\n") + 4;
    cr_assert(strstr(body, "{\"code\":\"server_busy\""), "%s", got);
    cr_assert_eq(strlen(body), strtoul(strstr(got, "Content-Length: ") + 16, NULL, 10));

    close(open[0]);
    for (int i = 0; i < 500; i++) { /* until the server has seen it */
        got = ask("GET /echo HTTP/1.1\r\n" H CLOSE "\r\n");
        if (strstr(got, " 200 OK")) break;
        usleep(10000);
    }
    cr_assert(strstr(got, " 200 OK"), "%s", got);
    for (int i = 1; i < FEW; i++)
        close(open[i]);
}

enum { LARGE = SMALL * 2 / 3 }; /* one fits a worker, two do not */

static void post_large(int fd, const char *target, const char *header)
{
    AUTO(buf) all = {0};

    buf_printf(&all, "POST %s HTTP/1.1\r\n" H "%sContent-Length: %d\r\n\r\n", target, header,
               LARGE);
    for (int i = 0; i < LARGE; i++)
        buf_put_u8(&all, 'z');
    cr_assert_eq(send(fd, all.data, all.len, MSG_NOSIGNAL), (ssize_t)all.len);
}

Test(http, bodies_count_until_their_requests_have_ended, .init = start_with_small_bodies)
{
    int keepers[2] = {dial_door(), dial_door()}; /* one on each worker */
    const char *got = NULL;
    int fd;

    for (int i = 0; i < 2; i++)
        post_large(keepers[i], "/keep", "");
    for (int i = 0; i < 500 && atomic_load(&kept) < 2; i++)
        usleep(10000);
    cr_assert_eq(atomic_load(&kept), 2);
    fd = dial_door();
    post_large(fd, "/p/x", CLOSE);
    got = hear(fd);
    cr_assert(strstr(got, "HTTP/1.1 503 ") && strstr(got, "server_busy"), "%s", got);

    for (int i = 0; i < 2; i++)
        close(keepers[i]);
    for (int i = 0; i < 500 && atomic_load(&kept); i++)
        usleep(10000);
    fd = dial_door();
    for (int i = 0; i < 4; i++) /* one after the other, all answered */
        post_large(fd, "/p/x", i == 3 ? CLOSE : "");
    got = hear(fd);
    cr_assert_eq(count(got, "HTTP/1.1 405"), 4, "%s", got);
}

/* What a user gets who asks as a browser would. */
static bool is_local_for(uid_t uid)
{
    const char *request = "GET /local HTTP/1.1\r\n" H CLOSE "\r\n";
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (uid != geteuid() && (seteuid(0) || setuid(uid))) _exit(2);
        _exit(strstr(ask(request), "\r\n\r\nhere") ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2, "uid %d", (int)uid);
    return WEXITSTATUS(status) == 0;
}

Test(http, a_program_of_a_service_is_not_local, .init = start_without_names)
{
    enum { WWW_DATA = 33, SOMEBODY = 1000, DYNAMIC = 61200, NOBODY = 65534 };

    cr_expect(is_local_for(getuid()), "the owner's browser");
    if (getuid() != 0) {
        cr_log_warn("only root can be somebody else: the rest of this test is left out");
        return;
    }
    cr_expect(is_local_for(SOMEBODY));
    cr_expect_not(is_local_for(WWW_DATA));
    cr_expect_not(is_local_for(DYNAMIC));
    cr_expect_not(is_local_for(NOBODY));
}

Test(http, root_is_not_local_where_others_serve, .init = start_without_names)
{
    enum { WWW_DATA = 33, SOMEBODY = 1000 };

    if (getuid() != 0) {
        cr_log_warn("only root can be somebody else: this test is left out");
        return;
    }
    cr_assert_eq(seteuid(SOMEBODY), 0);
    cr_expect_not(is_local_for(0));
    cr_expect(is_local_for(SOMEBODY));
    cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(seteuid(WWW_DATA), 0);
    cr_expect_not(is_local_for(WWW_DATA), "a proxy and we as one service");
    cr_expect(is_local_for(SOMEBODY));
    cr_assert_eq(seteuid(0), 0);
}

Test(http, who_serves_under_a_public_url_does_not_know_his_own, .init = start_with_url)
{
    cr_expect_not(is_local_for(getuid()));
}

Test(http, nor_who_serves_under_another_host, .init = start_with_host)
{
    cr_expect_not(is_local_for(getuid()));
}

Test(http, where_the_kernel_does_not_tell_nobody_is_local, .init = start_without_diag)
{
    cr_expect_not(is_local_for(getuid()));
}

Test(http, a_request_of_a_proxy_is_not_local, .init = start_without_names)
{
    cr_expect(strstr(ask("GET /local HTTP/1.1\r\n" H CLOSE "\r\n"), "\r\n\r\nhere"));
    cr_expect(strstr(ask("GET /local HTTP/1.0\r\n" H "\r\n"), "elsewhere"));
    cr_expect(strstr(ask("GET /local HTTP/1.0\r\n\r\n"), "elsewhere"));
    cr_expect(strstr(ask("GET /local HTTP/1.1\r\n" H CLOSE "x-forwarded-server: a\r\n\r\n"),
                     "elsewhere"));
}
