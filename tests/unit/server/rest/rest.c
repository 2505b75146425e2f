#include <poll.h>

#include "tests/unit/server/rest/door.h"

TestSuite(rest, .init = door_setup, .fini = door_teardown);

static const char anna[] = "15551110001@s.whatsapp.net";

Test(rest, without_a_key_nothing_is_told)
{
    static const char *const lines[] = {"GET /v1/accounts", "GET /v1/events", "GET /v1/keys",
                                        "POST /v1/messages", "GET /v1/chats/chat_1"};

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct reply *r = ask(lines[i], "", NULL);
        cr_assert_eq(r->status, 401, "%s", lines[i]);
        cr_assert_str_eq(code_of(r), "unauthorized");
        cr_assert(strstr(r->text, "WWW-Authenticate: Bearer realm=\"parley\"\r\n"));
        cr_assert_null(strstr(r->text, "resource_metadata"));
    }
    cr_assert_eq(ask("GET /v1/accounts", "Authorization: Bearer parley_test_no\r\n", NULL)->status,
                 401);
}

Test(rest, a_refusal_says_what_to_send_instead)
{
    static const struct {
        const char *line, *headers, *words[3];
    } rows[] = {
        {"GET /v1/chats", "", {"no Authorization header", "Bearer", "parleyctl key first"}},
        {"GET /v1/chats",
         "Authorization: Basic x\r\n",
         {"not Bearer and a key", "Bearer", "parleyctl key new"}},
        {"GET /v1/chats",
         "Authorization: Bearer parley_test_no\r\n",
         {"none of this server's", "revoked", "parleyctl key new"}},
        {"GET /v1/nonsense", door_test, {"nothing at this path", "GET /openapi.json", "/mcp"}},
        {"GET /v1/chats/", door_test, {"nothing at this path", "GET /openapi.json", "/mcp"}},
        {"PUT /v1/chats", door_test, {"this path takes", "GET", "POST"}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *r = ask(rows[i].line, rows[i].headers, NULL);
        for (size_t k = 0; k < ARRAY_LEN(rows[i].words); k++)
            cr_expect(strstr(r->body, rows[i].words[k]), "%s: %s", rows[i].line, r->body);
        cr_expect_null(strstr(r->body, "parley_test_no"), "the key is not repeated");
    }
}

Test(rest, each_tool_has_its_route)
{
    const struct tool *t;
    char line[200];

    for (size_t i = 0; (t = tool_at(i)); i++) {
        snprintf(line, sizeof(line), "%s %s", t->method, t->path);
        cr_assert_eq(ask(line, "", NULL)->status, 401, "%s", line);
    }
}

Test(rest, arguments_come_from_path_query_and_body)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], line[300], body[300];
    struct reply *r;

    receive(acc, anna, false, 100, "one", m, c);
    receive(acc, anna, false, 101, "two", m, c);
    snprintf(line, sizeof(line), "GET /v1/chats/%s/messages?limit=1", c);
    r = ask(line, door_test, NULL);
    cr_assert_eq(r->status, 200, "%s", r->body);
    cr_assert_eq(json_count(json_get(r->json, "messages")), 1);
    snprintf(body, sizeof(body), "{\"chat_id\":\"%s\",\"text\":\"hi\"}", c);
    r = ask("POST /v1/messages", door_test, body);
    cr_assert_eq(r->status, 200, "%s", r->body);
    cr_assert(slice_is(json_get_text(r->json, "status"), "sent"));
    snprintf(line, sizeof(line), "POST /v1/chats/%s/read", c);
    cr_assert_eq(ask(line, door_test, "{\"chat_id\":\"chat_other\"}")->status, 200);
    cr_assert_eq(
        ask("GET /v1/events/log?events=message.*,account.paired&limit=5", door_test, NULL)->status,
        200);
}

