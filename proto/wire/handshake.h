/* The client's side of the Noise XX handshake: three messages, then the link's ciphers.
 *
 *   wa_handshake_start()   writes the first message
 *   wa_handshake_answer()  reads the server's, writes the last one, gives the ciphers
 *
 * Messages are payloads of frames: the caller puts the length (and before the first the intro) in
 * front. Holds no heap memory. One owner, one thread. A failure is final: start a new link, for a
 * nonce must not come twice. */
#pragma once
#include "proto/wire/cert.h"
#include "proto/wire/noise.h"

/* A larger handshake message is refused before it is decoded. */
enum { WA_HANDSHAKE_MAX = 64 * 1024 };

enum wa_handshake_state { WA_HANDSHAKE_NEW, WA_HANDSHAKE_STARTED, WA_HANDSHAKE_OVER };

struct wa_handshake {
    enum wa_handshake_state state;
    struct wa_noise noise;
    struct crypto_pair ephemeral;
};

/* Appends the first message. `ephemeral` is a fresh pair that nobody uses again. */
void wa_handshake_start(struct wa_handshake *h, const struct crypto_pair *ephemeral,
                        struct buf *out);

/* Takes the server's message; checks its certificates; appends the last message, which carries our
 * static key and `payload` (ClientPayload). `out` and `transport` are untouched on failure:
 * BAD_HANDSHAKE, BAD_PROTOBUF, BAD_MAC, BAD_KEY, BAD_CERTIFICATE, TOO_LARGE. */
err_t wa_handshake_answer(struct wa_handshake *h, struct slice server_hello,
                          const struct wa_trust *trust, const struct crypto_pair *noise_pair,
                          struct slice payload, struct buf *out,
                          struct wa_transport *transport) MUST_CHECK;

/* Wipes the secrets; harmless at any time. */
void wa_handshake_wipe(struct wa_handshake *h);
