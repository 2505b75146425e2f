#include "proto/wire/noise.h"

#include <criterion/criterion.h>

#include "proto/wire/frame.h"

/* A finished link between two ends. */
static void connect_ends(struct wa_transport *client, struct wa_transport *server)
{
    struct wa_noise n, same;
    struct crypto_pair a, b;

    crypto_pair_new(&a);
    crypto_pair_new(&b);
    wa_noise_init(&n, "Noise_XX_25519_AESGCM_SHA256", SLICE("x"));
    cr_assert_eq(wa_noise_mix_key(&n, &a.secret, &b.public), OK);
    same = n;
    wa_noise_split(&n, true, client);
    wa_noise_split(&same, false, server);
}

static err_t pass(struct wa_transport *from, struct wa_transport *to, const char *text)
{
    AUTO(buf) frame = {0};
    AUTO(buf) plain = {0};

    TRY(wa_transport_seal(from, slice_text(text), &frame));
    TRY(wa_transport_open(to, slice_from(buf_slice(&frame), WA_FRAME_HEAD), &plain));
    cr_assert(slice_is(buf_slice(&plain), text));
    return OK;
}

Test(noise, directions_count_alone)
{
    struct wa_transport client, server;

    connect_ends(&client, &server);
    for (int i = 0; i < 300; i++)
        cr_assert_eq(pass(&client, &server, "up"), OK);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(pass(&server, &client, ""), OK);
    cr_assert_eq(client.out.counter, 300);
    cr_assert_eq(client.in.counter, 5);
}

Test(noise, one_bad_frame_ends_the_link)
{
    for (size_t i = 0; i < 5 + CRYPTO_GCM_TAG; i++) {
        struct wa_transport client, server;
        AUTO(buf) frame = {0};
        AUTO(buf) plain = {0};

        connect_ends(&client, &server);
        cr_assert_eq(wa_transport_seal(&client, SLICE("hello"), &frame), OK);
        frame.data[WA_FRAME_HEAD + i] ^= 1;
        struct slice sealed = slice_from(buf_slice(&frame), WA_FRAME_HEAD);
        cr_assert_eq(wa_transport_open(&server, sealed, &plain), ERR_BAD_MAC);
        frame.data[WA_FRAME_HEAD + i] ^= 1;
        cr_assert_eq(wa_transport_open(&server, sealed, &plain), ERR_BAD_MAC, "final");
        cr_assert_eq(plain.len, 0);
    }
}

Test(noise, a_frame_cut_anywhere_is_refused)
{
    struct wa_transport client, server;
    AUTO(buf) frame = {0};

    connect_ends(&client, &server);
    cr_assert_eq(wa_transport_seal(&client, SLICE("hello"), &frame), OK);
    for (size_t n = 0; n < frame.len - WA_FRAME_HEAD; n++) {
        struct wa_transport fresh = server;
        AUTO(buf) plain = {0};

        cr_assert_eq(wa_transport_open(&fresh, slice_of(frame.data + WA_FRAME_HEAD, n), &plain),
                     ERR_BAD_MAC);
    }
}

Test(noise, a_replayed_frame_is_refused)
{
    struct wa_transport client, server;
    AUTO(buf) frame = {0};
    AUTO(buf) plain = {0};

    connect_ends(&client, &server);
    cr_assert_eq(wa_transport_seal(&client, SLICE("hello"), &frame), OK);
    struct slice sealed = slice_from(buf_slice(&frame), WA_FRAME_HEAD);
    cr_assert_eq(wa_transport_open(&server, sealed, &plain), OK);
    cr_assert_eq(wa_transport_open(&server, sealed, &plain), ERR_BAD_MAC);
}

Test(noise, refuses_before_a_nonce_could_come_twice)
{
    struct wa_transport client, server;
    AUTO(buf) out = {0};

    connect_ends(&client, &server);
    client.out.counter = server.in.counter = WA_CIPHER_LAST - 1;
    cr_assert_eq(pass(&client, &server, "the last"), OK);
    cr_assert_eq(wa_transport_seal(&client, SLICE("one more"), &out), ERR_COUNTER_USED_UP);
    cr_assert_eq(out.len, 0);
    cr_assert_eq(wa_transport_open(&server, SLICE("0123456789abcdef"), &out), ERR_COUNTER_USED_UP);
}

Test(noise, a_frame_too_large_is_not_begun)
{
    struct wa_transport client, server;
    AUTO(buf) plain = {0};
    AUTO(buf) out = {0};

    connect_ends(&client, &server);
    buf_extend(&plain, WA_FRAME_MAX - CRYPTO_GCM_TAG + 1);
    memset(plain.data, 0, plain.len);
    cr_assert_eq(wa_transport_seal(&client, buf_slice(&plain), &out), ERR_FRAME_TOO_LARGE);
    cr_assert_eq(client.out.counter, 0);
    plain.len--;
    cr_assert_eq(wa_transport_seal(&client, buf_slice(&plain), &out), OK);
    cr_assert_eq(out.len, WA_FRAME_HEAD + WA_FRAME_MAX);
}

Test(noise, the_pattern_and_the_prologue_enter_the_hash)
{
    struct wa_noise a, b;

    wa_noise_init(&a, "Noise_XX_25519_AESGCM_SHA256", SLICE("x"));
    wa_noise_init(&b, "Noise_XX_25519_AESGCM_SHA256", SLICE("y"));
    cr_assert(memcmp(a.hash, b.hash, 32) != 0);
    wa_noise_init(&b, "Noise_IK_25519_AESGCM_SHA256", SLICE("x"));
    cr_assert(memcmp(a.hash, b.hash, 32) != 0);
}
