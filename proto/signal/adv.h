/* Signed identities of devices (ADV): how a phone vouches for its companions.
 *
 * At pairing the phone signs the companion's identity key together with details (key index, time)
 * and the companion signs back; each pkmsg of a companion carries the result, so that its readers
 * know that the device belongs to the account. Signed bytes are used as they came, never encoded
 * again. Hosted (Cloud API) accounts sign under other prefixes. Evidence: tests/vectors/adv.json.
 *
 * Pure functions over their arguments; any thread. */
#pragma once
#include "proto/signal/keystore.h"

enum { WA_ADV_SECRET = 32 };

/* ---- the companion ---- */

struct wa_adv_pairing {
    struct slice identity;         /* to keep, and to attach as <device-identity> */
    struct slice answer;           /* for <pair-device-sign>: without the account's key */
    struct crypto_key account_key; /* identity of the phone: trust it as device 0 */
    uint32_t key_index;
    bool hosted;
};

/* Checks the content of <device-identity> in pair-success and signs it with our identity.
 * BAD_MAC: hmac-mismatch. BAD_SIGNATURE: signature-mismatch. BAD_KEY: the account key is none.
 * BAD_PROTOBUF: it does not decode, or has no key index. */
err_t wa_adv_accept(const struct wa_keystore *ks, struct arena *arena,
                    const uint8_t secret[WA_ADV_SECRET], struct slice container,
                    struct wa_adv_pairing *out) MUST_CHECK;

/* ---- who reads another companion's identity ---- */

struct wa_adv_device {
    struct crypto_key account_key; /* compare it with the identity known of device 0 */
    uint32_t raw_id, key_index;
    uint64_t timestamp;
    bool hosted;
};

/* Both signatures of a <device-identity>, for the device whose identity key is `device_key`.
 * `account_key` is used when the bytes carry none; may be NULL. BAD_KEY when there is none at all,
 * BAD_SIGNATURE, BAD_PROTOBUF. */
err_t wa_adv_verify(struct arena *arena, struct slice identity, const struct crypto_key *device_key,
                    const struct crypto_key *account_key, struct wa_adv_device *out) MUST_CHECK;

/* ---- the phone (simulator) ---- */

struct wa_adv_grant {
    uint32_t raw_id, key_index;
    uint64_t timestamp;
    bool hosted;
};

/* The content of <device-identity> in pair-success; `phone` signs with its identity. */
struct slice wa_adv_issue(const struct wa_keystore *phone, struct arena *arena,
                          const uint8_t secret[WA_ADV_SECRET], const struct crypto_key *companion,
                          const struct wa_adv_grant *grant);
/* Checks the companion's answer and gives its whole identity, account key included. Companions of
 * hosted accounts sign under either prefix: both are tried. */
err_t wa_adv_finish(const struct wa_keystore *phone, struct arena *arena, struct slice answer,
                    const struct crypto_key *companion, struct slice *out_identity) MUST_CHECK;

/* ---- the list of valid companions ---- */

struct wa_key_index_list {
    uint32_t raw_id; /* changes when the account is registered anew: drop all its companions */
    uint64_t timestamp;
    uint32_t current_index;
    const uint32_t *valid;
    size_t valid_count;
};

struct slice wa_key_index_sign(const struct wa_keystore *phone, struct arena *arena,
                               const struct wa_key_index_list *list);
/* With an account key the signature is checked too (BAD_SIGNATURE); the prefix is known from one
 * source only, so clients rely on the server as the other implementations do and pass NULL. */
err_t wa_key_index_parse(struct arena *arena, struct slice bytes,
                         const struct crypto_key *account_key,
                         struct wa_key_index_list *out) MUST_CHECK;
/* Whether a listed device counts: the phone always, companions when their index is valid or newer
 * than the list. `list` NULL (none came): the phone alone. */
bool wa_key_index_allows(const struct wa_key_index_list *list, uint32_t device, bool has_index,
                         uint32_t key_index);
