#include "proto/base/err.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static err_t inner(int n)
{
    ENSURE(n < 3, TOO_LARGE);
    return fail(TRUNCATED, "byte %d of %d", n, 3);
}

static err_t outer(int n)
{
    TRY(inner(n));
    return OK;
}

Test(err, travels_up_with_its_words_and_places)
{
    cr_assert_eq(outer(2), ERR_TRUNCATED);
    cr_expect_str_eq(err_words(), "byte 2 of 3");
    cr_expect(strstr(err_trail(), "TRUNCATED at err.c:"), "%s", err_trail());
    cr_expect(strstr(err_trail(), ": byte 2 of 3 < err.c:"), "%s", err_trail());
    cr_assert_eq(outer(3), ERR_TOO_LARGE);
    cr_expect_str_eq(err_words(), "n < 3");
    err_clear();
    cr_expect_str_eq(err_words(), "");
}

Test(err, a_long_way_and_long_words_fit)
{
    char *words = malloc(5000);

    memset(words, 'x', 4999);
    words[4999] = '\0';
    err_fail(ERR_TRUNCATED, "a/b/c.c", 1, "%s", words);
    for (int i = 0; i < 1000; i++)
        err_pass(ERR_TRUNCATED, "d.c", i);
    cr_expect_lt(strlen(err_words()), 5000u);
    cr_expect(strstr(err_trail(), "TRUNCATED at c.c:1: xxx"));
    free(words);
}

Test(err, every_row_has_a_name_a_sentence_and_a_class)
{
    for (err_t e = OK + 1; e < ERR_COUNT; e++) {
        cr_expect(err_name(e)[0]);
        cr_expect(err_text(e)[0], "%s", err_name(e));
        cr_expect_neq(err_class(e), ERR_CLASS_NONE, "%s", err_name(e));
        for (err_t other = OK; other < e; other++)
            cr_expect_str_neq(err_name(e), err_name(other));
    }
    cr_expect_str_eq(err_name(ERR_COUNT), err_name(ERR_INTERNAL), "a code from elsewhere");
}
