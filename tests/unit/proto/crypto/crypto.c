#include "proto/crypto/crypto.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "tests/support/vectors.h"

/* libxeddsa as the second opinion on XEdDSA; its own header cannot be included. */
extern void ed25519_priv_sign(uint8_t *, const uint8_t *, const uint8_t *, const uint32_t,
                              const uint8_t *);
extern int ed25519_verify(const uint8_t *, const uint8_t *, const uint8_t *, const uint32_t);
extern void curve25519_pub_to_ed25519_pub(uint8_t *, const uint8_t *, const bool);
extern void priv_to_ed25519_pub(uint8_t *, const uint8_t *);

static struct slice hex(const char *text, struct arena *a)
{
    AUTO(buf) b = {0};

    cr_assert_eq(text_unhex(slice_text(text), &b), OK);
    return arena_dup(a, slice_of(buf_text(&b), b.len));
}

static void assert_hex(const void *got, size_t n, const char *expected)
{
    AUTO(arena) a = {0};

    cr_assert(slice_eq(slice_of(got, n), hex(expected, &a)), "%s", expected);
}

/* ---- hashes ---- */

Test(crypto, hashes_as_the_standards_say)
{
    uint8_t out[32];
    struct slice pieces[] = {SLICE("a"), SLICE_NONE, SLICE("bc")};

    crypto_sha256(SLICE("abc"), out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256_v(pieces, 3, out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(SLICE_NONE, out);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha1_v(pieces, 3, out);
    assert_hex(out, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
    crypto_md5(SLICE("abc"), out);
    assert_hex(out, 16, "900150983cd24fb0d6963f7d28e17f72");
}

/* RFC 4231, cases 2 and 6 (a key longer than a block). */
Test(crypto, hmac_as_the_rfc_says)
{
    uint8_t out[32], long_key[131];

    crypto_hmac(SLICE("Jefe"), SLICE("what do ya want for nothing?"), out);
    assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(long_key, 0xaa, sizeof(long_key));
    crypto_hmac(SLICE_ARRAY(long_key),
                SLICE("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* RFC 5869, cases 1 and 3. */
Test(crypto, hkdf_as_the_rfc_says)
{
    AUTO(arena) a = {0};
    uint8_t ikm[22], out[42];

    memset(ikm, 0x0b, sizeof(ikm));
    crypto_hkdf(SLICE_ARRAY(ikm), hex("000102030405060708090a0b0c", &a),
                hex("f0f1f2f3f4f5f6f7f8f9", &a), out, 42);
    assert_hex(out, 42,
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
               "34007208d5b887185865");
    crypto_hkdf(SLICE_ARRAY(ikm), SLICE_NONE, SLICE_NONE, out, 42);
    assert_hex(out, 42,
               "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
               "9d201395faa4b61a96c8");
}

/* ---- ciphers ---- */

/* Case 16 of the GCM paper. */
Test(crypto, gcm_as_the_paper_says_and_nothing_else_opens)
{
    AUTO(arena) a = {0};
    AUTO(buf) sealed = {0};
    AUTO(buf) opened = {0};
    struct slice key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", &a);
    struct slice iv = hex("cafebabefacedbaddecaf888", &a);
    struct slice aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2", &a);
    struct slice plain = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24"
        "49a6b525b16aedf5aa0de657ba637b39",
        &a);

    crypto_gcm_seal(key.data, iv.data, aad, plain, &sealed);
    assert_hex(
        sealed.data, sealed.len,
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b"
        "1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
    cr_assert_eq(crypto_gcm_open(key.data, iv.data, aad, buf_slice(&sealed), &opened), OK);
    cr_assert(slice_eq(buf_slice(&opened), plain));

    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] ^= 1;
        cr_assert_eq(crypto_gcm_open(key.data, iv.data, aad, buf_slice(&sealed), &opened),
                     ERR_BAD_MAC);
        sealed.data[i] ^= 1;
        cr_assert_eq(crypto_gcm_open(key.data, iv.data, aad, slice_of(sealed.data, i), &opened),
                     ERR_BAD_MAC);
    }
    cr_assert_eq(crypto_gcm_open(key.data, iv.data, SLICE("x"), buf_slice(&sealed), &opened),
                 ERR_BAD_MAC);
    cr_assert_eq(opened.len, plain.len, "failures append nothing");
}

/* NIST SP 800-38A, F.2.5 and F.5.5. */
Test(crypto, cbc_and_ctr_as_nist_says)
{
    AUTO(arena) a = {0};
    AUTO(buf) out = {0};
    struct slice key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", &a);
    struct slice plain = hex("6bc1bee22e409f96e93d7e117393172a", &a);

    crypto_cbc_encrypt(key.data, hex("000102030405060708090a0b0c0d0e0f", &a).data, plain, &out);
    cr_assert_eq(out.len, 32);
    assert_hex(out.data, 16, "f58c4c04d6e5f1ba779eabfb5f7bfbd6");
    buf_reset(&out);
    crypto_ctr(key.data, hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", &a).data, plain, &out);
    assert_hex(out.data, 16, "601ec313775789a5b7a7f504bbf3d228");
}

Test(crypto, cbc_decrypts_every_length_and_refuses_broken_padding)
{
    const uint8_t key[32] = {1}, iv[16] = {2};
    uint8_t plain[64] = {3};

    for (size_t n = 0; n <= sizeof(plain); n++) {
        AUTO(buf) cipher = {0};
        AUTO(buf) back = {0};

        crypto_cbc_encrypt(key, iv, slice_of(plain, n), &cipher);
        cr_assert_eq(cipher.len, n / 16 * 16 + 16);
        cr_assert_eq(crypto_cbc_decrypt(key, iv, buf_slice(&cipher), &back), OK);
        cr_assert(slice_eq(buf_slice(&back), slice_of(plain, n)));
        for (size_t cut = 0; cut < cipher.len; cut++)
            if (cut % 16 || cut == 0)
                cr_assert_eq(crypto_cbc_decrypt(key, iv, slice_of(cipher.data, cut), &back),
                             ERR_BAD_PADDING);
    }
    AUTO(buf) cipher = {0};
    AUTO(buf) back = {0};
    crypto_cbc_encrypt(key, iv, slice_of(plain, 5), &cipher);
    cr_assert_eq(
        crypto_cbc_decrypt(key, (const uint8_t[16]){2, [15] = 1}, buf_slice(&cipher), &back),
        ERR_BAD_PADDING);
    cr_assert_eq(back.len, 0);
}

/* ---- curve ---- */

/* RFC 7748, 5.2 and 6.1. */
Test(crypto, agrees_on_a_secret_as_the_rfc_says)
{
    AUTO(arena) a = {0};
    struct crypto_pair alice, bob;
    struct crypto_key scalar, u;
    uint8_t one[32], two[32];

    memcpy(scalar.bytes,
           hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", &a).data, 32);
    memcpy(u.bytes,
           hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", &a).data, 32);
    cr_assert_eq(crypto_dh(&scalar, &u, one), OK);
    assert_hex(one, 32, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");

    crypto_pair_from(
        hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", &a).data, &bob);
    assert_hex(bob.public.bytes, 32,
               "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    crypto_pair_new(&alice);
    cr_assert_eq(crypto_dh(&alice.secret, &bob.public, one), OK);
    cr_assert_eq(crypto_dh(&bob.secret, &alice.public, two), OK);
    cr_assert(crypto_equal(SLICE_ARRAY(one), SLICE_ARRAY(two)));
}

/* The ladder from the base point of the RFC, 9, says the same as the way over Ed25519's tables. */
Test(crypto, public_keys_are_multiples_of_nine)
{
    enum { RANDOMS = 500 };
    static const struct crypto_key nine = {.bytes = {9}};
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

    for (size_t i = 0; i < RANDOMS + ARRAY_LEN(edges); i++) {
        struct crypto_pair pair;
        uint8_t secret[CRYPTO_KEY], expected[CRYPTO_KEY];

        if (i < RANDOMS)
            crypto_random(secret, sizeof(secret));
        else
            memset(secret, edges[i - RANDOMS], sizeof(secret));
        crypto_pair_from(secret, &pair);
        cr_assert_eq(crypto_dh(&pair.secret, &nine, expected), OK);
        cr_assert_arr_eq(pair.public.bytes, expected, CRYPTO_KEY);
    }
}

Test(crypto, refuses_points_of_low_order)
{
    struct crypto_pair pair;
    struct crypto_key zero = {{0}}, one = {{1}};
    uint8_t out[32] = {9};

    crypto_pair_new(&pair);
    cr_assert_eq(crypto_dh(&pair.secret, &zero, out), ERR_BAD_KEY);
    cr_assert_eq(crypto_dh(&pair.secret, &one, out), ERR_BAD_KEY);
    cr_assert_eq(out[0], 9, "untouched on failure");
}

Test(crypto, signatures_verify_here_and_in_libxeddsa)
{
    uint8_t message[200];

    crypto_start();
    for (size_t n = 0; n < sizeof(message); n++) {
        struct crypto_pair pair;
        uint8_t signature[64], plain[64], edwards[32];

        crypto_pair_new(&pair);
        crypto_random(message, sizeof(message));
        crypto_sign(&pair.secret, slice_of(message, n), signature);
        cr_assert(crypto_verify(&pair.public, slice_of(message, n), SLICE_ARRAY(signature)));

        memcpy(plain, signature, 64);
        plain[63] &= 0x7f;
        curve25519_pub_to_ed25519_pub(edwards, pair.public.bytes, signature[63] >> 7);
        cr_assert_eq(ed25519_verify(plain, edwards, message, (uint32_t)n), 0);

        crypto_random(edwards, sizeof(edwards));
        uint8_t nonce[64];
        crypto_random(nonce, sizeof(nonce));
        ed25519_priv_sign(plain, pair.secret.bytes, message, (uint32_t)n, nonce);
        priv_to_ed25519_pub(edwards, pair.secret.bytes);
        plain[63] |= edwards[31] & 0x80;
        cr_assert(crypto_verify(&pair.public, slice_of(message, n), SLICE_ARRAY(plain)));
    }
}

Test(crypto, no_tampered_signature_verifies)
{
    struct crypto_pair pair, other;
    struct slice message = SLICE("the message");
    uint8_t signature[64];

    crypto_pair_new(&pair);
    crypto_pair_new(&other);
    crypto_sign(&pair.secret, message, signature);
    for (size_t bit = 0; bit < 8 * sizeof(signature); bit++) {
        signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert(!crypto_verify(&pair.public, message, SLICE_ARRAY(signature)), "bit %zu", bit);
        signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < sizeof(signature); n++)
        cr_assert(!crypto_verify(&pair.public, message, slice_of(signature, n)));
    cr_assert(!crypto_verify(&other.public, message, SLICE_ARRAY(signature)));
    cr_assert(!crypto_verify(&pair.public, SLICE("the massage"), SLICE_ARRAY(signature)));
}

Test(crypto, verifies_the_signatures_of_other_implementations)
{
    AUTO(arena) a = {0};
    json_t *adv = vectors_open("adv.json");
    struct crypto_key phone, companion;

    vector_bytes(adv, "phone_identity.pub", phone.bytes, 32);
    vector_bytes(adv, "companion_identity.pub", companion.bytes, 32);
    for (int i = 0; i < 2; i++) {
        json_t *row = vector_at(adv, i ? "hosted" : "e2ee");
        char path[64];

        snprintf(path, sizeof(path), "device_signature_message_%s",
                 vector_text(row, "device_signature_over"));
        cr_assert(crypto_verify(&phone, vector_hex(row, "account_signature_message", &a),
                                vector_hex(row, "account_signature", &a)));
        cr_assert(crypto_verify(&companion, vector_hex(row, path, &a),
                                vector_hex(row, "device_signature_example", &a)));
    }
    json_decref(adv);
}

/* Every primitive of a real flow: linking with a code. */
Test(crypto, computes_the_code_pairing_of_the_vector)
{
    AUTO(arena) a = {0};
    AUTO(buf) wrapped = {0};
    json_t *v = vectors_open("pair_code.json");
    struct slice salt = vector_hex(v, "salt_companion", &a), iv = vector_hex(v, "iv_companion", &a);
    struct crypto_pair companion, identity;
    struct crypto_key primary, primary_identity;
    uint8_t key[32], secrets[96];

    crypto_pbkdf2(slice_text(vector_text(v, "code")), salt, 131072, key, 32);
    assert_hex(key, 32, vector_text(v, "pbkdf2_companion"));
    crypto_pair_from(vector_hex(v, "companion_ephemeral.priv", &a).data, &companion);
    crypto_pair_from(vector_hex(v, "companion_identity.priv", &a).data, &identity);
    buf_put(&wrapped, salt);
    buf_put(&wrapped, iv);
    crypto_ctr(key, iv.data, SLICE_ARRAY(companion.public.bytes), &wrapped);
    assert_hex(wrapped.data, wrapped.len, vector_text(v, "wrapped_companion_ephemeral"));

    vector_bytes(v, "primary_ephemeral.pub", primary.bytes, 32);
    vector_bytes(v, "primary_identity.pub", primary_identity.bytes, 32);
    cr_assert_eq(crypto_dh(&companion.secret, &primary, secrets), OK);
    cr_assert_eq(crypto_dh(&identity.secret, &primary_identity, secrets + 32), OK);
    vector_bytes(v, "adv_random", secrets + 64, 32);
    crypto_hkdf(SLICE_ARRAY(secrets), SLICE_NONE, SLICE("adv_secret"), key, 32);
    assert_hex(key, 32, vector_text(v, "adv_secret"));
    json_decref(v);
}

/* ---- records at rest, threads ---- */

Test(crypto, a_box_opens_only_in_its_place)
{
    const uint8_t key[32] = {7}, other[32] = {8};
    AUTO(buf) sealed = {0};
    AUTO(buf) opened = {0};

    crypto_box_seal(key, SLICE("place"), SLICE("secret"), &sealed);
    cr_assert_eq(crypto_box_open(key, SLICE("place"), buf_slice(&sealed), &opened), OK);
    cr_assert(slice_is(buf_slice(&opened), "secret"));
    cr_assert_eq(crypto_box_open(key, SLICE("elsewhere"), buf_slice(&sealed), &opened),
                 ERR_BAD_MAC);
    cr_assert_eq(crypto_box_open(other, SLICE("place"), buf_slice(&sealed), &opened), ERR_BAD_MAC);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] ^= 0x80;
        cr_assert_eq(crypto_box_open(key, SLICE("place"), buf_slice(&sealed), &opened),
                     ERR_BAD_MAC);
        sealed.data[i] ^= 0x80;
        cr_assert_eq(crypto_box_open(key, SLICE("place"), slice_of(sealed.data, i), &opened),
                     ERR_BAD_MAC);
    }
    cr_assert_eq(opened.len, 6);
}

static void *work(void *failed)
{
    for (int i = 0; i < 200; i++) {
        const uint8_t key[32] = {(uint8_t)i}, iv[16] = {0};
        AUTO(buf) sealed = {0};
        AUTO(buf) opened = {0};
        uint8_t mac[32], again[32];

        crypto_gcm_seal(key, iv, SLICE_NONE, SLICE("hello"), &sealed);
        if (crypto_gcm_open(key, iv, SLICE_NONE, buf_slice(&sealed), &opened) != OK)
            *(bool *)failed = true;
        crypto_hmac(SLICE_ARRAY(key), SLICE("x"), mac);
        crypto_hmac(SLICE_ARRAY(key), SLICE("x"), again);
        if (memcmp(mac, again, 32) != 0) *(bool *)failed = true;
    }
    return NULL;
}

Test(crypto, threads_do_not_disturb_each_other)
{
    pthread_t threads[4];
    bool failed[4] = {false};

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, work, &failed[i]);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        cr_assert(!failed[i]);
    }
}

static int by_bytes(const void *a, const void *b) { return memcmp(a, b, 16); }

Test(crypto, small_randoms_never_come_twice)
{
    enum { DRAWS = 2000 };
    static uint8_t drawn[DRAWS][16];

    for (int i = 0; i < DRAWS; i++) {
        uint8_t odd[7];
        crypto_random(drawn[i], sizeof(drawn[i]));
        crypto_random(odd, (size_t)i % sizeof(odd)); /* the pool ends at other places */
    }
    qsort(drawn, DRAWS, sizeof(drawn[0]), by_bytes);
    for (int i = 1; i < DRAWS; i++)
        cr_assert_neq(memcmp(drawn[i - 1], drawn[i], 16), 0);
}

Test(crypto, a_child_draws_other_randoms_than_its_parent)
{
    uint8_t ours[16], theirs[16];
    int ends[2];

    crypto_random(ours, sizeof(ours)); /* the pool is filled */
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        crypto_random(ours, sizeof(ours));
        _exit(write(ends[1], ours, sizeof(ours)) != sizeof(ours));
    }
    crypto_random(ours, sizeof(ours));
    cr_assert_eq(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_expect_neq(memcmp(ours, theirs, sizeof(ours)), 0);
}
