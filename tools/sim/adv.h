/* Signed device identities as the server and the phone see them: made by the phone, countersigned
 * by the companion. Evidence: tests/vectors/adv.json. Pure functions. */
#pragma once
#include "proto/crypto/crypto.h"

/* What a phone says about a companion. */
struct sim_adv {
    uint32_t raw_id, key_index;
    uint64_t timestamp; /* s */
    bool hosted;
};

/* ---- the phone's side ---- */
/* AdvSignedDeviceIdentityHmac for the companion with this identity key and ADV secret. */
void sim_adv_make(const struct sim_adv *adv, const struct crypto_pair *phone,
                  const uint8_t companion[32], struct slice secret, struct buf *out);
/* AdvSignedKeyIndexList over the indexes that are valid now. */
void sim_adv_indexes(const struct sim_adv *adv, const struct crypto_pair *phone,
                     const uint32_t *valid, size_t n, struct buf *out);

/* ---- the server's side ---- */
bool sim_adv_decodes(struct slice identity);
/* Takes details and account key out of the HMAC container; false when it does not decode. */
bool sim_adv_open_container(struct slice container, struct buf *out_details, uint8_t account_key[32],
                            uint32_t *out_key_index, bool *out_hosted);
bool sim_adv_has_details(struct slice identity, struct slice details);
/* 06 01, or for a hosted account 06 06 as whatsapp-rust has it. */
bool sim_adv_signed_by_device(struct slice identity, const uint8_t device[32],
                              const uint8_t account_key[32], bool hosted);
/* The identity with its account key, which whatsmeow and Baileys strip. */
void sim_adv_complete(struct slice identity, const uint8_t account_key[32], struct buf *out);
