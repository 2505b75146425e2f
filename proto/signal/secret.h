/* Message secrets: what is said about a message later (votes, answers to events, comments, edits)
 * is encrypted under a key that comes from the 32 random bytes in its MessageContextInfo, from who
 * wrote it and from who says it. Evidence: message_secret and cstoken in tests/vectors/misc.json.
 * Pure functions, any thread. */
#pragma once
#include "proto/signal/keystore.h"

enum wa_secret_use {
    WA_SECRET_POLL_VOTE,
    WA_SECRET_REACTION,
    WA_SECRET_COMMENT,
    WA_SECRET_REPORT_TOKEN,
    WA_SECRET_EVENT_RESPONSE,
    WA_SECRET_EVENT_EDIT,
    WA_SECRET_MESSAGE_EDIT,
    WA_SECRET_POLL_EDIT,
    WA_SECRET_POLL_ADD_OPTION,
    WA_SECRET_BOT_MESSAGE,
    WA_SECRET_USES
};

enum { WA_MESSAGE_SECRET = 32 };

/* JIDs are bare texts, in the address form that the message itself used. */
struct wa_secret {
    struct slice secret; /* of the message that is spoken of, WA_MESSAGE_SECRET bytes */
    struct slice message_id;
    struct slice author; /* of that message */
    struct slice speaker;
};

/* BAD_ARGUMENT when the secret has not 32 bytes. */
err_t wa_secret_key(const struct wa_secret *of, enum wa_secret_use use, uint8_t out[32]) MUST_CHECK;
/* `out` gets ciphertext and tag, `out_iv` fresh random bytes. */
err_t wa_secret_seal(const struct wa_keystore *ks, const struct wa_secret *of,
                     enum wa_secret_use use, struct slice plain, uint8_t out_iv[CRYPTO_GCM_IV],
                     struct buf *out) MUST_CHECK;
/* BAD_MAC when it was not sealed for this message by this speaker. */
err_t wa_secret_open(const struct wa_secret *of, enum wa_secret_use use, struct slice iv,
                     struct slice sealed, struct buf *out) MUST_CHECK;

/* The token that stands in for a trusted-contact token we never got; `recipient` is the LID. */
void wa_cs_token(struct slice salt, struct slice recipient, uint8_t out[CRYPTO_SHA256]);
