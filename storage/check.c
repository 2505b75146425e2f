#include "storage/check.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/base/buf.h"
#include "storage/events.h"
#include "storage/pages.h"
#include "storage/view.h"

struct check {
    struct store *store;
    struct view *view;
    void (*tell)(void *context, const char *line);
    void *context;
    struct check_result result;
    err_t error; /* of the sub-database that is looked at: LMDB could not go on in it */
};

static void say(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct check *c, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    c->tell(c->context, line);
}

/* A key in one of the pages that lead to others may be damaged: a walk over all rows does not need
 * it, a look-up does. */
static void look_up(struct check *c, enum db db, const struct range *r, size_t row)
{
    struct slice found = SLICE_NONE;

    if (view_find(c->view, db, r->key, &found) == OK && found.data == r->value.data) return;
    c->result.hidden_rows++;
    say(c, "%s: record %zu is not found by its key", store_db_name(db), row);
}

/* Of the errors behind the first one LMDB says only that its transaction must end. */
static void cannot_read(struct check *c, enum db db, size_t rows, err_t e)
{
    const char *why = e == ERR_STORE_DAMAGED ? err_words() : "a page that leads on is damaged";

    c->result.error = c->error = e;
    say(c, "%s: cannot be read further than %zu records: %s", store_db_name(db), rows, why);
}

/* Counts good and bad records of one sub-database in key order. */
static size_t walk(struct check *c, enum db db)
{
    AUTO(range) r = {0};
    struct key last = {0};
    size_t rows = 0;

    range_prefix(&r, c->view, db, SLICE_NONE, RANGE_FORWARDS);
    for (;;) {
        if (!range_next(&r)) {
            if (!r.damaged) break;
            c->result.bad_records++;
            say(c, "%s: record %zu: %s", store_db_name(db), rows + 1, err_words());
            range_resume(&r);
        } else {
            look_up(c, db, &r, rows + 1);
        }
        rows++;
        if (last.len && slice_cmp(r.key, key_slice(&last)) <= 0) {
            c->result.disordered++;
            say(c, "%s: record %zu is out of order", store_db_name(db), rows);
        }
        last.len = 0;
        key_bytes(&last, slice_sub(r.key, 0, KEY_MAX));
    }
    if (range_error(&r) != OK) cannot_read(c, db, rows, range_error(&r));
    return rows;
}

static void check_db(struct check *c, enum db db)
{
    size_t counted;
    err_t e;

    if (!store_has(c->store, db)) {
        c->result.hidden_rows++;
        say(c, "%s: the sub-database is missing", store_db_name(db));
        return;
    }
    e = view_count(c->view, db, &counted);
    if (e != OK) {
        cannot_read(c, db, 0, e);
        return;
    }
    size_t rows = walk(c, db);
    c->result.rows += rows;
    if (rows != counted) {
        c->result.hidden_rows += rows < counted ? counted - rows : rows - counted;
        say(c, "%s: %zu records found, %zu counted by LMDB", store_db_name(db), rows, counted);
    }
    say(c, "%s: %zu records", store_db_name(db), rows);
}

/* The numbers of a log have no holes; a missing one was hidden. */
static err_t check_log(struct check *c, uint32_t tenant, uint64_t first, uint64_t next,
                       size_t found)
{
    if (found == next - first) return OK;
    c->result.hidden_rows++;
    say(c, "events: tenant %u has %zu events where the numbers say %llu", tenant, found,
        (unsigned long long)(next - first));
    return OK;
}

static err_t check_logs(struct check *c)
{
    AUTO(range) r = {0};
    size_t found = 0;

    range_prefix(&r, c->view, DB_events, SLICE_NONE, RANGE_FORWARDS);
    while (range_next(&r)) {
        struct db_log log;
        struct reader key = reader_of(r.key);
        uint32_t tenant = key_read_int(&key);
        struct key number = event_key(tenant, EVENT_NUMBER_ROW);
        if (!slice_eq(r.key, key_slice(&number))) {
            found++;
            continue;
        }
        TRY(log_decode(r.value, &log));
        TRY(check_log(c, tenant, log.first_seq, log.next_seq, found));
        found = 0;
    }
    return range_error(&r);
}

/* ---- the pages below ---- */

static void tell_page(void *context, const char *line)
{
    struct check *c = context;

    say(c, "pages: %s", line);
}

static err_t walk_pages(struct check *c, struct slice file)
{
    struct pages p = {.file = file, .tell = tell_page, .context = c};
    err_t e = pages_walk(&p, view_commit(c->view));

    if (e == OK) c->result.bad_pages = p.findings;
    return e;
}

/* LMDB's own map is not to be had; two of one file show the same bytes. */
static err_t check_pages(struct check *c)
{
    AUTO(buf) path = {0};
    struct slice file;

    buf_printf(&path, "%s/data.mdb", store_path(c->store));
    TRY(pages_map(buf_text(&path), &file));
    err_t e = walk_pages(c, file);
    pages_unmap(file);
    return e;
}

/* A server that runs may write over the meta page of our snapshot before we have read it, or while
 * we do: what is damaged is so every time. */
static err_t begin(struct check *c)
{
    enum { TRIES = 20 };
    err_t e = ERR_NOT_FOUND;

    for (int i = 0; (e == ERR_NOT_FOUND || e == ERR_STORE_DAMAGED) && i < TRIES; i++) {
        err_clear();
        view_end(c->view);
        TRY(view_begin(c->view));
        e = check_pages(c);
    }
    if (e == ERR_STORE_DAMAGED) {
        c->result.bad_pages++;
        say(c, "pages: %s", err_words());
        err_clear();
        return OK;
    }
    return e;
}

/* A transaction that met a damaged page reads nothing any more; the next one reads other tables. */
static err_t begin_anew(struct check *c)
{
    err_clear();
    view_end(c->view);
    return view_begin(c->view);
}

static err_t check_all(struct check *c)
{
    TRY(begin(c));
    for (int db = 0; db < DB_COUNT; db++) {
        c->error = OK;
        check_db(c, (enum db)db);
        if (c->error != OK) TRY(begin_anew(c));
    }
    if (c->result.bad_records == 0 && c->result.error == OK) TRY(check_logs(c));
    return OK;
}

err_t check_store(struct store *store, void (*tell)(void *context, const char *line), void *context,
                  struct check_result *out)
{
    struct check c = {.store = store, .tell = tell, .context = context};

    TRY(view_new(store, &c.view));
    err_t e = check_all(&c);
    view_free(c.view);
    *out = c.result;
    return e;
}
