/* Handlers of incoming stanzas, one per row of stanzas.def. Each answers what the stanza is owed
 * (protocol.md 7.4 to 7.6) and returns only what went wrong: a fatal error closes the account,
 * any other ends with the stanza. */
#pragma once
#include "proto/client/inside.h"

typedef err_t wa_stanza_fn(struct wa_client *c, const struct wa_node *stanza);

#define STANZA(tag, handler) wa_stanza_fn handler;
#include "proto/client/stanzas.def"
#undef STANZA

/* NULL for an unknown tag. */
wa_stanza_fn *wa_stanza_handler(struct slice tag);
