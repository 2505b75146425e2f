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
    struct key k = key_of_kind((struct scope){3, 0x1234}, 0x12345678, KIND_chat);
    cr_assert(slice_eq(key_slice(&k), SLICE("\x03\x92\x34\xf0\x12\x34\x56\x78\x31")));
    uint32_t peer;
    uint8_t kind;
    struct reader rest = key_read_peer(key_slice(&k), &peer, &kind);
    cr_assert(peer == 0x12345678 && kind == KIND_chat && reader_end(&rest) == OK);
}

Test(key, numbers_are_short_and_sort)
{
    static const uint32_t numbers[] = {0,          1,          0x7f,      0x80,      0x3fff,
                                       0x4000,     0x1fffff,   0x200000,  0xfffffff, 0x10000000,
                                       0x7fffffff, 0xfffffffe, 0xffffffff};
    static const uint16_t lengths[] = {1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5};
    struct key before = {0};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct key k = {0};
        key_int(&k, numbers[i]);
        struct reader r = reader_of(key_slice(&k));
        cr_assert_eq(k.len, lengths[i]);
        cr_assert_eq(key_read_int(&r), numbers[i]);
        cr_assert_eq(reader_end(&r), OK);
        cr_assert(i == 0 || slice_cmp(key_slice(&before), key_slice(&k)) < 0);
        for (uint16_t n = 0; n < k.len; n++) {
            r = reader_of(slice_of(k.data, n));
            key_read_int(&r);
            cr_assert_eq(reader_check(&r), ERR_TRUNCATED);
        }
        before = k;
    }
}

Test(key, behind_a_prefix_is_above_all_that_begin_with_it)
{
    struct key b = key_behind(SLICE("a\xff\xff"));
    cr_assert(slice_is(key_slice(&b), "b"));
    cr_assert_eq(key_behind(SLICE("\xff\xff")).len, 0);
    cr_assert_eq(key_behind(SLICE("")).len, 0);
}
