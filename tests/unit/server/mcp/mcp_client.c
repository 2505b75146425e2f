/* What is asked of clients: by requests on the stream in the older era, by results in the modern
 * one; and what else an offer other than ours needs of the door: lists that change, arguments that
 * are headers, answers that are fetched later. */
#include "server/mcp/mcp_client.h"

#include "tests/unit/server/mcp/agent.h"

/* ---- an offer with one tool per thing to show ---- */

static void answer_text(struct mcp_ask *a, struct slice text)
{
    mcp_begin(a);
    pen_text(&a->pen, "said", text);
    mcp_done(a);
}

static void on_reply(struct mcp_ask *a, const struct json *result)
{
    AUTO(buf) text = {0};

    if (result) json_write(&text, result);
    answer_text(a, result ? buf_slice(&text) : SLICE("no reply"));
}

static void elicit(struct mcp_ask *a)
{
    mcp_request_client(a, "elicitation/create", SLICE("{\"message\":\"?\"}"), on_reply);
}

static const struct mcp_input inputs[] = {
    {MCP_CAN_ELICIT, "name", "elicitation/create", SLICE("{\"message\":\"?\"}")},
    {MCP_CAN_SAMPLE, "idea", "sampling/createMessage", SLICE("{\"maxTokens\":1}")}};

static void need(struct mcp_ask *a)
{
    struct slice state;

    if (!mcp_state(a, &state)) return;
    if (slice_is(state, "seen") && mcp_input(a, "name"))
        answer_text(a, SLICE("done"));
    else
        mcp_need(a, inputs, 2, SLICE("seen"));
}

static void log_and_count(struct mcp_ask *a)
{
    mcp_log(a, MCP_INFO, "t", SLICE("\"hello\""));
    mcp_progress(a, 1, 2);
    answer_text(a, SLICE("counted"));
}

static void say_later(struct mcp_ask *a) { answer_text(a, SLICE("later")); }

static void hang_up(struct mcp_ask *a)
{
    a->hang_up(a);
    mcp_later(a, 40, say_later);
}

static void change(struct mcp_ask *a)
{
    mcp_list_changed(a->home->mcp, MCP_LIST_TOOLS);
    answer_text(a, SLICE("changed"));
}

static const struct {
    const char *name;
    void (*run)(struct mcp_ask *a);
} tools[] = {{"elicit", elicit},     {"need", need},       {"need2", need},
             {"log", log_and_count}, {"hang_up", hang_up}, {"change", change}};

static void call_tool(struct mcp_ask *a)
{
    struct slice name = json_get_text(a->message.params, "name");

    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        if (!slice_is(name, tools[i].name)) continue;
        tools[i].run(a);
        return;
    }
    mcp_refuse(a, RPC_BAD_PARAMS, "no such tool");
}

static struct slice no_instructions(void) { return SLICE(""); }

static const struct mcp_method methods[] = {
    {"tools/call", MCP_SESSION | MCP_MODERN, true, false, call_tool}, {0}};
static const struct mcp_param_header headers[] = {{"change", "region", "Region"}, {0}};
static const struct mcp_offer offer = {.methods = methods,
                                       .instructions = no_instructions,
                                       .changing = MCP_LIST_TOOLS,
                                       .headers = headers};

static void setup(void)
{
    door_offer = &offer;
    agent_setup();
}

TestSuite(mcp_client, .init = setup, .fini = agent_teardown);

/* ---- the older era ---- */

#define ABLE "{\"elicitation\":{},\"sampling\":{}}"
#define CALL(name, more)                                                                           \
    "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"" name         \
    "\",\"arguments\":{}" more "}}"

/* The id of the request that came on the stream, with its quotes. */
static void id_of_request(struct agent *a, char out[64])
{
    const char *at = strstr(text_of(a), "\"id\":\"w");

    cr_assert(at, "%s", text_of(a));
    cr_assert_eq(sscanf(at, "\"id\":%63[^,]", out), 1);
}

static int reply(const char *id, const char *outcome)
{
    AUTO(buf) body = {0};
    struct agent a;
    int status;

    buf_printf(&body, "{\"jsonrpc\":\"2.0\",\"id\":%s,%s}", id, outcome);
    a = post(buf_text(&body));
    status = status_of_agent(&a);
    leave(&a);
    return status;
}