Test(rest, wrong_arguments_are_named)
{
    static const struct {
        const char *line, *body, *field;
    } rows[] = {
        {"GET /v1/chats?limit=abc", NULL, "limit"},
        {"GET /v1/chats?limit=1e3", NULL, "limit"},
        {"GET /v1/chats?colour=red", NULL, "colour"},
        {"GET /v1/accounts/acc_!", NULL, "account_id"},
        {"POST /v1/messages", "{\"text\":5}", "text"},
        {"GET /v1/events/log?events=nothing", NULL, "events"},
    };

    add_account(true, ACCOUNT_CONNECTED);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *r = ask(rows[i].line, door_test, rows[i].body);
        cr_assert_eq(r->status, 400, "%s", rows[i].line);
        cr_assert(slice_is(json_get_text(r->json, "field"), rows[i].field), "%s", r->body);
    }
    cr_assert_eq(ask("POST /v1/messages", door_test, "{")->status, 400);
    cr_assert_eq(ask("POST /v1/messages", door_test, "[]")->status, 400);
    cr_assert_eq(ask("PUT /v1/messages", door_test, "{}")->status, 405);
}

Test(rest, the_idempotency_header_is_the_argument)
{
    char headers[300];
    static const char body[] = "{\"to\":\"+15551110001\",\"text\":\"hi\"}";

    add_account(true, ACCOUNT_CONNECTED);
    snprintf(headers, sizeof(headers), "%sIdempotency-Key: k1\r\n", door_test);
    cr_assert_eq(ask("POST /v1/messages", headers, body)->status, 200);
    cr_assert_eq(ask("POST /v1/messages", headers, body)->status, 200);
    cr_assert_eq(ask("POST /v1/messages", door_test,
                     "{\"to\":\"+15551110001\",\"text\":\"hi\",\"idempotency_key\":\"k1\"}")
                     ->status,
                 200);
    cr_assert_eq(H.sends, 1);
}

Test(rest, a_client_that_hangs_up_leaves_its_send_going)
{
    AUTO(buf) got = {0};
    int fd;

    add_account(true, ACCOUNT_CONNECTED);
    fd = send_request("POST /v1/messages", door_test, "{\"to\":\"+15551110001\",\"text\":\"hi\"}");
    hear(fd, &got);
    close(fd);
    door_step();
    cr_assert_eq(H.sends, 1);
    house_ack_all(ACK_OK);
    fd = send_request("GET /v1/events/wait", door_test, NULL);
    hear(fd, &got);
    close(fd);
    door_step();
}

/* ---- the feed ---- */

Test(rest, the_feed_resumes_behind_the_last_event_id)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char headers[300];
    AUTO(buf) got = {0};
    int fd;

    for (int i = 0; i < 3; i++)
        log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    snprintf(headers, sizeof(headers), "%sLast-Event-ID: 1\r\n", door_test);
    fd = send_request("GET /v1/events", headers, NULL);
    cr_assert(hear(fd, &got));
    log_event(acc, EVENT_MESSAGE_SENT, 0);
    cr_assert(hear(fd, &got));
    cr_assert(strstr(buf_text(&got), "Content-Type: text/event-stream"));
    cr_assert_null(strstr(buf_text(&got), "id: 1\n"));
    cr_assert(strstr(buf_text(&got), "id: 2\nevent: account.connected\ndata: {\"seq\":2,"));
    cr_assert(strstr(buf_text(&got), "id: 4\nevent: message.sent\ndata: {\"seq\":4,"));
    close(fd);
    door_step();
}

/* So that a stream that breaks before its first event goes on from there. */
Test(rest, who_subscribes_from_now_is_told_where_that_is)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    AUTO(buf) new = {0}, old = {0};
    char headers[300];
    int fd;

    for (int i = 0; i < 3; i++)
        log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    fd = send_request("GET /v1/events?events=message.received", door_test, NULL);
    hear(fd, &new);
    cr_expect(strstr(buf_text(&new), "retry: 1000\nid: 3\n\n"), "%s", buf_text(&new));
    close(fd);
    door_step();
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0); /* nobody listens */
    snprintf(headers, sizeof(headers), "%sLast-Event-ID: 3\r\n", door_test);
    fd = send_request("GET /v1/events?events=message.received", headers, NULL);
    hear(fd, &old);
    cr_expect(strstr(buf_text(&old), "retry: 1000\n\nid: 4\nevent: message.received\n"), "%s",
              buf_text(&old));
    close(fd);
    door_step();
}

