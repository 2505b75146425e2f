#include <criterion/criterion.h>

#include "server/api/json.h"

static err_t parse(const char *text, struct json **out)
{
    return json_parse(slice_text(text), 1 << 20, out);
}

static void expect_text(struct buf *b, const char *want)
{
    cr_assert_str_eq(buf_text(b), want);
    buf_done(b);
}

Test(json, reads_members_by_name_and_kind)
{
    struct json *j = NULL;
    int64_t n = 0;
    bool yes = false;

    cr_assert_eq(parse("{\"a\":\"x\",\"n\":-7,\"t\":true,\"l\":[1,2],\"z\":null}", &j), OK);
    cr_assert(slice_is(json_get_text(j, "a"), "x"));
    cr_assert(json_int(json_get(j, "n"), &n) && n == -7);
    cr_assert(json_bool(json_get(j, "t"), &yes) && yes);
    cr_assert_eq(json_count(json_get(j, "l")), 2);
    cr_assert(json_int(json_at(json_get(j, "l"), 1), &n) && n == 2);
    cr_assert_eq(json_kind(json_get(j, "z")), JSON_NIL);
    cr_assert_eq(json_kind(json_get(j, "nothing")), JSON_ABSENT);
    cr_assert(slice_is_none(json_get_text(j, "n")));
    json_free(j);
}

Test(json, walks_members)
{
    struct json *j = NULL;
    const struct json *v;
    struct slice key;
    void *at = NULL;
    int n = 0;

    cr_assert_eq(parse("{\"a\":1,\"b\":2}", &j), OK);
    while (json_next(j, &at, &key, &v))
        n++;
    cr_assert_eq(n, 2);
    json_free(j);
}

Test(json, refuses_what_is_not_strict)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "{\"a\":1,\"a\":2}",
                                      "[1,]",
                                      "{\"a\":1}x",
                                      "nul",
                                      "\"\\ud800\"",
                                      "\"\xff\"",
                                      "'x'",
                                      "\"a\\u0000b\"",
                                      "[1 2]",
                                      "+1",
                                      "{a:1}",
                                      "[01]",
                                      "99999999999999999999"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct json *j = NULL;
        cr_assert_eq(parse(bad[i], &j), ERR_BAD_JSON, "%s", bad[i]);
    }
}

Test(json, refuses_a_zero_byte_wherever_it_stands)
{
    static const char text[] = "{\"n\": 2, \"t\": \"x\"}";
    char copy[sizeof(text)];
    struct json *j;

    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        memcpy(copy, text, sizeof(text));
        memmove(copy + i + 1, text + i, sizeof(text) - 1 - i);
        copy[i] = '\0';
        cr_expect_eq(json_parse(slice_of(copy, sizeof(text)), 1000, &j), ERR_BAD_JSON, "at %zu", i);
    }
}

Test(json, refuses_too_deep_and_too_large)
{
    char text[200];
    struct json *j = NULL;

    for (int depth = 1; depth <= 64; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = 0;
        cr_assert_eq(parse(text, &j), depth <= JSON_DEPTH_MAX ? OK : ERR_BAD_JSON);
        if (depth <= JSON_DEPTH_MAX) json_free(j);
    }
    cr_assert_eq(json_parse(SLICE("[1,2,3]"), 6, &j), ERR_BAD_JSON);
}

Test(json, every_truncation_is_refused)
{
    const char *whole = "{\"a\":[1,{\"b\":\"\\u00e4\\n\"}],\"c\":-1.5e3,\"d\":false}";
    struct json *j = NULL;

    for (size_t n = 0; n < strlen(whole); n++)
        cr_assert_eq(json_parse(slice_of(whole, n), 1000, &j), ERR_BAD_JSON, "%zu", n);
    cr_assert_eq(parse(whole, &j), OK);
    json_free(j);
}

Test(json, brackets_in_strings_do_not_nest)
{
    struct json *j = NULL;

    cr_assert_eq(parse("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"", &j), OK);
    json_free(j);
}

Test(json, writes_values_back)
{
    struct json *j = NULL;
    struct buf b = {0};

    cr_assert_eq(parse(" { \"b\" : [ 1 , \"x\" , 1.5 ] , \"a\" : null } ", &j), OK);
    json_write(&b, j);
    expect_text(&b, "{\"b\":[1,\"x\",1.5],\"a\":null}");
    json_write_sorted(&b, j);
    expect_text(&b, "{\"a\":null,\"b\":[1,\"x\",1.5]}");
    json_write(&b, NULL);
    expect_text(&b, "null");
    json_free(j);
}

Test(pen, writes_nested_values_with_commas)
{
    struct buf b = {0};
    struct pen p = pen_on(&b);

    pen_object(&p, NULL);
    pen_word(&p, "a", "x");
    pen_array(&p, "l");
    pen_int(&p, NULL, INT64_MIN);
    pen_object(&p, NULL);
    pen_end(&p);
    pen_bool(&p, NULL, true);
    pen_end(&p);
    pen_text(&p, "n", SLICE_NONE);
    pen_time(&p, "t", 1763632350123);
    pen_time(&p, "never", 0);
    pen_name(&p, SLICE("k\"y"));
    pen_int(&p, NULL, 0);
    pen_raw(&p, "r", SLICE("[1]"));
    pen_end(&p);
    expect_text(&b, "{\"a\":\"x\",\"l\":[-9223372036854775808,{},true],\"n\":null,"
                    "\"t\":\"2025-11-20T09:52:30.123Z\",\"never\":null,\"k\\\"y\":0,\"r\":[1]}");
}

Test(pen, a_zero_character_is_written_as_one_that_parsers_take)
{
    AUTO(buf) b = {0};
    struct json *j = NULL;

    json_quote(&b, SLICE_ARRAY(((const uint8_t[]){'a', 0, 'b'})));
    cr_assert_str_eq(buf_text(&b), "\"a\xef\xbf\xbd"
                                   "b\"");
    cr_assert_eq(json_parse(buf_slice(&b), 1000, &j), OK);
    json_free(j);
}

Test(pen, escapes_and_mends_strings)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\b\t\n\f\r\x01\x1f", "\"\\b\\t\\n\\f\\r\\u0001\\u001f\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xc3", "\"\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xf4\x90\x80\x80x", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\""},
        {"", "\"\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        struct json *j = NULL;
        json_quote(&b, slice_text(rows[i].in));
        cr_assert_str_eq(buf_text(&b), rows[i].out);
        cr_assert_eq(json_parse(buf_slice(&b), 1000, &j), OK);
        json_free(j);
        buf_done(&b);
    }
}
