/* HTTP+SSE of 2024-11-05. */
#include "tests/unit/server/mcp/agent.h"

TestSuite(mcp_sse, .init = agent_setup, .fini = agent_teardown);

static char endpoint[200]; /* "POST /messages?sessionId=…" */

static struct agent open_sse(const char *headers)
{
    struct agent a = say_raw("GET /sse", with("%s", headers), NULL);
    const char *at = strstr(text_of(&a), "event: endpoint\ndata: /messages?sessionId=");

    cr_assert_eq(status_of_agent(&a), 200);
    cr_assert(at, "%s", text_of(&a));
    snprintf(endpoint, sizeof(endpoint), "POST %.*s", (int)strcspn(at + 22, "\n"), at + 22);
    return a;
}

static int tell(const char *body)
{
    struct agent a = say_raw(endpoint, with(JSON_BODY), body);
    int status = status_of_agent(&a);

    leave(&a);
    return status;
}

#define HELLO                                                                                      \
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"     \
    "\"2024-11-05\",\"capabilities\":{}}}"
#define INITIALIZED "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"
#define CALL(id, name, args)                                                                       \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"tools/call\",\"params\":{\"name\":\"" name    \
    "\",\"arguments\":" args "}}"

Test(mcp_sse, answers_and_events_come_on_the_stream)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a = open_sse("");

    cr_assert_eq(tell(HELLO), 202);
    hear(&a);
    cr_assert(has(&a, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{"
                      "\"protocolVersion\":\"2024-11-05\""),
              "%s", text_of(&a));
    cr_assert_eq(tell(INITIALIZED), 202);
    cr_assert_eq(tell(CALL("1", "subscribe_events", "{\"events\":[\"*\"]}")), 202);
    cr_assert_eq(tell("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"resources/subscribe\","
                      "\"params\":{\"uri\":\"whatsapp://events/message.sent\"}}"),
                 202);
    hear(&a);
    cr_assert(has(&a, "\"id\":1,\"result\":") && has(&a, "\"id\":2,\"result\":{}"), "%s",
              text_of(&a));
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    log_event(acc, EVENT_MESSAGE_SENT, 0);
    hear(&a);
    cr_assert_eq(count_of(&a, "\"method\":\"notifications/message\""), 1, "%s", text_of(&a));
    cr_assert_eq(count_of(&a, "\"method\":\"notifications/resources/updated\""), 1);
    leave(&a);
}

Test(mcp_sse, calls_can_be_cancelled)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a = open_sse("");

    tell(HELLO);
    tell(CALL("8", "wait_for_event", "{}"));
    cr_assert_eq(H.server.mcp->workers[0].asks.count, 1);
    tell("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"
         "cancelled\",\"params\":{\"requestId\":8}}");
    door_step();
    cr_assert_eq(H.server.mcp->workers[0].asks.count, 0);
    log_event(acc, EVENT_MESSAGE_SENT, 0);
    hear(&a);
    cr_assert_null(strstr(text_of(&a), "\"id\":8"));
    leave(&a);
}

Test(mcp_sse, a_client_that_leaves_takes_its_session_along)
{
    struct agent a;

    add_account(true, ACCOUNT_CONNECTED);
    a = open_sse("");
    tell(HELLO);
    tell(CALL("8", "wait_for_event", "{}"));
    leave(&a);
    cr_assert_eq(H.server.mcp->workers[0].asks.count, 0);
    cr_assert_eq(H.server.mcp->workers[0].streams.count, 0);
    cr_assert_eq(tell(HELLO), 404);
}

Test(mcp_sse, who_may_post)
{
    struct agent a = open_sse(""), b;

    b = say_raw(endpoint, JSON_BODY, HELLO);
    cr_assert_eq(status_of_agent(&b), 401, "the session id alone is no key");
    leave(&b);
    b = say_raw(endpoint, key_header(house_live_key), HELLO);
    cr_assert_eq(status_of_agent(&b), 404, "another key's session does not exist");
    leave(&b);
    b = say_raw("GET /sse", "", NULL);
    cr_assert_eq(status_of_agent(&b), 401);
    leave(&b);
    cr_assert_eq(tell("{"), 400);
    cr_assert_eq(tell("[]"), 400);
    strcpy(endpoint, "POST /messages");
    cr_assert_eq(tell(HELLO), 400);
    strcpy(endpoint, "POST /messages?sessionId=x");
    cr_assert_eq(tell(HELLO), 404);
    hear(&a);
    cr_assert_eq(count_of(&a, "event: message"), 0);
    leave(&a);
}

Test(mcp_sse, such_a_session_is_none_of_the_other_transport)
{
    struct agent a = open_sse(""), b;

    snprintf(agent_session, sizeof(agent_session), "%s", strchr(endpoint, '=') + 1);
    b = post("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}");
    cr_assert_eq(status_of_agent(&b), 404, "%s", text_of(&b));
    leave(&b);
    leave(&a);
}

Test(mcp_sse, a_stream_that_comes_back_by_itself_goes_on)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a = open_sse("");

    tell(HELLO);
    tell(INITIALIZED);
    tell(CALL("1", "subscribe_events", "{\"events\":[\"*\"]}"));
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    hear(&a);
    cr_assert(has(&a, "id: g-1\n"));
    leave(&a);
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    a = open_sse("Last-Event-ID: g-1\r\n");
    hear(&a);
    cr_assert(has(&a, "id: g-2\n") && !has(&a, "id: g-1\n"), "%s", text_of(&a));
    leave(&a);
}
