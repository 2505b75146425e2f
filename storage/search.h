/* Search: messages that hold all terms of a query, newest first.
 *
 * Newest messages come from the tail, older ones from posting blocks: per term, places in order of
 * (sec, peer, seq), about 200 to a row. The two meet without a gap, because the batch that writes a
 * block deletes the tail rows it was made of. */
#pragma once
#include "storage/messages.h"
#include "storage/tail.h"

enum {
    SEARCH_TERMS_MAX = 16,
    SEARCH_PREFIX_MAX = 512, /* words that a prefix may stand for */
    SEARCH_BLOCKS_MAX = 4096,
};

struct search_query {
    struct terms terms;             /* all must be there; at most SEARCH_TERMS_MAX */
    bool last_is_prefix;            /* the last term may be the beginning of a word */
    uint32_t peer;                  /* only in this chat (a person's own number), 0: everywhere */
    uint32_t before_sec, after_sec; /* 0: no bound; both excluded */
};

/* Where a page ended. */
struct search_cursor {
    bool set;
    uint32_t sec, peer, seq;
};

/* Candidates behind `after`, newest first, each message once, deleted ones left out.
 * An edited message is a candidate for its old text too: who shows it checks the text again.
 * `out` holds `limit`; out_next->set is false at the end. A query that would read more than
 * SEARCH_BLOCKS_MAX blocks stops early with fewer results and a cursor to go on from.
 * BAD_ARGUMENT when a prefix stands for more than SEARCH_PREFIX_MAX words. */
err_t db_search(struct view *v, struct scope scope, const struct search_query *query,
                struct search_cursor after, size_t limit, struct db_message *out, size_t *out_count,
                struct search_cursor *out_next) MUST_CHECK;

/* One turn of folding: takes tail rows, chat by chat, down to `keep`, as many as fit into
 * BATCH_SLICE. *out_more when rows above `keep` are left. Best begun when the fold before is
 * durable: over a pending one it is slower. */
err_t db_fold(struct batch *b, struct view *v, struct scope scope, size_t keep,
              bool *out_more) MUST_CHECK;
