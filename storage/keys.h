/* Proto's opaque keys: a namespace byte and a name. Values arrive sealed from the host; storage
 * never sees what is inside.
 *
 * `peer` says whose they are: 0 for the account's own (identity, app state, prekeys), or the *home*
 * peer of an address (contacts.h), so that a session lies beside the chat it serves. The host finds
 * it by the address that such names begin with. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

enum { KEY_NAME_MAX = 200, PACK_KEYS = 32 };

void db_key_put(struct batch *b, struct scope scope, uint32_t peer, uint8_t ns, struct slice name,
                struct slice value);
void db_key_delete(struct batch *b, struct scope scope, uint32_t peer, uint8_t ns,
                   struct slice name);
/* SLICE_NONE when there is none. A name longer than KEY_NAME_MAX is not there. */
err_t db_key_find(struct view *v, struct scope scope, uint32_t peer, uint8_t ns, struct slice name,
                  struct slice *out) MUST_CHECK;
/* All names of one namespace that begin with `prefix`; walk with range_next() and db_key_name(). */
void db_keys(struct range *r, struct view *v, struct scope scope, uint32_t peer, uint8_t ns,
             struct slice prefix);
struct slice db_key_name(const struct range *r);

/* Deletes keys of the account and of its peers, the numbered ones too, until the batch holds
 * BATCH_SLICE bytes or KEYS_LOOK_MAX rows were looked at: what belonged to one pairing must not
 * outlive it. Looks at each peer once, at its messages never. `position` is empty at first and says
 * where the next slice goes on; one that is lost costs a second look at what is gone. */
enum { KEYS_LOOK_MAX = 1024 }; /* each may dirty a page, where messages lie between */
err_t db_keys_forget(struct batch *b, struct view *v, struct scope scope, struct buf *position,
                     bool *out_more) MUST_CHECK;

/* Numbered keys of the account, PACK_KEYS to a row: one-time prekeys are 26 rows instead of 812.
 * Putting several of one row in a batch rewrites the row in place. An empty value removes. */
err_t db_pack_put(struct batch *b, struct view *v, struct scope scope, uint8_t ns, uint32_t number,
                  struct slice value) MUST_CHECK;
err_t db_pack_find(struct view *v, struct scope scope, uint8_t ns, uint32_t number,
                   struct slice *out) MUST_CHECK;
/* How many there are, and the largest number; 0 and 0 when none. */
err_t db_pack_count(struct view *v, struct scope scope, uint8_t ns, size_t *out_count,
                    uint32_t *out_last) MUST_CHECK;
