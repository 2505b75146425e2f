#include "storage/migrate.h"

#include "proto/base/reader.h"
#include "storage/tail.h"
#include "storage/writer.h"

/* A damaged row keeps nobody else from moving. Of an account the key is enough. */
static bool next_account(struct range *r, struct scope *out)
{
    while (range_next(r) || range_pass_damage(r)) {
        struct reader key = reader_of(r->key);

        out->tenant = key_read_int(&key);
        out->account = key_read_int(&key);
        if (reader_end(&key) == OK) return true;
        err_clear();
    }
    return false;
}

/* Account by account; the position is the key of the one under way. Old rows of `seen` stay good.
 */
static err_t move_tails(struct view *view, struct batch *batch, struct buf *position,
                        bool *out_done)
{
    AUTO(range) r = {0};
    struct scope scope;
    bool more = false;

    range_between(&r, view, DB_accounts, buf_slice(position), SLICE_NONE, RANGE_FORWARDS);
    while (!more && next_account(&r, &scope)) {
        TRY(tail_move_old(batch, view, scope, &more));
        buf_reset(position);
        buf_put(position, r.key);
    }
    *out_done = !more;
    return range_error(&r);
}

const struct migration migrations[] = {
    {2, "new messages wait beside their chat: ids for the index (seen.h), terms (tail.h)",
     move_tails},
    {0},
};

static const struct slice version_key = {(const uint8_t *)"schema", 6};
static const struct slice position_key = {(const uint8_t *)"migration", 9};

err_t schema_version(struct view *view, unsigned *out)
{
    struct slice payload;
    TRY(view_find(view, DB_meta, version_key, &payload));
    if (slice_is_none(payload)) {
        *out = 0;
        return OK;
    }
    struct reader r = reader_of(payload);
    unsigned version = reader_be32(&r);
    if (reader_end(&r) != OK) return fail(STORE_DAMAGED, "schema version row");
    *out = version;
    return OK;
}

static void put_version(struct batch *b, unsigned version)
{
    AUTO(buf) payload = {0};
    buf_put_be32(&payload, version);
    batch_put(b, DB_meta, version_key, buf_slice(&payload));
    batch_delete(b, DB_meta, position_key);
}

static err_t load_position(struct view *view, struct buf *position)
{
    struct slice payload;
    TRY(view_find(view, DB_meta, position_key, &payload));
    buf_reset(position);
    buf_put(position, payload);
    return OK;
}

/* One slice of one step into the batch. */
static err_t fill(struct view *view, struct batch *b, const struct migration *m, bool *out_done)
{
    AUTO(buf) position = {0};
    TRY(load_position(view, &position));
    TRY(m->step(view, b, &position, out_done));
    if (*out_done)
        put_version(b, m->to);
    else
        batch_put(b, DB_meta, position_key, buf_slice(&position));
    return OK;
}

static err_t run_step(struct writer *w, struct view *view, const struct migration *m)
{
    for (bool done = false; !done;) {
        struct batch b;
        batch_init(&b);
        err_t e = view_begin(view);
        if (e == OK) e = fill(view, &b, m, &done);
        view_end(view);
        if (e == OK) e = writer_commit(w, &b);
        batch_done(&b);
        if (e != OK)
            return fail(STORE_FAILED, "migration to %u (%s): %s", m->to, m->name, err_name(e));
    }
    return OK;
}

static err_t start_fresh(struct writer *w, unsigned version)
{
    struct batch b;
    batch_init(&b);
    put_version(&b, version);
    err_t e = writer_commit(w, &b);
    batch_done(&b);
    return e;
}

static err_t climb(struct writer *w, struct view *view, const struct migration *list,
                   unsigned target)
{
    unsigned version;
    TRY(view_begin(view));
    err_t e = schema_version(view, &version);
    view_end(view);
    TRY(e);

    if (version == 0) return start_fresh(w, target);
    if (version > target) return fail(STORE_VERSION, "schema version %u, not %u", version, target);
    for (const struct migration *m = list; m->to; m++)
        if (m->to == version + 1 && m->to <= target) {
            TRY(run_step(w, view, m));
            version = m->to;
        }
    if (version != target) return fail(STORE_VERSION, "no step from version %u", version);
    return OK;
}

/* The words of the error that broke it come from the step; nothing to fall back to. */
static void on_fatal(void *context, err_t error) {}

err_t migrate(struct store *store, const struct migration *list, unsigned target)
{
    struct view *view;
    TRY(view_new(store, &view));
    struct writer *w = writer_new(&(struct writer_options){.store = store, .on_fatal = on_fatal});
    err_t e = climb(w, view, list, target);
    writer_free(w);
    view_free(view);
    return e == OK ? OK : err_pass(e, __FILE__, __LINE__);
}
