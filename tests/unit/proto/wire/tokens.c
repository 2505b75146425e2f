#include "proto/wire/tokens.h"

#include <criterion/criterion.h>

#include "proto/base/xalloc.h"

Test(tokens, every_text_is_found_where_it_stands)
{
    uint8_t at[2];

    for (unsigned i = 1; i < WA_TOKEN_SINGLES; i++) {
        cr_assert_eq(wa_token_find(wa_token_single((uint8_t)i), at), 1);
        cr_assert_eq(at[0], i);
    }
    for (unsigned d = 0; d < WA_TOKEN_DICTIONARIES; d++) {
        for (unsigned i = 0; i < WA_TOKEN_DICTIONARY; i++) {
            cr_assert_eq(wa_token_find(wa_token_double((uint8_t)d, (uint8_t)i), at), 2);
            cr_assert_eq(at[0], WA_TOKEN_FIRST_DICTIONARY + d);
            cr_assert_eq(at[1], i);
        }
    }
}

Test(tokens, knows_nothing_else)
{
    static const char *const strangers[] = {
        "", "S.whatsapp.net", "s.whatsapp.ne", "receipt ",
        "no such token, and a long one at that, longer than any"};
    uint8_t at[2];

    for (size_t i = 0; i < ARRAY_LEN(strangers); i++)
        cr_assert_eq(wa_token_find(slice_text(strangers[i]), at), 0, "%s", strangers[i]);
    cr_assert_eq(wa_token_find(slice_of("iq\0", 3), at), 0);
    cr_assert(slice_is_none(wa_token_single(0)));
    cr_assert(slice_is_none(wa_token_single(236)));
    cr_assert(slice_is_none(wa_token_single(255)));
    cr_assert(slice_is_none(wa_token_double(4, 0)));
}
