/* The server's side of the handshake, for the simulator and the tests: XX, the IK resumption of
 * clients that know our static key, and XXfallback, which declines it.
 *
 *   wa_server_hello()   reads the client's first message, writes ours
 *   wa_server_finish()  reads its last one; not called after an accepted IK
 *
 * One owner, one thread. A failure is final. */
#pragma once
#include "proto/wire/handshake.h"

/* Who the server is; borrowed during a call. */
struct wa_server_keys {
    struct crypto_pair static_pair;
    struct slice chain; /* CertChain message, see cert.h */
    bool decline_ik;    /* answer every IK with XXfallback */
};

enum wa_pattern { WA_PATTERN_XX, WA_PATTERN_IK, WA_PATTERN_XXFALLBACK };

struct wa_server_handshake {
    enum wa_handshake_state state;
    enum wa_pattern pattern;
    struct wa_noise noise;
    struct crypto_pair ephemeral;
};

/* What is known of the client when the handshake is over. */
struct wa_server_result {
    struct crypto_key client_static;
    struct buf payload; /* ClientPayload */
    struct wa_transport transport;
};
void wa_server_result_done(struct wa_server_result *r);

/* {0} is a handshake that has not begun. Appends our message. An IK hello that we accept ends the
 * handshake at once: `*over` is set and `result` filled. An IK hello made for another static key
 * is declined. */
err_t wa_server_hello(struct wa_server_handshake *h, const struct wa_server_keys *keys,
                      const struct crypto_pair *ephemeral, struct slice client_hello,
                      struct buf *out, bool *over, struct wa_server_result *result) MUST_CHECK;
err_t wa_server_finish(struct wa_server_handshake *h, struct slice client_finish,
                       struct wa_server_result *result) MUST_CHECK;
