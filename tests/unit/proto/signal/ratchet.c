#include <criterion/criterion.h>

#include "proto/base/text.h"
#include "proto/signal/ratchet.h"
#include "tests/support/vector_keys.h"

static void check_agreement(json_t *v, json_t *run, bool one_time)
{
    struct crypto_pair alice = vector_pair(v, "alice_identity"),
                       bob = vector_pair(v, "bob_identity");
    struct crypto_pair base = vector_pair(v, "alice_base"),
                       spk = vector_pair(v, "bob_signed_prekey");
    struct crypto_pair opk = vector_pair(v, "bob_prekey"), a1 = vector_pair(v, "alice_ratchet_1");
    struct crypto_pair b1 = vector_pair(v, "bob_ratchet_1"), a2 = vector_pair(v, "alice_ratchet_2");
    struct crypto_key root, other;
    struct wa_chain chain;
    uint8_t dh[CRYPTO_KEY];

    cr_assert_eq(crypto_dh(&alice.secret, &spk.public, dh), OK);
    vector_expect(run, "x3dh.dh1_identityA_signedB", dh, sizeof(dh));
    cr_assert_eq(wa_x3dh_initiate(&alice, &base, &bob.public, &spk.public,
                                  one_time ? &opk.public : NULL, &root),
                 OK);
    vector_expect(run, "x3dh.root0", root.bytes, CRYPTO_KEY);
    cr_assert_eq(wa_x3dh_respond(&bob, &spk.secret, one_time ? &opk.secret : NULL, &alice.public,
                                 &base.public, &other),
                 OK);
    cr_assert_arr_eq(root.bytes, other.bytes, CRYPTO_KEY);

    cr_assert_eq(wa_root_step(&root, &a1.secret, &spk.public, &chain), OK);
    vector_expect(run, "ratchet.root1", root.bytes, CRYPTO_KEY);
    vector_expect(run, "ratchet.alice_send_chain1", chain.key.bytes, CRYPTO_KEY);
    cr_assert_eq(wa_root_step(&root, &b1.secret, &a1.public, &chain), OK);
    vector_expect(run, "ratchet.root2", root.bytes, CRYPTO_KEY);
    vector_expect(run, "ratchet.bob_send_chain1", chain.key.bytes, CRYPTO_KEY);
    cr_assert_eq(wa_root_step(&root, &a2.secret, &b1.public, &chain), OK);
    vector_expect(run, "ratchet.root3", root.bytes, CRYPTO_KEY);
    vector_expect(run, "ratchet.alice_send_chain2", chain.key.bytes, CRYPTO_KEY);
}

Test(ratchet, agrees_as_the_vector_with_a_one_time_prekey)
{
    json_t *v = vectors_open("signal_session.json");
    check_agreement(v, vector_at(v, "with_one_time_prekey"), true);
    json_decref(v);
}

Test(ratchet, agrees_as_the_vector_without_a_one_time_prekey)
{
    json_t *v = vectors_open("signal_session.json");
    check_agreement(v, vector_at(v, "without_one_time_prekey"), false);
    json_decref(v);
}

Test(ratchet, derives_the_message_keys_of_the_vector)
{
    json_t *v = vectors_open("signal_session.json");
    json_t *m = vector_at(v, "with_one_time_prekey.messages.0.keys");
    struct wa_chain chain = {0};
    struct crypto_key seed;
    struct wa_message_keys keys;

    vector_bytes(v, "with_one_time_prekey.ratchet.alice_send_chain1", chain.key.bytes, CRYPTO_KEY);
    wa_chain_step(&chain, &seed);
    wa_message_keys(&seed, &keys);
    vector_expect(m, "seed", seed.bytes, CRYPTO_KEY);
    vector_expect(m, "cipher_key", keys.cipher, 32);
    vector_expect(m, "mac_key", keys.mac, 32);
    vector_expect(m, "iv", keys.iv, 16);
    cr_assert_eq(chain.index, 1);
    json_decref(v);
}

Test(ratchet, refuses_keys_of_low_order)
{
    struct crypto_pair identity, base;
    struct crypto_key zero = {{0}}, one = {{1}}, root;
    struct wa_chain chain;

    crypto_pair_new(&identity);
    crypto_pair_new(&base);
    cr_assert_eq(wa_x3dh_initiate(&identity, &base, &zero, &identity.public, NULL, &root),
                 ERR_BAD_KEY);
    cr_assert_eq(
        wa_x3dh_initiate(&identity, &base, &identity.public, &identity.public, &one, &root),
        ERR_BAD_KEY);
    cr_assert_eq(wa_x3dh_respond(&identity, &base.secret, NULL, &one, &base.public, &root),
                 ERR_BAD_KEY);
    cr_assert_eq(wa_root_step(&root, &base.secret, &zero, &chain), ERR_BAD_KEY);
}

Test(ratchet, covers_both_identities_in_order)
{
    struct crypto_key a = {{1}}, b = {{2}};
    uint8_t key[32] = {3}, ab[WA_MESSAGE_MAC], ba[WA_MESSAGE_MAC];

    wa_message_mac(key, &a, &b, SLICE("\x33text"), ab);
    wa_message_mac(key, &b, &a, SLICE("\x33text"), ba);
    cr_assert_neq(memcmp(ab, ba, sizeof(ab)), 0);
}
