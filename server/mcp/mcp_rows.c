/* Sessions as rows, and the sweep that ends old ones. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/reader.h"
#include "server/log.h"
#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_table.h"

/* ---- rows ---- */

void row_put(struct batch *b, const struct session *s, enum mcp_level level)
{
    uint8_t extra[16] = {s->info.wants_vendor, s->info.initialized};
    char digit = (char)('0' + level);
    struct db_session row = {
        .id = slice_text(s->info.id),
        .key = s->key,
        .revision = slice_text(mcp_revision_text(s->info.revision)),
        .capabilities = buf_slice(&s->capabilities),
        .client = buf_slice(&s->client),
        .log_level = slice_of(&digit, 1),
        .created_ms = s->created_ms,
        .used_ms = s->used_ms,
    };

    for (int i = 0; i < 8; i++)
        extra[2 + i] = (uint8_t)(s->start >> (8 * i));
    extra[10] = s->info.abilities;
    row.extra = slice_of(extra, 11);
    db_session_put(b, s->tenant, &row);
}

static void read_row(struct session *s, const struct db_session *row)
{
    enum mcp_revision revision = mcp_revision_find(row->revision);

    snprintf(s->info.id, sizeof(s->info.id), SLICE_FMT, SLICE_ARG(row->id));
    s->key = row->key;
    s->info.revision = revision < MCP_REVISIONS ? revision : MCP_LATEST_SESSION;
    if (row->log_level.len == 1) s->shown.level = (row->log_level.data[0] - '0') & 7;
    s->info.level = s->shown.level;
    if (row->extra.len >= 10) {
        s->info.wants_vendor = row->extra.data[0];
        s->info.initialized = row->extra.data[1];
        s->start = 0;
        for (int i = 0; i < 8; i++)
            s->start |= (uint64_t)row->extra.data[2 + i] << (8 * i);
    }
    if (row->extra.len >= 11) s->info.abilities = row->extra.data[10];
    buf_reset(&s->capabilities);
    buf_reset(&s->client);
    buf_put(&s->capabilities, row->capabilities);
    buf_put(&s->client, row->client);
    s->created_ms = row->created_ms;
    s->used_ms = row->used_ms;
}

void row_put_uri(struct batch *b, const struct session *s, const struct session_uri *u, int64_t now)
{
    AUTO(buf) filter = {0};
    struct db_subscription row = {
        .name = slice_text(u->uri), .cursor = u->since, .created_ms = now};

    /* The kinds follow from the uri; the numbers of account and chat took a look-up. */
    buf_put_varint(&filter, u->filter.account);
    buf_put_varint(&filter, u->filter.peer);
    row.filter = buf_slice(&filter);
    db_subscription_put(b, s->tenant, slice_text(s->info.id), &row);
}

static err_t read_uris(struct session *s, struct view *v)
{
    AUTO(range) r = {0};
    struct db_subscription row;

    db_subscriptions(&r, v, s->tenant, slice_text(s->info.id));
    while (s->shown.uri_count < SESSION_URIS_MAX && db_subscription_next(&r, &row)) {
        struct session_uri u = {.since = row.cursor};
        struct reader in = reader_of(row.filter);
        if (row.name.len > SESSION_URI_MAX || !mcp_uri_kinds(row.name, &u.filter)) continue;
        memcpy(u.uri, row.name.data, row.name.len);
        u.filter.account = (uint32_t)reader_varint(&in);
        u.filter.peer = (uint32_t)reader_varint(&in);
        choice_add(&s->shown, &u);
    }
    return range_error(&r);
}

static err_t read_stored(struct session *s, struct view *v, struct slice id, bool *out_found)
{
    struct db_session row;

    TRY(db_session_find(v, s->tenant, id, out_found, &row));
    if (!*out_found) return OK;
    read_row(s, &row);
    return read_uris(s, v);
}

err_t row_load(struct mcp_worker *w, const struct principal *who, struct slice id,
               struct session **out)
{
    struct session *s = session_new(who);
    bool found = false;
    err_t e = view_begin(w->view);

    if (e == OK) e = read_stored(s, w->view, id, &found);
    view_end(w->view);
    if (e == OK && found) {
        *out = s;
        return OK;
    }
    session_free(s);
    return e == OK ? ERR_NOT_FOUND : e;
}

