/* Signed device identities as the server sees them: what a phone vouches for, what the companion
 * signs back. The phone's half is proto/signal/adv.h. Evidence: tests/vectors/adv.json. Pure
 * functions. */
#pragma once
#include "proto/crypto/crypto.h"

bool sim_adv_decodes(struct slice identity);
/* Takes details and account key out of the HMAC container; false when it does not decode. */
bool sim_adv_open_container(struct slice container, struct buf *out_details,
                            uint8_t account_key[32], uint32_t *out_key_index, bool *out_hosted);
bool sim_adv_has_details(struct slice identity, struct slice details);
/* 06 01, or for a hosted account 06 06 as whatsapp-rust has it. */
bool sim_adv_signed_by_device(struct slice identity, const uint8_t device[32],
                              const uint8_t account_key[32], bool hosted);
/* The identity with its account key, which whatsmeow and Baileys strip. */
void sim_adv_complete(struct slice identity, const uint8_t account_key[32], struct buf *out);
