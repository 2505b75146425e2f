/* A view: a snapshot of the newest commit to read from, with the writes of batches that are not
 * durable yet laid over it.
 *
 * A view belongs to one thread. view_begin() … view_end() brackets a short piece of work and never
 * lives across a wait: an old snapshot stops LMDB from reusing pages. Beginning again is cheap
 * (0.2 us), so a worker keeps one view for its turns and one for its calls.
 *
 * Inside a turn the account's pending batches, and the batch that the turn is building, are laid
 * over the snapshot (view_overlay): everything the turn reads, ranges included, then sees what the
 * turns before it wrote. Calls that only answer from what is durable use no overlay.
 *
 * Slices handed out are valid until view_end(); those that came from a batch, as long as the
 * batch lives. Putting into the batch does not move them. */
#pragma once
#include "proto/base/list.h"
#include "storage/key.h"
#include "storage/store.h"

struct view;

/* STORE_FAILED when all reader slots are taken. */
err_t view_new(struct store *store, struct view **out) MUST_CHECK;
void view_free(struct view *view);
err_t view_begin(struct view *view) MUST_CHECK;
/* Ranges must be done. The overlay is forgotten. Harmless when nothing was begun. */
void view_end(struct view *view);

/* `batches` is a list of struct batch by their member `pending`, oldest first; the later wins.
 * Borrowed until view_end(); batches may join at its end meanwhile. NULL: none. */
void view_overlay(struct view *view, const struct list *batches);

/* The commit that it shows, as LMDB numbers them, and how many rows LMDB counts in it. */
uint64_t view_commit(const struct view *view);
err_t view_count(const struct view *view, enum db db, size_t *out) MUST_CHECK;

/* The row that is damaged and that nobody has passed over: what STORE_DAMAGED was about. False when
 * there is none, or nobody knows which. A key that a walk came to may itself be what is damaged. */
bool view_damaged(const struct view *view, enum db *out_db, struct slice *out_key);

/* What is laid over now. */
const struct list *view_overlaid(const struct view *view);

/* True when a batch that is laid over writes a key with this prefix. */
bool view_pending(const struct view *view, enum db db, struct slice prefix);
/* True when what `batch` holds is seen: it is laid over, or empty. Functions that give the next
 * ordinal by looking for the last one assert it. */
struct batch;
bool view_covers(const struct view *view, const struct batch *batch);

/* The payload under the key; SLICE_NONE when there is none. STORE_DAMAGED, STORE_FAILED. */
err_t view_find(struct view *view, enum db db, struct slice key, struct slice *out) MUST_CHECK;

/* A walk over the keys from `from` (included) to `to` (excluded; empty: the end), either way:
 *
 *     AUTO(range) r = {0};
 *     range_prefix(&r, view, DB_data, prefix, RANGE_FORWARDS);
 *     while (range_next(&r)) use(r.key, r.value);
 *     TRY(range_error(&r));
 *
 * The overlay is taken as it is when the range starts; what the walk itself puts is not seen. */
enum range_direction { RANGE_FORWARDS, RANGE_BACKWARDS };

struct range {
    struct slice key, value; /* where it stands; value is the payload */
    struct view *view;
    enum db db;
    enum range_direction direction;
    struct key from, to;
    void *cursor;                          /* LMDB's */
    struct slice stored_key, stored_value; /* next from the snapshot, not handed out yet */
    bool stored_ready, stored_end;
    struct range_write *writes; /* of the overlay, sorted the way of the walk */
    size_t write_count, write_at;
    err_t error;
    bool damaged; /* the error is the checksum of the row at `key`; see range_resume() */
    bool astray;  /* the error is that rows with other keys stand in between */
};

void range_between(struct range *r, struct view *view, enum db db, struct slice from,
                   struct slice to, enum range_direction direction);
void range_prefix(struct range *r, struct view *view, enum db db, struct slice prefix,
                  enum range_direction direction);
bool range_next(struct range *r);
/* Jumps onwards: the next range_next() stands on the first key that is not before `key` in the
 * direction of the walk. Never goes back. */
void range_skip_to(struct range *r, struct slice key);
/* Goes on behind a damaged record (`damaged`), or behind rows that do not belong there (`astray`),
 * for who counts them. */
void range_resume(struct range *r);
/* True when range_next() gave false because of a damaged record: goes on behind it, for who serves
 * the others; its key is at least near. Says which database in err_words() until then. */
bool range_pass_damage(struct range *r);
/* Why range_next() gave false: OK at the end. */
err_t range_error(const struct range *r) MUST_CHECK;
void range_done(struct range *r);
