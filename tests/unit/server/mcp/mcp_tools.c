#include "tests/unit/server/mcp/agent.h"

TestSuite(mcp_tools, .init = agent_setup, .fini = agent_teardown);

static const struct json *first_content(const struct json *result)
{
    return json_at(json_get(result, "content"), 0);
}

Test(mcp_tools, lists_every_tool_of_the_key)
{
    const struct json *tools;

    open_session();
    tools = json_get(answer_to("tools/list", "{}"), "tools");
    for (size_t i = 0; tool_at(i); i++) {
        const struct json *t = json_at(tools, i);
        cr_assert(slice_is(json_get_text(t, "name"), tool_at(i)->name));
        cr_assert(json_get_text(t, "description").len > 0);
        cr_assert_eq(json_kind(json_get(t, "inputSchema")), JSON_OBJ);
        cr_assert_eq(json_kind(json_get(t, "outputSchema")), JSON_OBJ);
        cr_assert_eq(json_kind(json_get(t, "annotations")), JSON_OBJ);
    }
}

Test(mcp_tools, a_result_is_text_and_structure_of_one_value)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    const struct json *result, *content;
    AUTO(buf) structure = {0};
    bool is_error = true;

    open_session();
    result = answer_to("tools/call", "{\"name\":\"list_accounts\"}");
    cr_assert(json_bool(json_get(result, "isError"), &is_error) && !is_error);
    content = first_content(result);
    cr_assert_str_eq(text_at(content, "type"), "text");
    json_write(&structure, json_get(result, "structuredContent"));
    cr_assert(slice_eq(json_get_text(content, "text"), buf_slice(&structure)));
    cr_assert(strstr(text_at(content, "text"), acc->status.id));
}

Test(mcp_tools, a_failed_call_is_a_result_with_the_problem)
{
    const struct json *result;
    bool is_error = false;

    open_session();
    result = answer_to("tools/call", "{\"name\":\"get_account\",\"arguments\":{\"account_id\":5}}");
    cr_assert(json_bool(json_get(result, "isError"), &is_error) && is_error);
    cr_assert(strstr(text_at(first_content(result), "text"), "\"code\":\"invalid_request\""));
    cr_assert_null(json_get(result, "structuredContent"));
    result = answer_to(
        "tools/call",
        "{\"name\":\"get_account\",\"arguments\":{\"account_id\":\"acc_0000009uvkcab5mlcscg\"}}");
    cr_assert(strstr(text_at(first_content(result), "text"), "\"code\":\"not_found\""));
    result = answer_to("tools/call", "{\"name\":\"get_account\",\"arguments\":[1]}");
    cr_assert(json_bool(json_get(result, "isError"), &is_error) && is_error);
}

Test(mcp_tools, a_pairing_code_is_a_picture_too)
{
    const struct json *result, *image;

    open_session();
    result = answer_to("tools/call", "{\"name\":\"pair_account\",\"arguments\":{}}");
    image = json_at(json_get(result, "content"), 1);
    cr_assert_str_eq(text_at(image, "type"), "image");
    cr_assert_str_eq(text_at(image, "mimeType"), "image/png");
    cr_assert(strncmp(text_at(image, "data"), "iVBORw0KGgo", 11) == 0);
    cr_assert(json_get_text(json_get(result, "structuredContent"), "url").len > 0);
}

Test(mcp_tools, a_send_waits_for_its_ack)
{
    struct agent a;

    add_account(true, ACCOUNT_CONNECTED);
    open_session();
    a = post("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
             "\"send_message\",\"arguments\":{\"to\":\"+15551110001\",\"text\":\"hi\"}}}");
    cr_assert_eq(a.got.len, 0);
    cr_assert_eq(H.sends, 1);
    house_ack_all(ACK_OK);
    hear(&a);
    cr_assert(has(&a, "\"status\":\"sent\""), "%s", text_of(&a));
    leave(&a);
}
