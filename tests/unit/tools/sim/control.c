/* The control API, handler by handler, without its sockets; then once over them. */
#include "tests/unit/tools/sim/world.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/dial.h"
#include "tools/sim/control.h"

struct api {
    uv_loop_t loop;
    struct sim_server server;
    json_t *out; /* of the last request */
};

static struct api *api_new(bool open)
{
    struct api *a = xcalloc(sizeof *a);
    struct sim_settings s = {.listen = {"127.0.0.1", 0},
                             .control = {"127.0.0.1", 0},
                             .relay = {.seed = 1, .offline_grace_ms = 3000}};

    uv_loop_init(&a->loop);
    cr_assert_eq(sim_server_init(&a->server, &a->loop, &s), OK);
    if (open) cr_assert_eq(sim_server_open(&a->server), OK, "%s", err_trail());
    return a;
}

static void api_free(struct api *a)
{
    json_decref(a->out);
    sim_server_stop(&a->server);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    sim_server_done(&a->server);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&a->loop), 0);
    free(a);
}

/* "POST /phones {…}" */
static int ask(struct api *a, const char *method, const char *url, const char *body)
{
    struct slice all = slice_text(url);
    size_t mark = slice_find(all, '?');
    struct sim_request q = {
        .server = &a->server, .path = slice_sub(all, 0, mark), .query = slice_from(all, mark + 1)};
    int status;

    q.body = body ? json_loads(body, 0, NULL) : json_object();
    cr_assert_not_null(q.body, "%s", body);
    json_decref(a->out);
    status = sim_control_answer(&q, slice_text(method), &a->out);
    json_decref(q.body);
    return status;
}

static const char *text_at(struct api *a, const char *key)
{
    return json_string_value(json_object_get(a->out, key));
}

static json_t *item(struct api *a, const char *key, size_t n)
{
    return json_array_get(json_object_get(a->out, key), n);
}

static void two_phones(struct api *a)
{
    cr_assert_eq(ask(a, "POST", "/phones", "{\"number\":\"+15550001111\",\"name\":\"Ada\"}"), 200);
    cr_assert_eq(ask(a, "POST", "/phones", "{\"number\":\"15550002222\",\"lid\":\"888\"}"), 200);
}

Test(control, root_key)
{
    struct api *a = api_new(false);

    cr_expect_eq(ask(a, "GET", "/root-key", NULL), 200);
    cr_expect_eq(strlen(text_at(a, "root_key")), 64);
    api_free(a);
}

Test(control, a_conversation)
{
    struct api *a = api_new(false);
    char body[256];
    json_t *m;

    two_phones(a);
    cr_expect_str_eq(text_at(a, "lid"), "888");
    cr_expect_eq(
        ask(a, "POST", "/phones/15550001111/send", "{\"to\":\"+15550002222\",\"text\":\"hello\"}"),
        200);
    cr_expect_str_eq(text_at(a, "status"), "sent");
    cr_assert_eq(ask(a, "GET", "/phones/15550002222/inbox", NULL), 200);
    m = item(a, "messages", 0);
    cr_expect_str_eq(json_string_value(json_object_get(m, "text")), "hello");
    cr_expect_str_eq(json_string_value(json_object_get(m, "from")), "15550001111");
    cr_expect_str_eq(json_string_value(json_object_get(m, "status")), "received");
    snprintf(body, sizeof body, "{\"message_id\":\"%s\",\"text\":\"yes?\"}",
             json_string_value(json_object_get(m, "id")));
    cr_expect_eq(ask(a, "POST", "/phones/15550002222/read", body), 200);
    cr_expect_eq(ask(a, "POST", "/phones/15550002222/reply", body), 200);
    cr_expect_eq(ask(a, "POST", "/phones/15550002222/typing", "{\"to\":\"15550001111\"}"), 200);
    cr_assert_eq(ask(a, "GET", "/phones/15550001111/inbox", NULL), 200);
    cr_expect_str_eq(json_string_value(json_object_get(item(a, "messages", 0), "status")), "read");
    cr_expect_not_null(json_object_get(item(a, "messages", 1), "quoted"));
    cr_expect_eq(ask(a, "POST", "/phones/15550002222/offline", NULL), 200);
    cr_expect(json_is_false(json_object_get(a->out, "online")));
    cr_expect_eq(ask(a, "POST", "/phones/15550002222/online", NULL), 200);
    cr_expect_eq(ask(a, "GET", "/trace?device=15550001111%3A0&limit=5", NULL), 200);
    cr_expect_eq(json_array_size(json_object_get(a->out, "stanzas")), 5);
    cr_expect_not_null(
        strstr(json_string_value(json_object_get(item(a, "stanzas", 0), "stanza")), "<"));
    api_free(a);
}

