/* Seen: where the message with this stanza id of this author is; for redelivery, receipts, edits.
 * The author is the address that names the person in this account (LID before phone number), none
 * for our own.
 *
 * The index grows at random places, which would cost every message a page of its own. So the newest
 * ids of a peer wait in one row beside its chat (`recent`) and move to the index together, in the
 * batch that fills the row: what is found is exact at every commit. */
#pragma once
#include "storage/messages.h"

/* RECENT_MAX ids, or RECENT_BYTES of them, wait. */
enum { RECENT_MAX = 16, RECENT_BYTES = 1024 };

/* The view covers the batch (view_covers). */
err_t db_seen_put(struct batch *b, struct view *v, struct scope scope, uint32_t peer,
                  struct slice author, struct slice stanza_id, struct place place) MUST_CHECK;
/* Looks in the chat and in its parts; out->peer is 0 when the message is unknown. */
err_t db_seen_find(struct view *v, struct scope scope, const struct db_contact *chat,
                   struct slice author, struct slice stanza_id, struct place *out) MUST_CHECK;
