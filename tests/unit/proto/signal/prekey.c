#include <criterion/criterion.h>

#include "proto/base/text.h"
#include "tests/support/signal_party.h"
#include "tests/support/vectors.h"

static struct party p;
static struct wa_prekey_public keys[1000], again[1000];

Test(prekey, makes_a_full_upload_in_few_rows)
{
    uint32_t next = 1;
    size_t n;
    struct crypto_key secret;
    struct crypto_pair pair;

    party_init(&p, "x", 0, 5);
    cr_assert_eq(wa_prekeys_make(&p.ks, &p.arena, &next, 812, keys), OK);
    cr_assert_eq(next, 813);
    cr_assert_eq(p.rows.count, 1 + (812 + 1 + WA_BLOCK_KEYS - 1) / WA_BLOCK_KEYS);
    for (uint32_t i = 0; i < 812; i++)
        cr_assert_eq(keys[i].id, i + 1);
    cr_assert_eq(wa_prekey_load(&p.ks, &p.arena, 500, &secret), OK);
    crypto_pair_from(secret.bytes, &pair);
    cr_assert_arr_eq(pair.public.bytes, keys[499].key.bytes, CRYPTO_KEY);

    cr_assert_eq(wa_prekeys_make(&p.ks, &p.arena, &next, 5, keys + 812), OK);
    cr_assert_eq(keys[812].id, 813);
    cr_assert_eq(wa_prekey_remove(&p.ks, &p.arena, 3), OK);
    cr_assert_eq(wa_prekey_load(&p.ks, &p.arena, 3, &secret), ERR_NO_PREKEY);
    cr_assert_eq(wa_prekey_load(&p.ks, &p.arena, 900, &secret), ERR_NO_PREKEY);
    cr_assert_eq(wa_prekeys_read(&p.ks, &p.arena, 1, 10, again, &n), OK);
    cr_assert_eq(n, 9);
    cr_assert_eq(again[2].id, 4);
    cr_assert_arr_eq(again[2].key.bytes, keys[3].key.bytes, CRYPTO_KEY);
    party_done(&p);
}

Test(prekey, wraps_its_ids_and_passes_over_keys_still_there)
{
    uint32_t next = WA_PREKEY_ID_MAX - 1;

    party_init(&p, "x", 0, 5);
    cr_assert_eq(wa_prekeys_make(&p.ks, &p.arena, &(uint32_t){1}, 2, keys), OK);
    cr_assert_eq(wa_prekeys_make(&p.ks, &p.arena, &next, 4, again), OK);
    cr_assert_eq(again[0].id, WA_PREKEY_ID_MAX - 1);
    cr_assert_eq(again[1].id, WA_PREKEY_ID_MAX);
    cr_assert_eq(again[2].id, 3, "0 is no id; 1 and 2 are still there");
    cr_assert_eq(again[3].id, 4);
    cr_assert_eq(next, 5);
    party_done(&p);
}

Test(prekey, forgets_keys_that_are_65536_ids_old)
{
    enum { UPLOAD = 812 };
    uint32_t next = 1;
    struct crypto_key secret;

    party_init(&p, "x", 0, 5);
    cr_assert_eq(wa_prekeys_make(&p.ks, &p.arena, &next, UPLOAD, keys), OK);
    next = WA_PREKEYS_KEPT + 1;
    cr_assert_eq(wa_prekeys_make(&p.ks, &p.arena, &next, UPLOAD, keys), OK);
    cr_assert_eq(wa_prekey_load(&p.ks, &p.arena, 32, &secret), ERR_NO_PREKEY);
    cr_assert_eq(wa_prekey_load(&p.ks, &p.arena, 800, &secret), ERR_NO_PREKEY);
    cr_assert_eq(wa_prekey_load(&p.ks, &p.arena, WA_PREKEYS_KEPT + 1, &secret), OK);
    next = 32;
    cr_assert_eq(wa_prekeys_make(&p.ks, &p.arena, &next, 1, keys), OK, "wrapped");
    cr_assert_eq(wa_prekey_load(&p.ks, &p.arena, WA_PREKEYS_KEPT + 1, &secret), OK);
    party_done(&p);
}

Test(prekey, signs_05_and_the_key)
{
    struct wa_signed_prekey made, loaded;
    uint8_t typed[WA_TYPED_KEY];

    party_init(&p, "x", 0, 6);
    wa_signed_prekey_make(&p.ks, &p.arena, 9, &made);
    cr_assert_eq(wa_signed_prekey_load(&p.ks, &p.arena, 9, &loaded), OK);
    cr_assert_eq(memcmp(&made, &loaded, sizeof(made)), 0);
    wa_key_typed(&loaded.pair.public, typed);
    cr_assert_eq(typed[0], 5);
    cr_assert(crypto_verify(&p.identity.public, SLICE_ARRAY(typed), SLICE_ARRAY(loaded.signature)));
    wa_signed_prekey_remove(&p.ks, &p.arena, 9);
    cr_assert_eq(wa_signed_prekey_load(&p.ks, &p.arena, 9, &loaded), ERR_NO_PREKEY);
    party_done(&p);
}

Test(prekey, digests_as_the_server_does)
{
    json_t *v = vectors_open("misc.json"), *d = vector_at(v, "prekey_digest");
    struct crypto_key identity, signed_prekey, one_time[3];
    uint8_t signature[CRYPTO_SIGNATURE], want[20], got[20];
    AUTO(arena) arena = {0};

    vector_bytes(d, "identity", identity.bytes, CRYPTO_KEY);
    vector_bytes(d, "signed_prekey", signed_prekey.bytes, CRYPTO_KEY);
    vector_bytes(d, "signature", signature, sizeof(signature));
    for (int i = 0; i < 3; i++) {
        char path[32];
        snprintf(path, sizeof(path), "one_time.%d", i);
        vector_bytes(d, path, one_time[i].bytes, CRYPTO_KEY);
    }
    vector_bytes(d, "sha1", want, sizeof(want));
    wa_prekey_digest(&identity, &signed_prekey, signature, one_time, 3, &arena, got);
    cr_assert_arr_eq(got, want, sizeof(want));
    json_decref(v);
}
