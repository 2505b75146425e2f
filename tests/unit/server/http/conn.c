/* A connection's life: its requests in order, answers that nobody takes, and its time. */
#include <stdatomic.h>

#include "server/http/conn.h"
#include "tests/support/http_door.h"

static void on_hold(struct request *r) {} /* no answer */

static atomic_int asked_much;
static atomic_size_t unsent_before; /* the newest answer of much */

enum { MUCH = 100 * 1000 };

static void on_much(struct request *r)
{
    static char text[MUCH];
    atomic_store(&unsent_before, r->conn->unsent);
    atomic_fetch_add(&asked_much, 1);
    reply_bytes(r, 200, "text/plain", slice_of(text, MUCH));
}

static const struct route routes[] = {
    {"GET", "/quiet", on_quiet},
    {"GET", "/echo", on_echo},
    {"POST", "/echo", on_echo},
    {"GET", "/p/{name}", on_param},
    {"GET", "/hold", on_hold},
    {"GET", "/much", on_much},
    {0},
};

static void start(void) { door_start(routes); }

TestSuite(conn, .init = start, .fini = door_stop);

Test(conn, answers_pipelined_requests_in_order_on_one_connection)
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

Test(conn, a_long_pipeline_leaves_room_for_others)
{
    enum { REQUESTS = 250 };
    int greedy[2] = {dial_door(), dial_door()}; /* one on each worker */

    for (int i = 0; i < 2; i++)
        push(greedy[i], REQUESTS, "/p/x");
    cr_assert(strstr(ask("GET /p/modest HTTP/1.1\r\n" H CLOSE "\r\n"), "modest"));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(count(hear(greedy[i]), "HTTP/1.1 200"), REQUESTS);
}

Test(conn, who_takes_no_answers_is_asked_nothing_more_until_he_does)
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
Test(conn, what_comes_too_slowly_is_not_waited_for, .timeout = 200)
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
    for (int i = 0; i < 400 && http_connections(door_server); i++)
        usleep(100 * 1000);
    cr_expect_eq(http_connections(door_server), 0u);
#endif
    close(left);
}

/* Neither who sends half a request nor who reads a byte now and then keeps it from ending. */
Test(conn, who_takes_no_answers_does_not_keep_a_server_that_stops)
{
    int half = dead_weight(), slow = dead_weight(), quiet = dial_door();
    struct post p = {.run = door_close};
    char byte;

    say(slow, "st: localhost\r\nConnection: close\r\n\r\n");
    say(quiet, "GET /quiet HTTP/1.1\r\n" H "\r\n");
    usleep(200 * 1000);
    worker_post(door_main, &p);
    for (int i = 0; i < 400 && http_connections(door_server); i++) {
        usleep(100 * 1000);
        recv(slow, &byte, 1, MSG_DONTWAIT);
    }
    cr_expect_eq(http_connections(door_server), 0u);
    close(half);
    close(slow);
    close(quiet);
    door_is_stopped = true;
}

Test(conn, survives_a_client_that_leaves_in_the_middle)
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
