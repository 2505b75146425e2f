/* What is pushed on a session's stream and on subscriptions/listen, and how it resumes. */
#include <poll.h>

#include "tests/unit/server/mcp/agent.h"

TestSuite(mcp_stream, .init = agent_setup, .fini = agent_teardown);

static const char anna[] = "15551110001@s.whatsapp.net";

static void tool(const char *name, const char *args)
{
    char params[400];
    bool is_error = true;

    snprintf(params, sizeof(params), "{\"name\":\"%s\",\"arguments\":%s}", name, args);
    cr_assert(json_bool(json_get(answer_to("tools/call", params), "isError"), &is_error));
    cr_assert_not(is_error, "%s", args);
}

static void subscribe(const char *uri)
{
    char params[300];

    snprintf(params, sizeof(params), "{\"uri\":\"%s\"}", uri);
    cr_assert_eq(code_of(answer_to("resources/subscribe", params)), 0, "%s", uri);
}

Test(mcp_stream, a_second_stream_is_a_conflict_but_a_position_takes_over)
{
    struct agent a, b;

    open_session();
    a = listen_from(NULL);
    cr_assert_eq(status_of_agent(&a), 200);
    cr_assert(has(&a, "id: g-0\nretry: 1000\ndata: \n\n"), "%s", text_of(&a));
    cr_assert(has(&a, "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"));
    b = listen_from(NULL);
    cr_assert_eq(status_of_agent(&b), 409, "%s", text_of(&b));
    leave(&b);
    b = listen_from("g-0");
    cr_assert_eq(status_of_agent(&b), 200);
    hear(&a);
    cr_assert(a.closed);
    leave(&a);
    a = listen_from(NULL);
    cr_assert_eq(status_of_agent(&a), 409, "the one that took over is the stream now");
    leave(&a);
    leave(&b);
    a = listen_from(NULL);
    cr_assert_eq(status_of_agent(&a), 200, "it hung up");
    leave(&a);
    static const char *const bad[] = {"g", "17", "g-?", "x-1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        a = listen_from(bad[i]);
        cr_assert_eq(status_of_agent(&a), 400, "%s", bad[i]);
        leave(&a);
    }
}

Test(mcp_stream, what_the_tool_selected_comes_as_log_messages)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct account *other = add_account(false, ACCOUNT_CONNECTED);
    struct agent a;

    open_session();
    a = listen_from(NULL);
    tool("subscribe_events", "{\"events\":[\"message.*\"]}");
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    log_event(other, EVENT_MESSAGE_RECEIVED, 0);
    hear(&a);
    cr_assert_eq(count_of(&a, "\"method\":\"notifications/message\""), 1, "%s", text_of(&a));
    cr_assert(has(&a, "id: g-1\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":"
                      "\"notifications/message\",\"params\":{\"level\":\"info\",\"logger\":"
                      "\"events\",\"data\":{\"seq\":1,"));
    leave(&a);
}

Test(mcp_stream, an_event_comes_once_and_as_the_client_asked)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a;

    open_session();
    subscribe("whatsapp://events/message.received");
    subscribe("whatsapp://events");
    tool("subscribe_events", "{\"events\":[\"*\"]}");
    a = listen_from(NULL);
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    hear(&a);
    cr_assert_eq(count_of(&a, "id: g-1\n"), 1, "%s", text_of(&a));
    cr_assert(has(&a, "\"method\":\"notifications/resources/updated\",\"params\":{\"uri\":"
                      "\"whatsapp://events"));
    cr_assert(has(&a, "\"_meta\":{\"parley/event\":{\"seq\":1,"));
    cr_assert_eq(code_of(answer_to("resources/unsubscribe", "{\"uri\":\"whatsapp://events\"}")), 0);
    cr_assert_eq(code_of(answer_to("resources/unsubscribe",
                                   "{\"uri\":\"whatsapp://events/message.received\"}")),
                 0);
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    hear(&a);
    cr_assert(has(&a, "id: g-2\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":"
                      "\"notifications/message\""),
              "%s", text_of(&a));
    leave(&a);
}

