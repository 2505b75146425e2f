#include <criterion/criterion.h>

#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/reader.h"

Test(buf, reads_back_what_it_wrote)
{
    AUTO(buf) b = {0};
    buf_put_u8(&b, 7);
    buf_put_be24(&b, 0x010203);
    buf_put_be64(&b, UINT64_MAX - 1);
    buf_put_varint(&b, 300);
    buf_put_block(&b, SLICE("hello"));

    struct reader r = reader_of(buf_slice(&b));
    cr_assert_eq(reader_u8(&r), 7);
    cr_assert_eq(reader_be24(&r), 0x010203);
    cr_assert_eq(reader_be64(&r), UINT64_MAX - 1);
    cr_assert_eq(reader_varint(&r), 300);
    cr_assert(slice_is(reader_block(&r), "hello"));
    cr_assert_eq(reader_end(&r), OK);
}

Test(reader, remembers_its_first_error_at_every_length)
{
    AUTO(buf) b = {0};
    buf_put_be32(&b, 5);
    buf_put_block(&b, SLICE("hello"));

    for (size_t n = 0; n < b.len; n++) {
        struct reader r = reader_of(slice_of(b.data, n));
        reader_be32(&r);
        cr_assert(slice_is_none(reader_block(&r)) || n == b.len);
        cr_assert_eq(reader_end(&r), ERR_TRUNCATED);
        cr_assert_eq(reader_u8(&r), 0);
    }
}

Test(reader, refuses_a_varint_that_does_not_fit)
{
    struct reader r = reader_of(SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));
    cr_assert_eq(reader_varint(&r), 0);
    cr_assert_eq(reader_end(&r), ERR_TOO_LARGE);
}

Test(arena, hands_out_aligned_memory_and_survives_a_reset)
{
    AUTO(arena) a = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t n = 1; n < 5000; n += 97) {
            uint8_t *p = arena_alloc(&a, n);
            cr_assert_eq((uintptr_t)p % 16, 0);
            memset(p, 0xaa, n);
        }
        cr_assert(slice_is(arena_printf(&a, "%d-%s", round, "x"), round == 0   ? "0-x"
                                                                  : round == 1 ? "1-x"
                                                                               : "2-x"));
        arena_reset(&a);
    }
}

Test(arena, a_wiped_one_holds_nothing_of_before)
{
    AUTO(arena) a = {0};
    uint8_t *first = arena_alloc(&a, 40), zeros[40] = {0};

    memset(first, 0x5a, 40);
    memset(arena_alloc(&a, 5000), 0x5a, 5000);
    arena_wipe(&a);
    cr_assert_eq(arena_alloc(&a, 40), (void *)first, "the first block stays");
    cr_assert_eq(memcmp(first, zeros, sizeof(zeros)), 0);
}

Test(arena, a_reserved_size_has_its_room)
{
    AUTO(arena) a = {0};
    struct arena_block *head;

    for (size_t n = 1; n < 200000; n = n * 3 + 1) {
        cr_assert_eq(arena_try_reserve(&a, n), OK);
        head = a.head;
        memset(arena_alloc(&a, n), 0xaa, n);
        cr_assert_eq(a.head, head, "%zu bytes came from a block that may not be had", n);
    }
}

Test(buf, a_reserved_size_has_its_room)
{
    AUTO(buf) b = {0};

    for (size_t n = 1; n < 200000; n = n * 3 + 1) {
        cr_assert_eq(buf_try_reserve(&b, n), OK);
        const uint8_t *data = b.data;
        memset(buf_extend(&b, n), 0xaa, n);
        cr_assert_eq(b.data, data);
    }
}
