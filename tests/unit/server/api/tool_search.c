/* search_messages, as a caller sees it; what is found and how fast is storage/search's. */
#include "tests/unit/server/api/house.h"

TestSuite(search_tool, .init = house_setup, .fini = house_teardown);

static const char anna[] = "15551110001@s.whatsapp.net", ben[] = "15551110002@s.whatsapp.net";
static char message[ID_TEXT_MAX], annas[ID_TEXT_MAX], bens[ID_TEXT_MAX], arguments[400];

/* Three messages, 12:00:00, :01 and :02 on 2025-11-20. */
static struct account *three(void)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    const uint32_t noon = 1763640000;

    receive(acc, anna, false, noon, "the red house", message, annas);
    receive(acc, ben, false, noon + 1, "a Red car", message, bens);
    receive(acc, anna, true, noon + 2, "reddish houses", message, annas);
    return acc;
}

static const char *with(const char *format, const char *value)
{
    snprintf(arguments, sizeof(arguments), format, value);
    return arguments;
}

/* "text|text" of what was found, in order. */
static const char *found(const char *args)
{
    static char out[400];
    struct answer a = use(&H.test, "search_messages", args);
    const struct json *list = json_get(a.json, "messages");

    cr_assert_eq(a.error, OK, "%s", args);
    out[0] = '\0';
    for (size_t i = 0; i < json_count(list); i++) {
        struct slice text = json_get_text(json_at(list, i), "text");
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s" SLICE_FMT, i ? "|" : "",
                 SLICE_ARG(text));
    }
    answer_done(&a);
    return out;
}

Test(search_tool, all_words_newest_first_the_last_one_begun)
{
    three();
    cr_assert_str_eq(found("{\"query\":\"red\"}"), "reddish houses|a Red car|the red house");
    cr_assert_str_eq(found("{\"query\":\"RED house\"}"), "the red house");
    cr_assert_str_eq(found("{\"query\":\"house red\"}"), "the red house");
    cr_assert_str_eq(found("{\"query\":\"hous\"}"), "reddish houses|the red house");
    cr_assert_str_eq(found("{\"query\":\"blue\"}"), "");
}

Test(search_tool, in_a_chat_and_between_times)
{
    three();
    cr_assert_str_eq(found(with("{\"query\":\"red\",\"chat_id\":\"%s\"}", bens)), "a Red car");
    cr_assert_str_eq(found("{\"query\":\"red\",\"before\":\"2025-11-20T12:00:01Z\"}"),
                     "the red house");
    cr_assert_str_eq(found("{\"query\":\"red\",\"after\":\"2025-11-20T13:00:01+01:00\"}"),
                     "reddish houses");
}

Test(search_tool, pages_by_cursor)
{
    struct answer a;
    char cursor[200];

    three();
    a = use(&H.test, "search_messages", "{\"query\":\"red\",\"limit\":2}");
    cr_assert_eq(json_count(json_get(a.json, "messages")), 2);
    snprintf(cursor, sizeof(cursor), "%s", member(&a, "next_cursor"));
    answer_done(&a);
    cr_assert_str_eq(found(with("{\"query\":\"red\",\"limit\":2,\"cursor\":\"%s\"}", cursor)),
                     "the red house");
    a = use(&H.test, "search_messages", arguments);
    cr_assert_eq(json_kind(json_get(a.json, "next_cursor")), JSON_NIL);
    answer_done(&a);
}

Test(search_tool, says_what_is_wrong)
{
    struct account *other;

    three();
    expect_error(&H.test, "search_messages", "{}", "invalid_request");
    expect_error(&H.test, "search_messages", "{\"query\":\"\"}", "invalid_request");
    expect_error(&H.test, "search_messages", "{\"query\":\"!? …\"}", "invalid_request");
    expect_error(&H.test, "search_messages", "{\"query\":\"x\",\"limit\":201}", "invalid_request");
    expect_error(&H.test, "search_messages", "{\"query\":\"x\",\"limit\":0}", "invalid_request");
    expect_error(&H.test, "search_messages", "{\"query\":\"x\",\"before\":\"noon\"}",
                 "invalid_request");
    expect_error(&H.test, "search_messages", "{\"query\":\"x\",\"cursor\":\"made up\"}",
                 "invalid_request");
    other = add_account(true, ACCOUNT_CONNECTED);
    expect_error(&H.test, "search_messages", "{\"query\":\"x\"}", "invalid_request");
    snprintf(arguments, sizeof(arguments),
             "{\"query\":\"x\",\"chat_id\":\"%s\",\"account_id\":\"%s\"}", bens, other->status.id);
    expect_error(&H.test, "search_messages", arguments, "invalid_request");
}

Test(search_tool, another_world_finds_nothing)
{
    struct account *acc = three();

    expect_error(&H.live, "search_messages",
                 with("{\"query\":\"red\",\"account_id\":\"%s\"}", acc->status.id), "not_found");
    expect_error(&H.live, "search_messages", with("{\"query\":\"red\",\"chat_id\":\"%s\"}", annas),
                 "not_found");
}