Test(mcp_client, a_request_goes_out_on_the_stream_and_its_answer_comes_by_post)
{
    struct agent a;
    char id[64];

    open_session_with("2025-11-25", ABLE);
    a = post(CALL("elicit", ""));
    cr_assert(has(&a, "\"method\":\"elicitation/create\",\"params\":{\"message\":\"?\"}}"), "%s",
              text_of(&a));
    id_of_request(&a, id);
    cr_assert_eq(reply(id, "\"result\":{\"action\":\"accept\"}"), 202);
    hear(&a);
    cr_assert(has(&a, "\"id\":5,\"result\":{\"said\":\"{\\\"action\\\":\\\"accept\\\"}\"}"), "%s",
              text_of(&a));
    cr_assert(a.closed);
    cr_assert_eq(reply(id, "\"result\":{}"), 202, "again: nobody waits for it");
    leave(&a);
}

Test(mcp_client, a_client_that_refuses_gives_no_reply)
{
    struct agent a;
    char id[64];

    open_session_with("2025-06-18", ABLE);
    a = post(CALL("elicit", ""));
    id_of_request(&a, id);
    reply(id, "\"error\":{\"code\":-1,\"message\":\"no\"}");
    hear(&a);
    cr_assert(has(&a, "\"said\":\"no reply\""), "%s", text_of(&a));
    leave(&a);
}

Test(mcp_client, only_the_session_that_was_asked_can_answer)
{
    static const char *const wrong[] = {"\"w0.0.1\"", "\"w9.1.1\"", "\"w\"", "7", "\"\""};
    char id[64], asked[SESSION_TEXT_MAX];
    struct agent a;

    open_session_with("2025-11-25", ABLE);
    memcpy(asked, agent_session, sizeof(asked));
    a = post(CALL("elicit", ""));
    id_of_request(&a, id);
    open_session_with("2025-11-25", ABLE);
    cr_assert_eq(reply(id, "\"result\":{}"), 202);
    memcpy(agent_session, asked, sizeof(asked));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        cr_assert_eq(reply(wrong[i], "\"result\":{}"), 202);
    hear(&a);
    cr_assert_not(a.closed, "%s", text_of(&a));
    reply(id, "\"result\":{}");
    hear(&a);
    cr_assert(has(&a, "\"said\":\"{}\""), "%s", text_of(&a));
    leave(&a);
}

Test(mcp_client, a_door_that_closes_while_it_asks_leaves_no_timer_behind)
{
    struct agent a;

    open_session_with("2025-11-25", ABLE);
    a = post(CALL("elicit", ""));
    leave(&a);
    door_restart();
    open_session_with("2025-11-25", ABLE);
    a = post(CALL("elicit", ""));
    cr_assert(has(&a, "elicitation/create"), "%s", text_of(&a));
    leave(&a);
}

Test(mcp_client, a_cancelled_request_waits_for_no_reply)
{
    struct agent a, b;

    open_session_with("2025-11-25", ABLE);
    a = post(CALL("elicit", ""));
    b = post("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
             "{\"requestId\":5}}");
    hear(&a);
    cr_assert(a.closed);
    cr_assert_not(has(&a, "\"said\""), "%s", text_of(&a));
    leave(&a);
    leave(&b);
}

Test(mcp_client, logs_follow_the_level_and_progress_the_token)
{
    struct agent a;

    open_session();
    a = post(CALL("log", ",\"_meta\":{\"progressToken\":\"p\"}"));
    cr_assert(has(&a, "\"level\":\"info\",\"logger\":\"t\",\"data\":\"hello\"}"), "%s",
              text_of(&a));
    cr_assert(has(&a, "{\"progressToken\":\"p\",\"progress\":1,\"total\":2}"), "%s", text_of(&a));
    leave(&a);
    cr_assert_eq(code_of(answer_to("logging/setLevel", "{\"level\":\"error\"}")), 0);
    a = post(CALL("log", ""));
    cr_assert_not(has(&a, "notifications/"), "%s", text_of(&a));
    leave(&a);
}

Test(mcp_client, an_answer_is_fetched_after_the_door_hung_up)
{
    const char *at;
    struct agent a;
    char id[40];

    open_session();
    a = post(CALL("hang_up", ""));
    hear(&a);
    cr_assert(a.closed);
    cr_assert_not(has(&a, "later"), "%s", text_of(&a));
    at = strstr(text_of(&a), "id: p");
    cr_assert(at && sscanf(at, "id: %39s", id) == 1, "%s", text_of(&a));
    leave(&a);
    a = listen_from(id);
    for (int i = 0; i < 100 && !has(&a, "later"); i++) {
        usleep(2000);
        hear(&a);
    }
    cr_assert(has(&a, "\"id\":5,\"result\":{\"said\":\"later\"}"), "%s", text_of(&a));
    leave(&a);
    open_session_with("2025-06-18", "{}");
    a = post(CALL("hang_up", ""));
    for (int i = 0; i < 100 && !has(&a, "later"); i++) {
        usleep(2000);
        hear(&a);
    }
    cr_assert(has(&a, "later"), "it could not come back: %s", text_of(&a));
    leave(&a);
}

