/* Noise with Curve25519, AES-256-GCM and SHA-256 as WhatsApp speaks it: the two ciphers of a link,
 * and the state that the handshake mixes before them (handshake.h, handshake_server.h).
 *
 * A link's ciphers are its raw keys and counters, 80 bytes; the AES context is the thread's. One
 * owner, one thread at a time. */
#pragma once
#include "proto/crypto/crypto.h"

/* ---- after the handshake ---- */

/* Frames one cipher may carry. The nonce counts in 32 bits and must never come twice, so a link
 * ends long before. */
enum { WA_CIPHER_LAST = 0xf0000000u };

struct wa_cipher {
    struct crypto_key key;
    uint32_t counter;
    bool broken; /* a frame failed: the counters of both ends may differ now */
};

struct wa_transport {
    struct wa_cipher out, in;
};

/* Appends the ciphertext. COUNTER_USED_UP at the end of the counter: the link must be closed. */
err_t wa_cipher_seal(struct wa_cipher *c, struct slice plain, struct buf *out) MUST_CHECK;
/* Appends the plaintext. BAD_MAC is final: every later call fails too. */
err_t wa_cipher_open(struct wa_cipher *c, struct slice sealed, struct buf *out) MUST_CHECK;
/* A whole frame, length and ciphertext; nothing is appended on failure. */
err_t wa_transport_seal(struct wa_transport *t, struct slice plain, struct buf *out) MUST_CHECK;
static inline err_t wa_transport_open(struct wa_transport *t, struct slice sealed, struct buf *out)
{
    return wa_cipher_open(&t->in, sealed, out);
}
void wa_transport_wipe(struct wa_transport *t);

/* ---- during it ---- */

struct wa_noise {
    uint8_t hash[CRYPTO_SHA256];
    struct crypto_key chain, key;
    uint32_t counter;
    bool has_key;
};

/* `name` of the pattern, up to 32 bytes as it is, longer ones hashed. */
void wa_noise_init(struct wa_noise *n, const char *name, struct slice prologue);
void wa_noise_mix_hash(struct wa_noise *n, struct slice data);
/* Mixes DH(secret, public) into the key; BAD_KEY for a public key of low order. */
err_t wa_noise_mix_key(struct wa_noise *n, const struct crypto_key *secret,
                       const struct crypto_key *public) MUST_CHECK;
/* Appends the ciphertext and mixes it into the hash; needs a key. */
void wa_noise_encrypt(struct wa_noise *n, struct slice plain, struct buf *out);
err_t wa_noise_decrypt(struct wa_noise *n, struct slice sealed, struct buf *out) MUST_CHECK;
/* The ciphers of the finished link, seen from the client or the server; wipes the state. */
void wa_noise_split(struct wa_noise *n, bool is_client, struct wa_transport *out);
