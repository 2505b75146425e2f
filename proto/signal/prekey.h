/* Our own prekeys: what others start sessions with while we are away.
 *
 * One-time keys are made in runs, numbered by a counter of the owner (24 bits, from 1, wrapping),
 * and stored 32 to a row as secrets alone; a used one is punched out by the session that used it.
 * Signed prekeys are rows; the owner decides when to rotate and how many generations to keep. */
#pragma once
#include "proto/signal/keyblock.h"

enum {
    WA_PREKEY_ID_MAX = 0xffffff,
    WA_PREKEYS_KEPT = 65536, /* ids behind the newest one whose keys are still there */
};

struct wa_signed_prekey {
    uint32_t id;
    struct crypto_pair pair;
    uint8_t signature[CRYPTO_SIGNATURE]; /* by our identity over 05 || public key */
};

struct wa_prekey_public {
    uint32_t id;
    struct crypto_key key;
};

/* The id behind `id`: 1 after the last. */
uint32_t wa_prekey_next(uint32_t id);

/* Makes and saves `n` one-time keys from id *next on and moves *next behind them. An id whose key
 * is still there is passed over. `out` takes n public keys. BAD_ARGUMENT when n is above 65,536. */
err_t wa_prekeys_make(const struct wa_keystore *ks, struct arena *arena, uint32_t *next, size_t n,
                      struct wa_prekey_public *out) MUST_CHECK;
/* The public keys still there among the `n` ids from `from` on (an upload that is repeated, or
 * the digest); each costs a curve multiplication. `out` has room for n. */
err_t wa_prekeys_read(const struct wa_keystore *ks, struct arena *arena, uint32_t from, size_t n,
                      struct wa_prekey_public *out, size_t *out_count) MUST_CHECK;
/* NO_PREKEY when it was used or never made. */
err_t wa_prekey_load(const struct wa_keystore *ks, struct arena *arena, uint32_t id,
                     struct crypto_key *out_secret) MUST_CHECK;
err_t wa_prekey_remove(const struct wa_keystore *ks, struct arena *arena, uint32_t id) MUST_CHECK;

/* Makes, signs and saves. */
void wa_signed_prekey_make(const struct wa_keystore *ks, struct arena *arena, uint32_t id,
                           struct wa_signed_prekey *out);
/* NO_PREKEY when there is none with this id. */
err_t wa_signed_prekey_load(const struct wa_keystore *ks, struct arena *arena, uint32_t id,
                            struct wa_signed_prekey *out) MUST_CHECK;
void wa_signed_prekey_remove(const struct wa_keystore *ks, struct arena *arena, uint32_t id);

/* What the server answers to a digest query: SHA-1 over identity, signed prekey, its signature and
 * the public one-time keys in the order listed. */
void wa_prekey_digest(const struct crypto_key *identity, const struct crypto_key *signed_prekey,
                      const uint8_t signature[CRYPTO_SIGNATURE], const struct crypto_key *one_time,
                      size_t n, struct arena *arena, uint8_t out[20]);