Test(control, groups)
{
    struct api *a = api_new(false);
    char body[256], url[128];

    two_phones(a);
    cr_assert_eq(ask(a, "POST", "/phones", "{\"number\":\"15550003333\"}"), 200);
    cr_assert_eq(ask(a, "POST", "/groups",
                     "{\"subject\":\"Us\",\"members\":[\"15550001111\",\"15550002222\"]}"),
                 200);
    snprintf(url, sizeof url, "/groups/%s/members", text_at(a, "id"));
    snprintf(body, sizeof body, "{\"group\":\"%s\",\"text\":\"all\"}", text_at(a, "id"));
    cr_expect_eq(ask(a, "POST", "/phones/15550001111/send", body), 200);
    cr_expect_str_eq(text_at(a, "status"), "sent");
    cr_expect_eq(ask(a, "POST", url, "{\"add\":[\"15550003333\"],\"remove\":[\"15550002222\"]}"),
                 200);
    cr_expect_eq(json_array_size(json_object_get(a->out, "members")), 2);
    cr_expect_eq(ask(a, "GET", "/groups", NULL), 200);
    cr_expect_eq(json_array_size(json_object_get(a->out, "groups")), 1);
    cr_expect_eq(ask(a, "POST", "/groups", "{\"subject\":\"One\",\"members\":[\"15550001111\"]}"),
                 400);
    cr_expect_eq(ask(a, "POST", "/groups/1/members", "{}"), 404);
    api_free(a);
}

static const struct {
    const char *method, *url, *body;
    int status;
} refused[] = {
    {"GET", "/nothing", NULL, 404},
    {"GET", "/phones/", NULL, 404},
    {"DELETE", "/phones", NULL, 405},
    {"GET", "/phones/1", NULL, 404},
    {"POST", "/phones", "{}", 400},
    {"POST", "/phones", "{\"number\":\"x\"}", 400},
    {"POST", "/phones", "{\"number\":\"15550001111\"}", 409},
    {"POST", "/phones/15550001111/scan", "{}", 400},
    {"POST", "/phones/15550001111/scan", "{\"qr\":\"nonsense\"}", 400},
    {"POST", "/phones/15550001111/send", "{\"to\":\"15550002222\"}", 400},
    {"POST", "/phones/15550001111/send", "{\"text\":\"x\"}", 400},
    {"POST", "/phones/15550001111/read", "{\"message_id\":\"?\"}", 404},
    {"POST", "/phones/15550001111/reply", "{\"message_id\":\"?\",\"text\":\"x\"}", 404},
    {"POST", "/phones/15550001111/unlink", "{\"device\":3}", 404},
    {"GET", "/accounts/1/devices", NULL, 404},
    {"POST", "/accounts/1/privacy", "{\"readreceipts\":\"none\"}", 404},
    {"POST", "/accounts/15550001111/privacy", "{\"readreceipts\":\"maybe\"}", 400},
    {"POST", "/faults", "{}", 400},
    {"POST", "/faults", "{\"fault\":\"rain\"}", 400},
    {"POST", "/faults", "{\"fault\":\"server_ping\",\"device\":\"15550001111:4\"}", 404},
    {"POST", "/clock", "{\"advance_ms\":-1}", 400},
    {"POST", "/clock", "{\"set\":\"yesterday\"}", 400},
};

