/* Posting blocks: per term, the messages that hold it, in order of (sec, peer, seq).
 *
 * A block is a row of at most POSTINGS_MAX entries, its key ends with its first entry; entries are
 * varints of (seconds since the one before, peer, seq), about 6 bytes each. Written by the fold,
 * read by the search. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

enum { POSTINGS_MAX = 200 };

struct posting {
    uint32_t sec, peer, seq;
};
int posting_cmp(struct posting a, struct posting b);

/* Adds entries, which are sorted and distinct, to the term's blocks. What the batch itself wrote
 * about the term is not seen: once per term and batch. */
err_t posting_add(struct batch *b, struct view *v, struct scope scope, struct slice term,
                  const struct posting *items, size_t count) MUST_CHECK;
/* Bytes of the block that the next newer entry would go into. */
err_t posting_cost(struct view *v, struct scope scope, struct slice term, size_t *out) MUST_CHECK;

/* The terms that begin with `prefix`, by range_next() and posting_term(); then
 * range_skip_to(posting_behind_term()) jumps over the other blocks of the term. */
void posting_terms(struct range *r, struct view *v, struct scope scope, struct slice prefix);
struct slice posting_term(const struct range *r);
struct key posting_behind_term(const struct range *r);

/* A term's entries, newest first. */
struct posting_stream {
    struct range range;
    struct view *view;
    struct scope scope;
    uint8_t term[32];
    uint8_t term_len;
    bool started, over;
    struct posting entries[POSTINGS_MAX]; /* of the block it stands in, oldest first */
    size_t count;
    size_t *blocks; /* counts blocks read */
};
void posting_stream_init(struct posting_stream *s, struct view *v, struct scope scope,
                         struct slice term, size_t *blocks);
/* The newest entry that is not above `max`, which must not rise from call to call. *out_found is
 * false when there is none. */
err_t posting_stream_seek(struct posting_stream *s, struct posting max, bool *out_found,
                          struct posting *out) MUST_CHECK;
void posting_stream_done(struct posting_stream *s);
