/* The tail: an account's newest messages in order of arrival, with their search terms.
 *
 * An inbound message appends one row here and to no index. Search scans the tail and reads older
 * messages from posting blocks (search.h); the list of chats takes newest activity from it
 * (chats.h). A background turn folds the oldest rows: terms into posting blocks, activity into the
 * chatlist, rows deleted, in one batch, so that both are exact at every commit. */
#pragma once
#include "storage/batch.h"
#include "storage/id.h"
#include "storage/view.h"

enum {
    TERM_MAX = 32,      /* bytes of a term; longer words are cut, on both sides */
    TAIL_MAX = 256,     /* rows that a search scans */
    TAIL_FOLD_AT = 192, /* fold when there are so many … */
    TAIL_KEEP = 64,     /* … down to these */
};

/* Distinct terms of a text, folded by the caller; of 1 to TERM_MAX bytes without 00. */
struct terms {
    const struct slice *items;
    size_t count;
};

/* Appends the message, or its newer text after an edit. */
err_t db_tail_add(struct batch *b, struct view *v, struct scope scope, struct place place,
                  const struct terms *terms) MUST_CHECK;
/* Rows that wait to be folded. */
err_t db_tail_count(struct view *v, struct scope scope, size_t *out) MUST_CHECK;

struct tail_row {
    uint64_t ordinal;
    struct place place; /* without its secret */
    struct slice terms; /* tail_next_term() */
};
void db_tail(struct range *r, struct view *v, struct scope scope, enum range_direction direction);
bool db_tail_next(struct range *r, struct tail_row *out);
/* Takes the next term off the front. */
bool tail_next_term(struct slice *terms, struct slice *out);