Test(control, what_is_refused_has_words)
{
    struct api *a = api_new(false);

    two_phones(a);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        cr_expect_eq(ask(a, refused[i].method, refused[i].url, refused[i].body), refused[i].status,
                     "%s %s", refused[i].method, refused[i].url);
        cr_expect_not_null(text_at(a, "error"), "%s", refused[i].url);
        cr_expect_gt(strlen(text_at(a, "message")), 0u, "%s", refused[i].url);
    }
    api_free(a);
}

Test(control, stanzas_from_nowhere)
{
    struct api *a = api_new(false);

    two_phones(a);
    cr_expect_eq(ask(a, "POST", "/devices/15550001111:0/stanza",
                     "{\"tag\":\"notification\",\"attrs\":{\"from\":\"15550002222@s.whatsapp.net\","
                     "\"type\":\"status\",\"id\":\"N1\",\"t\":\"1\"},"
                     "\"children\":[{\"tag\":\"set\",\"text\":\"at the sea\"}]}"),
                 200);
    cr_expect_eq(ask(a, "GET", "/trace?device=15550001111:0&limit=2", NULL), 200);
    cr_expect_not_null(strstr(json_string_value(json_object_get(item(a, "stanzas", 0), "stanza")),
                              "<notification"));
    cr_expect_not_null(
        strstr(json_string_value(json_object_get(item(a, "stanzas", 1), "stanza")), "<ack"),
        "the phone answers for it");
    cr_expect_eq(ask(a, "POST", "/devices/15550001111:7/stanza", "{\"tag\":\"ib\"}"), 404);
    cr_expect_eq(ask(a, "POST", "/devices/15550001111:0/stanza", "{}"), 400);
    cr_expect_eq(
        ask(a, "POST", "/devices/15550001111:0/stanza", "{\"tag\":\"ib\",\"children\":[{}]}"), 400);
    cr_expect_eq(
        ask(a, "POST", "/devices/15550001111:0/stanza", "{\"tag\":\"ib\",\"attrs\":{\"t\":1}}"),
        400);
    cr_expect_eq(ask(a, "POST", "/phones/15550001111/send",
                     "{\"to\":\"15550002222\",\"message\":\"8gIDEgEh\",\"type\":\"reaction\"}"),
                 200);
    cr_expect_eq(
        ask(a, "POST", "/phones/15550001111/send", "{\"to\":\"15550002222\",\"message\":\"!\"}"),
        400);
    api_free(a);
}

Test(control, faults_rules_clock_settings)
{
    struct api *a = api_new(false);
    json_int_t before;

    cr_expect_eq(ask(a, "POST", "/faults", "{\"fault\":\"drop\",\"count\":3,\"tag\":\"receipt\"}"),
                 200);
    cr_expect_eq(ask(a, "GET", "/faults", NULL), 200);
    cr_expect_eq(json_array_size(json_object_get(a->out, "armed")), 1);
    cr_expect_eq(json_array_size(json_object_get(a->out, "known")), (size_t)SIM_FAULTS);
    cr_expect_eq(ask(a, "DELETE", "/faults", NULL), 200);
    cr_expect_eq(ask(a, "GET", "/faults", NULL), 200);
    cr_expect_eq(json_array_size(json_object_get(a->out, "armed")), 0);
    cr_expect_eq(ask(a, "GET", "/rules", NULL), 200);
    cr_expect_eq(json_array_size(json_object_get(a->out, "rules")), (size_t)SIM_RULES);
    cr_expect_eq(ask(a, "GET", "/clock", NULL), 200);
    before = json_integer_value(json_object_get(a->out, "now_ms"));
    cr_expect_eq(ask(a, "POST", "/clock", "{\"advance_ms\":3600000}"), 200);
    cr_expect_geq(json_integer_value(json_object_get(a->out, "now_ms")), before + 3600000);
    cr_expect_eq(ask(a, "POST", "/clock", "{\"set\":\"2040-01-01T00:00:00Z\"}"), 200);
    cr_expect_eq(strncmp(text_at(a, "now"), "2040-01-01", 10), 0);
    cr_expect_eq(ask(a, "POST", "/settings", "{\"require_tokens\":true}"), 200);
    cr_expect(a->server.relay.options.require_tokens);
    api_free(a);
}

