/* Folding the tail: rows become posting blocks and entries of the chatlist, in one
 * batch that also deletes them. */
#include <stdlib.h>

#include "proto/base/map.h"
#include "storage/chats.h"
#include "storage/postings.h"
#include "storage/search.h"

/* What one term gains in this slice. */
struct gain {
    struct slice term;
    struct posting *items;
    size_t count, cap;
};

struct fold {
    struct batch *batch;
    struct view *view;
    struct scope scope;
    struct arena arena;
    struct map gains; /* term -> struct gain */
    uint32_t *peers;  /* of the rows, with doubles */
    size_t peer_count, cost;
};

enum { COST_MAX = BATCH_SLICE * 3 / 4, COST_PER_TERM = 64, COST_PER_ITEM = 8 };

static err_t gain_of(struct fold *f, struct slice term, struct gain **out)
{
    *out = map_find(&f->gains, term);
    if (*out) return OK;

    size_t block;
    TRY(posting_cost(f->view, f->scope, term, &block));
    struct gain *g = arena_new(&f->arena, struct gain);
    g->term = arena_dup(&f->arena, term);
    map_put(&f->gains, term, g);
    f->cost += COST_PER_TERM + block;
    *out = g;
    return OK;
}

static err_t gather_row(struct fold *f, const struct tail_row *row)
{
    struct posting p = {row->place.sec, row->place.peer, row->place.seq};
    struct slice terms = row->terms, term;

    while (tail_next_term(&terms, &term)) {
        struct gain *g;
        TRY(gain_of(f, term, &g));
        if (g->count == g->cap) {
            struct posting *old = g->items;
            g->cap = g->cap ? g->cap * 2 : 4;
            g->items = arena_array(&f->arena, struct posting, g->cap);
            if (old) memcpy(g->items, old, g->count * sizeof(*old));
        }
        g->items[g->count++] = p;
        f->cost += COST_PER_ITEM;
    }
    f->peers[f->peer_count++] = row->place.peer;
    return OK;
}

/* Blocks are written by folds alone. When none is pending they are read without the overlay: to
 * look through it for every term would cost more than the fold. */
static const struct list *lift_overlay(struct fold *f)
{
    const struct list *overlay = view_overlaid(f->view);
    struct key blocks = key_of_kind(f->scope, 0, KIND_postings);

    if (!view_pending(f->view, DB_data, key_slice(&blocks))) view_overlay(f->view, NULL);
    return overlay;
}

/* Reads and deletes rows of one chat, the oldest first; *out_all when none is left. */
static err_t gather_chat(struct fold *f, uint32_t peer, size_t rows, size_t *taken, bool *out_all)
{
    AUTO(range) r = {0};
    struct tail_row row;

    db_tail(&r, f->view, f->scope, peer);
    const struct list *overlay = lift_overlay(f);
    err_t e = OK;
    *out_all = false;
    while (e == OK && *taken < rows && f->cost < COST_MAX) {
        *out_all = !db_tail_next(&r, &row);
        if (*out_all) break;
        e = gather_row(f, &row);
        batch_delete(f->batch, DB_data, r.key);
        ++*taken;
    }
    view_overlay(f->view, overlay);
    TRY(e);
    return range_error(&r);
}

/* At most `rows` and at least one, chat by chat. */
static err_t gather(struct fold *f, size_t rows, size_t *out_taken)
{
    AUTO(range) r = {0};
    uint32_t peer;
    bool all;

    db_tail_chats(&r, f->view, f->scope);
    while (*out_taken < rows && f->cost < COST_MAX && db_tail_chat_next(&r, &peer)) {
        TRY(gather_chat(f, peer, rows, out_taken, &all));
        if (all) db_tail_chat_done(f->batch, f->scope, peer);
    }
    return range_error(&r);
}

static int by_posting(const void *a, const void *b)
{
    return posting_cmp(*(const struct posting *)a, *(const struct posting *)b);
}

static size_t distinct(struct posting *items, size_t count)
{
    size_t n = 0;
    qsort(items, count, sizeof(*items), by_posting);
    for (size_t i = 0; i < count; i++)
        if (n == 0 || posting_cmp(items[n - 1], items[i]) != 0) items[n++] = items[i];
    return n;
}

static err_t write_gains(struct fold *f)
{
    const struct list *overlay = lift_overlay(f);
    struct gain *g;
    size_t at = 0;
    err_t e = OK;

    while (e == OK && (g = map_next(&f->gains, &at, NULL)))
        e = posting_add(f->batch, f->view, f->scope, g->term, g->items,
                        distinct(g->items, g->count));
    view_overlay(f->view, overlay);
    return e;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The rows' chats, as they are now, into the table that the list is sorted by. */
static err_t write_list(struct fold *f)
{
    qsort(f->peers, f->peer_count, sizeof(*f->peers), by_number);
    for (size_t i = 0; i < f->peer_count; i++) {
        struct db_contact contact;
        struct db_chat chat;
        if (i > 0 && f->peers[i] == f->peers[i - 1]) continue;
        TRY(db_contact_resolve(f->view, f->scope, f->peers[i], 0, &contact));
        TRY(db_chat_find(f->view, f->scope, contact.peer, &chat));
        TRY(db_chat_list(f->batch, f->view, f->scope, &chat));
    }
    return OK;
}

static err_t fold(struct fold *f, size_t rows, bool *out_more)
{
    size_t taken = 0;

    f->peers = arena_array(&f->arena, uint32_t, rows);
    TRY(gather(f, rows, &taken));
    TRY(write_gains(f));
    TRY(write_list(f));
    *out_more = taken < rows;
    return OK;
}

err_t db_fold(struct batch *b, struct view *v, struct scope scope, size_t keep, bool *out_more)
{
    struct fold f = {.batch = b, .view = v, .scope = scope};
    size_t count;

    *out_more = false;
    TRY(db_tail_count(v, scope, &count));
    if (count <= keep) return OK;
    err_t e = fold(&f, count - keep, out_more);
    map_done(&f.gains);
    arena_done(&f.arena);
    return e;
}
