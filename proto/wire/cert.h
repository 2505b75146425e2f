/* The certificate chain that the server shows in the Noise handshake: the root signs an
 * intermediate key, which signs the leaf, whose key is the server's static one.
 *
 * Pure functions, any thread. The making half serves the simulator and the tests. */
#pragma once
#include "proto/crypto/crypto.h"

/* Whom a client believes. */
struct wa_trust {
    struct crypto_key root;
    bool check_validity; /* refuse certificates that are out of date at now_s */
    int64_t now_s;       /* unix seconds */
};

/* WhatsApp's root key. */
extern const struct crypto_key wa_root_key;

/* Checks a whole CertChain message: both signatures, who issued whom, the leaf's key, the dates.
 * BAD_CERTIFICATE or BAD_PROTOBUF. */
err_t wa_cert_check(struct slice chain, const struct wa_trust *trust,
                    const struct crypto_key *server_static) MUST_CHECK;

/* ---- making ---- */

struct wa_cert {
    uint32_t serial, issuer_serial;
    struct crypto_key key;
    int64_t not_before_s, not_after_s;
};

/* A chain to be signed. wa_cert_plan fills in a good one; a test then spoils a field. */
struct wa_cert_plan {
    struct wa_cert intermediate, leaf;
    struct crypto_key root_secret, intermediate_secret; /* who signs them */
};

void wa_cert_plan(struct wa_cert_plan *plan, const struct crypto_pair *root,
                  const struct crypto_pair *intermediate, const struct crypto_key *server_static,
                  int64_t not_before_s, int64_t not_after_s);
/* Signs and appends the CertChain message. */
void wa_cert_make(const struct wa_cert_plan *plan, struct buf *out);
