/* The table of sessions. Everything in it is guarded by its lock; commits are posted under it, so
 * that the order in the database is the order in memory. After a failed commit a session is
 * `stale` and read again from its row. */
#include "server/mcp/mcp_session.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/log.h"
#include "server/mcp/inside.h"
#include "server/mcp/mcp_events.h"
#include "storage/id.h"
#include "storage/writer.h"

struct session {
    struct session_info info;
    uint32_t tenant, key;
    int64_t created_ms, used_ms, touched_ms;
    uint64_t start; /* the log's last number when it was made */
    struct buf capabilities, client;
    struct session_uri *uris;
    size_t uri_count;
    bool is_volatile, stale, ended;
    /* live */
    struct mcp_worker *stream_worker; /* NULL: no stream */
    uint64_t stream;
    bool streamed;
    struct list asks, kept;
    size_t ask_count, kept_count, kept_bytes;
};

struct inflight {
    struct list link;
    struct mcp_worker *worker;
    uint64_t ask;
    size_t len;
    uint8_t rpc_id[];
};

struct kept {
    struct list link;
    uint64_t number;
    struct slice rpc_id; /* points into rpc_id_text */
    char rpc_id_text[16];
    struct buf *frames;
    size_t count;
    bool ended;
    int64_t ended_at;
    struct mcp_worker *reader_worker; /* NULL: nobody reads */
    uint64_t reader;
};

enum change_kind { CHANGE_QUIET, CHANGE_CREATE, CHANGE_FILTERS, CHANGE_END };

/* A commit on its way; in `commits`, so that a shutdown frees what no worker took back. */
struct commit {
    struct list link;
    struct batch batch;
    struct post post;
    struct mcp_worker *home;
    enum change_kind kind;
    struct session_change change;
    char session[SESSION_TEXT_MAX];
};

struct mcp_sessions {
    pthread_mutex_t lock;
    struct mcp *mcp;
    struct map by_id;
    struct list commits;
    uint64_t last_kept;
    size_t rows; /* counted by the sweep, grown by what is made since */
    int64_t rows_swept_at;
};

static struct mcp_sessions *lock(struct mcp_worker *w)
{
    struct mcp_sessions *t = w->mcp->sessions;

    pthread_mutex_lock(&t->lock);
    return t;
}

static void unlock(struct mcp_sessions *t) { pthread_mutex_unlock(&t->lock); }

/* ---- revisions and levels ---- */

static const char *const revisions[] = {"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25",
                                        "2026-07-28"};

const char *mcp_revision_text(enum mcp_revision r) { return revisions[r]; }

enum mcp_revision mcp_revision_find(struct slice text)
{
    unsigned r = 0;

    while (r < MCP_REVISIONS && !slice_is(text, revisions[r]))
        r++;
    return r;
}

static const char *const levels[MCP_LEVELS] = {"debug", "info",     "notice", "warning",
                                               "error", "critical", "alert",  "emergency"};

enum mcp_level mcp_level_find(struct slice text)
{
    unsigned l = 0;

    while (l < MCP_LEVELS && !slice_is(text, levels[l]))
        l++;
    return l;
}

/* ---- telling other workers ---- */

struct wake {
    struct post post;
    struct mcp_worker *to;
    enum mcp_wake what;
    uint64_t number;
};

static void on_wake(struct post *p, struct worker *worker)
{
    struct wake *k = CONTAINER_OF(p, struct wake, post);
    struct mcp_ask *ask;

    switch (k->what) {
    case MCP_WAKE_RELOAD: mcp_stream_reload(k->to, k->number); break;
    case MCP_WAKE_CLOSE: mcp_stream_close(k->to, k->number); break;
    case MCP_WAKE_TAIL: mcp_tail_read(k->to, k->number); break;
    case MCP_WAKE_TAIL_CLOSE: mcp_tail_close(k->to, k->number); break;
    case MCP_WAKE_CANCEL:
        ask = mcp_ask_find(k->to, k->number);
        if (ask) mcp_ask_cancel(ask);
        break;
    }
    free(k);
}

