/* The keystore of proto/signal over our host, and Signal addresses of people.
 *
 * A device's Signal address is its LID as soon as that is known, else its phone number. What was
 * made under the phone number moves when the LID is learnt (mapping.h). */
#pragma once
#include "proto/client/inside.h"

void wa_keys_init(struct wa_client *c);
/* The account's keys are there (opened or made). */
void wa_keys_ready(struct wa_client *c);
/* The Signal address of a device, in the arena. */
err_t wa_address_of(struct wa_client *c, const struct wa_jid *jid,
                    struct wa_address *out) MUST_CHECK;
