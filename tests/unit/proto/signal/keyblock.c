#include <criterion/criterion.h>

#include "tests/support/signal_party.h"

#include "proto/signal/keyblock.h"

static struct party p;
static const struct wa_row row = {
    WA_SIGNAL_PREKEYS, {(const uint8_t *)"", 0}, {(const uint8_t *)"3", 1}};

static struct crypto_key key_of(uint32_t number)
{
    struct crypto_key k = {{0}};
    memcpy(k.bytes, &number, sizeof(number));
    return k;
}

Test(keyblock, keeps_secrets_by_number)
{
    struct wa_keyblock b = {0};
    struct crypto_key k = key_of(97);

    party_init(&p, "x", 0, 1);
    wa_keyblock_put(&b, 97, &k);
    wa_keyblock_save(&p.ks, row, &b);
    cr_assert_eq(wa_keyblock_load(&p.ks, &p.arena, row, &b), OK);
    cr_assert_eq(b.first, 96);
    cr_assert_arr_eq(wa_keyblock_find(&b, 97)->bytes, k.bytes, CRYPTO_KEY);
    cr_assert_null(wa_keyblock_find(&b, 98));
    cr_assert_null(wa_keyblock_find(&b, 97 + 32));
    wa_keyblock_punch(&b, 97);
    wa_keyblock_save(&p.ks, row, &b);
    cr_assert_eq(p.rows.count, 1, "an empty block has no row");
    party_done(&p);
}

Test(keyblock, refuses_a_row_that_is_not_exact)
{
    struct wa_keyblock b = {0};
    struct slice good;

    party_init(&p, "x", 0, 1);
    for (uint32_t i = 32; i < 64; i++) {
        struct crypto_key k = key_of(i);
        wa_keyblock_put(&b, i, &k);
    }
    wa_keyblock_save(&p.ks, row, &b);
    cr_assert_eq(party_load(&p, row, &p.arena, &good), OK);
    cr_assert_eq(good.len, 9 + 32 * CRYPTO_KEY);
    for (size_t n = 1; n < good.len; n++) {
        party_save(&p, row, slice_sub(good, 0, n));
        cr_assert_eq(wa_keyblock_load(&p.ks, &p.arena, row, &b), ERR_STORE_DAMAGED);
    }
    party_done(&p);
}

Test(keyblock, forgets_the_oldest_when_the_ring_is_full)
{
    enum { N = 5000 };
    static struct crypto_key seeds[N];
    struct crypto_key got;
    uint64_t slots = 0;

    party_init(&p, "x", 0, 1);
    struct wa_skipped s = {&p.ks, &p.arena, {WA_SIGNAL_SKIPPED, SLICE("x"), SLICE("c")}, &slots};
    for (uint32_t i = 0; i < N; i++)
        seeds[i] = key_of(i);
    for (uint32_t i = 0; i < N; i += 7)
        cr_assert_eq(wa_skipped_add(&s, i, &seeds[i], 1), OK);
    cr_assert_eq(wa_skipped_find(&s, 7, &got), ERR_OLD_COUNTER);
    cr_assert_eq(wa_skipped_find(&s, N - 2, &got), OK);
    cr_assert_eq(wa_skipped_find(&s, N - 2 - 7 * 200, &got), OK);
    cr_assert_arr_eq(got.bytes, seeds[N - 2 - 7 * 200].bytes, CRYPTO_KEY);
    cr_assert_eq(wa_skipped_find(&s, N - 3, &got), ERR_OLD_COUNTER);

    cr_assert_eq(wa_skipped_add(&s, 10000, seeds, N), OK);
    cr_assert_eq(wa_skipped_find(&s, 10000 + N - 1, &got), OK);
    cr_assert_eq(wa_skipped_find(&s, 10000 + N - WA_SKIPPED_MAX + 31, &got), OK);
    cr_assert_eq(wa_skipped_find(&s, 10000, &got), ERR_OLD_COUNTER);
    cr_assert_leq(p.rows.count, WA_SKIPPED_SLOTS + 1);
    wa_skipped_clear(&s);
    cr_assert_eq(slots, 0);
    cr_assert_eq(p.rows.count, 1);
    party_done(&p);
}