static void wake(struct mcp_worker *to, enum mcp_wake what, uint64_t number)
{
    struct wake *k = xcalloc(sizeof(*k));

    *k = (struct wake){.post.run = on_wake, .to = to, .what = what, .number = number};
    worker_post(to->worker, &k->post);
}

/* ---- one session in memory ---- */

static struct session *session_new(const struct principal *who)
{
    struct session *s = xcalloc(sizeof(*s));

    s->tenant = who->tenant;
    list_init(&s->asks);
    list_init(&s->kept);
    return s;
}

static void kept_free(struct session *s, struct kept *k)
{
    for (size_t i = 0; i < k->count; i++) {
        s->kept_bytes -= k->frames[i].len;
        buf_done(&k->frames[i]);
    }
    free(k->frames);
    list_remove(&k->link);
    s->kept_count--;
    free(k);
}

static void session_free(struct session *s)
{
    LIST_EACH(node, &s->kept) kept_free(s, LIST_ENTRY(node, struct kept, link));
    LIST_EACH(node, &s->asks) free(LIST_ENTRY(node, struct inflight, link));
    buf_done(&s->capabilities);
    buf_done(&s->client);
    free(s->uris);
    free(s);
}

static void forget(struct mcp_sessions *t, const char *id)
{
    struct session *s = map_remove(&t->by_id, slice_text(id));

    if (s) session_free(s);
}

/* A session that has not ended, by its id alone: for who found it before. */
static struct session *get(struct mcp_sessions *t, const char *id)
{
    struct session *s = map_find(&t->by_id, slice_text(id));

    return s && !s->ended ? s : NULL;
}

static uint32_t key_number(const struct principal *who)
{
    uint32_t number;
    uint64_t secret;

    return id_number_parse(ID_KEY, slice_text(who->key), &number, &secret) ? number : 0;
}

static bool is_of(const struct session *s, const struct principal *who)
{
    return s->tenant == who->tenant && s->key == key_number(who) && !s->ended;
}

/* ---- rows ---- */

static void put_row(struct batch *b, const struct session *s)
{
    uint8_t extra[16] = {s->info.wants_vendor, s->info.initialized};
    char level[2] = {(char)('0' + s->info.level)};
    struct db_session row = {
        .id = slice_text(s->info.id),
        .key = s->key,
        .revision = slice_text(mcp_revision_text(s->info.revision)),
        .capabilities = buf_slice(&s->capabilities),
        .client = buf_slice(&s->client),
        .log_level = slice_of(level, 1),
        .created_ms = s->created_ms,
        .used_ms = s->used_ms,
    };

    for (int i = 0; i < 8; i++)
        extra[2 + i] = (uint8_t)(s->start >> (8 * i));
    row.extra = slice_of(extra, 10);
    db_session_put(b, s->tenant, &row);
}

static void read_row(struct session *s, const struct db_session *row)
{
    enum mcp_revision revision = mcp_revision_find(row->revision);

    snprintf(s->info.id, sizeof(s->info.id), SLICE_FMT, SLICE_ARG(row->id));
    s->key = row->key;
    s->info.revision = revision < MCP_REVISIONS ? revision : MCP_LATEST_SESSION;
    if (row->log_level.len == 1) s->info.level = (row->log_level.data[0] - '0') & 7;
    if (row->extra.len >= 10) {
        s->info.wants_vendor = row->extra.data[0];
        s->info.initialized = row->extra.data[1];
        s->start = 0;
        for (int i = 0; i < 8; i++)
            s->start |= (uint64_t)row->extra.data[2 + i] << (8 * i);
    }
    buf_reset(&s->capabilities);
    buf_reset(&s->client);
    buf_put(&s->capabilities, row->capabilities);
    buf_put(&s->client, row->client);
    s->created_ms = row->created_ms;
    s->used_ms = row->used_ms;
}

static void put_uri(struct batch *b, const struct session *s, const struct session_uri *u,
                    int64_t now)
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

static void add_uri(struct session *s, const struct session_uri *u)
{
    s->uris = xrealloc(s->uris, (s->uri_count + 1) * sizeof(*s->uris));
    s->uris[s->uri_count++] = *u;
}

