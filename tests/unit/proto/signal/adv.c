#include <criterion/criterion.h>

#include "proto/signal/adv.h"
#include "tests/support/signal_party.h"
#include "tests/support/vectors.h"

static struct party companion, phone;
static uint8_t secret[WA_ADV_SECRET];
static json_t *v;

static void start(void)
{
    v = vectors_open("adv.json");
    party_init(&companion, "me@lid", 5, 1);
    party_init(&phone, "me@lid", 0, 2);
    vector_bytes(v, "adv_secret", secret, sizeof(secret));
    vector_bytes(v, "companion_identity.priv", companion.identity.secret.bytes, CRYPTO_KEY);
    vector_bytes(v, "companion_identity.pub", companion.identity.public.bytes, CRYPTO_KEY);
    vector_bytes(v, "phone_identity.priv", phone.identity.secret.bytes, CRYPTO_KEY);
    vector_bytes(v, "phone_identity.pub", phone.identity.public.bytes, CRYPTO_KEY);
}

static void stop(void)
{
    party_done(&companion);
    party_done(&phone);
    json_decref(v);
}

TestSuite(adv, .init = start, .fini = stop);

static err_t accept(struct slice container, struct wa_adv_pairing *out)
{
    return wa_adv_accept(&companion.ks, &companion.arena, secret, container, out);
}

static void accept_vector(const char *kind, bool hosted)
{
    json_t *k = vector_at(v, kind);
    struct arena *a = &companion.arena;
    struct wa_adv_pairing p;
    struct wa_adv_device d;
    struct slice want = vector_hex(k, "device_identity_node_full", a), full;
    size_t head = want.len - CRYPTO_SIGNATURE; /* the signature is random, the rest is not */

    cr_assert_eq(accept(vector_hex(k, "pair_success_device_identity", a), &p), OK);
    cr_assert_eq(p.hosted, hosted);
    cr_assert_eq(p.key_index, vector_int(k, "key_index_attribute"));
    cr_assert_arr_eq(p.account_key.bytes, phone.identity.public.bytes, CRYPTO_KEY);
    cr_assert(slice_eq(slice_sub(p.identity, 0, head), slice_sub(want, 0, head)));
    want = vector_hex(k, "pair_device_sign_identity_without_account_key", a);
    head = want.len - CRYPTO_SIGNATURE;
    cr_assert(slice_eq(slice_sub(p.answer, 0, head), slice_sub(want, 0, head)));
    cr_assert(crypto_verify(
        &companion.identity.public,
        vector_hex(k, hosted ? "device_signature_message_0606" : "device_signature_message_0601",
                   a),
        slice_from(p.answer, head)));

    cr_assert_eq(wa_adv_finish(&phone.ks, a, p.answer, &companion.identity.public, &full), OK);
    cr_assert(slice_eq(full, p.identity));
    cr_assert_eq(wa_adv_verify(a, p.identity, &companion.identity.public, NULL, &d), OK);
    cr_assert_eq(d.hosted, hosted);
    cr_assert_eq(d.key_index, p.key_index);
    cr_assert_eq(wa_adv_verify(a, vector_hex(k, "device_identity_node_full", a),
                               &companion.identity.public, NULL, &d),
                 OK);
}

Test(adv, accepts_a_pairing) { accept_vector("e2ee", false); }

Test(adv, accepts_a_hosted_pairing) { accept_vector("hosted", true); }

Test(adv, rejects_what_the_vectors_reject)
{
    static const err_t wants[] = {ERR_BAD_MAC, ERR_BAD_SIGNATURE, ERR_BAD_SIGNATURE};
    struct wa_adv_pairing p;
    json_t *row;
    size_t i;

    json_array_foreach(vector_at(v, "reject"), i, row)
    {
        struct slice in = vector_hex(row, "pair_success_device_identity", &companion.arena);
        cr_assert_eq(accept(in, &p), wants[i], "%s", vector_text(row, "case"));
    }
    cr_assert_eq(i, ARRAY_LEN(wants));
}

Test(adv, rejects_a_cut_container)
{
    struct slice good = vector_hex(v, "e2ee.pair_success_device_identity", &companion.arena);
    struct wa_adv_pairing p;

    for (size_t n = 0; n < good.len; n++)
        cr_assert_neq(accept(slice_sub(good, 0, n), &p), OK);
    for (size_t i = 0; i < good.len; i++) {
        struct slice copy = arena_dup(&companion.arena, good);
        ((uint8_t *)(uintptr_t)copy.data)[i] ^= 0x20;
        cr_assert_neq(accept(copy, &p), OK, "%zu", i);
    }
}

