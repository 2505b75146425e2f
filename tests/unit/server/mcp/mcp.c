/* The table of methods in both eras: negotiation, errors, cancellation, progress. */
#include "tests/unit/server/mcp/agent.h"

TestSuite(mcp, .init = agent_setup, .fini = agent_teardown);

Test(mcp, initialize_negotiates_a_revision)
{
    static const struct {
        const char *wanted, *got;
    } rows[] = {
        {"2024-11-05", "2024-11-05"}, {"2025-03-26", "2025-03-26"}, {"2025-06-18", "2025-06-18"},
        {"2025-11-25", "2025-11-25"}, {"2026-07-28", "2025-11-25"}, {"2024-10-07", "2025-11-25"},
        {"2099-01-01", "2025-11-25"}, {"", "2025-11-25"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char body[300], want[60];
        struct agent a;
        snprintf(body, sizeof(body),
                 "{\"jsonrpc\":\"2.0\",\"id\":\"i\",\"method\":\"initialize\",\"params\":"
                 "{\"protocolVersion\":\"%s\",\"capabilities\":{}}}",
                 rows[i].wanted);
        a = say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY), body);
        cr_assert_eq(status_of_agent(&a), 200);
        snprintf(want, sizeof(want), "\"protocolVersion\":\"%s\"", rows[i].got);
        cr_assert(has(&a, want), "%s: %s", rows[i].wanted, text_of(&a));
        cr_assert(has(&a, "\"id\":\"i\"") && has(&a, "Mcp-Session-Id: "));
        cr_assert(has(&a, "\"serverInfo\":{\"name\":\"parley\"") && has(&a, "\"instructions\":"));
        cr_assert_null(strstr(text_of(&a), "resultType"));
        leave(&a);
    }
}

Test(mcp, what_is_wrong_is_a_json_rpc_error)
{
    static const struct {
        const char *method, *params;
        int code;
    } rows[] = {
        {"no/such/method", "{}", RPC_NO_METHOD},
        {"server/discover", "{}", RPC_NO_METHOD},
        {"subscriptions/listen", "{}", RPC_NO_METHOD},
        {"initialize", "{}", RPC_BAD_PARAMS},
        {"tools/list", "{\"cursor\":\"x\"}", RPC_BAD_PARAMS},
        {"tools/call", "{}", RPC_BAD_PARAMS},
        {"tools/call", "{\"name\":\"no_such_tool\"}", RPC_BAD_PARAMS},
        {"resources/read", "{}", RPC_NO_RESOURCE},
        {"resources/read", "{\"uri\":\"whatsapp://nothing\"}", RPC_NO_RESOURCE},
        {"resources/read", "{\"uri\":\"whatsapp://chats/chat_x\"}", RPC_NO_RESOURCE},
        {"resources/subscribe", "{\"uri\":\"file:///\"}", RPC_NO_RESOURCE},
        {"resources/templates/list", "{\"cursor\":\"1\"}", RPC_BAD_PARAMS},
        {"resources/list", "{\"cursor\":\"1\"}", RPC_BAD_PARAMS},
        {"prompts/get", "{\"name\":\"x\"}", RPC_BAD_PARAMS},
        {"prompts/get", "{\"name\":\"draft_reply\",\"arguments\":{}}", RPC_BAD_PARAMS},
        {"completion/complete", "{}", RPC_BAD_PARAMS},
        {"logging/setLevel", "{\"level\":\"loud\"}", RPC_BAD_PARAMS},
    };

    open_session();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_assert_eq(code_of(answer_to(rows[i].method, rows[i].params)), rows[i].code, "%s %s: %d",
                     rows[i].method, rows[i].params,
                     (int)code_of(answer_to(rows[i].method, rows[i].params)));
}

Test(mcp, ping_and_set_level_answer_nothing)
{
    open_session();
    cr_assert_eq(json_kind(answer_to("ping", "{}")), JSON_OBJ);
    cr_assert_eq(code_of(answer_to("ping", "{}")), 0);
    cr_assert_eq(code_of(answer_to("logging/setLevel", "{\"level\":\"error\"}")), 0);
}

/* ---- cancellation ---- */

#define WAIT_CALL(id, meta)                                                                        \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"tools/call\",\"params\":{\"name\":"           \
    "\"wait_for_event\",\"arguments\":{\"timeout_ms\":25000}" meta "}}"
#define CANCEL(id)                                                                                 \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":" id "}}"