/* ---- over the socket ---- */

static void exchange(struct api *a, int fd, const char *request, char *out, size_t size)
{
    ssize_t n = -1;

    cr_assert_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    for (int i = 0; i < 5000 && n <= 0; i++) {
        uv_run(&a->loop, UV_RUN_NOWAIT);
        usleep(1000);
        n = recv(fd, out, size - 1, MSG_DONTWAIT);
    }
    cr_assert_gt(n, 0);
    out[n] = 0;
}

Test(control, http)
{
    struct api *a = api_new(true);
    int fd = dial(sim_control_port(a->server.control));
    char out[4096];

    exchange(a, fd, "GET /root-key HTTP/1.1\r\nHost: x\r\n\r\n", out, sizeof out);
    cr_expect_eq(strncmp(out, "HTTP/1.1 200 OK\r\n", 17), 0);
    cr_expect_not_null(strstr(out, "root_key"));
    exchange(a, fd,
             "POST /phones HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\n"
             "{\"number\":\"15550001111\"}",
             out, sizeof out);
    cr_expect_not_null(strstr(out, "15550001111"), "the same connection");
    exchange(a, fd, "GET /phones HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n\r\n", out,
             sizeof out);
    cr_expect_eq(strncmp(out, "HTTP/1.1 403", 12), 0);
    exchange(a, fd, "POST /phones HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\njunk", out,
             sizeof out);
    cr_expect_eq(strncmp(out, "HTTP/1.1 400", 12), 0);
    exchange(a, fd, "nonsense\r\n\r\n", out, sizeof out);
    cr_expect_eq(strncmp(out, "HTTP/1.1 400", 12), 0);
    close(fd);
    api_free(a);
}

static int occupy(int *out_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *out_port = ntohs(at.sin_port);
    return fd;
}

static void expect_refusal(struct sim_settings s, err_t want, const char *words)
{
    struct api *a = xcalloc(sizeof *a);

    uv_loop_init(&a->loop);
    cr_assert_eq(sim_server_init(&a->server, &a->loop, &s), OK);
    cr_expect_eq(sim_server_open(&a->server), want);
    cr_expect_not_null(strstr(err_words(), words), "%s", err_words());
    api_free(a);
}

Test(control, a_busy_port_is_a_clear_error)
{
    struct sim_settings s = {.listen = {"127.0.0.1", 0}, .control = {"127.0.0.1", 0}};
    int fd = occupy(&s.listen.port);

    expect_refusal(s, ERR_SYSTEM, "in use");
    close(fd);
}

Test(control, a_busy_control_port_too)
{
    struct sim_settings s = {.listen = {"127.0.0.1", 0}, .control = {"127.0.0.1", 0}};
    int fd = occupy(&s.control.port);

    expect_refusal(s, ERR_SYSTEM, "in use");
    close(fd);
}

Test(control, loopback_only)
{
    expect_refusal((struct sim_settings){.listen = {"127.0.0.1", 0}, .control = {"192.0.2.1", 1}},
                   ERR_BAD_ARGUMENT, "loopback");
}

/* What follows the query in memory is none of its business: here there is no memory at all. */
Test(control, an_escape_at_the_end_reads_nothing_behind_it)
{
    static const struct {
        const char *query, *value;
    } rows[] = {{"device=1%3A5", "1:5"},
                {"device=a%40", "a@"},
                {"device=a%4", "a%4"},
                {"device=%+5", "%+5"},
                {"device=%zz", "%zz"}};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char value[32];

    cr_assert(map != MAP_FAILED && mprotect(map + page, page, PROT_NONE) == 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].query);
        struct sim_request q = {.query = slice_of(memcpy(map + page - n, rows[i].query, n), n)};
        cr_expect(slice_is(sim_query_value(&q, "device", value, sizeof value), rows[i].value), "%s",
                  rows[i].query);
    }
    munmap(map, 2 * page);
}
