/* Migrations: rows of a list, each from one schema version to the next.
 *
 * A step is called until it says that it is done; each call fills one batch, which is committed
 * together with the position it wants to go on from. So a crash in the middle goes on where it
 * was, and the version row changes with the last slice. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

enum { SCHEMA_VERSION = 2 };

struct migration {
    unsigned to; /* from to - 1 */
    const char *name;
    /* `position` is what the last slice left (empty at first), to be changed for the next. */
    err_t (*step)(struct view *view, struct batch *batch, struct buf *position, bool *out_done);
};

/* The version that stands in the store, 0 when it is empty. */
err_t schema_version(struct view *view, unsigned *out) MUST_CHECK;
/* Brings the store to version `target` with the rows of `list` (ends with to 0); a fresh store
 * gets the version alone. STORE_VERSION when it is newer. */
err_t migrate(struct store *store, const struct migration *list, unsigned target) MUST_CHECK;
/* The list of this program. */
extern const struct migration migrations[];
