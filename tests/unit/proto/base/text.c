#include <criterion/criterion.h>

#include "proto/base/text.h"

Test(text, base64_both_ways_at_every_length)
{
    uint8_t bytes[64];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + 251);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        AUTO(buf) std = {0};
        AUTO(buf) url = {0};
        AUTO(buf) back = {0};
        text_base64(slice_of(bytes, n), &std);
        text_base64url(slice_of(bytes, n), &url);
        cr_assert_eq(text_unbase64(buf_slice(&std), &back), OK);
        cr_assert(slice_eq(buf_slice(&back), slice_of(bytes, n)));
        buf_reset(&back);
        cr_assert_eq(text_unbase64(buf_slice(&url), &back), OK);
        cr_assert(slice_eq(buf_slice(&back), slice_of(bytes, n)));
    }
    AUTO(buf) out = {0};
    cr_assert_eq(text_unbase64(SLICE("a"), &out), ERR_BAD_TEXT);
    cr_assert_eq(text_unbase64(SLICE("ab*d"), &out), ERR_BAD_TEXT);
}

Test(text, numbers_refuse_what_does_not_fit)
{
    uint64_t v;
    cr_assert_eq(text_u64(SLICE("18446744073709551615"), &v), OK);
    cr_assert_eq(v, UINT64_MAX);
    cr_assert_eq(text_u64(SLICE("18446744073709551616"), &v), ERR_BAD_TEXT);
    cr_assert_eq(text_u64(SLICE(""), &v), ERR_BAD_TEXT);
    cr_assert_eq(text_u64(SLICE("1 "), &v), ERR_BAD_TEXT);
}

Test(text, times_both_ways)
{
    char out[TEXT_TIME_MAX];
    int64_t ms;
    cr_assert_str_eq(text_time(1795166761123, out), "2026-11-20T09:26:01.123Z");
    cr_assert_eq(text_parse_time(slice_text(out), &ms), OK);
    cr_assert_eq(ms, 1795166761123);
    cr_assert_eq(text_parse_time(SLICE("2026-11-20T10:26:01+01:00"), &ms), OK);
    cr_assert_eq(ms, 1795166761000);
    cr_assert_eq(text_parse_time(SLICE("2026-11-20"), &ms), ERR_BAD_TEXT);
    cr_assert_eq(text_parse_time(SLICE("2026-13-20T10:26:01Z"), &ms), ERR_BAD_TEXT);
    cr_assert_eq(text_parse_time(SLICE("2026-11-20T10:26:01"), &ms), ERR_BAD_TEXT);
}

Test(text, utf8_refuses_overlong_and_surrogates)
{
    cr_assert(text_is_utf8(SLICE("h\xc3\xa9llo \xf0\x9f\x98\x80")));
    cr_assert_not(text_is_utf8(SLICE("\xc0\xaf")));
    cr_assert_not(text_is_utf8(SLICE("\xed\xa0\x80")));
    cr_assert_not(text_is_utf8(SLICE("\xf0\x9f\x98")));
    cr_assert(slice_is(text_cut(SLICE("a\xc3\xa9"), 2), "a"));
}
