/* Streamable HTTP: status codes and headers of both eras, row by row from the protocol. */
#include "tests/unit/server/mcp/agent.h"

TestSuite(mcp_http, .init = agent_setup, .fini = agent_teardown);

#define PING "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}"
#define NOTE "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"
#define RESPONSE "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"
#define INITIALIZE                                                                                 \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"     \
    "\"2025-06-18\",\"capabilities\":{}}}"

static const struct {
    const char *headers; /* %s: the session */
    const char *body;
    int status, code;
} older[] = {
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", PING, 200, 0},
    {"Accept: */*\r\n" JSON_BODY "Mcp-Session-Id: %s\r\n", PING, 200, 0},
    {JSON_BODY "Mcp-Session-Id: %s\r\n", PING, 200, 0},
    {"Accept: text/event-stream;q=0.9 , application/json\r\n"
     "Content-Type: application/json; charset=utf-8\r\nmcp-session-id: %s\r\n",
     PING, 200, 0},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", NOTE, 202, 0},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", RESPONSE, 202, 0},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\nMCP-Protocol-Version: 2025-11-25\r\n", PING, 200,
     0},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\nMCP-Protocol-Version: 1999-01-01\r\n", PING, 400,
     RPC_REFUSED},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\nMCP-Protocol-Version: 2026-07-28\r\n", PING, 400,
     RPC_BAD_PARAMS},
    {"Accept: application/json\r\n" JSON_BODY "Mcp-Session-Id: %s\r\n", PING, 406, RPC_REFUSED},
    {ACCEPT_BOTH "Content-Type: text/plain\r\nMcp-Session-Id: %s\r\n", PING, 415, RPC_REFUSED},
    {ACCEPT_BOTH "Mcp-Session-Id: %s\r\n", PING, 415, RPC_REFUSED},
    {ACCEPT_BOTH JSON_BODY, PING, 400, RPC_REFUSED},
    {ACCEPT_BOTH JSON_BODY, NOTE, 400, RPC_REFUSED},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: nothing\r\n", PING, 404, RPC_NO_SESSION},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: \r\n", PING, 404, RPC_NO_SESSION},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %sx\r\n", PING, 404, RPC_NO_SESSION},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", "{", 400, RPC_PARSE_ERROR},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", "", 400, RPC_PARSE_ERROR},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", "{}", 400, RPC_INVALID_REQUEST},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", "5", 400, RPC_INVALID_REQUEST},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", "[" PING "]", 400, RPC_INVALID_REQUEST},
    {ACCEPT_BOTH JSON_BODY, INITIALIZE, 200, 0},
    {ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: nothing\r\n", INITIALIZE, 200, 0},
};

Test(mcp_http, posts_of_the_older_era)
{
    open_session();
    for (size_t i = 0; i < ARRAY_LEN(older); i++) {
        char headers[400], code[40];
        struct agent a;
        snprintf(headers, sizeof(headers), older[i].headers, agent_session);
        a = say_raw("POST /mcp", with("%s", headers), older[i].body);
        snprintf(code, sizeof(code), "\"code\":%d,", older[i].code);
        cr_assert_eq(status_of_agent(&a), older[i].status, "%zu: %s", i, text_of(&a));
        if (older[i].code) cr_assert(has(&a, code), "%zu: %s", i, text_of(&a));
        if (older[i].status == 202) cr_assert_str_eq(body_of(&a), "");
        leave(&a);
    }
}

Test(mcp_http, other_methods_and_missing_keys)
{
    struct agent a;

    static const char *const methods[] = {"PUT /mcp", "PATCH /mcp", "HEAD /mcp"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        a = say_raw(methods[i], with(""), NULL);
        cr_assert_eq(status_of_agent(&a), 405, "%s", text_of(&a));
        cr_assert(has(&a, "Allow: GET, POST, DELETE, OPTIONS\r\n"));
        leave(&a);
    }
    static const char *const lines[] = {"POST /mcp", "GET /mcp", "DELETE /mcp"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        a = say_raw(lines[i], ACCEPT_BOTH JSON_BODY, INITIALIZE);
        cr_assert_eq(status_of_agent(&a), 401);
        cr_assert(has(&a, "WWW-Authenticate: Bearer realm="));
        cr_assert_null(strstr(text_of(&a), "resource_metadata"));
        leave(&a);
    }
}

