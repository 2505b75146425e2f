/* What the Signal layer asks of its owner: rows, randomness and who we are.
 *
 * The layer keeps nothing between calls. A call loads rows, works on copies and saves what changed
 * only when everything about the message was right, so a failed call leaves no trace. All saves of
 * one call belong together (a session and the one-time prekey it used up): the owner commits them
 * in one transaction, and lets nothing made by the call out before that.
 *
 * One message costs one load and one save of the hot row (a session of 250 to 650 bytes, a sender
 * key of about 130 a state). Archived sessions and the keys of skipped messages are rows of their
 * own, touched only when they are needed; see record.h and keyblock.h.
 *
 * One thread at a time for one keystore. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/err.h"
#include "proto/crypto/crypto.h"

/* Kinds of rows. `owner` is the bare JID of the person or group (empty for our own keys), `name`
 * tells rows of one owner apart; it is printable. */
enum wa_signal_kind {
    WA_SIGNAL_SIGNED_PREKEY,  /* "", id */
    WA_SIGNAL_PREKEYS,        /* "", block number: one-time prekeys */
    WA_SIGNAL_SESSION,        /* person, device: the current session; device + ".old": archived */
    WA_SIGNAL_SKIPPED,        /* person, device + chain + slot */
    WA_SIGNAL_IDENTITY,       /* person, device */
    WA_SIGNAL_SENDER_KEY,     /* group, author + device */
    WA_SIGNAL_SENDER_SKIPPED, /* group, author + device + key id + slot */
    WA_SIGNAL_KINDS
};

struct wa_row {
    enum wa_signal_kind kind;
    struct slice owner, name;
};

struct wa_keystore {
    /* The newest value, saves of the open turn included; out->data NULL when there is none. `out`
     * lives in `arena`. */
    err_t (*load)(void *ctx, struct wa_row row, struct arena *arena, struct slice *out);
    /* value.data NULL deletes. Copies. */
    void (*save)(void *ctx, struct wa_row row, struct slice value);
    void (*random)(void *ctx, void *out, size_t n);
    void *ctx;

    const struct crypto_pair *identity; /* ours */
    uint32_t registration_id;
};

/* A device of a person: "777@lid", 5. The name is only a name, any injective scheme works. */
struct wa_address {
    struct slice name;
    uint32_t device;
    bool own; /* one of our own devices: its counter may jump further ahead */
};

/* Key pair from the keystore's randomness. */
void wa_new_pair(const struct wa_keystore *ks, struct crypto_pair *out);
/* XEdDSA with the keystore's randomness. */
void wa_sign(const struct wa_keystore *ks, const struct crypto_key *secret, struct slice message,
             uint8_t out[CRYPTO_SIGNATURE]);

/* Keys inside Signal messages and signatures: 0x05, then the key. */
enum { WA_KEY_TYPE = 0x05, WA_TYPED_KEY = 33 };
void wa_key_typed(const struct crypto_key *key, uint8_t out[WA_TYPED_KEY]);
/* What the failure `why` of reading `bytes` bytes of a peer is to the caller: BAD_MESSAGE, but what
 * is our own trouble (NO_MEMORY) stays it, or the peer would be asked for the message again. Here,
 * so that compilers see that it is not OK. */
static inline err_t wa_bad_message(err_t why, const char *what, size_t bytes)
{
    if (err_class(why) == ERR_CLASS_BROKEN) return why;
    return fail(BAD_MESSAGE, "%s of %zu bytes", what, bytes);
}
/* BAD_MESSAGE unless it is 33 bytes and the first is 0x05. */
err_t wa_key_untyped(struct slice typed, struct crypto_key *out) MUST_CHECK;
