/* The outbox: stanzas that a call sent and WhatsApp has not acknowledged. The same bytes go out
 * again after a reconnect or a restart, under the same id. Oldest first. */
#pragma once
#include "storage/batch.h"
#include "storage/id.h"
#include "storage/view.h"

struct db_outbox {
    uint64_t ordinal;   /* key */
    struct place place; /* the message, peer 0: none */
    struct slice stanza_id, to;
    struct slice stanza; /* encoded, plain; the link encrypts it */
    int64_t created_ms, expires_ms;
    uint32_t attempts;
    struct slice extra;
};

/* Gives the ordinal, above all that are there. */
err_t db_outbox_add(struct batch *b, struct view *v, struct scope scope,
                    struct db_outbox *o) MUST_CHECK;
void db_outbox_put(struct batch *b, struct scope scope, const struct db_outbox *o);
void db_outbox_delete(struct batch *b, struct scope scope, uint64_t ordinal);
err_t db_outbox_find(struct view *v, struct scope scope, uint64_t ordinal, bool *out_found,
                     struct db_outbox *out) MUST_CHECK;
void db_outboxes(struct range *r, struct view *v, struct scope scope);
bool db_outbox_next(struct range *r, struct db_outbox *out);