static err_t read_uris(struct session *s, struct view *v)
{
    AUTO(range) r = {0};
    struct db_subscription row;

    s->uri_count = 0;
    db_subscriptions(&r, v, s->tenant, slice_text(s->info.id));
    while (s->uri_count < SESSION_URIS_MAX && db_subscription_next(&r, &row)) {
        struct session_uri u = {.since = row.cursor};
        struct reader in = reader_of(row.filter);
        if (row.name.len > SESSION_URI_MAX || !mcp_uri_kinds(row.name, &u.filter)) continue;
        memcpy(u.uri, row.name.data, row.name.len);
        u.filter.account = (uint32_t)reader_varint(&in);
        u.filter.peer = (uint32_t)reader_varint(&in);
        add_uri(s, &u);
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

/* A fresh look at the row; outside the lock, because it reads the database. */
static err_t load(struct mcp_worker *w, const struct principal *who, struct slice id,
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

/* ---- commits ---- */

static void on_durable(struct batch *b)
{
    struct commit *c = b->context;

    worker_post(c->home->worker, &c->post);
}

static void close_streams(const struct session *s)
{
    if (s->stream_worker) wake(s->stream_worker, MCP_WAKE_CLOSE, s->stream);
    LIST_EACH(node, &s->kept)
    {
        struct kept *k = LIST_ENTRY(node, struct kept, link);
        if (k->reader_worker) wake(k->reader_worker, MCP_WAKE_TAIL_CLOSE, k->reader);
    }
}

static void after_commit(struct mcp_sessions *t, const struct commit *c, err_t e)
{
    struct session *s = map_find(&t->by_id, slice_text(c->session));

    if (!s) return;
    if (e != OK) {
        s->stale = true;
        s->ended = false;
    }
    if (e != OK && c->kind == CHANGE_CREATE) forget(t, c->session);
    if (e != OK) return;
    if (c->kind == CHANGE_FILTERS && s->stream_worker)
        wake(s->stream_worker, MCP_WAKE_RELOAD, s->stream);
    if (c->kind == CHANGE_END) {
        close_streams(s);
        forget(t, c->session);
    }
}

static void on_back(struct post *p, struct worker *worker)
{
    struct commit *c = CONTAINER_OF(p, struct commit, post);
    err_t e = c->batch.result;
    struct mcp_sessions *t = lock(c->home);

    list_remove(&c->link);
    after_commit(t, c, e);
    unlock(t);
    if (c->change.done) c->change.done(c->home, c->change.number, e, c->session);
    batch_done(&c->batch);
    free(c);
}

static struct commit *commit_new(struct mcp_worker *w, const char *session, enum change_kind kind,
                                 struct session_change change)
{
    struct commit *c = xcalloc(sizeof(*c));

    batch_init(&c->batch);
    c->batch.done = on_durable;
    c->batch.context = c;
    c->post.run = on_back;
    c->home = w;
    c->kind = kind;
    c->change = change;
    snprintf(c->session, sizeof(c->session), "%s", session);
    return c;
}

/* Under the lock: the order of posting is the order of the changes. */
static void commit(struct mcp_sessions *t, struct commit *c)
{
    list_push(&t->commits, &c->link);
    writer_post(t->mcp->server->writer, &c->batch);
}

/* A change of the row itself. */
static void commit_row(struct mcp_worker *w, struct mcp_sessions *t, struct session *s,
                       enum change_kind kind, struct session_change change)
{
    struct commit *c = commit_new(w, s->info.id, kind, change);

    put_row(&c->batch, s);
    commit(t, c);
}

/* ---- making and ending ---- */

static void make_id(char out[SESSION_TEXT_MAX])
{
    uint8_t random[32];
    AUTO(buf) text = {0};

    crypto_random(random, sizeof(random));
    text_base64url(SLICE_ARRAY(random), &text);
    snprintf(out, SESSION_TEXT_MAX, "%s", buf_text(&text));
}

static struct session *make(struct mcp_worker *w, const struct principal *who)
{
    struct session *s = session_new(who);

    make_id(s->info.id);
    s->key = key_number(who);
    s->created_ms = s->used_ms = s->touched_ms = worker_now(w->worker);
    s->start = hub_last(mcp_hub(w), who->tenant);
    return s;
}

static err_t check_room(struct mcp_sessions *t)
{
    if (t->by_id.count < SESSIONS_MAX && t->rows < SESSION_ROWS_MAX) return OK;
    return fail(TOO_BUSY, "there are too many sessions; end those that are not needed");
}

err_t session_create(struct mcp_worker *w, const struct principal *who, const struct session_new *n,
                     struct session_change change)
{
    struct session *s = make(w, who);
    struct mcp_sessions *t = lock(w);
    err_t e = check_room(t);

    if (e == OK) {
        s->info.revision = n->revision;
        s->info.wants_vendor = n->wants_vendor;
        buf_put(&s->capabilities, n->capabilities);
        buf_put(&s->client, n->client);
        map_put(&t->by_id, slice_text(s->info.id), s);
        t->rows++;
        commit_row(w, t, s, CHANGE_CREATE, change);
    }
    unlock(t);
    if (e != OK) session_free(s);
    return e;
}

err_t session_create_volatile(struct mcp_worker *w, const struct principal *who, uint64_t stream,
                              char out[SESSION_TEXT_MAX])
{
    struct session *s = make(w, who);
    struct mcp_sessions *t = lock(w);
    err_t e = check_room(t);

    if (e == OK) {
        s->is_volatile = true;
        s->stream_worker = w;
        s->stream = stream;
        memcpy(out, s->info.id, sizeof(s->info.id));
        map_put(&t->by_id, slice_text(s->info.id), s);
    }
    unlock(t);
    if (e != OK) session_free(s);
    return e;
}

void session_set_revision(struct mcp_worker *w, const char *id, enum mcp_revision revision,
                          bool wants_vendor)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);

    if (s) {
        s->info.revision = revision;
        s->info.wants_vendor = wants_vendor;
    }
    unlock(t);
}

void session_set_initialized(struct mcp_worker *w, const char *id)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);

    if (s && !s->info.initialized) {
        s->info.initialized = true;
        if (s->is_volatile) wake(s->stream_worker, MCP_WAKE_RELOAD, s->stream);
    }
    unlock(t);
}

