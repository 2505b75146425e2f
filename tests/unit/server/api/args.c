/* Every type of argument: what it takes, what it refuses, and how it words the difference. */
#include <criterion/criterion.h>

#include "server/account/account.h"
#include "server/api/args.h"
#include "server/api/json.h"
#include "server/api/tool.h"

static const struct arg all[] = {
    {"text", ARG_TEXT, false, 1, 5, "", "m"},
    {"int", ARG_INT, false, -2, 7, "", "m"},
    {"bool", ARG_BOOL, false, 0, 0, "", "m"},
    {"time", ARG_TIME, false, 0, 0, "", "m"},
    {"phone", ARG_PHONE, false, 0, 0, "", "m"},
    {"account", ARG_ACCOUNT, false, 0, 0, "", "m"},
    {"chat", ARG_CHAT, false, 0, 0, "", "m"},
    {"message", ARG_MESSAGE, false, 0, 0, "", "m"},
    {"subscription", ARG_SUBSCRIPTION, false, 0, 0, "", "m"},
    {"cursor", ARG_CURSOR, false, 0, 0, "", "m"},
    {"seq", ARG_SEQ, false, 0, 0, "", "m"},
    {"enum", ARG_ENUM, false, 0, 0, "one,two", "m"},
    {"phones", ARG_PHONES, false, 0, 2, "", "m"},
    {"events", ARG_EVENTS, false, 1, 2, "", "m"},
    {"place", ARG_MESSAGE_OR_TIME, false, 0, 0, "", "m"},
    {0},
};
static const struct tool tool = {.name = "probe", .args = all};

static err_t check(const char *text)
{
    struct args_wrong wrong;
    struct json *j = NULL;
    err_t e;

    cr_assert_eq(json_parse(slice_text(text), 1 << 20, &j), OK, "%s", text);
    e = args_check(&tool, j, &wrong);
    json_free(j);
    return e;
}

Test(args, take_what_fits)
{
    static const char *const good[] = {
        "{}",
        "{\"text\":\"a\"}",
        "{\"text\":\"abcde\"}",
        "{\"text\":null}",
        "{\"int\":-2,\"bool\":false}",
        "{\"int\":7}",
        "{\"time\":\"2026-01-31T09:30:00Z\"}",
        "{\"time\":\"2026-01-31T09:30:00.5+02:00\"}",
        "{\"phone\":\"+14155550198\"}",
        "{\"phone\":\"+1234567\"}",
        "{\"phone\":\"+123456789012345\"}",
        "{\"subscription\":\"sub_0123\"}",
        "{\"cursor\":\"\"}",
        "{\"seq\":\"0\"}",
        "{\"seq\":12}",
        "{\"enum\":\"two\"}",
        "{\"phones\":[]}",
        "{\"phones\":[\"+14155550198\",\"+14155550199\"]}",
        "{\"events\":[\"*\"]}",
        "{\"events\":[\"message.*\",\"account.paired\"]}",
        "{\"place\":\"2026-01-31T09:30:00Z\"}",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        cr_assert_eq(check(good[i]), OK, "%s: %s", good[i], err_words());
}

static const char *const refused[] = {
    "[]",
    "\"text\"",
    "{\"text\":\"\"}",
    "{\"text\":\"abcdef\"}",
    "{\"text\":1}",
    "{\"int\":-3}",
    "{\"int\":8}",
    "{\"int\":1.0}",
    "{\"int\":\"1\"}",
    "{\"bool\":\"true\"}",
    "{\"bool\":0}",
    "{\"time\":\"yesterday\"}",
    "{\"time\":\"2026-13-31T09:30:00Z\"}",
    "{\"time\":1}",
    "{\"phone\":\"14155550198\"}",
    "{\"phone\":\"+0123456789\"}",
    "{\"phone\":\"+123456\"}",
    "{\"phone\":\"+1234567890123456\"}",
    "{\"phone\":\"+1415555019a\"}",
    "{\"phone\":\"+1 415 555 0198\"}",
    "{\"account\":\"acc_\"}",
    "{\"account\":\"chat_0000008000006spofr7r1pog44\"}",
    "{\"account\":\"acc_ZZZZZZZZZZZZZZZZZZZZ\"}",
    "{\"chat\":\"chat_00000080\"}",
    "{\"message\":\"msg_\"}",
    "{\"subscription\":\"sub_\"}",
    "{\"cursor\":5}",
    "{\"seq\":-1}",
    "{\"seq\":\"1x\"}",
    "{\"seq\":\"\"}",
    "{\"seq\":\"9223372036854775807\"}",
    "{\"seq\":1.5}",
    "{\"enum\":\"three\"}",
    "{\"enum\":\"one,two\"}",
    "{\"enum\":\"\"}",
    "{\"phones\":\"+14155550198\"}",
    "{\"phones\":[\"+14155550198\",\"+14155550198\",\"+14155550198\"]}",
    "{\"phones\":[1]}",
    "{\"events\":[]}",
    "{\"events\":[\"message.received,account.paired\"]}",
    "{\"events\":[\"\"]}",
    "{\"place\":\"then\"}",
    "{\"other\":1}",
};

Test(args, refuse_what_does_not)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        cr_assert_eq(check(refused[i]), ERR_BAD_ARGUMENT, "%s", refused[i]);
}

