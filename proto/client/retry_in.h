/* A message we could not decrypt: we ask its sender again (protocol.md 6.5).
 *
 * The first time the message is shown as waiting; it is asked for at most WA_RETRY_ASKS times, from
 * the second time on with fresh keys for a new session, and never refused, for a refusal deletes
 * it on the server for good. */
#pragma once
#include "proto/client/message_info.h"

enum { WA_RETRY_ASKS = 5, WA_RETRY_KEYS_FROM = 2 };

/* `why` is what the decryption said. Sends the retry receipt, then the ack. */
err_t wa_retry_ask(struct wa_client *c, const struct wa_info *info, err_t why) MUST_CHECK;
/* The message has come. */
void wa_retry_over(struct wa_client *c, const struct wa_info *info);
/* A message that was read and held nothing to show (keys alone): the owner keeps no record of it,
 * so this does, for the day it is delivered again. */
void wa_retry_note_empty(struct wa_client *c, const struct wa_info *info);
err_t wa_retry_was_empty(struct wa_client *c, const struct wa_info *info, bool *out) MUST_CHECK;