static err_t delete_row(struct mcp_worker *w, struct batch *b, uint32_t tenant, struct slice id)
{
    err_t e = view_begin(w->view);

    if (e == OK) e = db_session_delete(b, w->view, tenant, id);
    view_end(w->view);
    return e;
}

err_t session_end(struct mcp_worker *w, const char *id, struct session_change change)
{
    struct commit *c = commit_new(w, id, CHANGE_END, change);
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);
    err_t e = s ? delete_row(w, &c->batch, s->tenant, slice_text(id)) : ERR_NOT_FOUND;

    if (e == OK) {
        s->ended = true;
        /* Subscriptions that are on their way to the database are not in the view yet. */
        for (size_t i = 0; i < s->uri_count; i++)
            db_subscription_delete(&c->batch, s->tenant, slice_text(id),
                                   slice_text(s->uris[i].uri));
        if (t->rows) t->rows--;
        commit(t, c);
    }
    unlock(t);
    if (e == OK) return OK;
    batch_done(&c->batch);
    free(c);
    return e;
}

void session_drop(struct mcp_worker *w, const char *id)
{
    struct mcp_sessions *t = lock(w);

    forget(t, id);
    unlock(t);
}

/* ---- changing ---- */

static struct session_uri *find_uri(struct session *s, struct slice uri)
{
    for (size_t i = 0; i < s->uri_count; i++)
        if (slice_is(uri, s->uris[i].uri)) return &s->uris[i];
    return NULL;
}

/* A volatile session has no row: what changes is true at once, and told by a post all the same. */
static void change_now(struct mcp_worker *w, struct mcp_sessions *t, struct session *s,
                       struct session_change change)
{
    struct commit *c = commit_new(w, s->info.id, CHANGE_FILTERS, change);

    list_push(&t->commits, &c->link);
    worker_post(w->worker, &c->post);
}

