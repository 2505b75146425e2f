#include "tests/unit/server/mcp/agent.h"

TestSuite(mcp_prompts, .init = agent_setup, .fini = agent_teardown);

static const char *text_of_prompt(const char *params)
{
    const struct json *messages = json_get(answer_to("prompts/get", params), "messages");

    cr_assert_eq(json_count(messages), 1, "%s", params);
    cr_assert_str_eq(text_at(json_at(messages, 0), "role"), "user");
    return text_at(json_get(json_at(messages, 0), "content"), "text");
}

Test(mcp_prompts, arguments_stand_in_the_text)
{
    const char *text;

    open_session();
    cr_assert_eq(json_count(json_get(answer_to("prompts/list", "{}"), "prompts")), 3);
    text = text_of_prompt("{\"name\":\"draft_reply\",\"arguments\":{\"chat_id\":\"chat_1\","
                          "\"intent\":\"yes {chat_id}\"}}");
    cr_assert(strstr(text, "of the chat chat_1 with"));
    cr_assert(strstr(text, "should say: yes {chat_id}"), "%s", text);
    text = text_of_prompt("{\"name\":\"draft_reply\",\"arguments\":{\"chat_id\":\"chat_1\"}}");
    cr_assert_null(strstr(text, "should say"));
    text = text_of_prompt("{\"name\":\"triage_inbox\"}");
    cr_assert_null(strchr(text, '{'));
    text = text_of_prompt("{\"name\":\"triage_inbox\",\"arguments\":{\"account_id\":\"acc_1\"}}");
    cr_assert(strstr(text, "account_id acc_1"));
}

static size_t completed(const char *ref, const char *name, const char *value)
{
    char params[300];
    const struct json *c;
    int64_t total = -1;

    snprintf(params, sizeof(params), "{\"ref\":%s,\"argument\":{\"name\":\"%s\",\"value\":\"%s\"}}",
             ref, name, value);
    c = json_get(answer_to("completion/complete", params), "completion");
    cr_assert(json_int(json_get(c, "total"), &total), "%s", params);
    cr_assert_eq(json_count(json_get(c, "values")), (size_t)total);
    return (size_t)total;
}

Test(mcp_prompts, arguments_are_completed_by_what_was_typed)
{
    static const char prompt[] = "{\"type\":\"ref/prompt\",\"name\":\"triage_inbox\"}";
    static const char uri[] = "{\"type\":\"ref/resource\",\"uri\":\"whatsapp://events/{name}\"}";

    add_account(true, ACCOUNT_CONNECTED);
    add_account(false, ACCOUNT_CONNECTED);
    open_session();
    cr_assert_eq(completed(prompt, "account_id", "acc_"), 1);
    cr_assert_eq(completed(prompt, "account_id", "x"), 0);
    cr_assert_eq(completed(uri, "name", "message.re"), 4);
    cr_assert_eq(completed(uri, "name", "account."), 5);
    cr_assert_eq(completed(uri, "other", ""), 0);
}
