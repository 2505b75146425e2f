/* The backlog: stanzas that came while we were away carry `offline`, and the server sends them in
 * batches that must be asked for; unasked it stops after a handful (protocol.md 5.3). */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_OFFLINE_BATCH = 100,
    WA_OFFLINE_STALL_MS = 5 * 1000, /* a batch that ran dry: ask again */
    WA_OFFLINE_STALLS_MAX = 6,      /* so often in a row; then there is no more */
};

/* Counts a stanza that came in; asks for the next batch in good time. */
void wa_offline_count(struct wa_client *c, const struct wa_node *stanza);

/* Timer. */
err_t on_offline_stalled(struct wa_client *c);