Test(rest, the_feed_filters_and_keeps_worlds_apart)
{
    struct account *test = add_account(true, ACCOUNT_CONNECTED);
    struct account *live = add_account(false, ACCOUNT_CONNECTED);
    AUTO(buf) a = {0}, b = {0};
    char line[200];
    int one, two;

    snprintf(line, sizeof(line), "GET /v1/events?after=0&events=message.*&account_id=%s",
             test->status.id);
    one = send_request(line, door_test, NULL);
    two = send_request("GET /v1/events?after=0", door_live, NULL);
    door_step();
    log_event(test, EVENT_ACCOUNT_CONNECTED, 0);
    log_event(test, EVENT_MESSAGE_RECEIVED, 0);
    log_event(live, EVENT_MESSAGE_RECEIVED, 0);
    hear(one, &a);
    hear(two, &b);
    cr_assert_null(strstr(buf_text(&a), "id: 1\n"));
    cr_assert(strstr(buf_text(&a), "id: 2\n"));
    cr_assert_null(strstr(buf_text(&a), "id: 3\n"));
    cr_assert_null(strstr(buf_text(&b), "id: 2\n"));
    cr_assert(strstr(buf_text(&b), "id: 3\n"));
    close(one);
    close(two);
    door_step();
    cr_assert_eq(ask(line, door_live, NULL)->status, 404);
}

Test(rest, the_feed_follows_a_chat_that_becomes_part_of_another)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char line[200], m[ID_TEXT_MAX], c[ID_TEXT_MAX];
    AUTO(buf) got = {0};
    uint32_t person;
    int fd;

    receive(acc, "15551110001@s.whatsapp.net", false, 100, "one", m, c);
    receive(acc, "777@lid", false, 101, "two", m, c); /* the younger chat */
    snprintf(line, sizeof(line), "GET /v1/events?chat_id=%s", c);
    fd = send_request(line, door_test, NULL);
    door_step();
    person = merge_people(acc, "777@lid", "15551110001@s.whatsapp.net");
    log_event(acc, EVENT_MESSAGE_RECEIVED, person);
    log_event(acc, EVENT_MESSAGE_RECEIVED, person + 7);
    cr_assert(hear(fd, &got));
    cr_expect(strstr(buf_text(&got), "id: 1\nevent: message.received\n"));
    cr_expect(strstr(buf_text(&got), "id: 2\nevent: message.received\n"));
    cr_expect_null(strstr(buf_text(&got), "id: 3\n"));
    close(fd);
    door_step();
}

Test(rest, the_feed_announces_what_is_lost)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    AUTO(buf) got = {0};
    int fd;

    for (int i = 0; i < 5; i++)
        log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    trim_log(3);
    fd = send_request("GET /v1/events?after=1", door_test, NULL);
    hear(fd, &got);
    cr_assert(strstr(buf_text(&got),
                     "id: 3\nevent: gap\ndata: {\"gap\":true,\"reset\":false,\"first\":2,"
                     "\"last\":3,\"message\":\"Events first to last are no longer in the log. "
                     "Read again what you need: list_chats, list_messages.\"}\n\nid: 4\n"));
    close(fd);
    door_step();
}

Test(rest, the_feed_says_that_a_position_is_not_of_this_log)
{
    static const char reset[] = "id: 2\nevent: gap\ndata: {\"gap\":true,\"reset\":true,"
                                "\"first\":1,\"last\":2,\"message\":\"This log ";
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    AUTO(buf) got = {0};
    char headers[300];
    int fd;

    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    snprintf(headers, sizeof(headers), "%sLast-Event-ID: 500\r\n", door_test);
    fd = send_request("GET /v1/events", headers, NULL);
    hear(fd, &got);
    log_event(acc, EVENT_MESSAGE_SENT, 0);
    hear(fd, &got);
    cr_assert(strstr(buf_text(&got), reset), "%s", buf_text(&got));
    cr_assert(strstr(buf_text(&got), "id: 3\nevent: message.sent\n"));
    cr_assert_null(strstr(buf_text(&got), "id: 1\n"));
    close(fd);
    door_step();
}

Test(rest, an_empty_log_resets_to_nothing)
{
    AUTO(buf) got = {0};
    int fd = send_request("GET /v1/events?after=7", door_test, NULL);

    hear(fd, &got);
    cr_assert(strstr(buf_text(&got), "id: 0\nevent: gap\ndata: {\"gap\":true,\"reset\":true,"
                                     "\"first\":0,\"last\":0,"));
    close(fd);
    door_step();
}

