/* What a request may be: framing, limits, and what is refused with which status. */
#include "tests/support/http_door.h"

static const struct route routes[] = {
    {"GET", "/echo", on_echo},
    {"POST", "/echo", on_echo},
    {"GET", "/p/{name}", on_param},
    {"POST", "/keep", on_keep},
    {0},
};

static void start(void) { door_start(routes); }

TestSuite(parse, .init = start, .fini = door_stop);

Test(parse, trailers_are_no_part_of_the_body)
{
    const char *got = ask("POST /echo HTTP/1.1\r\n" H CLOSE "Transfer-Encoding: chunked\r\n\r\n"
                          "3\r\nabc\r\n0\r\nX-Sum: 900150983cd24fb0\r\nY: z\r\n\r\n");
    cr_assert(strstr(got, "POST /echo q= abc"), "%s", got);
    cr_assert(strstr(got, "Content-Length: 17\r\n"), "%s", got);
}

Test(parse, a_header_without_a_value_is_no_folded_line)
{
    cr_assert(strstr(ask("GET /echo HTTP/1.1\r\n" H "A: \r\nB:\r\n" CLOSE "\r\n"), " 200 OK"));
}

Test(parse, byte_by_byte_is_the_same_request)
{
    int fd = dial_door();
    const char *text = "POST /echo HTTP/1.1\r\n" H CLOSE "Content-Length: 3\r\n\r\nxyz";
    for (const char *at = text; *at; at++) {
        cr_assert_eq(send(fd, at, 1, MSG_NOSIGNAL), 1);
        usleep(200);
    }
    cr_assert(strstr(hear(fd), "POST /echo q= xyz"));
}

Test(parse, bad_input_gets_its_status_and_a_json_body)
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
Test(parse, a_target_may_be_a_whole_url)
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
Test(parse, an_offer_of_another_protocol_is_not_heard)
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

/* What comes within `patience_ms`. */
static const char *post_sized(size_t bytes, int patience_ms)
{
    AUTO(buf) text = {0};
    struct timeval patience = {patience_ms / 1000, patience_ms % 1000 * 1000};
    int fd = dial_door();

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    buf_printf(&text, "POST /keep HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n", bytes);
    say(fd, buf_text(&text));
    return hear(fd);
}

/* One more is refused, the limit itself is not. */
Test(parse, a_limit_is_what_it_says_to_the_byte)
{
    /* target, name and value of each of the headers */
    enum { OWN = 4 + 9 + 10 + 5, VALUE = HTTP_HEADER_BYTES_MAX - 100 - OWN - 1 };

    cr_expect(strstr(ask_sized(HTTP_TARGET_MAX, 2, 0), "HTTP/1.1 200"));
    cr_expect(strstr(ask_sized(HTTP_TARGET_MAX + 1, 2, 0), "HTTP/1.1 414"));
    cr_expect(strstr(ask_sized(100, HTTP_HEADERS_MAX, 1), "HTTP/1.1 200"));
    cr_expect(strstr(ask_sized(100, HTTP_HEADERS_MAX + 1, 1), "HTTP/1.1 431"));
    cr_expect(strstr(ask_sized(100, 3, VALUE), "HTTP/1.1 200"));
    cr_expect(strstr(ask_sized(100, 3, VALUE + 1), "HTTP/1.1 431"));
    cr_expect_str_empty(post_sized(HTTP_BODY_MAX, 300));
    cr_expect(strstr(post_sized(HTTP_BODY_MAX + 1, 30000), "HTTP/1.1 413"));
}

Test(parse, limits_have_their_own_answers)
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

Test(parse, a_full_body_of_four_megabytes_arrives_whole)
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
