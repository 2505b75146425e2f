/* The tail: an account's newest messages with their search terms, each row beside its chat.
 *
 * An inbound message writes one row here and to no index; the chat is named in a list of the
 * account when it has the first. Search scans the tail and reads older messages from posting blocks
 * (search.h); the list of chats takes newest activity from the chats that are named (chats.h). A
 * background turn folds rows: terms into posting blocks, activity into the chatlist, rows deleted,
 * in one batch, so that both are exact at every commit. */
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

/* Puts the message there; its newer text takes the place of the older. */
err_t db_tail_add(struct batch *b, struct view *v, struct scope scope, struct place place,
                  const struct terms *terms) MUST_CHECK;
/* Rows that wait to be folded: a walk over all of them. */
err_t db_tail_count(struct view *v, struct scope scope, size_t *out) MUST_CHECK;

/* The chats that have rows, by number. */
void db_tail_chats(struct range *r, struct view *v, struct scope scope);
bool db_tail_chat_next(struct range *r, uint32_t *out_peer);
/* The last row of the chat was folded. */
void db_tail_chat_done(struct batch *b, struct scope scope, uint32_t peer);

struct tail_row {
    struct place place; /* without its secret */
    struct slice terms; /* tail_next_term() */
};
/* The rows of one chat in order of arrival. */
void db_tail(struct range *r, struct view *v, struct scope scope, uint32_t peer);
bool db_tail_next(struct range *r, struct tail_row *out);
/* Takes the next term off the front. */
bool tail_next_term(struct slice *terms, struct slice *out);

/* Schema 1 had one tail for the account: moves its rows, at most a slice; *out_more when rows are
 * left. A damaged one stays where it is, and search does not find its message. */
err_t tail_move_old(struct batch *b, struct view *v, struct scope scope, bool *out_more) MUST_CHECK;
