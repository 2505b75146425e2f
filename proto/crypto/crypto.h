/* Every primitive of the project, in terms of slices. The only folder that includes OpenSSL,
 * libsodium and libxeddsa.
 *
 * Keys are 32 bytes without the 0x05 type byte. All functions may be called by any thread after
 * crypto_start(). Lengths are fixed and asserted: they are the caller's program, not input. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"

enum {
    CRYPTO_KEY = 32,       /* X25519 private and public keys, symmetric keys */
    CRYPTO_SIGNATURE = 64, /* XEdDSA over Curve25519 keys */
    CRYPTO_SHA256 = 32,
    CRYPTO_GCM_TAG = 16,
    CRYPTO_GCM_IV = 12,
    CRYPTO_AES_BLOCK = 16,
};

/* libsodium exports these names with other meanings; for the linker ours are called differently,
 * or libsodium would call us. */
#define crypto_sign parley_crypto_sign
#define crypto_box_seal parley_crypto_box_seal
#define crypto_box_open parley_crypto_box_open

struct crypto_key {
    uint8_t bytes[CRYPTO_KEY];
};
struct crypto_pair {
    struct crypto_key secret, public;
};

/* Loads the libraries and fetches the algorithms once; call it first in main. */
void crypto_start(void);
void crypto_random(void *out, size_t n);
void crypto_wipe(void *p, size_t n);
/* Constant time. */
bool crypto_equal(struct slice a, struct slice b);

void crypto_sha256(struct slice in, uint8_t out[CRYPTO_SHA256]);
/* Several pieces as one input. */
void crypto_sha256_v(const struct slice *pieces, size_t n, uint8_t out[CRYPTO_SHA256]);
void crypto_sha1_v(const struct slice *pieces, size_t n, uint8_t out[20]);
void crypto_md5(struct slice in, uint8_t out[16]);
void crypto_hmac(struct slice key, struct slice in, uint8_t out[CRYPTO_SHA256]);
void crypto_hmac_v(struct slice key, const struct slice *pieces, size_t n,
                   uint8_t out[CRYPTO_SHA256]);
/* HKDF-SHA256; a salt of SLICE_NONE is 32 zero bytes. At most 255 * 32 bytes. */
void crypto_hkdf(struct slice secret, struct slice salt, struct slice info, uint8_t *out, size_t n);
/* PBKDF2-HMAC-SHA256; slow by purpose. */
void crypto_pbkdf2(struct slice password, struct slice salt, uint32_t rounds, uint8_t *out,
                   size_t n);

/* AES-256-GCM. `out` gets the ciphertext and the 16-byte tag behind it. */
void crypto_gcm_seal(const uint8_t key[32], const uint8_t iv[12], struct slice aad,
                     struct slice plain, struct buf *out);
/* BAD_MAC when the tag is wrong or `sealed` is shorter than it; `out` unchanged then. */
err_t crypto_gcm_open(const uint8_t key[32], const uint8_t iv[12], struct slice aad,
                      struct slice sealed, struct buf *out) MUST_CHECK;
/* AES-256-CBC with PKCS7. */
void crypto_cbc_encrypt(const uint8_t key[32], const uint8_t iv[16], struct slice plain,
                        struct buf *out);
/* BAD_PADDING on a wrong length or padding; check the MAC first. */
err_t crypto_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], struct slice cipher,
                         struct buf *out) MUST_CHECK;
/* AES-256-CTR, both ways. */
void crypto_ctr(const uint8_t key[32], const uint8_t iv[16], struct slice in, struct buf *out);

/* Curve25519. */
void crypto_pair_new(struct crypto_pair *out);
/* Clamps the 32 bytes given and derives the public key. */
void crypto_pair_from(const uint8_t secret[32], struct crypto_pair *out);
/* BAD_KEY when the result is all zero (a low-order point). */
err_t crypto_dh(const struct crypto_key *secret, const struct crypto_key *public,
                uint8_t out[32]) MUST_CHECK;
/* XEdDSA; `out` differs each time. */
void crypto_sign(const struct crypto_key *secret, struct slice message,
                 uint8_t out[CRYPTO_SIGNATURE]);
/* The same with randomness of the caller, which is hashed with secret and message first: a
 * simulation that repeats itself is still safe. */
enum { CRYPTO_SIGN_RANDOM = 64 };
void crypto_sign_with(const struct crypto_key *secret, struct slice message,
                      const uint8_t random[CRYPTO_SIGN_RANDOM], uint8_t out[CRYPTO_SIGNATURE]);
/* Accepts signatures whose byte 63 bit 7 carries the sign of the Edwards key. */
bool crypto_verify(const struct crypto_key *public, struct slice message, struct slice signature);

/* XChaCha20-Poly1305 with a random nonce in front: records at rest. `aad` binds the place. */
void crypto_box_seal(const uint8_t key[32], struct slice aad, struct slice plain, struct buf *out);
err_t crypto_box_open(const uint8_t key[32], struct slice aad, struct slice sealed,
                      struct buf *out) MUST_CHECK;
