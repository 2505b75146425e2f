#include <criterion/criterion.h>

#include "storage/key.h"

Test(key, sorts_as_its_parts_do)
{
    struct scope low = {1, 255}, high = {1, 256};
    struct key a = key_of_kind(low, 0xffffffff, KIND_message);
    struct key b = key_of_kind(high, 1, KIND_counters);
    cr_assert_lt(slice_cmp(key_slice(&a), key_slice(&b)), 0);

    struct key c = key_of_kind(high, 1, KIND_message), d = c;
    key_be64(&c, 0x00ffffffffffffffULL);
    key_be64(&d, 0x0100000000000000ULL);
    cr_assert_lt(slice_cmp(key_slice(&c), key_slice(&d)), 0);
}

Test(key, starts_with_the_tenant)
{
    struct key k = key_of_kind((struct scope){0x01020304, 5}, 6, KIND_chat);
    cr_assert(slice_starts_with(key_slice(&k), SLICE("\x01\x02\x03\x04\x00\x00\x00\x05")));
    cr_assert_eq(k.len, 13);
}

Test(key, behind_a_prefix_is_above_all_that_begin_with_it)
{
    struct key b = key_behind(SLICE("a\xff\xff"));
    cr_assert(slice_is(key_slice(&b), "b"));
    cr_assert_eq(key_behind(SLICE("\xff\xff")).len, 0);
    cr_assert_eq(key_behind(SLICE("")).len, 0);
}
