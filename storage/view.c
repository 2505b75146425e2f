/* Snapshots, and walks that merge the snapshot with batches laid over it. */
#include "storage/view.h"

#include <stdlib.h>

#include "proto/base/xalloc.h"
#include "storage/batch.h"
#include "storage/monitor.h"
#include "storage/pages.h"
#include "storage/record.h"
#include "storage/store_inner.h"

struct view {
    struct store *store;
    MDB_txn *txn; /* kept between uses: a reset transaction keeps its reader slot */
    bool begun;
    const struct list *overlay;
    enum db damaged_db; /* of view_damaged() */
    struct key damaged; /* empty: none */
};

err_t view_new(struct store *store, struct view **out)
{
    struct view *v = xcalloc(sizeof(*v));
    v->store = store;
    *out = v;
    return OK;
}

void view_free(struct view *v)
{
    if (!v) return;
    if (v->txn) mdb_txn_abort(v->txn);
    free(v);
}

uint64_t view_commit(const struct view *v)
{
    assert(v->begun);
    return mdb_txn_id(v->txn);
}

err_t view_begin(struct view *v)
{
    assert(!v->begun);
    int rc =
        v->txn ? mdb_txn_renew(v->txn) : mdb_txn_begin(v->store->env, NULL, MDB_RDONLY, &v->txn);
    TRY(store_error(rc, "read transaction"));
    v->begun = true;
    v->damaged.len = 0;
    if (monitor_is_on()) monitor_reads(view_commit(v));
    return OK;
}

void view_end(struct view *v)
{
    v->overlay = NULL;
    if (!v->begun) return;
    mdb_txn_reset(v->txn);
    v->begun = false;
}

err_t view_count(const struct view *v, enum db db, size_t *out)
{
    MDB_stat stat = {0};

    assert(v->begun);
    if (v->store->dbs[db] != STORE_NO_DB)
        TRY(store_error(mdb_stat(v->txn, v->store->dbs[db], &stat), store_db_name(db)));
    *out = stat.ms_entries;
    return OK;
}

void view_overlay(struct view *v, const struct list *batches) { v->overlay = batches; }
const struct list *view_overlaid(const struct view *v) { return v->overlay; }

#define BATCH_OF(node) LIST_ENTRY(node, struct batch, pending)

bool view_pending(const struct view *v, enum db db, struct slice prefix)
{
    for (const struct list *n = v->overlay ? v->overlay->next : NULL; n && n != v->overlay;
         n = n->next)
        for (const struct batch_op *op = batch_first(BATCH_OF(n)); op; op = batch_next(op))
            if (op->type <= BATCH_DELETE && op->db == db &&
                slice_starts_with(batch_op_key(op), prefix))
                return true;
    return false;
}

bool view_covers(const struct view *v, const struct batch *batch)
{
    if (batch_is_empty(batch)) return true;
    for (const struct list *n = v->overlay ? v->overlay->prev : NULL; n && n != v->overlay;
         n = n->prev)
        if (BATCH_OF(n) == batch) return true;
    return false;
}

static enum batch_found find_pending(const struct view *v, enum db db, struct slice key,
                                     struct slice *out)
{
    if (!v->overlay) return BATCH_NOTHING;
    for (const struct list *n = v->overlay->prev; n != v->overlay; n = n->prev) {
        enum batch_found found = batch_find(BATCH_OF(n), db, key, out);
        if (found != BATCH_NOTHING) return found;
    }
    return BATCH_NOTHING;
}

/* `key` empty: nobody knows whose row it is. */
static void note_damage(struct view *v, enum db db, struct slice key)
{
    atomic_fetch_add_explicit(&v->store->damaged, 1, memory_order_relaxed);
    v->damaged_db = db;
    v->damaged.len = 0;
    key_bytes(&v->damaged, slice_sub(key, 0, KEY_MAX));
}

bool view_damaged(const struct view *v, enum db *out_db, struct slice *out_key)
{
    *out_db = v->damaged_db;
    *out_key = key_slice(&v->damaged);
    return v->damaged.len > 0;
}

static err_t open_value(const struct view *v, enum db db, struct slice key, MDB_val value,
                        struct slice *out)
{
    if (!pages_is_in_use(value.mv_data, key.len, v->store->page_size))
        return fail(STORE_DAMAGED, "a page of %s leads to a row that is gone", store_db_name(db));
    return record_open(db, key, store_slice(value), out);
}

/* What LMDB found, as a record. */
static err_t open_row(struct view *v, enum db db, struct slice key, MDB_val value,
                      struct slice *out)
{
    err_t e = open_value(v, db, key, value, out);

    if (e == ERR_STORE_DAMAGED) note_damage(v, db, key);
    return e;
}

