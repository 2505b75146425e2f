/* The MCP door with everything behind it: store, hub, tools, sessions, and the tools of the
 * conformance fixture, which ask the client. One connection carries one request; the first byte
 * says where the rest stands in it, and what came before. Whatever is asked, the answer is HTTP,
 * its JSON is JSON, and nothing is left on the way once the client has gone. What cannot be guessed
 * has a name (furnished.h). */
#include "tests/conformance/fixture.h"
#include "tests/fuzz/furnished.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUESTS = 2000, /* then a fresh house */ BODY_LIMIT = 64 * 1024 };

#define MODERN "MCP-Protocol-Version: 2026-07-28\r\n"

/* ---- the offer: ours, and beside our tools those of the fixture ---- */

static void call_tool(struct mcp_ask *a)
{
    if (slice_starts_with(json_get_text(a->message.params, "name"), SLICE("test_")))
        conformance_tools_call(a);
    else
        mcp_tools_call(a);
}

static void build_offer(void)
{
    static struct mcp_method methods[16];
    static const struct mcp_param_header headers[] = {{"test_x_mcp_header", "region", "Region"},
                                                      {0}};
    static struct mcp_offer offer = {
        .methods = methods, .changing = MCP_LIST_TOOLS | MCP_LIST_PROMPTS, .headers = headers};

    offer.instructions = mcp_offer.instructions;
    for (size_t i = 0; mcp_offer.methods[i].name; i++) {
        if (i + 1 == ARRAY_LEN(methods)) abort();
        methods[i] = mcp_offer.methods[i];
        if (methods[i].run == mcp_tools_call) methods[i].run = call_tool;
    }
    door_offer = &offer;
}

/* ---- requests ---- */

/* A header's value: no line ends inside. */
static const char *as_value(struct slice in)
{
    static char text[512];
    size_t n = in.len < sizeof(text) - 1 ? in.len : sizeof(text) - 1;

    for (size_t i = 0; i < n; i++)
        text[i] = in.data[i] < ' ' || in.data[i] == 0x7f ? '.' : (char)in.data[i];
    text[n] = '\0';
    return text;
}

/* The newer era, with the headers that repeat what the body says. */
static struct agent modern(const char *body)
{
    char method[64], name[128] = "";

    note_after(body, "\"method\":\"", method, sizeof(method));
    note_after(body, strstr(body, "\"uri\":") ? "\"uri\":\"" : "\"name\":\"", name, sizeof(name));
    return say_raw("POST /mcp",
                   with(ACCEPT_BOTH JSON_BODY MODERN "Mcp-Method: %s\r\nMcp-Name: %s\r\n"
                                                     "Mcp-Param-Region: eu\r\n",
                        as_value(slice_text(method)), name),
                   body);
}

#define CALL(tool, more)                                                                           \
    "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"" tool         \
    "\",\"arguments\":{\"message\":\"?\",\"prompt\":\"?\"}" more "}}"
#define ABLE                                                                                       \
    ",\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","                      \
    "\"io.modelcontextprotocol/clientInfo\":{\"name\":\"f\",\"version\":\"1\"},"                   \
    "\"io.modelcontextprotocol/clientCapabilities\":{\"elicitation\":{},\"sampling\":{},"          \
    "\"roots\":{}}}"

static void check(struct agent *a)
{
    int status = status_of_agent(a);
    struct json *j;

    if (a->got.len == 0) return; /* still at work */
    if (strncmp(text_of(a), "HTTP/1.1 ", 9) != 0 || status < 200 || status > 599) abort();
    const char *body = strstr(text_of(a), "\r\n\r\n");
    if (!has(a, "Content-Type: application/json") || !body || !body[4] || !a->closed) return;
    if (json_parse(slice_text(body + 4), SIZE_MAX, &j) != OK) abort();
    json_free(j);
}

/* What the client was asked is noted, and its answer comes by another request. */
static struct agent answered(const char *call, struct slice in)
{
    AUTO(buf) answer = {0};
    struct agent asked = post(call);

    note_after(text_of(&asked), "\"id\":\"w", R.question, sizeof(R.question));
    fill_in(in, &answer);
    struct agent a = post(buf_text(&answer));
    hear(&asked);
    check(&asked);
    leave(&asked);
    return a;
}

static struct agent asked_again(struct slice in)
{
    AUTO(buf) body = {0};
    struct agent first = modern(CALL("test_input_required_result_multi_round", ABLE));

    note_after(text_of(&first), "\"requestState\":\"", R.state, sizeof(R.state));
    leave(&first);
    fill_in(in, &body);
    return modern(buf_text(&body));
}

/* The door hung up on who asked; the answer is to be had by the id of the last event. */
static struct agent fetched(struct slice in)
{
    AUTO(buf) last = {0};
    struct agent first = post(CALL("test_reconnection", ""));

    note_after(text_of(&first), "id: ", R.kept, sizeof(R.kept));
    leave(&first);
    fill_in(in, &last);
    return listen_from(as_value(buf_slice(&last)));
}

/* A process that knows the session from its rows alone. */
static struct agent after_restart(const char *body)
{
    leave(&R.stream);
    door_restart();
    open_stream();
    return post(body);
}

/* The session that takes batches. */
static struct agent older(const char *line, const char *name, const char *value, const char *body)
{
    return say_raw(
        line, with(ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n%s: %s\r\n", R.older, name, value),
        body);
}

static struct agent end_session(struct slice in)
{
    struct agent a = say_raw("DELETE /mcp", with("Mcp-Session-Id: %s\r\n", as_value(in)), NULL);

    if (slice_is(in, agent_session)) open_session_with("2025-11-25", ABILITIES);
    return a;
}

static struct agent request(uint8_t what, struct slice in)
{
    AUTO(buf) copy = {0};
    char target[160];

    fill_in(in, &copy);
    const char *body = buf_text(&copy);
    in = buf_slice(&copy);
    snprintf(target, sizeof(target), "POST /messages?sessionId=%s", R.speaker);
    switch (what % 15) {
    case 0: return post(body);
    case 1: return say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY MODERN), body);
    case 2: return listen_from(as_value(in));
    case 3: return say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY), body);
    case 4: return say_raw(target, with(JSON_BODY), body);
    case 5: return modern(body);
    case 6:
        return say_raw("GET /sse", with(ACCEPT_SSE "Last-Event-ID: %s\r\n", as_value(in)), NULL);
    case 7: return end_session(in);
    case 8: return answered(CALL("test_elicitation", ""), in);
    case 9: return answered(CALL("test_sampling", ""), in);
    case 10: return asked_again(in);
    case 11: return fetched(in);
    case 12: return after_restart(body);
    case 13: return older("POST /mcp", "X", "x", body);
    default: return older("GET /mcp", "Last-Event-ID", as_value(in), NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned requests;

    if (requests == 0) build_offer();
    if (requests % REQUESTS == 0) {
        if (requests) clear_out();
        furnish();
    }
    requests++;
    if (size == 0 || size > BODY_LIMIT) return 0;
    struct agent a = request(data[0], slice_of(data + 1, size - 1));
    log_event(&H.accounts[0], EVENT_ACCOUNT_CONNECTED, 1); /* streams have something to say */
    mcp_on_status(&H.server, &H.accounts[0].status);
    tidy_up();
    hear(&a);
    check(&a);
    leave(&a);
    return 0;
}