static err_t subscribe(struct mcp_worker *w, struct mcp_sessions *t, struct session *s,
                       const struct session_uri *uri, struct session_change change)
{
    struct commit *c;

    if (!s) return fail(NOT_FOUND, "the session has ended");
    if (!find_uri(s, slice_text(uri->uri))) {
        if (s->uri_count == SESSION_URIS_MAX)
            return fail(TOO_BUSY, "a session has at most %d resource subscriptions",
                        SESSION_URIS_MAX);
        add_uri(s, uri);
    }
    if (s->is_volatile) {
        change_now(w, t, s, change);
        return OK;
    }
    c = commit_new(w, s->info.id, CHANGE_FILTERS, change);
    put_uri(&c->batch, s, find_uri(s, slice_text(uri->uri)), worker_now(w->worker));
    commit(t, c);
    return OK;
}

err_t session_subscribe(struct mcp_worker *w, const char *id, const struct session_uri *uri,
                        struct session_change change)
{
    struct mcp_sessions *t = lock(w);
    err_t e = subscribe(w, t, get(t, id), uri, change);

    unlock(t);
    return e;
}

err_t session_unsubscribe(struct mcp_worker *w, const char *id, struct slice uri,
                          struct session_change change)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);
    struct session_uri *u = s ? find_uri(s, uri) : NULL;
    struct commit *c;

    if (s) {
        if (u) *u = s->uris[--s->uri_count];
        if (s->is_volatile) {
            change_now(w, t, s, change);
        } else {
            c = commit_new(w, id, CHANGE_FILTERS, change);
            if (uri.len && uri.len <= SESSION_URI_MAX)
                db_subscription_delete(&c->batch, s->tenant, slice_text(id), uri);
            commit(t, c);
        }
    }
    unlock(t);
    return s ? OK : fail(NOT_FOUND, "the session has ended");
}

err_t session_set_level(struct mcp_worker *w, const char *id, enum mcp_level level,
                        struct session_change change)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);

    if (s) {
        s->info.level = level;
        if (s->is_volatile)
            change_now(w, t, s, change);
        else
            commit_row(w, t, s, CHANGE_FILTERS, change);
    }
    unlock(t);
    return s ? OK : fail(NOT_FOUND, "the session has ended");
}

/* ---- looking up ---- */

static void touch(struct mcp_worker *w, struct mcp_sessions *t, struct session *s, int64_t now)
{
    s->touched_ms = now;
    if (s->is_volatile || now - s->used_ms < SESSION_USED_EVERY_MS) return;
    s->used_ms = now;
    commit_row(w, t, s, CHANGE_QUIET, (struct session_change){0});
}

/* Puts what was loaded in the table; another worker may have been faster. */
static struct session *adopt(struct mcp_sessions *t, struct session *loaded, struct slice id)
{
    struct session *s = map_find(&t->by_id, id);

    if (!s) {
        map_put(&t->by_id, id, loaded);
        return loaded;
    }
    if (s->stale && !s->ended) {
        s->info = loaded->info;
        free(s->uris);
        s->uris = loaded->uris;
        s->uri_count = loaded->uri_count;
        loaded->uris = NULL;
        s->stale = false;
    }
    session_free(loaded);
    return s;
}

/* False: not in the table, or not to be trusted there. */
static bool find_live(struct mcp_worker *w, const struct principal *who, struct slice id,
                      struct session_info *out, err_t *out_e)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = map_find(&t->by_id, id);
    bool known = s && !s->stale;

    if (known) {
        *out_e = is_of(s, who) && !s->is_volatile ? OK : ERR_NOT_FOUND;
        if (*out_e == OK) {
            *out = s->info;
            touch(w, t, s, worker_now(w->worker));
        }
    }
    unlock(t);
    return known;
}

err_t session_find(struct mcp_worker *w, const struct principal *who, struct slice id,
                   struct session_info *out)
{
    struct session *s = NULL;
    struct mcp_sessions *t;
    int64_t now = worker_now(w->worker);
    err_t e = OK;