Test(adv, needs_a_key_index_and_an_account_key)
{
    /* Signed identities with a right MAC and nothing behind it. */
    static const struct slice signed_identities[] = {
        {(const uint8_t *)"", 0},
        {(const uint8_t *)"\x12\x03"
                          "abc",
         5},
    };
    struct wa_adv_pairing p;

    for (size_t i = 0; i < ARRAY_LEN(signed_identities); i++) {
        uint8_t mac[CRYPTO_SHA256];
        AUTO(buf) b = {0};

        crypto_hmac(SLICE_ARRAY(secret), signed_identities[i], mac);
        buf_put_u8(&b, 1 << 3 | 2);
        buf_put_block(&b, signed_identities[i]);
        buf_put_u8(&b, 2 << 3 | 2);
        buf_put_block(&b, SLICE_ARRAY(mac));
        cr_assert_eq(accept(buf_slice(&b), &p), ERR_BAD_KEY);
    }
}

Test(adv, phone_and_companion_agree)
{
    for (int hosted = 0; hosted < 2; hosted++) {
        struct wa_adv_grant grant = {
            .raw_id = 7, .key_index = 4, .timestamp = 99, .hosted = hosted};
        struct slice container =
            wa_adv_issue(&phone.ks, &phone.arena, secret, &companion.identity.public, &grant);
        struct wa_adv_pairing p;
        struct wa_adv_device d;
        struct slice full;

        cr_assert_eq(accept(container, &p), OK);
        cr_assert_eq(p.key_index, 4);
        cr_assert_eq(
            wa_adv_finish(&phone.ks, &phone.arena, p.answer, &companion.identity.public, &full),
            OK);
        /* Without the account's key the reader must know it. */
        cr_assert_eq(wa_adv_verify(&phone.arena, p.answer, &companion.identity.public, NULL, &d),
                     ERR_BAD_KEY);
        cr_assert_eq(wa_adv_verify(&phone.arena, p.answer, &companion.identity.public,
                                   &phone.identity.public, &d),
                     OK);
        cr_assert_eq(d.timestamp, 99);
        cr_assert_eq(d.raw_id, 7);
        /* Another device may not carry it. */
        cr_assert_eq(wa_adv_verify(&phone.arena, full, &phone.identity.public, NULL, &d),
                     ERR_BAD_SIGNATURE);
        cr_assert_eq(
            wa_adv_finish(&companion.ks, &phone.arena, p.answer, &companion.identity.public, &full),
            ERR_BAD_SIGNATURE);
    }
}

Test(adv, answers_of_hosted_accounts_may_use_either_prefix)
{
    struct slice full, answer;

    answer = vector_hex(v, "hosted.pair_device_sign_identity_without_account_key", &phone.arena);
    cr_assert_eq(wa_adv_finish(&phone.ks, &phone.arena, answer, &companion.identity.public, &full),
                 OK);

    uint8_t signature[CRYPTO_SIGNATURE];
    wa_sign(&companion.ks, &companion.identity.secret,
            vector_hex(v, "hosted.device_signature_message_0601", &phone.arena), signature);
    memcpy((uint8_t *)(uintptr_t)answer.data + answer.len - CRYPTO_SIGNATURE, signature,
           CRYPTO_SIGNATURE);
    cr_assert_eq(wa_adv_finish(&phone.ks, &phone.arena, answer, &companion.identity.public, &full),
                 OK);
}

Test(adv, filters_devices_by_the_key_index_list)
{
    struct wa_key_index_list list, again;
    struct slice bytes = vector_hex(v, "key_index_list.signed", &phone.arena);
    json_t *row;
    size_t i;

    cr_assert_eq(wa_key_index_parse(&phone.arena, bytes, &phone.identity.public, &list), OK);
    cr_assert_eq(list.raw_id, 100);
    cr_assert_eq(list.current_index, 3);
    json_array_foreach(vector_at(v, "key_index_list.devices"), i, row)
    {
        json_t *index = json_object_get(row, "key_index");
        bool keep =
            wa_key_index_allows(&list, (uint32_t)vector_int(row, "id"), json_is_integer(index),
                                (uint32_t)json_integer_value(index));
        cr_assert_eq(keep, vector_bool(row, "keep"), "%zu", i);
    }
    cr_assert_not(wa_key_index_allows(NULL, 5, true, 1));
    cr_assert(wa_key_index_allows(NULL, 0, false, 0));
    cr_assert_eq(wa_key_index_parse(&phone.arena, bytes, &companion.identity.public, &list),
                 ERR_BAD_SIGNATURE);
    /* The key behind the signature is not needed: only a cut before its field spoils the list. */
    for (size_t n = 0; n < bytes.len - 2 - CRYPTO_KEY; n++)
        cr_assert_neq(wa_key_index_parse(&phone.arena, slice_sub(bytes, 0, n),
                                         &phone.identity.public, &again),
                      OK);

    struct slice made = wa_key_index_sign(&phone.ks, &phone.arena, &list);
    cr_assert_eq(wa_key_index_parse(&phone.arena, made, &phone.identity.public, &again), OK);
    cr_assert_eq(again.valid_count, list.valid_count);
}