err_t view_find(struct view *v, enum db db, struct slice key, struct slice *out)
{
    assert(v->begun);
    struct slice found;
    MDB_val k = store_val(key), value;

    switch (find_pending(v, db, key, &found)) {
    case BATCH_VALUE: *out = found; return OK;
    case BATCH_DELETED: *out = SLICE_NONE; return OK;
    case BATCH_NOTHING: break;
    }
    MDB_dbi dbi = v->store->dbs[db];
    int rc = dbi == STORE_NO_DB ? MDB_NOTFOUND : mdb_get(v->txn, dbi, &k, &value);
    if (rc == MDB_NOTFOUND) {
        *out = SLICE_NONE;
        return OK;
    }
    TRY(store_error(rc, store_db_name(db)));
    return open_row(v, db, key, value, out);
}

struct range_write {
    const struct batch_op *op;
    size_t order; /* later ones win */
};

static bool is_inside(const struct range *r, struct slice key)
{
    return slice_cmp(key, key_slice(&r->from)) >= 0 &&
           (r->to.len == 0 || slice_cmp(key, key_slice(&r->to)) < 0);
}

static int by_key(const void *a, const void *b)
{
    const struct range_write *x = a, *y = b;
    int c = slice_cmp(batch_op_key(x->op), batch_op_key(y->op));
    if (c) return c;
    return x->order < y->order ? 1 : -1; /* newest first */
}

static size_t each_write(const struct range *r, struct range_write *out)
{
    size_t n = 0;
    for (const struct list *l = r->view->overlay->next; l != r->view->overlay; l = l->next)
        for (const struct batch_op *op = batch_first(BATCH_OF(l)); op; op = batch_next(op)) {
            if (op->type > BATCH_DELETE || op->db != r->db || !is_inside(r, batch_op_key(op)))
                continue;
            if (out) out[n] = (struct range_write){op, n};
            n++;
        }
    return n;
}

/* The overlay's writes inside the range, one per key, in the direction of the walk. */
static void gather_writes(struct range *r)
{
    size_t n = r->view->overlay ? each_write(r, NULL) : 0;
    if (n == 0) return;

    r->writes = xalloc(n * sizeof(*r->writes));
    each_write(r, r->writes);
    qsort(r->writes, n, sizeof(*r->writes), by_key);
    for (size_t i = 0; i < n; i++) {
        if (r->write_count &&
            slice_eq(batch_op_key(r->writes[r->write_count - 1].op), batch_op_key(r->writes[i].op)))
            continue;
        r->writes[r->write_count++] = r->writes[i];
    }
    if (r->direction == RANGE_FORWARDS) return;
    for (size_t i = 0, j = r->write_count; i + 1 < j--; i++) {
        struct range_write w = r->writes[i];
        r->writes[i] = r->writes[j];
        r->writes[j] = w;
    }
}

static int step(struct range *r, MDB_val *key, MDB_val *value)
{
    return mdb_cursor_get(r->cursor, key, value,
                          r->direction == RANGE_FORWARDS ? MDB_NEXT : MDB_PREV);
}

/* A row outside the range ends it, unless it is one whose key was damaged: then what is behind it
 * may belong to the range, and the walk must not end in silence. */
static bool goes_on_behind(struct range *r, MDB_val *key, MDB_val *value)
{
    enum { PASSED_MAX = 4 };
    struct slice payload;
    err_t e;

    for (int i = 0; i < PASSED_MAX; i++) {
        e = record_open(r->db, store_slice(*key), store_slice(*value), &payload);
        if (e == OK) return i && is_inside(r, store_slice(*key));
        err_clear();
        if (step(r, key, value) != 0) return false;
    }
    return false;
}

static void stored_keep(struct range *r, MDB_val key, MDB_val value)
{
    r->stored_key = store_slice(key);
    r->stored_value = store_slice(value);
    r->stored_ready = true;
}

/* Takes what LMDB's cursor stands on as the next stored row. */
static void stored_take(struct range *r, int rc, MDB_val key, MDB_val value)
{
    bool outside = rc == 0 && !is_inside(r, store_slice(key));

    r->stored_ready = false;
    if (outside && goes_on_behind(r, &key, &value)) {
        note_damage(r->view, r->db, SLICE_NONE);
        stored_keep(r, key, value);
        r->astray = true;
        r->error = fail(STORE_DAMAGED, "a row of %s lies where its key does not belong",
                        store_db_name(r->db));
        return;
    }
    r->stored_end = rc == MDB_NOTFOUND || outside;
    if (r->stored_end) return;
    r->error = store_error(rc, store_db_name(r->db));
    if (r->error == OK) stored_keep(r, key, value);
}

