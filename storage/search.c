/* The query: posting streams leapfrog downwards to where all terms meet, and what the tail holds is
 * merged in. */
#include "storage/search.h"

#include <stdlib.h>

#include "storage/chats.h"
#include "storage/postings.h"

/* A term of the query: one stream, or one per word that a prefix stands for. */
struct group {
    struct posting_stream **streams;
    size_t count, cap;
};

/* What is known of a candidate's peer; asked again for nearly every candidate. */
struct peer_note {
    uint32_t peer, person;
};
enum { NOTES = 64 };

struct search {
    struct view *view;
    struct scope scope;
    const struct search_query *query;
    struct group groups[SEARCH_TERMS_MAX];
    struct posting max; /* the next candidate is not above it */
    bool over;          /* no candidate of the blocks is left */
    struct place *tail; /* matches of the tail, newest first */
    size_t tail_count, tail_at, tail_cap;
    size_t blocks;
    struct peer_note notes[NOTES];
};

/* The entry just below; false below the lowest. */
static bool step_down(struct posting *p)
{
    if (p->seq-- > 0) return true;
    if (p->peer-- > 0) return true;
    return p->sec-- > 0;
}

static struct posting posting_of(struct place p) { return (struct posting){p.sec, p.peer, p.seq}; }

/* --- the tail ----------------------------------------------------------------------------- */

static bool is_in(struct slice terms, struct slice wanted, bool as_prefix)
{
    struct slice term;
    while (tail_next_term(&terms, &term))
        if (as_prefix ? slice_starts_with(term, wanted) : slice_eq(term, wanted)) return true;
    return false;
}

static bool matches(const struct search_query *q, struct slice terms)
{
    for (size_t i = 0; i < q->terms.count; i++)
        if (!is_in(terms, q->terms.items[i], q->last_is_prefix && i + 1 == q->terms.count))
            return false;
    return true;
}

static int newest_first(const void *a, const void *b)
{
    return posting_cmp(posting_of(*(const struct place *)b), posting_of(*(const struct place *)a));
}

static err_t scan_chat(struct search *s, uint32_t peer)
{
    AUTO(range) r = {0};
    struct tail_row row;

    db_tail(&r, s->view, s->scope, peer);
    while (db_tail_next(&r, &row)) {
        if (posting_cmp(posting_of(row.place), s->max) > 0 || !matches(s->query, row.terms))
            continue;
        if (s->tail_count == s->tail_cap) {
            s->tail_cap = s->tail_cap ? s->tail_cap * 2 : 64;
            s->tail = xrealloc(s->tail, s->tail_cap * sizeof(*s->tail));
        }
        s->tail[s->tail_count++] = row.place;
    }
    return range_error(&r);
}

static err_t scan_tail(struct search *s)
{
    AUTO(range) r = {0};
    uint32_t peer;

    db_tail_chats(&r, s->view, s->scope);
    while (db_tail_chat_next(&r, &peer))
        TRY(scan_chat(s, peer));
    if (s->tail_count) qsort(s->tail, s->tail_count, sizeof(*s->tail), newest_first);
    return range_error(&r);
}

/* --- the blocks --------------------------------------------------------------------------- */

static void add_stream(struct search *s, struct group *g, struct slice term)
{
    if (g->count == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 1;
        g->streams = xrealloc(g->streams, g->cap * sizeof(struct posting_stream *));
    }
    struct posting_stream *stream = xalloc(sizeof(*stream));
    posting_stream_init(stream, s->view, s->scope, term, &s->blocks);
    g->streams[g->count++] = stream;
}

static err_t add_prefix(struct search *s, struct group *g, struct slice prefix)
{
    AUTO(range) r = {0};

    posting_terms(&r, s->view, s->scope, prefix);
    while (range_next(&r)) {
        if (g->count == SEARCH_PREFIX_MAX)
            return fail(BAD_ARGUMENT, "the last word is too short to stand for all longer ones");
        add_stream(s, g, posting_term(&r));
        struct key next = posting_behind_term(&r);
        range_skip_to(&r, key_slice(&next));
    }
    return range_error(&r);
}

static err_t open_groups(struct search *s)
{
    const struct terms *terms = &s->query->terms;

    for (size_t i = 0; i < terms->count; i++) {
        if (s->query->last_is_prefix && i + 1 == terms->count)
            TRY(add_prefix(s, &s->groups[i], terms->items[i]));
        else
            add_stream(s, &s->groups[i], terms->items[i]);
    }
    return OK;
}

/* The newest entry of any of the group's streams that is not above `max`. */
static err_t group_seek(struct group *g, struct posting max, bool *out_found, struct posting *out)
{
    *out_found = false;
    for (size_t i = 0; i < g->count; i++) {
        struct posting p;
        bool found;
        TRY(posting_stream_seek(g->streams[i], max, &found, &p));
        if (!found || (*out_found && posting_cmp(p, *out) <= 0)) continue;
        *out = p;
        *out_found = true;
        if (posting_cmp(p, max) == 0) break; /* no other can be above */
    }
    return OK;
}