Test(mcp_client, a_session_hears_that_a_list_changed)
{
    struct agent a, b;

    open_session();
    a = listen_from(NULL);
    b = post(CALL("change", ""));
    hear(&a);
    cr_assert(has(&a, "\"method\":\"notifications/tools/list_changed\",\"params\":{}}"), "%s",
              text_of(&a));
    leave(&a);
    leave(&b);
}

/* An /sse client gets the request on its stream and answers to /messages. */
Test(mcp_client, an_sse_client_is_asked_on_its_stream)
{
    struct agent a = say_raw("GET /sse", with(""), NULL), b;
    const char *at = strstr(text_of(&a), "data: /messages?sessionId=");
    char line[200], id[64];
    AUTO(buf) body = {0};

    cr_assert(at, "%s", text_of(&a));
    snprintf(line, sizeof(line), "POST %.*s", (int)strcspn(at + 6, "\n"), at + 6);
    static const char *const hello[] = {
        "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{"
        "\"protocolVersion\":\"2024-11-05\",\"capabilities\":" ABLE "}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}", CALL("elicit", "")};
    for (size_t i = 0; i < ARRAY_LEN(hello); i++) {
        b = say_raw(line, with(JSON_BODY), hello[i]);
        leave(&b);
    }
    hear(&a);
    id_of_request(&a, id);
    buf_printf(&body, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{}}", id);
    b = say_raw(line, with(JSON_BODY), buf_text(&body));
    hear(&a);
    cr_assert(has(&a, "\"id\":5,\"result\":{\"said\":\"{}\"}"), "%s", text_of(&a));
    leave(&b);
    leave(&a);
}

/* ---- the modern era ---- */

#define META(capabilities)                                                                         \
    "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","                       \
    "\"io.modelcontextprotocol/clientCapabilities\":" capabilities "}"

static struct agent modern(const char *key, const char *method, const char *name,
                           const char *more_headers, const char *params)
{
    AUTO(buf) body = {0}, head = {0};

    buf_printf(&body, "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"%s\",\"params\":{%s%s%s%s}}",
               method, name ? "\"name\":\"" : "", name ? name : "", name ? "\"," : "", params);
    buf_printf(&head,
               "%s" ACCEPT_BOTH JSON_BODY
               "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: %s\r\n%s",
               key_header(key), method, more_headers);
    if (name) buf_printf(&head, "Mcp-Name: %s\r\n", name);
    return say_raw("POST /mcp", buf_text(&head), buf_text(&body));
}

static void take_state(struct agent *a, char out[300])
{
    const char *at = strstr(text_of(a), "\"requestState\":");

    cr_assert(at, "%s", text_of(a));
    cr_assert_eq(sscanf(at, "\"requestState\":\"%299[^\"]", out), 1);
}

Test(mcp_client, a_result_asks_for_what_the_client_can_give)
{
    struct agent a = modern(house_test_key, "tools/call", "need", "", META("{\"sampling\":{}}"));

    cr_assert(has(&a, "\"resultType\":\"input_required\",\"inputRequests\":{\"idea\":{\"method\":"
                      "\"sampling/createMessage\",\"params\":{\"maxTokens\":1}}}"),
              "%s", text_of(&a));
    leave(&a);
    a = modern(house_test_key, "tools/call", "need", "", META("{}"));
    cr_assert_eq(status_of_agent(&a), 400);
    cr_assert(has(&a, "\"code\":-32021"), "%s", text_of(&a));
    cr_assert(has(&a, "{\"requiredCapabilities\":{\"elicitation\":{},\"sampling\":{}}}"), "%s",
              text_of(&a));
    leave(&a);
}

static struct agent with_state(const char *key, const char *tool, const char *state)
{
    AUTO(buf) params = {0};

    buf_printf(&params,
               META("{\"elicitation\":{}}") ",\"inputResponses\":{\"name\":{},\"x\":{}},"
                                            "\"requestState\":\"%s\"",
               state);
    return modern(key, "tools/call", tool, "", buf_text(&params));
}

