#include "proto/signal/ratchet.h"

#include "proto/signal/keystore.h"

void wa_chain_step(struct wa_chain *chain, struct crypto_key *out_seed)
{
    struct slice key = SLICE_ARRAY(chain->key.bytes);
    struct crypto_key next;

    crypto_hmac(key, SLICE("\x01"), out_seed->bytes);
    crypto_hmac(key, SLICE("\x02"), next.bytes);
    chain->key = next;
    chain->index++;
}

void wa_message_keys(const struct crypto_key *seed, struct wa_message_keys *out)
{
    uint8_t all[sizeof(*out)];

    crypto_hkdf(SLICE_ARRAY(seed->bytes), SLICE_NONE, SLICE("WhisperMessageKeys"), all,
                sizeof(all));
    memcpy(out->cipher, all, 32);
    memcpy(out->mac, all + 32, 32);
    memcpy(out->iv, all + 64, 16);
    crypto_wipe(all, sizeof(all));
}

/* The chain half of the result is used by nobody: both sides step the root before they write. */
static void root_of(const uint8_t *secrets, size_t n, struct crypto_key *out_root)
{
    uint8_t both[64];

    crypto_hkdf(slice_of(secrets, n), SLICE_NONE, SLICE("WhisperText"), both, sizeof(both));
    memcpy(out_root->bytes, both, CRYPTO_KEY);
    crypto_wipe(both, sizeof(both));
}

struct exchange {
    const struct crypto_key *ours, *theirs;
};

/* 32 times 0xff, then the Diffie-Hellman results in order. */
static err_t agree(const struct exchange *exchanges, size_t n, struct crypto_key *out_root)
{
    uint8_t secrets[5 * CRYPTO_KEY];
    err_t e = OK;

    memset(secrets, 0xff, CRYPTO_KEY);
    for (size_t i = 0; i < n && e == OK; i++)
        e = crypto_dh(exchanges[i].ours, exchanges[i].theirs, secrets + (i + 1) * CRYPTO_KEY);
    if (e == OK) root_of(secrets, (n + 1) * CRYPTO_KEY, out_root);
    crypto_wipe(secrets, sizeof(secrets));
    return e;
}

err_t wa_x3dh_initiate(const struct crypto_pair *identity, const struct crypto_pair *base,
                       const struct crypto_key *their_identity,
                       const struct crypto_key *their_signed,
                       const struct crypto_key *their_one_time, struct crypto_key *out_root)
{
    const struct exchange exchanges[] = {
        {&identity->secret, their_signed},
        {&base->secret, their_identity},
        {&base->secret, their_signed},
        {&base->secret, their_one_time},
    };
    return agree(exchanges, their_one_time ? 4 : 3, out_root);
}

err_t wa_x3dh_respond(const struct crypto_pair *identity, const struct crypto_key *signed_secret,
                      const struct crypto_key *one_time_secret,
                      const struct crypto_key *their_identity, const struct crypto_key *their_base,
                      struct crypto_key *out_root)
{
    const struct exchange exchanges[] = {
        {signed_secret, their_identity},
        {&identity->secret, their_base},
        {signed_secret, their_base},
        {one_time_secret, their_base},
    };
    return agree(exchanges, one_time_secret ? 4 : 3, out_root);
}

err_t wa_root_step(struct crypto_key *root, const struct crypto_key *ours,
                   const struct crypto_key *theirs, struct wa_chain *out)
{
    uint8_t shared[CRYPTO_KEY], both[64];

    TRY(crypto_dh(ours, theirs, shared));
    crypto_hkdf(SLICE_ARRAY(shared), SLICE_ARRAY(root->bytes), SLICE("WhisperRatchet"), both,
                sizeof(both));
    memcpy(root->bytes, both, CRYPTO_KEY);
    memcpy(out->key.bytes, both + CRYPTO_KEY, CRYPTO_KEY);
    out->index = 0;
    crypto_wipe(shared, sizeof(shared));
    crypto_wipe(both, sizeof(both));
    return OK;
}

void wa_message_mac(const uint8_t mac_key[32], const struct crypto_key *sender,
                    const struct crypto_key *receiver, struct slice versioned,
                    uint8_t out[WA_MESSAGE_MAC])
{
    uint8_t from[WA_TYPED_KEY], to[WA_TYPED_KEY], full[CRYPTO_SHA256];

    wa_key_typed(sender, from);
    wa_key_typed(receiver, to);
    crypto_hmac_v(slice_of(mac_key, 32),
                  (struct slice[]){SLICE_ARRAY(from), SLICE_ARRAY(to), versioned}, 3, full);
    memcpy(out, full, WA_MESSAGE_MAC);
}