static void stored_next(struct range *r)
{
    MDB_val key, value;
    int rc = step(r, &key, &value);

    stored_take(r, rc, key, value);
}

/* Forwards: the first row at or behind `key`. Backwards: the last row before it, or also at it
 * when `included`; an empty key means the end of the database. */
static void stored_seek(struct range *r, struct slice at, bool included)
{
    MDB_val key = store_val(at), value;
    int rc = at.len || r->direction == RANGE_FORWARDS
                 ? mdb_cursor_get(r->cursor, &key, &value, at.len ? MDB_SET_RANGE : MDB_FIRST)
                 : MDB_NOTFOUND;

    if (r->direction == RANGE_BACKWARDS) {
        if (rc == MDB_NOTFOUND)
            rc = mdb_cursor_get(r->cursor, &key, &value, MDB_LAST);
        else if (rc == 0 && !(included && slice_eq(store_slice(key), at)))
            rc = mdb_cursor_get(r->cursor, &key, &value, MDB_PREV);
    }
    stored_take(r, rc, key, value);
}

static void start(struct range *r)
{
    MDB_dbi dbi = r->view->store->dbs[r->db];
    MDB_cursor *cursor;

    gather_writes(r);
    if (dbi == STORE_NO_DB) {
        r->stored_end = true;
        return;
    }
    r->error = store_error(mdb_cursor_open(r->view->txn, dbi, &cursor), store_db_name(r->db));
    if (r->error != OK) return;
    r->cursor = cursor;
    stored_seek(r, key_slice(r->direction == RANGE_FORWARDS ? &r->from : &r->to), false);
}

void range_between(struct range *r, struct view *view, enum db db, struct slice from,
                   struct slice to, enum range_direction direction)
{
    assert(view->begun);
    *r = (struct range){.view = view, .db = db, .direction = direction};
    key_bytes(&r->from, from);
    key_bytes(&r->to, to);
    start(r);
}

void range_prefix(struct range *r, struct view *view, enum db db, struct slice prefix,
                  enum range_direction direction)
{
    struct key to = key_behind(prefix);
    range_between(r, view, db, prefix, key_slice(&to), direction);
}

/* <0: the overlay's next row comes first, 0: both have the key, >0: the stored one comes first. */
static int which_first(const struct range *r)
{
    if (r->write_at == r->write_count) return 1;
    if (!r->stored_ready) return -1;
    int c = slice_cmp(batch_op_key(r->writes[r->write_at].op), r->stored_key);
    return r->direction == RANGE_FORWARDS ? c : -c;
}

static bool hand_out_stored(struct range *r)
{
    r->key = r->stored_key;
    r->stored_ready = false;
    r->error = open_row(r->view, r->db, r->stored_key, store_val(r->stored_value), &r->value);
    r->damaged = r->error != OK;
    return !r->damaged;
}

void range_resume(struct range *r)
{
    assert(r->damaged || r->astray);
    r->damaged = r->astray = false;
    r->error = OK;
    r->view->damaged.len = 0;
}

bool range_pass_damage(struct range *r)
{
    if (!r->damaged) return false;
    range_resume(r);
    err_clear();
    return true;
}

bool range_next(struct range *r)
{
    while (r->error == OK) {
        if (!r->stored_ready && !r->stored_end) stored_next(r);
        if (r->error != OK) return false;
        if (!r->stored_ready && r->write_at == r->write_count) return false;

        int first = which_first(r);
        if (first > 0) return hand_out_stored(r);
        const struct batch_op *op = r->writes[r->write_at++].op;
        if (first == 0) r->stored_ready = false;
        if (op->type == BATCH_DELETE) continue;
        r->key = batch_op_key(op);
        r->value = batch_op_value(op);
        return true;
    }
    return false;
}

/* True when `at` lies before `key` on the walk. */
static bool is_before(const struct range *r, struct slice at, struct slice key)
{
    int c = slice_cmp(at, key);
    return r->direction == RANGE_FORWARDS ? c < 0 : c > 0;
}

void range_skip_to(struct range *r, struct slice key)
{
    while (r->write_at < r->write_count &&
           is_before(r, batch_op_key(r->writes[r->write_at].op), key))
        r->write_at++;
    if (r->error != OK || r->stored_end) return;
    if (r->stored_ready ? !is_before(r, r->stored_key, key)
                        : r->key.data && !is_before(r, r->key, key))
        return;
    stored_seek(r, key, true);
}

err_t range_error(const struct range *r) { return r->error; }

void range_done(struct range *r)
{
    if (r->cursor) mdb_cursor_close(r->cursor);
    free(r->writes);
    r->cursor = NULL;
    r->writes = NULL;
    r->write_count = r->write_at = 0;
}