/* Lowers `max` until all groups hold it, or one has nothing left, or enough blocks were read. */
static err_t leapfrog(struct search *s, bool *out_found)
{
    *out_found = false;
    for (size_t i = 0, agreed = 0; agreed < s->query->terms.count && !s->over;
         i = (i + 1) % s->query->terms.count) {
        struct posting p;
        bool found;
        if (s->blocks > SEARCH_BLOCKS_MAX) return OK;
        TRY(group_seek(&s->groups[i], s->max, &found, &p));
        if (!found) {
            s->over = true;
            return OK;
        }
        agreed = posting_cmp(p, s->max) == 0 ? agreed + 1 : 1;
        s->max = p;
    }
    *out_found = !s->over;
    return OK;
}

/* --- candidates --------------------------------------------------------------------------- */

static err_t note_of(struct search *s, uint32_t peer, struct peer_note **out)
{
    struct peer_note *n = &s->notes[peer % NOTES];
    struct db_contact contact;

    *out = n;
    if (n->peer == peer) return OK;
    TRY(db_contact_resolve(s->view, s->scope, peer, 0, &contact));
    *n = (struct peer_note){peer, contact.peer};
    return OK;
}

/* Loads the candidate; *out_found is false when it is not to be shown. */
static err_t load(struct search *s, struct posting p, bool *out_found, struct db_message *out)
{
    struct peer_note *note;

    *out_found = false;
    TRY(note_of(s, p.peer, &note));
    if (s->query->peer && s->query->peer != note->person) return OK;
    struct place place = {.peer = p.peer, .sec = p.sec, .seq = p.seq};
    TRY(db_message_find(s->view, s->scope, place, out_found, out));
    if (*out_found && out->deleted) *out_found = false;
    return OK;
}

enum next { NEXT_CANDIDATE, NEXT_NONE, NEXT_ENOUGH };

/* The next candidate of both sources, each place once. */
static err_t next_candidate(struct search *s, enum next *out_next, struct posting *out)
{
    bool in_blocks = false;

    if (!s->over) TRY(leapfrog(s, &in_blocks));
    bool in_tail = s->tail_at < s->tail_count;
    if (!in_blocks && !s->over) { /* stopped: blocks between here and the tail are not read yet */
        struct posting tail = in_tail ? posting_of(s->tail[s->tail_at]) : (struct posting){0};
        if (!in_tail || posting_cmp(tail, s->max) <= 0) {
            *out_next = NEXT_ENOUGH;
            return OK;
        }
    }
    *out_next = in_blocks || in_tail ? NEXT_CANDIDATE : NEXT_NONE;
    if (*out_next == NEXT_NONE) return OK;
    *out = in_blocks ? s->max : posting_of(s->tail[s->tail_at]);
    if (in_tail && posting_cmp(posting_of(s->tail[s->tail_at]), *out) > 0)
        *out = posting_of(s->tail[s->tail_at]);
    while (s->tail_at < s->tail_count && posting_cmp(posting_of(s->tail[s->tail_at]), *out) == 0)
        s->tail_at++;
    if (in_blocks && posting_cmp(*out, s->max) == 0) s->over = !step_down(&s->max);
    return OK;
}

static err_t run(struct search *s, size_t limit, struct db_message *out, size_t *out_count,
                 struct search_cursor *out_next)
{
    enum next next = NEXT_CANDIDATE;
    struct posting p;
    size_t n = 0;

    TRY(scan_tail(s));
    TRY(open_groups(s));
    for (;;) {
        bool found;
        TRY(next_candidate(s, &next, &p));
        if (next != NEXT_CANDIDATE || p.sec <= s->query->after_sec) break;
        TRY(load(s, p, &found, &out[n]));
        if (found && ++n == limit) break;
    }
    *out_count = n;
    *out_next = (struct search_cursor){0};
    if (next == NEXT_CANDIDATE && n == limit && n > 0)
        *out_next = (struct search_cursor){true, p.sec, p.peer, p.seq};
    if (next == NEXT_ENOUGH)
        *out_next = (struct search_cursor){true, s->max.sec, s->max.peer, s->max.seq + 1};
    return OK;
}

static bool start_below(struct search *s, struct search_cursor after)
{
    s->max = (struct posting){UINT32_MAX, UINT32_MAX, UINT32_MAX};
    if (s->query->before_sec) {
        s->max = (struct posting){s->query->before_sec, 0, 0};
        if (!step_down(&s->max)) return false;
    }
    struct posting cursor = {after.sec, after.peer, after.seq};
    if (after.set && posting_cmp(cursor, s->max) <= 0) {
        s->max = cursor;
        return step_down(&s->max);
    }
    return true;
}

err_t db_search(struct view *v, struct scope scope, const struct search_query *query,
                struct search_cursor after, size_t limit, struct db_message *out, size_t *out_count,
                struct search_cursor *out_next)
{
    *out_count = 0;
    *out_next = (struct search_cursor){0};
    if (query->terms.count == 0 || limit == 0) return OK;
    ENSURE(query->terms.count <= SEARCH_TERMS_MAX, BAD_ARGUMENT);

    struct search *s = xcalloc(sizeof(*s));
    s->view = v;
    s->scope = scope;
    s->query = query;
    err_t e = start_below(s, after) ? run(s, limit, out, out_count, out_next) : OK;
    for (size_t i = 0; i < query->terms.count; i++) {
        for (size_t j = 0; j < s->groups[i].count; j++) {
            posting_stream_done(s->groups[i].streams[j]);
            free(s->groups[i].streams[j]);
        }
        free(s->groups[i].streams);
    }
    free(s->tail);
    free(s);
    return e;
}
