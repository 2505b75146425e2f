#include <criterion/criterion.h>

#include "proto/signal/secret.h"
#include "tests/support/signal_party.h"
#include "tests/support/vectors.h"

static json_t *v;
static struct arena arena;
static struct wa_secret of;

static void start(void)
{
    v = vectors_open("misc.json");
    of.secret = vector_hex(v, "message_secret.secret", &arena);
    of.message_id = slice_text(vector_text(v, "message_secret.orig_msg_id"));
    of.author = slice_text(vector_text(v, "message_secret.orig_sender"));
    of.speaker = slice_text(vector_text(v, "message_secret.mod_sender"));
}

static void stop(void)
{
    arena_done(&arena);
    json_decref(v);
}

TestSuite(secret, .init = start, .fini = stop);

Test(secret, derives_the_keys_of_the_vector)
{
    static const struct {
        enum wa_secret_use use;
        const char *path;
    } rows[] = {
        {WA_SECRET_POLL_VOTE, "message_secret.poll_vote.key"},
        {WA_SECRET_REACTION, "message_secret.enc_reaction_key"},
        {WA_SECRET_REPORT_TOKEN, "message_secret.report_token_key"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t key[32], want[32];

        vector_bytes(v, rows[i].path, want, sizeof(want));
        cr_assert_eq(wa_secret_key(&of, rows[i].use, key), OK);
        cr_assert_arr_eq(key, want, sizeof(key), "%s", rows[i].path);
    }
}

Test(secret, opens_the_vote_of_the_vector)
{
    struct slice iv = vector_hex(v, "message_secret.poll_vote.iv", &arena);
    struct slice sealed = vector_hex(v, "message_secret.poll_vote.enc_payload", &arena);
    AUTO(buf) plain = {0};

    cr_assert_eq(wa_secret_open(&of, WA_SECRET_POLL_VOTE, iv, sealed, &plain), OK);
    cr_assert(
        slice_eq(buf_slice(&plain), vector_hex(v, "message_secret.poll_vote.plaintext", &arena)));
    for (size_t n = 0; n < sealed.len; n++)
        cr_assert_eq(wa_secret_open(&of, WA_SECRET_POLL_VOTE, iv, slice_sub(sealed, 0, n), &plain),
                     ERR_BAD_MAC);
    cr_assert_eq(wa_secret_open(&of, WA_SECRET_POLL_VOTE, slice_sub(iv, 0, 11), sealed, &plain),
                 ERR_BAD_MAC);
    of.speaker = SLICE("15550003333@s.whatsapp.net");
    cr_assert_eq(wa_secret_open(&of, WA_SECRET_POLL_VOTE, iv, sealed, &plain), ERR_BAD_MAC);
    of.secret = slice_sub(of.secret, 0, 31);
    cr_assert_eq(wa_secret_open(&of, WA_SECRET_POLL_VOTE, iv, sealed, &plain), ERR_BAD_ARGUMENT);
}

Test(secret, opens_what_it_sealed_for_the_same_use)
{
    struct party p;

    party_init(&p, "x", 0, 1);
    for (int use = 0; use < WA_SECRET_USES; use++) {
        uint8_t iv[CRYPTO_GCM_IV];
        AUTO(buf) sealed = {0};
        AUTO(buf) plain = {0};

        cr_assert_eq(wa_secret_seal(&p.ks, &of, use, SLICE("yes"), iv, &sealed), OK);
        cr_assert_eq(wa_secret_open(&of, use, SLICE_ARRAY(iv), buf_slice(&sealed), &plain), OK);
        cr_assert(slice_is(buf_slice(&plain), "yes"));
        cr_assert_eq(wa_secret_open(&of, (use + 1) % WA_SECRET_USES, SLICE_ARRAY(iv),
                                    buf_slice(&sealed), &plain),
                     ERR_BAD_MAC);
    }
    party_done(&p);
}

Test(secret, makes_the_token_of_the_vector)
{
    uint8_t token[CRYPTO_SHA256], want[CRYPTO_SHA256];

    vector_bytes(v, "cstoken.token", want, sizeof(want));
    wa_cs_token(vector_hex(v, "cstoken.nct_salt", &arena),
                slice_text(vector_text(v, "cstoken.recipient")), token);
    cr_assert_arr_eq(token, want, sizeof(want));
}
