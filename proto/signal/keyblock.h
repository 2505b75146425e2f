/* Secrets by number, 32 to a row: one-time prekeys and the keys of skipped messages.
 *
 * A row is version 1, the number of its first secret, a bit per secret that is there, and the
 * secrets in order: at most 1,033 bytes, so that taking one out rewrites one small row whatever
 * the total is. A used secret is punched out, an empty row deleted.
 *
 * Skipped message keys sit in a ring of 64 such rows per chain; the hot row keeps one bit per slot
 * (wa_skipped.slots) that says which rows exist. So finding one is O(1), a chain holds at most 2048
 * of them, a sender that leaves out every second number costs one row of half a kilobyte a message,
 * and newer keys push out the oldest. */
#pragma once
#include "proto/signal/keystore.h"

enum { WA_BLOCK_KEYS = 32, WA_SKIPPED_SLOTS = 64, WA_SKIPPED_MAX = 2048 };

struct wa_keyblock {
    uint32_t first; /* number of keys[0], a multiple of WA_BLOCK_KEYS */
    uint32_t present;
    struct crypto_key keys[WA_BLOCK_KEYS];
};

/* Empty when there is no row. STORE_DAMAGED when it does not parse. */
err_t wa_keyblock_load(const struct wa_keystore *ks, struct arena *arena, struct wa_row row,
                       struct wa_keyblock *out) MUST_CHECK;
/* Deletes the row when nothing is left. */
void wa_keyblock_save(const struct wa_keystore *ks, struct wa_row row,
                      const struct wa_keyblock *block);
/* NULL when it is not there. */
const struct crypto_key *wa_keyblock_find(const struct wa_keyblock *block, uint32_t number);
void wa_keyblock_put(struct wa_keyblock *block, uint32_t number, const struct crypto_key *key);
void wa_keyblock_punch(struct wa_keyblock *block, uint32_t number);

/* The skipped keys of one chain. `row.name` is the chain's name; the slot is added to it. */
struct wa_skipped {
    const struct wa_keystore *ks;
    struct arena *arena;
    struct wa_row row;
    uint64_t *slots; /* in the hot row, which the caller saves afterwards */
};

/* Stores seeds of the messages from..from+n-1; of more than WA_SKIPPED_MAX only the last. */
err_t wa_skipped_add(const struct wa_skipped *s, uint32_t from, const struct crypto_key *seeds,
                     size_t n) MUST_CHECK;
/* OLD_COUNTER when it is not there: the message was read before, or is too old. */
err_t wa_skipped_find(const struct wa_skipped *s, uint32_t index,
                      struct crypto_key *out) MUST_CHECK;
err_t wa_skipped_remove(const struct wa_skipped *s, uint32_t index) MUST_CHECK;
/* Gives the rows another owner and name; the slots stay as they are. */
err_t wa_skipped_move(const struct wa_skipped *s, struct wa_row to) MUST_CHECK;
void wa_skipped_clear(const struct wa_skipped *s);
