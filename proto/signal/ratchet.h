/* The arithmetic of Signal's version 3: X3DH, root keys, chains and message keys. No rows, no
 * state of its own. Evidence: every value in tests/vectors/signal_session.json. Any thread. */
#pragma once
#include "proto/base/err.h"
#include "proto/crypto/crypto.h"

/* A chain hands out one seed per message; the seed gives the keys of that message alone. */
struct wa_chain {
    struct crypto_key key;
    uint32_t index; /* of the next message */
};

/* Keys of one message between two people. */
struct wa_message_keys {
    uint8_t cipher[32], mac[32], iv[16];
};

enum { WA_MESSAGE_MAC = 8, WA_VERSION = 0x33 };

/* Takes the seed of message chain->index and steps the chain. */
void wa_chain_step(struct wa_chain *chain, struct crypto_key *out_seed);
void wa_message_keys(const struct crypto_key *seed, struct wa_message_keys *out);

/* The initiator's half: our identity and base keys with the bundle; `one_time` may be NULL.
 * Gives the first root key. BAD_KEY when a key of theirs is of low order. */
err_t wa_x3dh_initiate(const struct crypto_pair *identity, const struct crypto_pair *base,
                       const struct crypto_key *their_identity,
                       const struct crypto_key *their_signed,
                       const struct crypto_key *their_one_time,
                       struct crypto_key *out_root) MUST_CHECK;
/* The other half, from the keys named in the first message. */
err_t wa_x3dh_respond(const struct crypto_pair *identity, const struct crypto_key *signed_secret,
                      const struct crypto_key *one_time_secret,
                      const struct crypto_key *their_identity, const struct crypto_key *their_base,
                      struct crypto_key *out_root) MUST_CHECK;
/* Mixes a new Diffie-Hellman result into the root: the next root and a fresh chain. */
err_t wa_root_step(struct crypto_key *root, const struct crypto_key *ours,
                   const struct crypto_key *theirs, struct wa_chain *out) MUST_CHECK;

/* The first 8 bytes of HMAC over both identities (sender first) and the version byte with the
 * message behind it. */
void wa_message_mac(const uint8_t mac_key[32], const struct crypto_key *sender,
                    const struct crypto_key *receiver, struct slice versioned,
                    uint8_t out[WA_MESSAGE_MAC]);
