#include "proto/client/backoff.h"

#include <criterion/criterion.h>

#include "proto/base/xalloc.h"

Test(backoff, is_a_fibonacci_series_up_to_fifteen_minutes)
{
    static const int64_t seconds[] = {1,  2,  3,   5,   8,   13,  21,  34,
                                      55, 89, 144, 233, 377, 610, 900, 900};
    struct wa_backoff b = {0};

    cr_assert_eq(wa_backoff_next(&b, 512) / 100, 10); /* 1 s comes twice */
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        int64_t ms = wa_backoff_next(&b, 1023 / 2);
        cr_expect(ms > seconds[i] * 998 && ms < seconds[i] * 1002, "step %zu: %lld", i,
                  (long long)ms);
    }
}

Test(backoff, jitters_a_tenth_both_ways_and_resets)
{
    struct wa_backoff b = {0};

    for (int i = 0; i < 300; i++)
        wa_backoff_next(&b, 0);
    cr_assert_eq(wa_backoff_next(&b, 0), 810000);
    cr_assert_eq(wa_backoff_next(&b, 1023), 990000);
    wa_backoff_reset(&b);
    cr_assert_eq(wa_backoff_next(&b, 0), 900);
    wa_backoff_reset(&b);
    wa_backoff_slow(&b);
    cr_assert_eq(wa_backoff_next(&b, 0), 7200); /* five steps on: 8 s */
}
