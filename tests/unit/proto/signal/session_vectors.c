/* A session against the vectors, value by value. */
#include <criterion/criterion.h>

#include "tests/support/signal_party.h"
#include "tests/support/vector_keys.h"

static void vector_party(struct party *p, json_t *v, const char *name, const char *identity,
                         uint32_t registration_id)
{
    party_init(p, name, 0, 1);
    p->identity = vector_pair(v, identity);
    p->ks.registration_id = registration_id;
}

/* Prekeys 3 and 7 as the vectors have them, through the public functions and forced randomness. */
static struct wa_bundle vector_bundle(struct party *bob, json_t *v, json_t *run)
{
    struct crypto_pair spk = vector_pair(v, "bob_signed_prekey"),
                       opk = vector_pair(v, "bob_prekey");
    struct wa_prekey_public one;
    struct wa_signed_prekey made;
    uint32_t next = 7;
    struct wa_bundle b = {.registration_id = bob->ks.registration_id,
                          .identity = bob->identity.public,
                          .has_prekey = vector_bool(run, "one_time_prekey"),
                          .prekey_id = 7,
                          .prekey = opk.public,
                          .signed_prekey_id = 3,
                          .signed_prekey = spk.public};

    vector_bytes(run, "signed_prekey_signature_over_05_pub", b.signature, CRYPTO_SIGNATURE);
    party_force(bob, spk.secret.bytes);
    wa_signed_prekey_make(&bob->ks, &bob->arena, 3, &made);
    cr_assert_arr_eq(made.pair.public.bytes, spk.public.bytes, CRYPTO_KEY);
    party_force(bob, opk.secret.bytes);
    cr_assert_eq(wa_prekeys_make(&bob->ks, &bob->arena, &next, 1, &one), OK);
    cr_assert_arr_eq(one.key.bytes, opk.public.bytes, CRYPTO_KEY);
    return b;
}

static void replay_messages(json_t *v, json_t *run, struct party *alice, struct party *bob)
{
    json_t *messages = vector_at(run, "messages"), *m;
    size_t i;

    json_array_foreach(messages, i, m)
    {
        bool to_bob = strcmp(vector_text(m, "dir"), "alice to bob") == 0;
        struct party *from = to_bob ? alice : bob, *to = to_bob ? bob : alice;
        struct slice padded = vector_hex(m, "plaintext_padded", &alice->arena);
        struct wa_encrypted sent;
        struct wa_decrypted got;

        cr_assert_eq(wa_session_encrypt(&from->ks, &from->arena, &to->address, padded, &sent), OK);
        cr_assert_str_eq(sent.is_prekey ? "pkmsg" : "msg", vector_text(m, "enc_type"));
        vector_expect(m, "bytes", sent.bytes.data, sent.bytes.len);
        cr_assert_eq(wa_session_decrypt(&to->ks, &to->arena, &from->address, sent.is_prekey,
                                        sent.bytes, &got),
                     OK, "%zu: %s", i, err_trail());
        cr_assert(slice_eq(got.padded, padded));
    }
    cr_assert_gt(i, 3);
}

static void run_vector(const char *name)
{
    json_t *v = vectors_open("signal_session.json"), *run = vector_at(v, name);
    struct party alice, bob;
    bool changed = true;

    vector_party(&alice, v, "alice", "alice_identity", 286331153);
    vector_party(&bob, v, "bob", "bob_identity", 572662306);
    struct wa_bundle bundle = vector_bundle(&bob, v, run);

    party_force(&alice, vector_pair(v, "alice_base").secret.bytes);
    party_force(&alice, vector_pair(v, "alice_ratchet_1").secret.bytes);
    party_force(&alice, vector_pair(v, "alice_ratchet_2").secret.bytes);
    party_force(&bob, vector_pair(v, "bob_ratchet_1").secret.bytes);
    party_force(&bob, vector_pair(v, "bob_ratchet_2").secret.bytes);
    cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &bundle, &changed),
                 OK);
    cr_assert_not(changed);
    replay_messages(v, run, &alice, &bob);
    party_done(&alice);
    party_done(&bob);
    json_decref(v);
}

Test(session_vectors, follows_the_vector_with_a_one_time_prekey)
{
    run_vector("with_one_time_prekey");
}

Test(session_vectors, follows_the_vector_without_a_one_time_prekey)
{
    run_vector("without_one_time_prekey");
}
