/* Identity keys of other devices: trust on first use. A changed key is reported and replaces the
 * old one; what to tell the user is the caller's business. */
#pragma once
#include "proto/signal/keystore.h"

err_t wa_identity_load(const struct wa_keystore *ks, struct arena *arena,
                       const struct wa_address *of, struct crypto_key *out,
                       bool *out_found) MUST_CHECK;
/* Stores `key`; out_changed is true when another one was known. */
err_t wa_identity_trust(const struct wa_keystore *ks, struct arena *arena,
                        const struct wa_address *of, const struct crypto_key *key,
                        bool *out_changed) MUST_CHECK;
void wa_identity_delete(const struct wa_keystore *ks, struct arena *arena,
                        const struct wa_address *of);