    if (id.len == 0 || id.len >= SESSION_TEXT_MAX) return ERR_NOT_FOUND;
    if (find_live(w, who, id, out, &e)) return e;
    e = load(w, who, id, &s);
    if (e != OK) return e;
    if (s->used_ms < now - SESSION_ROW_MS) {
        session_free(s);
        return ERR_NOT_FOUND;
    }
    /* After a restart it is not known what its stream saw: one without a position begins now. */
    s->streamed = true;
    t = lock(w);
    s = adopt(t, s, id);
    e = is_of(s, who) ? OK : ERR_NOT_FOUND;
    if (e == OK) {
        *out = s->info;
        touch(w, t, s, now);
    }
    unlock(t);
    return e;
}

struct mcp_worker *session_holder(struct mcp_worker *w, const struct principal *who,
                                  struct slice id)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = map_find(&t->by_id, id);
    struct mcp_worker *holder = NULL;

    if (s && s->is_volatile && is_of(s, who)) {
        s->touched_ms = worker_now(w->worker);
        holder = s->stream_worker;
    }
    unlock(t);
    return holder;
}

bool session_uris(struct mcp_worker *w, const char *id, struct session_info *out_info,
                  struct session_uri **out, size_t *out_count)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);

    if (s) {
        *out_info = s->info;
        *out_count = s->uri_count;
        *out = xalloc(s->uri_count * sizeof(**out) + 1);
        if (s->uri_count) memcpy(*out, s->uris, s->uri_count * sizeof(**out));
    }
    unlock(t);
    return s != NULL;
}

/* ---- the standalone stream ---- */

bool session_take_stream(struct mcp_worker *w, const char *id, uint64_t number, bool take_over,
                         uint64_t *out_after)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);
    bool taken = s && (!s->stream_worker || take_over);

    if (taken) {
        if (s->stream_worker) wake(s->stream_worker, MCP_WAKE_CLOSE, s->stream);
        s->stream_worker = w;
        s->stream = number;
        *out_after = s->streamed ? HUB_FROM_NOW : s->start;
    }
    unlock(t);
    return taken;
}

void session_leave_stream(struct mcp_worker *w, const char *id, uint64_t number)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);

    if (s && s->stream_worker == w && s->stream == number) {
        s->stream_worker = NULL;
        s->touched_ms = worker_now(w->worker);
    }
    unlock(t);
}

void session_streamed(struct mcp_worker *w, const char *id)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);

    if (s) s->streamed = true;
    unlock(t);
}

/* ---- requests under way ---- */

bool session_ask_begins(struct mcp_worker *w, const char *id, struct slice rpc_id, uint64_t ask)
{
    struct inflight *a = xcalloc(sizeof(*a) + rpc_id.len);
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);
    bool fits = !s || s->ask_count < SESSION_INFLIGHT_MAX;

    a->worker = w;
    a->ask = ask;
    a->len = rpc_id.len;
    memcpy(a->rpc_id, rpc_id.data, rpc_id.len);
    if (s && fits) {
        list_push(&s->asks, &a->link);
        s->ask_count++;
        a = NULL;
    }
    unlock(t);
    free(a);
    return fits;
}

void session_ask_ends(struct mcp_worker *w, const char *id, uint64_t ask)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = map_find(&t->by_id, slice_text(id));

    if (s) {
        LIST_EACH(node, &s->asks)
        {
            struct inflight *a = LIST_ENTRY(node, struct inflight, link);
            if (a->worker != w || a->ask != ask) continue;
            list_remove(&a->link);
            s->ask_count--;
            free(a);
        }
        s->touched_ms = worker_now(w->worker);
    }
    unlock(t);
}

void session_ask_cancel(struct mcp_worker *w, const char *id, struct slice rpc_id)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);

    if (s) {
        LIST_EACH(node, &s->asks)
        {
            struct inflight *a = LIST_ENTRY(node, struct inflight, link);
            if (slice_eq(slice_of(a->rpc_id, a->len), rpc_id))
                wake(a->worker, MCP_WAKE_CANCEL, a->ask);
        }
    }
    unlock(t);
}

/* ---- kept answers ---- */