Test(mcp_stream, the_level_and_the_extension_decide_the_form)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a, b;

    open_session_with("2025-11-25", "{\"extensions\":{\"io.modelcontextprotocol/events\":{}}}");
    tool("subscribe_events", "{\"events\":[\"*\"]}");
    a = listen_from(NULL);
    open_session();
    cr_assert_eq(code_of(answer_to("logging/setLevel", "{\"level\":\"error\"}")), 0);
    b = listen_from(NULL);
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    hear(&a);
    hear(&b);
    cr_assert(has(&a, "\"method\":\"notifications/events/event\""), "%s", text_of(&a));
    cr_assert_null(strstr(text_of(&a), "notifications/message"));
    cr_assert(has(&b, "\"method\":\"notifications/resources/updated\""), "%s", text_of(&b));
    cr_assert_eq(code_of(answer_to("logging/setLevel", "{\"level\":\"debug\"}")), 0);
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    hear(&b);
    cr_assert(has(&b, "\"method\":\"notifications/message\""), "%s", text_of(&b));
    leave(&a);
    leave(&b);
}

Test(mcp_stream, shows_a_new_level_and_subscription_from_their_commits_on)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent level, uri, s;

    open_session();
    tool("subscribe_events", "{\"events\":[\"*\"]}");
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    H.holds_commits = true;
    level = post("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"logging/setLevel\","
                 "\"params\":{\"level\":\"error\"}}");
    uri = post("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"resources/subscribe\","
               "\"params\":{\"uri\":\"whatsapp://events/message.received\"}}");
    s = listen_from("g-0"); /* loads the session, and is shown the event again */
    hear(&s);
    cr_expect(has(&s, "\"method\":\"notifications/message\""), "%s", text_of(&s));
    cr_expect_not(has(&s, "notifications/resources/updated"), "%s", text_of(&s));
    cr_expect_not(has(&level, "\"result\"") || has(&uri, "\"result\""));

    H.holds_commits = false;
    hear(&level);
    hear(&uri);
    cr_expect(has(&level, "\"result\"") && has(&uri, "\"result\""));
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    hear(&s);
    cr_expect_eq(count_of(&s, "\"method\":\"notifications/message\""), 1);
    cr_expect(has(&s, "\"uri\":\"whatsapp://events/message.received\""), "%s", text_of(&s));
    leave(&s);
    leave(&uri);
    leave(&level);
}

Test(mcp_stream, a_chat_is_watched_by_its_id)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], uri[100];
    uint32_t number, peer;
    uint64_t secret;
    struct agent a;

    receive(acc, anna, false, 100, "one", m, c);
    cr_assert(id_chat_parse(ID_CHAT, slice_text(c), &number, &peer, &secret));
    open_session();
    snprintf(uri, sizeof(uri), "whatsapp://chats/%s", c);
    subscribe(uri);
    a = listen_from(NULL);
    log_event(acc, EVENT_MESSAGE_RECEIVED, peer);
    log_event(acc, EVENT_MESSAGE_RECEIVED, peer + 1);
    hear(&a);
    cr_assert_eq(count_of(&a, "\"uri\":"), 1, "%s", text_of(&a));
    cr_assert(has(&a, uri));
    leave(&a);
}

/* A session keeps the chat as it was named; who it is, is asked again when its stream begins. */
Test(mcp_stream, a_chat_is_watched_under_an_older_id_too)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], by_number[ID_TEXT_MAX], by_lid[ID_TEXT_MAX], uri[100];
    uint32_t number, peer;
    uint64_t secret;
    struct agent a;

    receive(acc, anna, false, 100, "one", m, by_number);
    receive(acc, "777@lid", false, 101, "two", m, by_lid);
    open_session();
    snprintf(uri, sizeof(uri), "whatsapp://chats/%s", by_lid);
    subscribe(uri);
    cr_assert(id_chat_parse(ID_CHAT, slice_text(by_lid), &number, &peer, &secret));
    log_event(acc, EVENT_MESSAGE_RECEIVED, peer);
    merge_people(acc, "777@lid", anna);
    cr_assert(id_chat_parse(ID_CHAT, slice_text(by_number), &number, &peer, &secret));
    a = listen_from(NULL);
    log_event(acc, EVENT_MESSAGE_RECEIVED, peer);
    hear(&a);
    cr_assert_eq(count_of(&a, "\"uri\":"), 3, "before, with and behind the merge: %s", text_of(&a));
    cr_assert(has(&a, uri));
    leave(&a);
}

Test(mcp_stream, an_accounts_states_are_watched)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct account *other = add_account(true, ACCOUNT_CONNECTED);
    char uri[100];
    struct agent a;

    open_session();
    snprintf(uri, sizeof(uri), "whatsapp://accounts/%s", acc->status.id);
    subscribe(uri);
    a = listen_from(NULL);
    mcp_on_status(&H.server, &other->status);
    mcp_on_status(&H.server, &acc->status);
    hear(&a);
    cr_assert_eq(count_of(&a, "\"uri\":"), 1, "%s", text_of(&a));
    cr_assert(has(&a, uri) && has(&a, "notifications/resources/updated"));
    leave(&a);
    cr_assert_eq(atomic_load(&H.server.mcp->watchers), 0);
    mcp_on_status(&H.server, &acc->status);
}