Test(mcp_client, a_state_is_good_for_its_request_and_key_alone)
{
    struct agent a = modern(house_test_key, "tools/call", "need", "", META("{\"elicitation\":{}}"));
    char state[300], bad[300];
    size_t n;

    take_state(&a, state);
    leave(&a);
    n = strlen(state);
    a = with_state(house_test_key, "need", state);
    cr_assert(has(&a, "\"said\":\"done\""), "%s", text_of(&a));
    leave(&a);
    a = with_state(house_test_key, "need2", state);
    cr_assert(has(&a, "\"code\":-32602"), "another tool: %s", text_of(&a));
    leave(&a);
    a = with_state(house_live_key, "need", state);
    cr_assert(has(&a, "\"code\":-32602"), "another key: %s", text_of(&a));
    leave(&a);
    for (size_t i = 0; i < n; i += 3) {
        memcpy(bad, state, n + 1);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        a = with_state(house_test_key, "need", bad);
        cr_assert_not(has(&a, "done"), "changed at %zu: %s", i, text_of(&a));
        leave(&a);
    }
    for (size_t i = 0; i < n; i += 5) {
        memcpy(bad, state, i);
        bad[i] = '\0';
        a = with_state(house_test_key, "need", bad);
        cr_assert(has(&a, "\"code\":-32602"), "cut at %zu: %s", i, text_of(&a));
        leave(&a);
    }
}

Test(mcp_client, modern_logs_are_for_who_asked)
{
    struct agent a = modern(house_test_key, "tools/call", "log", "", META("{}"));

    cr_assert_not(has(&a, "notifications/"), "%s", text_of(&a));
    leave(&a);
    a = modern(house_test_key, "tools/call", "log", "",
               "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","
               "\"io.modelcontextprotocol/clientCapabilities\":{},"
               "\"io.modelcontextprotocol/logLevel\":\"debug\"}");
    cr_assert(has(&a, "notifications/message"), "%s", text_of(&a));
    leave(&a);
}

Test(mcp_client, a_listener_hears_of_the_lists_it_named)
{
    struct agent tools_too = modern(house_test_key, "subscriptions/listen", NULL, "",
                                    META("{}") ",\"notifications\":{\"toolsListChanged\":true,"
                                               "\"promptsListChanged\":true}");
    struct agent nothing = modern(house_test_key, "subscriptions/listen", NULL, "",
                                  META("{}") ",\"notifications\":{}");
    struct agent a = modern(house_test_key, "tools/call", "change", "", META("{}"));

    cr_assert(has(&tools_too, "\"notifications\":{\"toolsListChanged\":true},"), "%s",
              text_of(&tools_too));
    hear(&tools_too);
    cr_assert(has(&tools_too, "\"method\":\"notifications/tools/list_changed\",\"params\":{"
                              "\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":5}}}"),
              "%s", text_of(&tools_too));
    hear(&nothing);
    cr_assert_not(has(&nothing, "list_changed"), "%s", text_of(&nothing));
    leave(&a);
    leave(&nothing);
    leave(&tools_too);
}

Test(mcp_client, an_argument_that_is_a_header_must_agree)
{
    static const struct {
        const char *header, *arguments;
        int status;
    } rows[] = {
        {"Mcp-Param-Region: eu\r\n", "{\"region\":\"eu\"}", 200},
        {"Mcp-Param-Region: =?base64?ZXU=?=\r\n", "{\"region\":\"eu\"}", 200},
        {"Mcp-Param-Region: =?base64?ZXU?=\r\n", "{\"region\":\"eu\"}", 400},
        {"Mcp-Param-Region: =?base64?ZXU=\r\n", "{\"region\":\"=?base64?ZXU=\"}", 200},
        {"Mcp-Param-Region: us\r\n", "{\"region\":\"eu\"}", 400},
        {"", "{\"region\":\"eu\"}", 400},
        {"", "{}", 200},
        {"Mcp-Param-Region: eu\r\n", "{}", 400},
        {"Mcp-Param-Region: 7\r\n", "{\"region\":7}", 200},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char params[400];
        snprintf(params, sizeof(params), META("{}") ",\"arguments\":%s", rows[i].arguments);
        struct agent a = modern(house_test_key, "tools/call", "change", rows[i].header, params);
        cr_assert_eq(status_of_agent(&a), rows[i].status, "row %zu: %s", i, text_of(&a));
        leave(&a);
    }
}

Test(mcp_client, who_names_streams_first_gets_one)
{
    struct agent a;

    open_session();
    a = say_raw("POST /mcp",
                with("Accept: text/event-stream, application/json\r\n" JSON_BODY
                     "Mcp-Session-Id: %s\r\n",
                     agent_session),
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}");
    cr_assert(has(&a, "Content-Type: text/event-stream"), "%s", text_of(&a));
    cr_assert(has(&a, "\"id\":1,\"result\":{}}"), "%s", text_of(&a));
    leave(&a);
}