err_t row_delete(struct mcp_worker *w, struct batch *b, uint32_t tenant, struct slice id)
{
    err_t e = view_begin(w->view);

    if (e == OK) e = db_session_delete(b, w->view, tenant, id);
    view_end(w->view);
    return e;
}

/* ---- sweeping ---- */

static void sweep_kept(struct session *s, int64_t now)
{
    LIST_EACH(node, &s->kept)
    {
        struct kept *k = LIST_ENTRY(node, struct kept, link);
        if (k->ended && !k->reader_worker && now - k->ended_at > KEPT_MS) kept_free(s, k);
    }
}

static bool is_idle(const struct session *s, int64_t now)
{
    return !s->stream_worker && !s->ask_count && !s->kept_count && !s->ended && !s->under_way &&
           now - s->touched_ms > SESSION_IDLE_MS;
}

static void sweep_memory(struct mcp_worker *w, struct mcp_sessions *t, int64_t now)
{
    struct session *s;
    size_t at = 0;

    while ((s = map_next(&t->by_id, &at, NULL))) {
        sweep_kept(s, now);
        if (s->stream_worker && !s->ended) session_touch(w, t, s, now);
        if (is_idle(s, now)) table_forget(t, s->info.id);
    }
}

/* Rows looked at per sweep, so that neither the worker nor the lock is kept long. */
enum { SWEEP_ROWS = 4096 };

struct expired {
    struct expired *next;
    uint32_t tenant;
    struct slice id;
};

/* Goes on where the sweep before stopped; *out_end when the last row was seen. */
static err_t find_expired(struct mcp_worker *w, struct buf *at, int64_t now, struct arena *arena,
                          struct expired **out, size_t *out_rows, bool *out_end)
{
    AUTO(range) r = {0};
    struct db_session row;
    struct expired *x;
    uint32_t tenant;

    db_sessions(&r, w->view, 0);
    if (at->len) range_skip_to(&r, buf_slice(at));
    while (*out_rows < SWEEP_ROWS && db_session_next(&r, &tenant, &row)) {
        ++*out_rows;
        buf_reset(at);
        buf_put(at, r.key);
        buf_put_u8(at, 0); /* the next sweep begins behind it */
        if (row.used_ms >= now - SESSION_ROW_MS) continue;
        x = arena_new(arena, struct expired);
        *x = (struct expired){*out, tenant, arena_dup(arena, row.id)};
        *out = x;
    }
    *out_end = *out_rows < SWEEP_ROWS;
    return range_error(&r);
}

static void count_rows(struct mcp_sessions *t, size_t rows, bool end)
{
    t->rows_counted += rows;
    if (!end) return;
    t->rows = t->rows_counted;
    t->rows_counted = 0;
    buf_reset(&t->swept);
}

/* What lives in memory is in use, whatever its row says. */
static err_t delete_expired(struct mcp_worker *w, struct mcp_sessions *t, const struct expired *x,
                            struct batch *b)
{
    for (; x; x = x->next)
        if (!map_find(&t->by_id, x->id)) TRY(db_session_delete(b, w->view, x->tenant, x->id));
    return OK;
}

static void sweep_rows(struct mcp_worker *w, int64_t now)
{
    struct commit *c = commit_new(w, "", CHANGE_SWEEP, (struct session_change){0});
    struct mcp_sessions *t = w->mcp->sessions;
    struct expired *expired = NULL;
    struct arena arena = {0};
    size_t rows = 0;
    bool end = true;
    err_t e = view_begin(w->view);

    if (e == OK) e = find_expired(w, &t->swept, now, &arena, &expired, &rows, &end);
    table_lock(w);
    count_rows(t, rows, end || e != OK);
    if (e == OK) e = delete_expired(w, t, expired, &c->batch);
    if (e == OK && !batch_is_empty(&c->batch)) {
        commit_post(t, NULL, c);
        c = NULL;
    }
    table_unlock(t);
    view_end(w->view);
    if (e != OK) LOG(WARN, NULL, "old MCP sessions cannot be swept: %s", err_trail());
    if (c) commit_free(c);
    arena_done(&arena);
}

void mcp_sessions_sweep(struct mcp_worker *w)
{
    int64_t now = worker_now(w->worker);
    struct mcp_sessions *t = table_lock(w);

    sweep_memory(w, t, now);
    table_unlock(t);
    sweep_rows(w, now);
}
