/* A leaf made by hand: rows of two accounts that lie side by side. */
#include "storage/page.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/record.h"

enum { SIZE = 4096, ROWS = 24, KEY = 9 };

static uint8_t page[SIZE], sound[SIZE];
static size_t places[ROWS];

static void put16(size_t at, size_t v)
{
    page[at] = (uint8_t)v;
    page[at + 1] = (uint8_t)(v >> 8);
}

/* A row ends with its checksum. */
enum { SUM = 4 };

static uint32_t sum_of(const struct page_node *n)
{
    return crc32c(crc32c((uint32_t)n->key.len, n->key),
                  slice_of(n->key.data + n->key.len, n->low - SUM));
}

static bool has_sum(void *context, const struct page_node *n)
{
    return !(n->flags & NODE_BIG) && n->low >= SUM &&
           sum_of(n) == page_get(n->key.data + n->key.len + n->low - SUM, SUM);
}

static void put_row(unsigned i)
{
    size_t value_len = 20 + i % 5, size = (PAGE_NODE + KEY + value_len + 1) & ~(size_t)1;
    size_t at = page_get(page + 14, 2) - size;
    char key[16];
    struct page_node n;

    snprintf(key, sizeof key, "acc%u/%04u", 1 + i / 12, i * 7);
    put16(at, value_len);
    put16(at + 6, KEY);
    memcpy(page + at + PAGE_NODE, key, KEY);
    memset(page + at + PAGE_NODE + KEY, 'a' + (int)i, value_len - SUM);
    put16(PAGE_HEAD + 2 * i, at);
    put16(12, PAGE_HEAD + 2 * (i + 1));
    put16(14, at);
    places[i] = at;
    page_node(page, SIZE, i, true, &n);
    uint32_t sum = sum_of(&n);
    memcpy(page + at + PAGE_NODE + KEY + value_len - SUM, &sum, SUM);
}

static void begin(void)
{
    memset(page, 0, SIZE);
    page[10] = PAGE_LEAF;
    put16(12, PAGE_HEAD);
    put16(14, SIZE);
    for (unsigned i = 0; i < ROWS; i++)
        put_row(i);
    memcpy(sound, page, SIZE);
}
TestSuite(page, .init = begin);

static bool is_sound(void) { return page_leaf_is_sound(page, SIZE, (struct page_bounds){0}); }

static bool mend(size_t *out_at)
{
    return page_leaf_mend(page, SIZE, (struct page_bounds){0}, has_sum, NULL, out_at);
}

static void expect_mended(size_t at, unsigned bit)
{
    size_t mended = 0;

    page[at] ^= (uint8_t)(1u << bit);
    cr_assert_not(is_sound(), "byte %zu bit %u", at, bit);
    cr_assert(mend(&mended), "byte %zu bit %u", at, bit);
    cr_assert_eq(mended, at);
    cr_assert_arr_eq(page, sound, SIZE);
}

Test(page, a_leaf_is_sound_within_its_bounds)
{
    struct page_bounds exact = {SLICE("acc1/0000"), SLICE("acc2/0162")};
    struct page_bounds late = {SLICE("acc1/0001"), SLICE_NONE};
    struct page_bounds short_ = {SLICE_NONE, SLICE("acc2/0161")};

    cr_expect(is_sound());
    cr_expect(page_leaf_is_sound(page, SIZE, exact));
    cr_expect_not(page_leaf_is_sound(page, SIZE, late));
    cr_expect_not(page_leaf_is_sound(page, SIZE, short_));
}

/* The bit that once hid the rows of another account: '2' of an account becomes 'r', and every
 * look-up behind it goes astray. */
Test(page, a_bit_of_a_key_out_of_order_is_put_right)
{
    for (unsigned row = 0; row < ROWS - 1; row++) /* the last one stays in order */
        expect_mended(places[row] + PAGE_NODE + 3, 6);
}

Test(page, what_leads_to_a_row_is_put_right)
{
    for (unsigned bit = 0; bit < 8; bit++) {
        if (bit > 0)
            expect_mended(places[5], bit); /* the length of its value, which is rounded up */
        expect_mended(places[5] + 4, bit); /* its flags */
        expect_mended(places[5] + 6, bit); /* the length of its key */
        expect_mended(PAGE_HEAD + 2 * 5 + 1, bit); /* its place */
        if (bit > 0) expect_mended(PAGE_HEAD + 2 * 5, bit);
    }
    expect_mended(14, 4); /* where the rows begin */
}

/* Each of the values stays what it is: their checksums tell, when they are read. */
Test(page, a_bit_of_a_value_is_no_matter_of_the_page)
{
    page[places[7] + PAGE_NODE + KEY + 3] ^= 1;
    cr_expect(is_sound());
}

/* The row beside it is damaged too: it stays so, and the order is put right all the same. */
Test(page, a_damaged_value_does_not_keep_a_key_from_being_put_right)
{
    page[places[7] + PAGE_NODE + KEY + 3] ^= 1;
    memcpy(sound, page, SIZE);
    expect_mended(places[8] + PAGE_NODE + 3, 6);
}

/* The higher of two flipped bits of a key is flipped back: its row stays damaged, as it was, and
 * the others are found again. */
Test(page, two_bits_of_a_key_do_not_hide_other_rows)
{
    size_t at;

    page[places[6] + PAGE_NODE + 3] ^= 0x40;
    page[places[6] + PAGE_NODE + KEY - 1] ^= 0x01;
    memcpy(sound, page, SIZE);
    cr_assert_not(is_sound());
    cr_assert(mend(&at));
    cr_expect(is_sound());
    sound[at] = page[at];
    cr_expect(at >= places[6] && at < places[5]);
    cr_expect_arr_eq(page, sound, SIZE);
}

Test(page, what_one_bit_does_not_explain_stays_as_it_is)
{
    size_t at;

    page[places[6] + PAGE_NODE + 3] ^= 0x40; /* two rows */
    page[places[15] + PAGE_NODE + 3] ^= 0x40;
    memcpy(sound, page, SIZE);
    cr_expect_not(mend(&at));
    cr_expect_arr_eq(page, sound, SIZE);
}

/* Whatever bytes there are: no read outside of the page (the sanitizers watch). */
Test(page, garbage_is_survived, .timeout = 60)
{
    size_t at;

    srand(3);
    for (int i = 0; i < 12; i++) {
        begin();
        for (int n = 0; n < 1 << i; n++)
            page[PAGE_BOUNDS + 4 + rand() % (SIZE - PAGE_BOUNDS - 4)] = (uint8_t)rand();
        if (!is_sound()) cr_expect(!mend(&at) || is_sound());
    }
}
