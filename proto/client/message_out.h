/* A message goes out: whose turn it is in its chat, who gets it on which devices, sessions, one
 * encryption per device, then one turn with the message, its outbox row and the ratchets.
 *
 * The flow waits for the server up to three times, and each wait ends the turn: nothing loaded
 * before one is used after it. */
#pragma once
#include "proto/client/inside.h"

enum { WA_SENDS_MAX = 1024 }; /* in flight in one account; more is TOO_BUSY */

err_t wa_send_start(struct wa_client *c, const struct wa_text *text) MUST_CHECK;
/* Ends a send that is not encrypted yet with QUERY_TIMEOUT. */
err_t wa_send_cancel(struct wa_client *c, uint64_t operation) MUST_CHECK;
/* The link is gone: what was not encrypted yet fails with `e`. */
err_t wa_sends_drop(struct wa_client *c, err_t e) MUST_CHECK;
void wa_sends_free(struct wa_client *c);
size_t wa_sends_memory(const struct wa_client *c);

/* Message{deviceSentMessage{destination, message}} for our own other devices, in the arena. */
struct slice wa_device_sent(struct wa_client *c, const struct wa_jid *destination,
                            struct slice message);
/* <enc v="2" type> under `parent` with what the device reads; sets *has_prekey for a pkmsg. */
err_t wa_encrypt_for(struct wa_client *c, const struct wa_jid *device, struct slice message,
                     struct wa_node *parent, bool *has_prekey) MUST_CHECK;
/* <device-identity>: whoever gets a pkmsg must see that our phone vouches for us. */
void wa_add_device_identity(struct wa_client *c, struct wa_node *message);