Test(rest, head_of_the_feed_is_a_head_alone)
{
    struct reply *r = ask("HEAD /v1/events?after=0", door_test, NULL);

    cr_assert_eq(r->status, 200);
    cr_assert(strstr(r->text, "Content-Type: text/event-stream\r\n"));
    cr_assert_str_eq(r->body, "");
    cr_assert_eq(http_streams(door_server), 0);
    cr_assert_eq(ask("HEAD /v1/events?after=x", door_test, NULL)->status, 400);
}

Test(rest, a_feed_with_a_bad_position_or_filter_is_refused)
{
    char headers[300];

    snprintf(headers, sizeof(headers), "%sLast-Event-ID: abc\r\n", door_test);
    cr_assert_eq(ask("GET /v1/events", headers, NULL)->status, 400);
    cr_assert_eq(ask("GET /v1/events?after=-1", door_test, NULL)->status, 400);
    cr_assert_eq(ask("GET /v1/events?events=x", door_test, NULL)->status, 400);
    cr_assert_eq(ask("GET /v1/events?chat_id=x", door_test, NULL)->status, 400);
}

Test(rest, a_reader_that_stalls_catches_up_from_the_log)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    AUTO(buf) got = {0};
    int fd = send_request("GET /v1/events?after=0", door_test, NULL), small = 65536;
    enum { MANY = 3000 };

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    door_step();
    log_large_events(acc, MANY, house_step);
    for (int i = 0; i < 2000 && !(got.len && memmem(got.data, got.len, "id: 3000\n", 9)); i++) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        cr_assert(hear(fd, &got));
        poll(&wait, 1, 10);
    }
    const char *at = buf_text(&got);
    for (int seq = 1; seq <= MANY; seq++) {
        char want[40];
        snprintf(want, sizeof(want), "\nid: %d\n", seq);
        at = strstr(at, want);
        cr_assert(at, "%d", seq);
    }
    close(fd);
    door_step();
}

/* ---- keys ---- */

Test(rest, keys_are_for_the_operator)
{
    cr_assert_eq(ask("GET /v1/keys", door_live, NULL)->status, 403);
    cr_assert_eq(ask("POST /v1/keys", door_live, "{\"world\":\"test\"}")->status, 403);
    cr_assert_eq(ask("DELETE /v1/keys/key_1", door_live, NULL)->status, 403);
}

/* ---- pages ---- */

#define HTML "Accept: text/html,*/*\r\n"

Test(pages, the_code_is_shown_under_its_name_alone, .init = door_setup, .fini = door_teardown)
{
    struct account *acc = add_account(true, ACCOUNT_PAIRING);
    struct reply *r;

    CHECK_OK(account_pair(acc, NULL, NULL));
    directory_update(H.server.directory, &acc->status);
    r = ask("GET /qr/unguessable", HTML, NULL);
    cr_assert_eq(r->status, 200);
    cr_assert(strstr(r->body, "<svg") && strstr(r->body, "http-equiv=\"refresh\""));
    cr_assert(strstr(r->text, "Content-Security-Policy: default-src 'none'"));
    cr_assert_null(strstr(r->body, "2@abc"));
    r = ask("GET /qr/unguessable", "", NULL);
    cr_assert(slice_is(json_get_text(r->json, "code"), "2@abc,def,ghi,jkl,1"));
    cr_assert(strstr(ask("GET /qr/unguessable?format=png", "", NULL)->text, "image/png"));
    cr_assert(strstr(ask("GET /qr/unguessable?format=text", "", NULL)->text, "text/plain"));
    cr_assert_eq(ask("GET /qr/guessed", "", NULL)->status, 404);
    cr_assert(strstr(ask("GET /qr", HTML, NULL)->body, "<svg"));
    acc->status.state = ACCOUNT_CONNECTED;
    acc->status.code[0] = acc->status.pairing[0] = 0;
    directory_update(H.server.directory, &acc->status);
    r = ask("GET /qr/unguessable", HTML, NULL);
    cr_assert(strstr(r->body, "connected") && !strstr(r->body, "<svg"));
}