Test(mcp_http, a_session_belongs_to_its_key)
{
    struct agent a;
    char headers[400];

    open_session();
    snprintf(headers, sizeof(headers), "%s" ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n",
             key_header(house_live_key), agent_session);
    a = say_raw("POST /mcp", headers, PING);
    cr_assert_eq(status_of_agent(&a), 404, "%s", text_of(&a));
    leave(&a);
    door_restart();
    a = say_raw("POST /mcp", headers, PING);
    cr_assert_eq(status_of_agent(&a), 404, "%s", text_of(&a));
    leave(&a);
    a = say_raw("DELETE /mcp", headers, NULL);
    cr_assert_eq(status_of_agent(&a), 404);
    leave(&a);
    a = post(PING);
    cr_assert_eq(status_of_agent(&a), 200);
    leave(&a);
}

Test(mcp_http, delete_ends_the_session_and_its_stream)
{
    struct agent stream, a;

    open_session();
    stream = listen_from(NULL);
    cr_assert_eq(status_of_agent(&stream), 200);
    a = say_raw("DELETE /mcp", with("Mcp-Session-Id: %s\r\n", agent_session), NULL);
    cr_assert_eq(status_of_agent(&a), 200, "%s", text_of(&a));
    leave(&a);
    hear(&stream);
    cr_assert(stream.closed);
    leave(&stream);
    a = post(PING);
    cr_assert_eq(status_of_agent(&a), 404);
    leave(&a);
    a = say_raw("DELETE /mcp", with("Mcp-Session-Id: %s\r\n", agent_session), NULL);
    cr_assert_eq(status_of_agent(&a), 404);
    leave(&a);
    door_restart();
    a = post(PING);
    cr_assert_eq(status_of_agent(&a), 404);
    leave(&a);
}