static void put_base36(struct buf *out, uint64_t n)
{
    char digits[16];
    size_t at = sizeof(digits);

    do {
        digits[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[n % 36];
        n /= 36;
    } while (n);
    buf_put(out, slice_of(digits + at, sizeof(digits) - at));
}

void kept_print(struct buf *out, uint64_t kept, struct slice rpc_id, uint64_t frame)
{
    buf_put_u8(out, 'p');
    put_base36(out, kept);
    if (rpc_id.len) {
        buf_put_u8(out, '.');
        buf_put(out, rpc_id);
    }
    buf_put_u8(out, '-');
    put_base36(out, frame);
}

bool kept_parse(struct slice event_id, struct kept_position *out)
{
    size_t dash = slice_find(event_id, '-');
    struct slice name = slice_sub(event_id, 1, dash);
    size_t dot = slice_find(name, '.');
    uint64_t ignored;

    if (event_id.len < 4 || event_id.len > 40 || event_id.data[0] != 'p') return false;
    out->rpc_id = dot < name.len ? slice_from(name, dot + 1) : SLICE_NONE;
    if (dot < name.len && text_u64(out->rpc_id, &ignored) != OK) return false;
    return mcp_base36(slice_sub(name, 0, dot), &out->kept) &&
           mcp_base36(slice_from(event_id, dash + 1), &out->frame);
}

static struct kept *find_kept(struct session *s, uint64_t number)
{
    if (!s) return NULL;
    LIST_EACH(node, &s->kept)
    {
        struct kept *k = LIST_ENTRY(node, struct kept, link);
        if (k->number == number) return k;
    }
    return NULL;
}

/* Makes room: what is complete and read longest ago goes first. */
static bool make_room(struct session *s)
{
    if (s->kept_count < KEPT_STREAMS_MAX && s->kept_bytes < KEPT_BYTES_MAX) return true;
    LIST_EACH(node, &s->kept)
    {
        struct kept *k = LIST_ENTRY(node, struct kept, link);
        if (!k->ended || k->reader_worker) continue;
        kept_free(s, k);
        if (s->kept_count < KEPT_STREAMS_MAX && s->kept_bytes < KEPT_BYTES_MAX) return true;
    }
    return false;
}

uint64_t kept_open(struct mcp_worker *w, const char *id, struct slice rpc_id)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);
    struct kept *k = NULL;
    uint64_t ignored;

    if (s && make_room(s)) {
        k = xcalloc(sizeof(*k));
        k->number = ++t->last_kept;
        if (rpc_id.len && rpc_id.len <= 10 && text_u64(rpc_id, &ignored) == OK) {
            memcpy(k->rpc_id_text, rpc_id.data, rpc_id.len);
            k->rpc_id = slice_of(k->rpc_id_text, rpc_id.len);
        }
        list_push(&s->kept, &k->link);
        s->kept_count++;
        ignored = k->number;
    }
    unlock(t);
    return k ? ignored : 0;
}

static void add_frame(struct session *s, struct kept *k, struct slice message)
{
    AUTO(buf) id = {0};
    struct buf *frame;

    k->frames = xrealloc(k->frames, (k->count + 1) * sizeof(*k->frames));
    frame = &k->frames[k->count++];
    *frame = (struct buf){0};
    kept_print(&id, k->number, k->rpc_id, k->count);
    sse_frame(frame, buf_slice(&id), SLICE("message"), message);
    s->kept_bytes += frame->len;
}

void kept_add(struct mcp_worker *w, const char *id, uint64_t kept, struct slice message, bool ends)
{
    struct mcp_sessions *t = lock(w);
    struct session *s = get(t, id);
    struct kept *k = find_kept(s, kept);

    if (k) {
        if (!slice_is_none(message)) add_frame(s, k, message);
        if (ends) {
            k->ended = true;
            k->ended_at = worker_now(w->worker);
        }
        if (k->reader_worker) wake(k->reader_worker, MCP_WAKE_TAIL, k->reader);
    }
    unlock(t);
}

bool kept_attach(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t reader)
{
    struct mcp_sessions *t = lock(w);
    struct kept *k = find_kept(get(t, id), kept);

    if (k) {
        if (k->reader_worker) wake(k->reader_worker, MCP_WAKE_TAIL_CLOSE, k->reader);
        k->reader_worker = w;
        k->reader = reader;
    }
    unlock(t);
    return k != NULL;
}

