#include "server/account/terms.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/base/buf.h"

/* The terms as one line. */
static const char *fold(const char *text)
{
    static char line[4096];
    AUTO(arena) arena = {0};
    struct terms terms;
    size_t at = 0;

    terms_of(slice_text(text), &arena, &terms);
    line[0] = '\0';
    for (size_t i = 0; i < terms.count; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "%s" SLICE_FMT, i ? "|" : "",
                               SLICE_ARG(terms.items[i]));
    return line;
}

Test(terms, folds_words)
{
    static const struct {
        const char *text, *terms;
    } rows[] = {
        {"", ""},
        {"  ,.!  ", ""},
        {"Hello, world", "hello|world"},
        {"hello HELLO Hello", "hello"},
        {"Caf\u00e9 cafe\u0301 CAFE", "cafe"},
        {"Stra\u00dfe STRASSE", "strasse"},
        {"\uff21\uff22\uff23 \ufb01n", "abc|fin"},
        {"a1-b2_c3", "a1|b2|c3"},
        {"\u0416\u0438\u0437\u043d\u044c", "\u0436\u0438\u0437\u043d\u044c"},
        {"\u4f60\u597dworld", "\u4f60|\u597d|world"},
        {"one\xff"
         "two",
         "one|two"},
        {"\xf0\x9f\x98\x80 ok", "ok"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect_str_eq(fold(rows[i].text), rows[i].terms, "row %zu: %s", i, fold(rows[i].text));
}

Test(terms, cuts_long_words_at_a_character)
{
    cr_expect_str_eq(fold("aaaaaaaaaabbbbbbbbbbccccccccccdddd"),
                     "aaaaaaaaaabbbbbbbbbbccccccccccdd");
    cr_expect_str_eq(fold("aaaaaaaaaabbbbbbbbbbccccccccccd\u0436\u0436"),
                     "aaaaaaaaaabbbbbbbbbbccccccccccd");
}

Test(terms, is_bounded)
{
    AUTO(arena) arena = {0};
    AUTO(buf) text = {0};
    struct terms terms;

    for (int i = 0; i < 5000; i++)
        buf_printf(&text, "w%d ", i);
    terms_of(buf_slice(&text), &arena, &terms);
    cr_expect_eq(terms.count, (size_t)TERMS_MAX);
}
