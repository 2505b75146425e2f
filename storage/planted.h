/* What the writer does wrong when a test asks for it (faults.def), where that takes more than a
 * line. Only with faults that are set; those of kills and copies in test builds alone. */
#pragma once
#include "storage/batch.h"
#include "storage/faults.h"

/* The batch that is committed in the place of `b`: itself, or a copy when early_reply is due, and
 * then `b` is answered at once. Any thread, under the writer's lock. */
struct batch *planted_copy(struct faults *f, struct batch *b);

/* Kills the process when the commit of these batches puts a row of the kind that `row` holds. */
void planted_kill(struct faults *f, atomic_llong *row, struct batch *const *batches, size_t count);
