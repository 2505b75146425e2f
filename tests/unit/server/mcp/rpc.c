#include <criterion/criterion.h>

#include "server/api/json.h"
#include "server/mcp/rpc.h"

static struct arena arena;
static struct json *doc;
static void forget(void)
{
    json_free(doc);
    arena_done(&arena);
}
TestSuite(rpc, .fini = forget);

static struct rpc_message read_text(const char *text)
{
    struct rpc_message m;

    json_free(doc);
    doc = NULL;
    cr_assert_eq(json_parse(slice_text(text), RPC_MESSAGE_MAX, &doc), OK, "%s", text);
    rpc_read(&arena, doc, &m);
    return m;
}

Test(rpc, tells_requests_notifications_and_responses_apart)
{
    static const struct {
        const char *text;
        enum rpc_kind kind;
        const char *id;
    } rows[] = {
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", RPC_REQUEST, "1"},
        {"{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"method\":\"ping\"}", RPC_REQUEST, "\"1\""},
        {"{\"jsonrpc\":\"2.0\",\"id\":\"\",\"method\":\"ping\",\"params\":{}}", RPC_REQUEST,
         "\"\""},
        {"{\"jsonrpc\":\"2.0\",\"id\":-3,\"method\":\"x\"}", RPC_REQUEST, "-3"},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}", RPC_NOTIFICATION, NULL},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", RPC_RESPONSE, "1"},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"\"}}", RPC_RESPONSE,
         "1"},
        {"{\"id\":1,\"method\":\"ping\"}", RPC_BAD, "1"},
        {"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", RPC_BAD, "1"},
        {"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", RPC_BAD, NULL},
        {"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", RPC_BAD, NULL},
        {"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", RPC_BAD, NULL},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\"}", RPC_BAD, "1"},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}", RPC_BAD, "1"},
        {"{\"jsonrpc\":\"2.0\",\"id\":1}", RPC_BAD, "1"},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[]}", RPC_BAD, "1"},
        {"{}", RPC_BAD, NULL},
        {"[]", RPC_BAD, NULL},
        {"5", RPC_BAD, NULL},
        {"null", RPC_BAD, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rpc_message m = read_text(rows[i].text);
        cr_assert_eq(m.kind, rows[i].kind, "%s", rows[i].text);
        cr_assert(slice_eq(m.id, slice_text(rows[i].id)), "%s: " SLICE_FMT, rows[i].text,
                  SLICE_ARG(m.id));
        cr_assert_eq(m.kind == RPC_BAD, m.wrong != NULL);
    }
}

static bool takes(size_t id_bytes, size_t method_bytes)
{
    AUTO(buf) text = {0};

    buf_put_text(&text, "{\"jsonrpc\":\"2.0\",\"id\":\"");
    for (size_t i = 2; i < id_bytes; i++) /* its quotes count */
        buf_put_u8(&text, 'i');
    buf_put_text(&text, "\",\"method\":\"");
    for (size_t i = 0; i < method_bytes; i++)
        buf_put_u8(&text, 'm');
    buf_put_text(&text, "\"}");
    return read_text(buf_text(&text)).kind == RPC_REQUEST;
}

Test(rpc, ids_and_methods_have_limits)
{
    cr_assert(takes(RPC_ID_MAX, RPC_METHOD_MAX));
    cr_assert_not(takes(RPC_ID_MAX + 1, RPC_METHOD_MAX));
    cr_assert_not(takes(RPC_ID_MAX, RPC_METHOD_MAX + 1));
}

Test(rpc, writes_answers_with_the_id_as_it_came)
{
    AUTO(buf) out = {0};

    rpc_write_result(&out, SLICE("\"a\""), SLICE("{}"));
    cr_assert_str_eq(buf_text(&out), "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{}}");
    buf_reset(&out);
    rpc_write_error(&out, SLICE_NONE, RPC_PARSE_ERROR, SLICE("a \"b\""), SLICE_NONE);
    cr_assert_str_eq(buf_text(&out), "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,"
                                     "\"message\":\"a \\\"b\\\"\"}}");
    buf_reset(&out);
    rpc_write_error(&out, SLICE("3"), -32022, SLICE("x"), SLICE("{\"a\":1}"));
    cr_assert_str_eq(buf_text(&out), "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-32022,"
                                     "\"message\":\"x\",\"data\":{\"a\":1}}}");
    buf_reset(&out);
    rpc_write_notification(&out, "notifications/x", SLICE("{}"));
    cr_assert_str_eq(buf_text(&out),
                     "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{}}");
}