void kept_detach(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t reader)
{
    struct mcp_sessions *t = lock(w);
    struct kept *k = find_kept(get(t, id), kept);

    if (k && k->reader_worker == w && k->reader == reader) k->reader_worker = NULL;
    unlock(t);
}

bool kept_read(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t *after,
               struct buf *out, bool *out_ended)
{
    struct mcp_sessions *t = lock(w);
    struct kept *k = find_kept(get(t, id), kept);

    if (k) {
        for (; *after < k->count; ++*after)
            buf_put(out, buf_slice(&k->frames[*after]));
        *out_ended = k->ended;
    }
    unlock(t);
    return k != NULL;
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
    return !s->stream_worker && !s->ask_count && !s->kept_count && !s->ended &&
           now - s->touched_ms > SESSION_IDLE_MS;
}

static void sweep_memory(struct mcp_worker *w, struct mcp_sessions *t, int64_t now)
{
    struct session *s;
    size_t at = 0;

    while ((s = map_next(&t->by_id, &at, NULL))) {
        sweep_kept(s, now);
        if (s->stream_worker && !s->ended) touch(w, t, s, now);
        if (is_idle(s, now)) forget(t, s->info.id);
    }
}

/* The rows of one pass; what is left is found by the next. */
enum { SWEEP_ROWS = 512 };

static err_t collect_expired(struct mcp_worker *w, struct mcp_sessions *t, int64_t now,
                             struct batch *b, size_t *out_rows)
{
    AUTO(range) r = {0};
    struct db_session row;
    uint32_t tenant;
    size_t rows = 0, expired = 0;

    db_sessions(&r, w->view, 0);
    while (db_session_next(&r, &tenant, &row)) {
        rows++;
        if (row.used_ms >= now - SESSION_ROW_MS || expired == SWEEP_ROWS) continue;
        if (map_find(&t->by_id, row.id)) continue;
        expired++;
        TRY(db_session_delete(b, w->view, tenant, row.id));
    }
    *out_rows = rows - expired;
    return range_error(&r);
}

static void sweep_rows(struct mcp_worker *w, struct mcp_sessions *t, int64_t now)
{
    struct commit *c = commit_new(w, "", CHANGE_QUIET, (struct session_change){0});
    size_t rows = t->rows;
    err_t e = view_begin(w->view);

    if (e == OK) e = collect_expired(w, t, now, &c->batch, &rows);
    view_end(w->view);
    if (e == OK)
        t->rows = rows;
    else
        LOG(WARN, NULL, "old MCP sessions cannot be read: %s", err_trail());
    if (e == OK && !batch_is_empty(&c->batch)) {
        commit(t, c);
        return;
    }
    batch_done(&c->batch);
    free(c);
}

void mcp_sessions_sweep(struct mcp_worker *w)
{
    int64_t now = worker_now(w->worker);
    struct mcp_sessions *t = lock(w);

    sweep_memory(w, t, now);
    if (now - t->rows_swept_at >= SESSION_USED_EVERY_MS / 4) {
        t->rows_swept_at = now;
        sweep_rows(w, t, now);
    }
    unlock(t);
}

/* ---- life ---- */

struct mcp_sessions *mcp_sessions_new(struct mcp *m)
{
    struct mcp_sessions *t = xcalloc(sizeof(*t));
    uint32_t start;

    pthread_mutex_init(&t->lock, NULL);
    t->mcp = m;
    list_init(&t->commits);
    /* Numbers of kept answers are not those of the process before, which clients may ask for. */
    crypto_random(&start, sizeof(start));
    t->last_kept = (uint64_t)start << 8;
    return t;
}

void mcp_sessions_free(struct mcp_sessions *t)
{
    struct session *s;
    size_t at = 0;

    if (!t) return;
    while ((s = map_next(&t->by_id, &at, NULL)))
        session_free(s);
    map_done(&t->by_id);
    LIST_EACH(node, &t->commits)
    {
        struct commit *c = LIST_ENTRY(node, struct commit, link);
        batch_done(&c->batch);
        free(c);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}
