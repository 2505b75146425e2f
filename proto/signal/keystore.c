#include "proto/signal/keystore.h"

void wa_new_pair(const struct wa_keystore *ks, struct crypto_pair *out)
{
    uint8_t secret[CRYPTO_KEY];

    ks->random(ks->ctx, secret, sizeof(secret));
    crypto_pair_from(secret, out);
    crypto_wipe(secret, sizeof(secret));
}

void wa_sign(const struct wa_keystore *ks, const struct crypto_key *secret, struct slice message,
             uint8_t out[CRYPTO_SIGNATURE])
{
    uint8_t random[CRYPTO_SIGN_RANDOM];

    ks->random(ks->ctx, random, sizeof(random));
    crypto_sign_with(secret, message, random, out);
    crypto_wipe(random, sizeof(random));
}

void wa_key_typed(const struct crypto_key *key, uint8_t out[WA_TYPED_KEY])
{
    out[0] = WA_KEY_TYPE;
    memcpy(out + 1, key->bytes, CRYPTO_KEY);
}

err_t wa_key_untyped(struct slice typed, struct crypto_key *out)
{
    ENSURE(typed.len == WA_TYPED_KEY && typed.data[0] == WA_KEY_TYPE, BAD_MESSAGE);
    memcpy(out->bytes, typed.data + 1, CRYPTO_KEY);
    return OK;
}
