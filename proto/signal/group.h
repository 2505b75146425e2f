/* Group messages: each author has a sender key per group, told to every device in a pairwise
 * message and stepped once a message.
 *
 *   SENDER_KEY     group, "777@lid.5"              at most 5 states, newest first, about 130 bytes
 *                                                  each; ours holds the signing secret as well
 *   SENDER_SKIPPED group, "777@lid.5.<id>.<slot>"  see keyblock.h
 *
 * Baileys steps its key twice a message, so its readers skip every second number: that costs one
 * small row a message and never more than 64 rows an author.
 *
 * Errors of wa_group_decrypt: NO_SENDER_KEY (ask for it by a retry), BAD_SIGNATURE, OLD_COUNTER
 * (read before: receipt, no retry), FUTURE_MESSAGE, BAD_MESSAGE. Nothing changes after an error. */
#pragma once
#include "proto/signal/keystore.h"

enum { WA_SENDER_STATES_MAX = 5, WA_SENDER_JUMP_MAX = 2000 };

/* Makes our sender key if there is none and gives what the others need to read from now on: the
 * bytes in Message.SenderKeyDistributionMessage. */
err_t wa_group_distribute(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                          const struct wa_address *self, struct slice *out) MUST_CHECK;
/* Takes another author's key. One that we have already stays where it is, unless the author is too
 * far ahead of it. BAD_MESSAGE when malformed. */
err_t wa_group_process(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                       const struct wa_address *author, struct slice distribution) MUST_CHECK;
/* NO_SENDER_KEY before wa_group_distribute. */
err_t wa_group_encrypt(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                       const struct wa_address *self, struct slice padded,
                       struct slice *out) MUST_CHECK;
err_t wa_group_decrypt(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                       const struct wa_address *author, struct slice bytes,
                       struct slice *out_padded) MUST_CHECK;
/* Forgets the keys of an author. Ours: the next distribution makes a new one, which is how a key
 * is rotated after a member left. */
err_t wa_group_delete(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                      const struct wa_address *author) MUST_CHECK;
/* Whether we can write to the group without distributing a key first. */
err_t wa_group_has_key(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                       const struct wa_address *author, bool *out) MUST_CHECK;
/* The author got another address; keys known under the new one win. */
err_t wa_group_move(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                    const struct wa_address *from, const struct wa_address *to) MUST_CHECK;