/* Who made two mistakes hears of both at once. */
Test(args, every_wrong_one_is_named)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"{\"int\":9,\"bool\":1}",
         "int must be an integer from -2 to 7; bool must be true or false"},
        {"{\"other\":1,\"bool\":1}", "; it takes text, int, bool, "},
        {"{\"other\":1,\"bool\":1}", "; bool must be true or false"},
        {"{\"other\":1,\"else\":1}", "place; probe has no argument else"},
        {"{\"int\":9,\"bool\":1,\"text\":1,\"enum\":1,\"cursor\":1,\"seq\":-1,\"place\":1}",
         "; and 2 more"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_eq(check(rows[i].text), ERR_BAD_ARGUMENT);
        cr_expect(strstr(err_words(), rows[i].words), "%s: %s", rows[i].text, err_words());
        cr_expect_lt(strlen(err_words()), ACCOUNT_WORDS_MAX);
    }
}

/* The first of them stands in the problem's JSON. */
Test(args, many_that_are_unknown_are_counted)
{
    AUTO(buf) text = {0};
    struct args_wrong wrong;
    struct json *j = NULL;

    buf_put_text(&text, "{\"text\":9");
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, ",\"unknown argument %d\":1", i);
    buf_put_u8(&text, '}');
    cr_assert_eq(json_parse(buf_slice(&text), 1 << 20, &j), OK);
    cr_assert_eq(args_check(&tool, j, &wrong), ERR_BAD_ARGUMENT);
    json_free(j);
    cr_expect(strstr(err_words(), "; and 99"), "%s", err_words());
    cr_expect_lt(strlen(err_words()), ACCOUNT_WORDS_MAX);
    cr_expect(strstr(wrong.field, "unknown argument "), "%s", wrong.field);
    cr_expect_str_eq(wrong.expected, "left out");
}

Test(args, every_type_says_what_it_expects)
{
    for (const struct arg *a = all; a->name; a++) {
        AUTO(buf) words = {0};
        arg_expected(a, &words);
        cr_assert_gt(words.len, 5, "%s", a->name);
    }
}

/* ---- cursors ---- */

Test(cursors, give_back_what_was_written)
{
    uint64_t in[] = {0, 1, 300, UINT64_MAX}, out[4];
    AUTO(buf) b = {0};
    struct pen p = pen_on(&b);
    struct json *j = NULL;

    pen_object(&p, NULL);
    cursor_write(&p, "next_cursor", 'x', in, 4);
    pen_end(&p);
    cr_assert_eq(json_parse(buf_slice(&b), 1000, &j), OK);
    cr_assert_eq(cursor_read(json_get_text(j, "next_cursor"), 'x', out, 4), OK);
    cr_assert_arr_eq(in, out, sizeof(in));
    cr_assert_eq(cursor_read(json_get_text(j, "next_cursor"), 'y', out, 4), ERR_BAD_ARGUMENT);
    cr_assert_eq(cursor_read(json_get_text(j, "next_cursor"), 'x', out, 3), ERR_BAD_ARGUMENT);
    for (size_t n = 0; n < json_get_text(j, "next_cursor").len; n++)
        cr_assert_eq(cursor_read(slice_sub(json_get_text(j, "next_cursor"), 0, n), 'x', out, 4),
                     ERR_BAD_ARGUMENT);
    json_free(j);
}

Test(cursors, refuse_what_was_made_up)
{
    static const char *const bad[] = {"", "!", "AAAA", "eP__________________8", "not a cursor"};
    uint64_t out[2];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(cursor_read(slice_text(bad[i]), 'x', out, 2), ERR_BAD_ARGUMENT, "%s", bad[i]);
}