Test(pages, the_status_says_where_to_go, .init = door_setup, .fini = door_teardown)
{
    struct account *acc;
    const char *body = ask("GET /", HTML, NULL)->body;

    cr_assert(strstr(body, "parleyctl pair") && !strstr(body, "<table"));
    cr_assert(strstr(body, "href=\"/qr\"") && strstr(body, "href=\"/openapi.json\""));
    acc = add_account(true, ACCOUNT_EXPIRED);
    acc->status.reason = WA_REASON_EXPIRED;
    directory_update(H.server.directory, &acc->status);
    body = ask("GET /", HTML, NULL)->body;
    cr_assert(strstr(body, "<td>expired</td>") && !strstr(body, "expired, expired"));
    acc->status.state = ACCOUNT_DISCONNECTED;
    acc->status.reason = WA_REASON_LINK;
    directory_update(H.server.directory, &acc->status);
    cr_assert(strstr(ask("GET /", HTML, NULL)->body, "<td>disconnected, link</td>"));
    cr_assert_null(strstr(ask("GET /", HTML "Via: 1.1 proxy\r\n", NULL)->body, "/qr"));
}

/* What a request of a proxy on this machine looks like. */
static const char *const proxied[] = {
    "X-Forwarded-For: 192.0.2.1\r\n", "x-forwarded-proto: https\r\n", "X-Forwarded-Host: a\r\n",
    "Forwarded: for=192.0.2.1\r\n",   "Via: 1.1 proxy\r\n",           "X-Real-IP: 192.0.2.1\r\n",
};

/* `line` of a browser as `host`, without headers of a proxy. */
static struct reply *ask_as(const char *line, const char *host)
{
    char headers[200];

    snprintf(headers, sizeof(headers), "Host: %s\r\n" HTML, host);
    return ask(line, headers, NULL);
}

Test(pages, what_is_for_this_machine_is_not_shown_through_a_proxy, .init = door_setup,
     .fini = door_teardown)
{
    struct account *paired = add_account(true, ACCOUNT_CONNECTED);
    struct account *pairing = add_account(true, ACCOUNT_PAIRING);
    char headers[200];

    CHECK_OK(account_pair(pairing, NULL, NULL));
    directory_update(H.server.directory, &pairing->status);
    for (size_t i = 0; i < ARRAY_LEN(proxied); i++) {
        snprintf(headers, sizeof(headers), HTML "%s", proxied[i]);
        cr_expect_eq(ask("GET /qr", headers, NULL)->status, 403, "%s", proxied[i]);
        cr_expect_null(strstr(ask("GET /", headers, NULL)->body, paired->status.phone), "%s",
                       proxied[i]);
    }
    cr_expect_eq(ask_as("GET /qr", "127.0.0.1:8790")->status, 200);
    cr_expect_eq(ask_as("GET /qr", "[::1]:8790")->status, 200);
    cr_expect(strstr(ask_as("GET /", "LOCALHOST")->body, paired->status.phone));
}

static void setup_named(void)
{
    static const char *const hosts[] = {"parley.example", NULL};
    door_setup_as(hosts);
}

Test(pages, under_another_name_only_the_unguessable_is_shown, .init = setup_named,
     .fini = door_teardown)
{
    static const char *const names[] = {"parley.example", "127.0.0.1:8790"};
    struct account *paired = add_account(true, ACCOUNT_CONNECTED);
    struct account *pairing = add_account(true, ACCOUNT_PAIRING);

    CHECK_OK(account_pair(pairing, NULL, NULL));
    directory_update(H.server.directory, &pairing->status);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct reply *r = ask_as("GET /qr", names[i]);
        cr_expect_eq(r->status, 403, "%s", names[i]);
        cr_expect(strstr(r->body, "parleyctl pair"), "%s", r->body);
        cr_expect_null(strstr(ask_as("GET /", names[i])->body, paired->status.phone));
        cr_expect_eq(ask_as("GET /qr/unguessable", names[i])->status, 200);
    }
}

Test(pages, the_root_tells_people_and_programs, .init = door_setup, .fini = door_teardown)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct reply *r;

    strcpy(acc->status.name, "<script>");
    directory_update(H.server.directory, &acc->status);
    r = ask("GET /", HTML, NULL);
    cr_assert(strstr(r->body, "+15550000001") && strstr(r->body, "&lt;script&gt;"));
    r = ask("GET /", "", NULL);
    cr_assert(slice_is(json_get_text(r->json, "status"), "ok"));
}
