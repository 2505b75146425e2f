/* What both sides of the handshake share: its messages, and texts of the patterns. */
#pragma once
#include "proto/schema/handshake.pb-c.h"
#include "proto/wire/frame.h"
#include "proto/wire/handshake.h"

#define WA_NOISE_XX "Noise_XX_25519_AESGCM_SHA256"
#define WA_NOISE_IK "Noise_IK_25519_AESGCM_SHA256"
#define WA_NOISE_XXFALLBACK "Noise_XXfallback_25519_AESGCM_SHA256"

/* A static key on the wire. */
enum { WA_SEALED_KEY = CRYPTO_KEY + CRYPTO_GCM_TAG };

/* NULL when there is none. */
void wa_handshake_message_free(Wa__HandshakeMessage **m);
#define AUTO_MESSAGE __attribute__((cleanup(wa_handshake_message_free))) Wa__HandshakeMessage

err_t wa_handshake_message_read(struct slice in, Wa__HandshakeMessage **out) MUST_CHECK;
void wa_handshake_message_put(const Wa__HandshakeMessage *m, struct buf *out);

static inline struct slice wa_pb_slice(ProtobufCBinaryData b)
{
    return slice_of(b.len ? b.data : (const uint8_t *)"", b.len);
}
static inline ProtobufCBinaryData wa_pb_bytes(struct slice s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)s.data};
}
/* A field that must hold a key; BAD_HANDSHAKE otherwise. */
err_t wa_handshake_key(bool has, ProtobufCBinaryData field, struct crypto_key *out) MUST_CHECK;
/* Decrypts a static key. */
err_t wa_handshake_open_key(struct wa_noise *n, bool has, ProtobufCBinaryData field,
                            struct crypto_key *out) MUST_CHECK;
