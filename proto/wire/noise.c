#include "proto/wire/noise.h"

#include <assert.h>

#include "proto/wire/frame.h"

/* Eight zero bytes, then the counter. */
static void nonce_of(uint32_t counter, uint8_t out[CRYPTO_GCM_IV])
{
    memset(out, 0, CRYPTO_GCM_IV);
    for (int i = 0; i < 4; i++)
        out[CRYPTO_GCM_IV - 1 - i] = (uint8_t)(counter >> 8 * i);
}

/* ---- after the handshake ---- */

err_t wa_cipher_seal(struct wa_cipher *c, struct slice plain, struct buf *out)
{
    uint8_t nonce[CRYPTO_GCM_IV];

    ENSURE(c->counter < WA_CIPHER_LAST, COUNTER_USED_UP);
    nonce_of(c->counter++, nonce);
    crypto_gcm_seal(c->key.bytes, nonce, SLICE_NONE, plain, out);
    return OK;
}

err_t wa_cipher_open(struct wa_cipher *c, struct slice sealed, struct buf *out)
{
    uint8_t nonce[CRYPTO_GCM_IV];

    ENSURE(!c->broken, BAD_MAC);
    ENSURE(c->counter < WA_CIPHER_LAST, COUNTER_USED_UP);
    nonce_of(c->counter, nonce);
    err_t e = crypto_gcm_open(c->key.bytes, nonce, SLICE_NONE, sealed, out);
    c->broken = e != OK;
    c->counter += e == OK;
    return e;
}

err_t wa_transport_seal(struct wa_transport *t, struct slice plain, struct buf *out)
{
    size_t start = out->len;

    TRY(wa_frame_put_head(plain.len + CRYPTO_GCM_TAG, out));
    err_t e = wa_cipher_seal(&t->out, plain, out);
    if (e != OK) out->len = start;
    return e;
}

void wa_transport_wipe(struct wa_transport *t) { crypto_wipe(t, sizeof(*t)); }

/* ---- during it ---- */

void wa_noise_init(struct wa_noise *n, const char *name, struct slice prologue)
{
    struct slice text = slice_text(name);

    assert(name);
    *n = (struct wa_noise){0};
    if (text.len <= sizeof(n->hash))
        memcpy(n->hash, text.data, text.len);
    else
        crypto_sha256(text, n->hash);
    memcpy(n->chain.bytes, n->hash, sizeof(n->hash));
    wa_noise_mix_hash(n, prologue);
}

void wa_noise_mix_hash(struct wa_noise *n, struct slice data)
{
    crypto_sha256_v((struct slice[]){SLICE_ARRAY(n->hash), data}, 2, n->hash);
}

/* 64 bytes out of the chain and `secret`: two keys. */
static void expand(const struct wa_noise *n, struct slice secret, struct crypto_key out[2])
{
    crypto_hkdf(secret, SLICE_ARRAY(n->chain.bytes), SLICE_NONE, out[0].bytes,
                sizeof(struct crypto_key[2]));
}

err_t wa_noise_mix_key(struct wa_noise *n, const struct crypto_key *secret,
                       const struct crypto_key *public)
{
    uint8_t shared[CRYPTO_KEY];
    struct crypto_key keys[2];

    TRY(crypto_dh(secret, public, shared));
    expand(n, SLICE_ARRAY(shared), keys);
    n->chain = keys[0];
    n->key = keys[1];
    n->counter = 0;
    n->has_key = true;
    crypto_wipe(shared, sizeof(shared));
    crypto_wipe(keys, sizeof(keys));
    return OK;
}

void wa_noise_encrypt(struct wa_noise *n, struct slice plain, struct buf *out)
{
    uint8_t nonce[CRYPTO_GCM_IV];
    size_t start = out->len;

    assert(n->has_key);
    nonce_of(n->counter++, nonce);
    crypto_gcm_seal(n->key.bytes, nonce, SLICE_ARRAY(n->hash), plain, out);
    wa_noise_mix_hash(n, slice_from(buf_slice(out), start));
}

err_t wa_noise_decrypt(struct wa_noise *n, struct slice sealed, struct buf *out)
{
    uint8_t nonce[CRYPTO_GCM_IV];

    assert(n->has_key);
    nonce_of(n->counter, nonce);
    TRY(crypto_gcm_open(n->key.bytes, nonce, SLICE_ARRAY(n->hash), sealed, out));
    n->counter++;
    wa_noise_mix_hash(n, sealed);
    return OK;
}

void wa_noise_split(struct wa_noise *n, bool is_client, struct wa_transport *out)
{
    struct crypto_key keys[2]; /* client to server, server to client */

    expand(n, SLICE_NONE, keys);
    *out = (struct wa_transport){
        .out.key = keys[is_client ? 0 : 1],
        .in.key = keys[is_client ? 1 : 0],
    };
    crypto_wipe(keys, sizeof(keys));
    crypto_wipe(n, sizeof(*n));
}
