#include "storage/planted.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void free_copy(struct batch *b)
{
    batch_done(b);
    free(b);
}

static void copy_ops(struct batch *to, const struct batch *from)
{
    for (const struct batch_op *op = batch_first(from); op; op = batch_next(op)) {
        if (op->type == BATCH_PUT)
            batch_put(to, (enum db)op->db, batch_op_key(op), batch_op_value(op));
        if (op->type == BATCH_DELETE) batch_delete(to, (enum db)op->db, batch_op_key(op));
    }
}

struct batch *planted_copy(struct faults *f, struct batch *b)
{
    if (b->owner || !b->done || !fault_due(&f->early_reply)) return b;
    fault_count("early_reply");
    struct batch *copy = xcalloc(sizeof(*copy));

    batch_init(copy);
    copy_ops(copy, b);
    copy->turn = b->turn;
    copy->done = free_copy;
    b->result = OK;
    b->done(b);
    return copy;
}

static bool puts_kind(const struct batch *b, long long kind)
{
    for (const struct batch_op *op = batch_first(b); op; op = batch_next(op)) {
        uint32_t peer;
        uint8_t found = 0;

        if (op->type != BATCH_PUT || op->db != DB_data) continue;
        key_read_peer(batch_op_key(op), &peer, &found);
        if (found == kind) return true;
    }
    return false;
}

void planted_kill(struct faults *f, atomic_llong *row, struct batch *const *batches, size_t count)
{
    long long kind = atomic_load_explicit(row, memory_order_relaxed);

    for (size_t i = 0; kind > 0 && i < count; i++) {
        if (batches[i]->result != OK || !puts_kind(batches[i], kind)) continue;
        if (atomic_fetch_sub(&f->kill_wait, 1) > 0) return;
        kill(getpid(), SIGKILL);
    }
}
