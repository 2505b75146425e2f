/* The owner's privacy settings, as far as they change what we send: who hides what he reads sends
 * `read-self` instead of `read`; so does, lest it tell too much, an account that was never told the
 * setting. Asked for at each login, kept in the account row. */
#pragma once
#include "proto/client/inside.h"

err_t wa_privacy_ask(struct wa_client *c) MUST_CHECK;
/* <privacy>: an answer, or what account_sync tells. */
void wa_privacy_take(struct wa_client *c, const struct wa_node *privacy);
/* <ib><dirty>: something of ours changed while we were away. Fetches it anew, then says so. */
err_t wa_on_dirty(struct wa_client *c, const struct wa_node *dirty) MUST_CHECK;