Test(mcp_stream, the_first_stream_begins_where_the_session_did)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a;

    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    open_session();
    subscribe("whatsapp://events");
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    a = listen_from(NULL);
    hear(&a);
    cr_assert(has(&a, "id: g-1\nretry"), "%s", text_of(&a));
    cr_assert(has(&a, "id: g-2\nevent"), "%s", text_of(&a));
    cr_assert_not(has(&a, "id: g-1\nevent"));
    leave(&a);
    a = listen_from(NULL);
    hear(&a);
    cr_assert_not(has(&a, "event: message"), "%s", text_of(&a));
    leave(&a);
}

Test(mcp_stream, resumes_after_a_restart_with_session_and_subscriptions)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a;

    open_session();
    subscribe("whatsapp://events/message.*");
    tool("subscribe_events", "{\"events\":[\"account.connected\"]}");
    a = listen_from(NULL);
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    hear(&a);
    cr_assert(has(&a, "id: g-1\nevent"));
    leave(&a);
    door_restart();
    log_event(acc, EVENT_MESSAGE_SENT, 0);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    log_event(acc, EVENT_ACCOUNT_PAIRED, 0);
    a = listen_from("g-1");
    hear(&a);
    cr_assert_eq(status_of_agent(&a), 200, "%s", text_of(&a));
    cr_assert(has(&a, "id: g-1\nretry: 1000\ndata: \n\n"));
    cr_assert(has(&a, "id: g-2\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":"
                      "\"notifications/resources/updated\""),
              "%s", text_of(&a));
    cr_assert(has(&a, "id: g-3\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":"
                      "\"notifications/message\""),
              "%s", text_of(&a));
    cr_assert_eq(count_of(&a, "event: message"), 2);
    leave(&a);
}

Test(mcp_stream, lost_events_are_announced_first)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a;

    open_session();
    subscribe("whatsapp://events");
    for (int i = 0; i < 5; i++)
        log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    trim_log(3);
    a = listen_from("g-1");
    hear(&a);
    cr_assert(has(&a, "id: g-3\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":"
                      "\"notifications/message\",\"params\":{\"level\":\"warning\",\"logger\":"
                      "\"events\",\"data\":{\"gap\":true,\"reset\":false,\"first\":2,"
                      "\"last\":3,\"message\":\"Events first to last"),
              "%s", text_of(&a));
    cr_assert(strstr(text_of(&a), "\"gap\":true") < strstr(text_of(&a), "id: g-4\n"));
    cr_assert_eq(count_of(&a, "notifications/resources/updated"), 2);
    leave(&a);
}

Test(mcp_stream, a_position_that_is_not_of_this_log_is_reset)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a;

    open_session();
    subscribe("whatsapp://events");
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    a = listen_from("g-500");
    hear(&a);
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    hear(&a);
    cr_assert(has(&a, "id: g-1\nevent: message\n"), "%s", text_of(&a));
    cr_assert(has(&a, "\"gap\":true,\"reset\":true,\"first\":1,\"last\":1,"));
    cr_assert(has(&a, "id: g-2\n"));
    cr_assert_eq(count_of(&a, "notifications/resources/updated"), 1);
    leave(&a);
}

static bool ends_with_seq(struct agent *a, int seq)
{
    size_t tail = a->got.len < 5000 ? 0 : a->got.len - 5000;
    char want[40];

    snprintf(want, sizeof(want), "{\"seq\":%d,", seq);
    return strstr(text_of(a) + tail, want);
}

