/* Messages between two devices: X3DH to begin, then the double ratchet.
 *
 * Every call loads what it needs, works on copies and saves only when the message proved right, so
 * after an error nothing has changed. Several states may exist for one address (both sides started
 * at once, or one lost its session): all are tried, the one that fits becomes the current.
 *
 * Errors of wa_session_decrypt that call for different answers:
 *   OLD_COUNTER      the message was read before (or is hopelessly old): receipt, no retry
 *   NO_SESSION       a msg from a device we never wrote to: retry
 *   NO_PREKEY        a pkmsg names a prekey we no longer have: retry, with keys
 *   BAD_MAC          no state fits: retry
 *   FUTURE_MESSAGE   the counter jumps more than WA_JUMP_MAX: retry
 *   BAD_MESSAGE      malformed: retry
 *   BAD_KEY          a public key of low order: retry
 * and of wa_session_from_bundle: BAD_SIGNATURE, the bundle is a forgery. STORE_* come from rows. */
#pragma once
#include "proto/signal/keystore.h"

/* How far one message may run ahead of its chain. */
enum { WA_JUMP_MAX = 2000, WA_JUMP_OWN_MAX = 25000 };

/* What the server hands out to start a session. */
struct wa_bundle {
    uint32_t registration_id;
    struct crypto_key identity;
    bool has_prekey;
    uint32_t prekey_id;
    struct crypto_key prekey;
    uint32_t signed_prekey_id;
    struct crypto_key signed_prekey;
    uint8_t signature[CRYPTO_SIGNATURE];
};

/* Starts a session that sends pkmsg until the peer answers. A state that was current is archived;
 * when the identity is another than the one known, all older states are deleted instead. */
err_t wa_session_from_bundle(const struct wa_keystore *ks, struct arena *arena,
                             const struct wa_address *to, const struct wa_bundle *bundle,
                             bool *out_identity_changed) MUST_CHECK;

struct wa_encrypted {
    bool is_prekey; /* enc type pkmsg, and the stanza needs <device-identity> */
    struct slice bytes;
};
/* `padded` is what wa_pad() made. NO_SESSION when there is none. */
err_t wa_session_encrypt(const struct wa_keystore *ks, struct arena *arena,
                         const struct wa_address *to, struct slice padded,
                         struct wa_encrypted *out) MUST_CHECK;

struct wa_decrypted {
    struct slice padded;   /* for wa_unpad() */
    bool new_session;      /* the peer started it with this message */
    bool identity_changed; /* and its identity is not the one we knew */
};
err_t wa_session_decrypt(const struct wa_keystore *ks, struct arena *arena,
                         const struct wa_address *from, bool is_prekey, struct slice bytes,
                         struct wa_decrypted *out) MUST_CHECK;

struct wa_session_info {
    bool pending; /* the next message is a pkmsg */
    uint32_t registration_id;
    struct crypto_key identity;
    struct crypto_key base; /* names the session: the rule for retries compares it */
};
/* The current session; NO_SESSION when there is none. */
err_t wa_session_info(const struct wa_keystore *ks, struct arena *arena,
                      const struct wa_address *of, struct wa_session_info *out) MUST_CHECK;
/* Forgets every state of the address with its skipped keys; the identity stays. */
err_t wa_session_delete(const struct wa_keystore *ks, struct arena *arena,
                        const struct wa_address *of) MUST_CHECK;
/* A person got another address (phone number to LID): states and identity go there. What is there
 * already stays current, what comes is archived behind it. */
err_t wa_session_move(const struct wa_keystore *ks, struct arena *arena,
                      const struct wa_address *from, const struct wa_address *to) MUST_CHECK;
