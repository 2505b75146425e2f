#include <criterion/criterion.h>

#include "tests/support/signal_party.h"

static struct party p;
static const struct wa_address peer = {.name = {(const uint8_t *)"777@lid", 7}, .device = 4};

Test(identity, trusts_on_first_use_and_reports_a_change)
{
    struct crypto_key first = {{1}}, second = {{2}}, got;
    bool found, changed;

    party_init(&p, "x", 0, 1);
    cr_assert_eq(wa_identity_load(&p.ks, &p.arena, &peer, &got, &found), OK);
    cr_assert_not(found);
    cr_assert_eq(wa_identity_trust(&p.ks, &p.arena, &peer, &first, &changed), OK);
    cr_assert_not(changed);
    size_t saves = p.saves;
    cr_assert_eq(wa_identity_trust(&p.ks, &p.arena, &peer, &first, &changed), OK);
    cr_assert_not(changed);
    cr_assert_eq(p.saves, saves, "the same key is not stored again");
    cr_assert_eq(wa_identity_trust(&p.ks, &p.arena, &peer, &second, &changed), OK);
    cr_assert(changed);
    cr_assert_eq(wa_identity_load(&p.ks, &p.arena, &peer, &got, &found), OK);
    cr_assert(found);
    cr_assert_arr_eq(got.bytes, second.bytes, CRYPTO_KEY);
    wa_identity_delete(&p.ks, &p.arena, &peer);
    cr_assert_eq(wa_identity_load(&p.ks, &p.arena, &peer, &got, &found), OK);
    cr_assert_not(found);
    party_done(&p);
}

Test(identity, refuses_a_damaged_row)
{
    struct wa_row row = {WA_SIGNAL_IDENTITY, peer.name, SLICE("4")};
    struct crypto_key key = {{1}};
    struct slice good;
    bool found, changed;

    party_init(&p, "x", 0, 1);
    cr_assert_eq(wa_identity_trust(&p.ks, &p.arena, &peer, &key, &changed), OK);
    cr_assert_eq(party_load(&p, row, &p.arena, &good), OK);
    for (size_t n = 1; n < good.len; n++) {
        party_save(&p, row, slice_sub(good, 0, n));
        cr_assert_eq(wa_identity_load(&p.ks, &p.arena, &peer, &key, &found), ERR_STORE_DAMAGED);
    }
    party_done(&p);
}