Test(mcp_stream, a_reader_that_stalls_catches_up_from_the_log)
{
    enum { MANY = 1500 };
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a;
    int small = 65536;

    open_session();
    subscribe("whatsapp://events");
    a = listen_from(NULL);
    setsockopt(a.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    log_large_events(acc, MANY, door_step);
    for (int i = 0; i < 3000 && !ends_with_seq(&a, MANY); i++) {
        struct pollfd wait = {.fd = a.fd, .events = POLLIN};
        hear(&a);
        cr_assert_not(a.closed);
        poll(&wait, 1, 2);
    }
    const char *at = text_of(&a);
    for (int seq = 1; seq <= MANY; seq++) {
        char want[40];
        snprintf(want, sizeof(want), "{\"seq\":%d,", seq);
        at = strstr(at, want);
        cr_assert(at, "%d", seq);
    }
    cr_assert_eq(count_of(&a, "\nevent: message"), MANY);
    leave(&a);
}

Test(mcp_stream, a_revoked_key_ends_its_streams)
{
    struct agent a;

    open_session();
    a = listen_from(NULL);
    hubs_revoke_key(H.server.hubs, slice_text(H.test.key));
    hear(&a);
    hear(&a);
    cr_assert(a.closed);
    leave(&a);
}

/* ---- subscriptions/listen ---- */

static struct agent listen_to(const char *id, const char *notifications)
{
    AUTO(buf) body = {0};

    buf_printf(&body,
               "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"subscriptions/listen\",\"params\":"
               "{\"notifications\":%s,\"_meta\":{"
               "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","
               "\"io.modelcontextprotocol/clientCapabilities\":{}}}}",
               id, notifications);
    return say_raw("POST /mcp",
                   with(ACCEPT_BOTH JSON_BODY "MCP-Protocol-Version: 2026-07-28\r\n"
                                              "Mcp-Method: subscriptions/listen\r\n"),
                   buf_text(&body));
}

/* The second stream is subscriptions/listen, which has no session. */
Test(mcp_stream, an_open_stream_follows_its_chat_into_another)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], by_number[ID_TEXT_MAX], by_lid[ID_TEXT_MAX], uri[100], wanted[200];
    struct agent a, b;

    receive(acc, anna, false, 100, "one", m, by_number);
    receive(acc, "777@lid", false, 101, "two", m, by_lid);
    open_session();
    snprintf(uri, sizeof(uri), "whatsapp://chats/%s", by_lid);
    subscribe(uri);
    a = listen_from(NULL);
    snprintf(wanted, sizeof(wanted), "{\"resourceSubscriptions\":[\"%s\"]}", uri);
    b = listen_to("1", wanted);
    hear(&b);
    log_event(acc, EVENT_MESSAGE_RECEIVED, merge_people(acc, "777@lid", anna));
    hear(&a);
    hear(&b);
    cr_expect_eq(count_of(&a, "\"method\":\"notifications/resources/updated\""), 2, "%s",
                 text_of(&a));
    cr_expect_eq(count_of(&b, "\"method\":\"notifications/resources/updated\""), 2, "%s",
                 text_of(&b));
    leave(&a);
    leave(&b);
}

#define TAG(id) "\"io.modelcontextprotocol/subscriptionId\":" id

Test(mcp_stream, listen_acknowledges_what_it_honours_and_sends_nothing_else)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct account *other = add_account(false, ACCOUNT_CONNECTED);
    struct agent a;

    open_session();
    tool("subscribe_events", "{\"events\":[\"*\"]}");
    a = listen_to("\"s1\"", "{\"toolsListChanged\":true,\"resourceSubscriptions\":["
                            "\"whatsapp://events/message.received\",\"whatsapp://nothing\",5]}");
    cr_assert(has(&a, "\r\n\r\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":"
                      "\"notifications/subscriptions/acknowledged\",\"params\":{\"notifications\":"
                      "{\"resourceSubscriptions\":[\"whatsapp://events/message.received\"]},"
                      "\"_meta\":{" TAG("\"s1\"") "}}}\n\n"),
              "%s", text_of(&a));
    log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    log_event(acc, EVENT_MESSAGE_SENT, 0);
    log_event(other, EVENT_MESSAGE_RECEIVED, 0);
    mcp_on_status(&H.server, &acc->status);
    hear(&a);
    cr_assert_eq(count_of(&a, "event: message"), 2, "%s", text_of(&a));
    cr_assert(has(&a, "\"uri\":\"whatsapp://events/message.received\",\"_meta\":{\"parley/event\":"
                      "{\"seq\":1,"));
    cr_assert_eq(count_of(&a, TAG("\"s1\"")), 2);
    cr_assert_null(strstr(text_of(&a), "\nid: "));
    leave(&a);
}

Test(mcp_stream, listen_ends_with_its_result)
{
    struct agent a = listen_to("3", "{}");

    cr_assert(has(&a, "\"params\":{\"notifications\":{},\"_meta\":{" TAG("3") "}}"), "%s",
              text_of(&a));
    hubs_revoke_key(H.server.hubs, slice_text(H.test.key));
    hear(&a);
    hear(&a);
    cr_assert(has(&a, "\"id\":3,\"result\":{\"resultType\":\"complete\""), "%s", text_of(&a));
    cr_assert(a.closed);
    leave(&a);
    a = listen_to("4", "5");
    cr_assert(has(&a, "\"code\":-32602"));
    leave(&a);
}