Test(mcp, a_cancelled_call_ends_without_an_answer)
{
    struct agent waiting, cancel;

    add_account(true, ACCOUNT_CONNECTED);
    open_session();
    waiting = post(WAIT_CALL("5", ""));
    cr_assert_eq(waiting.got.len, 0);
    cancel = post(CANCEL("\"5\"")); /* the text "5" is another id than 5 */
    cr_assert_eq(status_of_agent(&cancel), 202);
    leave(&cancel);
    hear(&waiting);
    cr_assert_eq(waiting.got.len, 0);
    cancel = post(CANCEL("5"));
    leave(&cancel);
    hear(&waiting);
    cr_assert_eq(status_of_agent(&waiting), 202, "%s", text_of(&waiting));
    cr_assert_str_eq(body_of(&waiting), "");
    leave(&waiting);
}

Test(mcp, another_session_cannot_cancel)
{
    struct agent waiting, cancel;

    add_account(true, ACCOUNT_CONNECTED);
    open_session();
    waiting = post(WAIT_CALL("5", ""));
    open_session();
    cancel = post(CANCEL("5"));
    leave(&cancel);
    hear(&waiting);
    cr_assert_eq(waiting.got.len, 0);
    leave(&waiting);
}

Test(mcp, progress_rises_on_the_requests_own_stream)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct agent a;
    const char *progress, *result;

    open_session();
    a = post(WAIT_CALL("5", ",\"_meta\":{\"progressToken\":\"t\"}"));
    for (int i = 0; i < 150 && !has(&a, "notifications/progress"); i++) {
        usleep(10000);
        hear(&a);
    }
    cr_assert(has(&a, "Content-Type: text/event-stream"), "%s", text_of(&a));
    cr_assert(has(&a, "\"progressToken\":\"t\",\"progress\":1."), "%s", text_of(&a));
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    hear(&a);
    progress = strstr(text_of(&a), "notifications/progress");
    result = strstr(text_of(&a), "\"id\":5,\"result\":");
    cr_assert(progress && result && progress < result, "%s", text_of(&a));
    cr_assert(a.closed, "the stream ends with the answer");
    leave(&a);
}

/* ---- the modern era ---- */

static struct agent modern(const char *method, const char *params, const char *headers)
{
    AUTO(buf) body = {0};

    buf_printf(&body,
               "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{%s\"_meta\":{"
               "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","
               "\"io.modelcontextprotocol/clientCapabilities\":{}}}}",
               method, params);
    return say_raw("POST /mcp",
                   with(ACCEPT_BOTH JSON_BODY "MCP-Protocol-Version: 2026-07-28\r\n"
                                              "Mcp-Method: %s\r\n%s",
                        method, headers),
                   buf_text(&body));
}

Test(mcp, modern_answers_say_that_they_are_complete_and_from_whom)
{
    static const struct {
        const char *method, *params, *headers;
        bool cacheable;
    } rows[] = {
        {"server/discover", "", "", true},
        {"tools/list", "", "", true},
        {"resources/list", "", "", true},
        {"resources/templates/list", "", "", true},
        {"resources/read", "\"uri\":\"whatsapp://accounts\",", "Mcp-Name: whatsapp://accounts\r\n",
         true},
        {"prompts/list", "", "", true},
        {"prompts/get", "\"name\":\"triage_inbox\",", "Mcp-Name: triage_inbox\r\n", false},
        {"tools/call", "\"name\":\"list_accounts\",", "Mcp-Name: list_accounts\r\n", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct agent a = modern(rows[i].method, rows[i].params, rows[i].headers);
        cr_assert_eq(status_of_agent(&a), 200, "%s: %s", rows[i].method, text_of(&a));
        cr_assert(has(&a, "\"result\":{\"resultType\":\"complete\""), "%s", text_of(&a));
        cr_assert(has(&a, "\"io.modelcontextprotocol/serverInfo\":{\"name\":\"parley\""));
        cr_assert_eq(has(&a, "\"ttlMs\":0,\"cacheScope\":\"private\""), rows[i].cacheable, "%s",
                     rows[i].method);
        cr_assert_null(strstr(text_of(&a), "Mcp-Session-Id"));
        leave(&a);
    }
}

Test(mcp, modern_refuses_what_it_removed)
{
    static const char *const methods[] = {
        "initialize",    "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
        "no/such/method"};

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct agent a =
            modern(methods[i], "\"level\":\"info\",\"uri\":\"whatsapp://events\",", "");
        cr_assert_eq(status_of_agent(&a), 404, "%s: %s", methods[i], text_of(&a));
        cr_assert(has(&a, "\"code\":-32601"));
        leave(&a);
    }
}

Test(mcp, modern_missing_resource_names_the_uri)
{
    struct agent a =
        modern("resources/read", "\"uri\":\"whatsapp://x\",", "Mcp-Name: whatsapp://x\r\n");

    cr_assert_eq(status_of_agent(&a), 200);
    cr_assert(has(&a, "\"code\":-32602") && has(&a, "\"data\":{\"uri\":\"whatsapp://x\"}"));
    leave(&a);
}