Test(mcp_http, who_takes_streams_alone_gets_one)
{
    struct agent a;

    open_session();
    a = say_raw("POST /mcp", with(ACCEPT_SSE JSON_BODY "Mcp-Session-Id: %s\r\n", agent_session),
                PING);
    cr_assert(has(&a, "Content-Type: text/event-stream"), "%s", text_of(&a));
    cr_assert(has(&a, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n"));
    cr_assert(a.closed);
    leave(&a);
    a = say_raw("POST /mcp", with(ACCEPT_SSE JSON_BODY), INITIALIZE);
    cr_assert(has(&a, "Mcp-Session-Id: ") && has(&a, "data: {\"jsonrpc\""), "%s", text_of(&a));
    cr_assert(a.closed);
    leave(&a);
}

/* ---- batches ---- */

Test(mcp_http, batches_are_for_one_revision)
{
    AUTO(buf) many = {0};
    struct agent a;

    open_session_with("2025-03-26", "{}");
    a = post("[" PING "," NOTE ",{\"jsonrpc\":\"2.0\",\"id\":\"b\",\"method\":\"nothing\"},5]");
    cr_assert_eq(status_of_agent(&a), 200, "%s", text_of(&a));
    cr_assert(has(&a, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"));
    cr_assert(has(&a, "\"id\":\"b\",\"error\":{\"code\":-32601"));
    cr_assert(has(&a, "\"id\":null,\"error\":{\"code\":-32600"));
    cr_assert_eq(*body_of(&a), '[');
    leave(&a);
    a = post("[" NOTE "]");
    cr_assert_eq(status_of_agent(&a), 202);
    leave(&a);
    static const char *const wrong[] = {"[]", "[" INITIALIZE "]"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        a = post(wrong[i]);
        cr_assert_eq(status_of_agent(&a), 400, "%s", wrong[i]);
        leave(&a);
    }
    buf_put_u8(&many, '[');
    for (int i = 0; i < RPC_BATCH_MAX; i++)
        buf_put_text(&many, NOTE ",");
    buf_put_text(&many, NOTE "]");
    a = post(buf_text(&many));
    cr_assert_eq(status_of_agent(&a), 400);
    leave(&a);
}

/* ---- the modern era ---- */

#define META(version)                                                                              \
    "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"" version                            \
    "\",\"io.modelcontextprotocol/clientCapabilities\":{}}"
#define MODERN "MCP-Protocol-Version: 2026-07-28\r\n"
#define BODY(method, params)                                                                       \
    "{\"jsonrpc\":\"2.0\",\"id\":\"m\",\"method\":\"" method "\",\"params\":{" params "}}"

static const struct {
    const char *headers, *body;
    int status, code;
} modern[] = {
    {MODERN "Mcp-Method: tools/list\r\n", BODY("tools/list", META("2026-07-28")), 200, 0},
    {MODERN "mcp-method:   tools/list  \r\nMcp-Session-Id: ignored\r\nLast-Event-ID: x\r\n",
     BODY("tools/list", META("2026-07-28")), 200, 0},
    {MODERN "Mcp-Method: tools/list\r\n", BODY("tools/list", ""), 400, RPC_BAD_PARAMS},
    {MODERN "Mcp-Method: tools/list\r\n",
     BODY("tools/list", "\"_meta\":{\"io.modelcontextprotocol/clientCapabilities\":{}}"), 400,
     RPC_BAD_PARAMS},
    {MODERN "Mcp-Method: tools/list\r\n",
     BODY("tools/list", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}"),
     400, RPC_BAD_PARAMS},
    {MODERN "Mcp-Method: tools/list\r\n",
     BODY("tools/list", "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":7,"
                        "\"io.modelcontextprotocol/clientCapabilities\":{}}"),
     400, RPC_BAD_PARAMS},
    {"Mcp-Method: tools/list\r\n", BODY("tools/list", META("2026-07-28")), 400, RPC_BAD_HEADER},
    {"MCP-Protocol-Version: 2025-11-25\r\nMcp-Method: tools/list\r\n",
     BODY("tools/list", META("2026-07-28")), 400, RPC_BAD_HEADER},
    {MODERN, BODY("tools/list", META("2026-07-28")), 400, RPC_BAD_HEADER},
    {MODERN "Mcp-Method: tools/LIST\r\n", BODY("tools/list", META("2026-07-28")), 400,
     RPC_BAD_HEADER},
    {MODERN "Mcp-Method: tools/call\r\n",
     BODY("tools/call", "\"name\":\"list_accounts\"," META("2026-07-28")), 400, RPC_BAD_HEADER},
    {MODERN "Mcp-Method: tools/call\r\nMcp-Name: x\r\n",
     BODY("tools/call", "\"name\":\"list_accounts\"," META("2026-07-28")), 400, RPC_BAD_HEADER},
    {MODERN "Mcp-Method: tools/call\r\nMcp-Name: list_accounts\r\n",
     BODY("tools/call", "\"name\":\"list_accounts\"," META("2026-07-28")), 200, 0},
    {MODERN "Mcp-Method: tools/call\r\nMcp-Name: =?base64?bGlzdF9hY2NvdW50cw==?=\r\n",
     BODY("tools/call", "\"name\":\"list_accounts\"," META("2026-07-28")), 200, 0},
    {MODERN "Mcp-Method: tools/call\r\nMcp-Name: =?base64?!?=\r\n",
     BODY("tools/call", "\"name\":\"list_accounts\"," META("2026-07-28")), 400, RPC_BAD_HEADER},
    {"MCP-Protocol-Version: 2099-01-01\r\nMcp-Method: server/discover\r\n",
     BODY("server/discover", META("2099-01-01")), 400, RPC_BAD_VERSION},
    {"MCP-Protocol-Version: 2025-11-25\r\nMcp-Method: server/discover\r\n",
     BODY("server/discover", META("2025-11-25")), 400, RPC_BAD_VERSION},
    {MODERN "Mcp-Method: initialize\r\n", BODY("initialize", META("2026-07-28")), 404,
     RPC_NO_METHOD},
    {MODERN, NOTE, 202, 0},
};

Test(mcp_http, posts_of_the_modern_era)
{
    for (size_t i = 0; i < ARRAY_LEN(modern); i++) {
        char code[40];
        struct agent a = say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY "%s", modern[i].headers),
                                 modern[i].body);
        snprintf(code, sizeof(code), "\"code\":%d,", modern[i].code);
        cr_assert_eq(status_of_agent(&a), modern[i].status, "%zu: %s", i, text_of(&a));
        if (modern[i].code)
            cr_assert(has(&a, code) && has(&a, "\"id\":\"m\""), "%zu: %s", i, text_of(&a));
        if (modern[i].code == RPC_BAD_VERSION)
            cr_assert(has(&a, "\"data\":{\"supported\":[\"2026-07-28\"],\"requested\":\"20"));
        leave(&a);
    }
}

#define WAIT BODY("tools/call", "\"name\":\"wait_for_event\",\"arguments\":{}," META("2026-07-28"))

Test(mcp_http, a_modern_client_cancels_by_hanging_up)
{
    struct agent a;

    add_account(true, ACCOUNT_CONNECTED);
    a = say_raw(
        "POST /mcp",
        with(ACCEPT_BOTH JSON_BODY MODERN "Mcp-Method: tools/call\r\nMcp-Name: wait_for_event\r\n"),
        WAIT);
    cr_assert_eq(a.got.len, 0);
    cr_assert_eq(H.server.mcp->workers[0].asks.count, 1);
    leave(&a);
    cr_assert_eq(H.server.mcp->workers[0].asks.count, 0);
    cr_assert(list_empty(&H.server.mcp->workers[0].exchanges));
}

Test(mcp_http, an_old_client_that_hangs_up_cancels_nothing)
{
    struct agent a;

    add_account(true, ACCOUNT_CONNECTED);
    open_session();
    a = post("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
             "\"send_message\",\"arguments\":{\"to\":\"+15551110001\",\"text\":\"hi\"}}}");
    leave(&a);
    cr_assert_eq(H.sends, 1);
    cr_assert_eq(H.server.mcp->workers[0].asks.count, 1);
    house_ack_all(ACK_OK);
    door_step();
    cr_assert_eq(H.server.mcp->workers[0].asks.count, 0);
    cr_assert(list_empty(&H.server.mcp->workers[0].exchanges));
}

/* ---- answers that became streams ---- */

/* Waits until it has: the answer becomes a stream when it is late. */
static void wait_for(struct agent *a, const char *text)
{
    for (int i = 0; i < 400 && !has(a, text); i++) {
        usleep(10000);
        hear(a);
    }
    cr_assert(has(a, text), "%s: %s", text, text_of(a));
}

static const char *id_of_first_frame(struct agent *a)
{
    static char id[40];
    const char *at = strstr(text_of(a), "id: p");

    cr_assert(at && sscanf(at, "id: %39s", id) == 1, "%s", text_of(a));
    return id;
}

#define OLD_WAIT                                                                                   \
    "{\"jsonrpc\":\"2.0\",\"id\":31,\"method\":\"tools/call\",\"params\":{\"name\":"               \
    "\"wait_for_event\",\"arguments\":{}}}"

Test(mcp_http, a_late_answer_is_a_stream_that_can_be_fetched_again)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a, b, c;
    char first[40], last[48];

    open_session();
    a = post(OLD_WAIT);
    wait_for(&a, "id: p");
    cr_assert(has(&a, "Content-Type: text/event-stream") && has(&a, "retry: 1000\ndata: \n\n"));
    strcpy(first, id_of_first_frame(&a));
    leave(&a); /* the connection breaks; the call goes on */
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    b = listen_from(first);
    cr_assert_eq(status_of_agent(&b), 200, "%s", text_of(&b));
    cr_assert(has(&b, "\"id\":31,\"result\":"), "%s", text_of(&b));
    cr_assert(b.closed, "the stream ends with the answer");
    leave(&b);
    b = listen_from(first);
    cr_assert_eq(count_of(&b, "\"id\":31,\"result\":"), 1, "once more, should it be lost again");
    leave(&b);
    snprintf(last, sizeof(last), "%.*s-1", (int)(strchr(first, '-') - first), first);
    c = listen_from(last);
    cr_assert_eq(status_of_agent(&c), 405, "nothing is left: %s", text_of(&c));
    leave(&c);
}

/* The header that names the session comes before everything else, and the session only exists when
 * it is durable. */
Test(mcp_http, a_slow_disk_costs_no_client_its_session)
{
    static const char initialize[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"
        "\"2025-11-25\",\"capabilities\":{},\"_meta\":{\"progressToken\":1}}}";
    struct agent a;

    disk_waits = true;
    a = say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY), initialize);
    for (int i = 0; i < 30; i++) {
        usleep(MCP_LATE_MS / 20 * 1000);
        hear(&a);
    }
    cr_expect_eq(a.got.len, 0, "%s", text_of(&a));
    disk_waits = false;
    for (int i = 0; i < 100 && !a.closed; i++)
        hear(&a);
    cr_assert(has(&a, "\"protocolVersion\":\"2025-11-25\""), "%s", text_of(&a));
    note_session(&a);
    leave(&a);
    a = post(PING);
    cr_expect_eq(status_of_agent(&a), 200, "%s", text_of(&a));
    leave(&a);
}

