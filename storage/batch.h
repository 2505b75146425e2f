/* A batch: the explicit list of writes of one turn, and the events it emits.
 *
 * Built by one thread, posted to the writer (writer.h), which applies it in one transaction and
 * hands it back through `done`. Until then its owner may look into it: later turns of the account
 * read it before LMDB (view_overlay). Keys and values are copied in and do not move.
 *
 * A batch names its account and its writes and nothing else, so it can be shipped as it is. Work
 * that is larger is cut into turns of at most BATCH_SLICE bytes, so that no commit keeps the
 * other accounts waiting. Above BATCH_MAX, or with an event above EVENT_MAX, it is `overfull`: what
 * came in was too much for one turn, which must fail; the writer takes no such batch. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/list.h"
#include "storage/key.h"
#include "storage/store.h"

enum { BATCH_SLICE = 256 * 1024, BATCH_MAX = 64 * 1024 * 1024 };

struct batch {
    /* set by who posts it */
    uint64_t owner; /* account number; 0: no account, fails alone */
    uint32_t epoch; /* of the opened account; see writer.h */
    uint64_t turn;  /* rises within an owner; what the monitor calls durable. Of owner 0 the
                     * writer's, in test builds */
    /* Called on the writer's thread when the outcome is known, in the order of posting. From
     * here on the batch is the owner's again. NULL: nobody waits. */
    void (*done)(struct batch *batch);
    void *context; /* for `done` */

    /* set by the writer before `done` */
    err_t result;
    uint64_t first_seq; /* number of the batch's first event, 0 when it has none */

    struct list pending; /* the account's list of batches under way; the owner's */
    struct list queued;  /* the writer's */

    struct arena arena;
    struct batch_op *first, *last;
    struct batch_op **slots; /* by hash of key; built when there are many */
    size_t op_count, slot_count, bytes;
    size_t event_count, notice_count;
    bool overfull;
};

void batch_init(struct batch *b);
void batch_done(struct batch *b);
/* Empty again, memory kept where that is cheap. Not while it is posted. */
void batch_reset(struct batch *b);
/* True when a commit would change nothing: such a turn need not be posted. */
static inline bool batch_is_empty(const struct batch *b) { return b->op_count == 0; }

/* Later writes to a key replace earlier ones of the same batch. */
void batch_put(struct batch *b, enum db db, struct slice key, struct slice payload);
/* Deleting what is not there is fine. */
void batch_delete(struct batch *b, enum db db, struct slice key);

/* What readers of the log need to know of an event without parsing it. */
struct event_head {
    uint32_t account; /* 0: of the tenant */
    uint32_t peer;    /* the chat, 0: none */
    uint16_t type;    /* the server's number of the event name; it stays what it is for ever */
    uint8_t world;    /* 0 live, 1 sandbox; decides with `account` who may see it */
    int64_t at_ms;    /* when it was emitted: retention by age */
};

/* Appends to the tenant's log; the number is given at commit. `bytes` is the event without its
 * number, at most EVENT_MAX. */
enum { EVENT_MAX = 1024 * 1024 };
void batch_event(struct batch *b, uint32_t tenant, const struct event_head *head,
                 struct slice bytes);
/* Tells something that is no event, together with the commit and in order among its events; it has
 * no number and is stored nowhere, so it must follow from rows of this commit for who comes later.
 * `head` and `bytes` as above, but `type` is a number of its own kind. */
void batch_notice(struct batch *b, uint32_t tenant, const struct event_head *head,
                  struct slice bytes);
/* Removes the tenant's events up to `through` and keeps the log's size right; see retention.h. */
void batch_trim(struct batch *b, uint32_t tenant, uint64_t through);

enum batch_found { BATCH_NOTHING, BATCH_VALUE, BATCH_DELETED };
/* What this batch says about a key. */
enum batch_found batch_find(const struct batch *b, enum db db, struct slice key, struct slice *out);
/* The writes in order, those that were replaced left out; for the writer, ranges and tests:
 * for (op = batch_first(b); op; op = batch_next(op)) */
enum batch_op_type { BATCH_PUT, BATCH_DELETE, BATCH_EVENT, BATCH_TRIM, BATCH_NOTICE };
struct batch_op {
    struct batch_op *next;
    uint32_t hash;
    uint8_t type, db;
    bool replaced;
    uint16_t key_len;
    uint32_t value_len;
    uint32_t tenant;  /* BATCH_EVENT, BATCH_TRIM, BATCH_NOTICE */
    uint64_t through; /* BATCH_TRIM: up to here; BATCH_EVENT: the number it was given */
    uint8_t data[];   /* key, value; of events and notices: no key, an event's payload */
};
const struct batch_op *batch_first(const struct batch *b);
const struct batch_op *batch_next(const struct batch_op *op);
static inline struct slice batch_op_key(const struct batch_op *op)
{
    return slice_of(op->data, op->key_len);
}
static inline struct slice batch_op_value(const struct batch_op *op)
{
    return slice_of(op->data + op->key_len, op->value_len);
}
