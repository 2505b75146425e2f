#include <criterion/criterion.h>

#include "proto/client/client.h"

Test(names, every_reason_and_kind_has_a_word)
{
    for (int r = 0; r <= WA_REASON_SIGNATURE; r++)
        cr_expect(wa_reason_text(r)[0], "%d", r);
    for (int k = 0; k < WA_KIND_COUNT; k++)
        cr_expect(wa_content_kind_text(k)[0], "%d", k);
    cr_assert_str_eq(wa_reason_text(WA_REASON_CLIENT_OUTDATED), "client_outdated");
    cr_assert_str_eq(wa_reason_text(999), "none");
    cr_assert_str_eq(wa_content_kind_text(999), "unknown");
}

Test(names, a_held_message_comes_back_whole_or_not_at_all)
{
    struct wa_held_message held = {
        .state = WA_HELD_WHOLE, .from_me = true, .time_s = 77, .raw = SLICE("raw")};
    struct wa_held_message out;
    AUTO(buf) row = {0};

    wa_held_encode(&held, &row);
    cr_assert_eq(wa_held_decode(buf_slice(&row), &out), OK);
    cr_assert(out.state == WA_HELD_WHOLE && out.from_me && out.time_s == 77);
    cr_assert(slice_is(out.raw, "raw"));
    for (size_t n = 0; n < 11; n++)
        cr_assert_neq(wa_held_decode(slice_of(row.data, n), &out), OK, "%zu", n);
    cr_assert_eq(wa_held_decode(SLICE_NONE, &out), OK);
    cr_assert_eq(out.state, WA_HELD_NO);
    row.data[1] = 9;
    cr_assert_eq(wa_held_decode(buf_slice(&row), &out), ERR_STORE_DAMAGED);
}