Test(mcp_http, two_who_fetch_one_answer_take_turns)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a, b;

    open_session();
    a = post(OLD_WAIT);
    wait_for(&a, "id: p");
    b = listen_from(id_of_first_frame(&a));
    hear(&a);
    cr_assert(a.closed, "another took it over");
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    hear(&b);
    cr_assert(has(&b, "\"id\":31,\"result\":"), "%s", text_of(&b));
    cr_assert_null(strstr(text_of(&a), "\"result\":"));
    leave(&a);
    leave(&b);
}

Test(mcp_http, the_end_of_a_session_ends_its_answers_too)
{
    struct agent a, b;

    add_account(true, ACCOUNT_CONNECTED);
    open_session();
    a = post(OLD_WAIT);
    wait_for(&a, "id: p");
    b = say_raw("DELETE /mcp", with("Mcp-Session-Id: %s\r\n", agent_session), NULL);
    cr_assert_eq(status_of_agent(&b), 200);
    leave(&b);
    hear(&a);
    cr_assert(a.closed);
    leave(&a);
}

Test(mcp_http, an_answer_lost_with_the_process_is_said_to_be)
{
    struct agent a, b;
    char first[40], lost[40];

    add_account(true, ACCOUNT_CONNECTED);
    open_session();
    a = post(OLD_WAIT);
    wait_for(&a, "id: p");
    strcpy(first, id_of_first_frame(&a));
    leave(&a);
    door_restart();
    b = listen_from(first);
    cr_assert_eq(status_of_agent(&b), 200, "%s", text_of(&b));
    cr_assert(has(&b, "\"id\":31,\"error\":{\"code\":-32603"), "%s", text_of(&b));
    cr_assert(b.closed);
    strcpy(lost, id_of_first_frame(&b));
    leave(&b);
    b = listen_from(lost);
    cr_assert_eq(status_of_agent(&b), 405);
    leave(&b);
}

Test(mcp_http, older_revisions_are_not_primed)
{
    struct agent a;

    open_session_with("2025-06-18", "{}");
    a = listen_from(NULL);
    cr_assert_eq(status_of_agent(&a), 200);
    cr_assert_str_eq(body_of(&a), "");
    leave(&a);
}
