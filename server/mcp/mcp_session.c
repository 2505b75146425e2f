/* The table of sessions: looked up and locked. mcp_change.c makes, changes and ends them,
 * mcp_commit.c lets what changed be seen when it is durable. */
#include "server/mcp/mcp_session.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/mcp/mcp_table.h"
#include "storage/id.h"

struct mcp_sessions *table_lock(struct mcp_worker *w)
{
    struct mcp_sessions *t = w->mcp->sessions;

    pthread_mutex_lock(&t->lock);
    return t;
}

void table_unlock(struct mcp_sessions *t) { pthread_mutex_unlock(&t->lock); }

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

const char *mcp_level_text(enum mcp_level l) { return levels[l]; }

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

void mcp_wake(struct mcp_worker *to, enum mcp_wake what, uint64_t number)
{
    struct wake *k = xcalloc(sizeof(*k));

    *k = (struct wake){.post.run = on_wake, .to = to, .what = what, .number = number};
    worker_post(to->worker, &k->post);
}

/* ---- one session in memory ---- */

struct session *session_new(const struct principal *who)
{
    struct session *s = xcalloc(sizeof(*s));

    s->tenant = who->tenant;
    list_init(&s->asks);
    list_init(&s->kept);
    return s;
}

void kept_free(struct session *s, struct kept *k)
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

void session_free(struct session *s)
{
    LIST_EACH(node, &s->kept) kept_free(s, LIST_ENTRY(node, struct kept, link));
    LIST_EACH(node, &s->asks) free(LIST_ENTRY(node, struct inflight, link));
    buf_done(&s->capabilities);
    buf_done(&s->client);
    free(s->shown.uris);
    free(s->next.uris);
    free(s);
}

void table_forget(struct mcp_sessions *t, const char *id)
{
    struct session *s = map_remove(&t->by_id, slice_text(id));

    if (s) session_free(s);
}

struct session *table_get(struct mcp_sessions *t, const char *id)
{
    struct session *s = map_find(&t->by_id, slice_text(id));

    return s && !s->ended ? s : NULL;
}

uint32_t session_key(const struct principal *who)
{
    uint32_t number;
    uint64_t secret;

    return id_number_parse(ID_KEY, slice_text(who->key), &number, &secret) ? number : 0;
}

/* One that is being ended is there until that is durable, and takes no more requests. */
static err_t check_of(const struct session *s, const struct principal *who)
{
    if (s->tenant != who->tenant || s->key != session_key(who)) return ERR_NOT_FOUND;
    return s->ended ? ERR_TOO_BUSY : OK;
}

/* ---- looking up ---- */

void session_touch(struct mcp_worker *w, struct mcp_sessions *t, struct session *s, int64_t now)
{
    s->touched_ms = now;
    if (s->is_volatile || now - s->used_ms < SESSION_USED_EVERY_MS) return;
    /* A row is written whole: what is under way and may fail would come with it. The next use is
     * early enough. */
    if (s->under_way) return;
    s->used_ms = now;
    commit_row(w, t, s, CHANGE_TOUCH, s->shown.level, (struct session_change){0});
}

/* Puts what was loaded in the table; another worker may have been faster. */
static struct session *adopt(struct mcp_sessions *t, struct session *loaded, struct slice id)
{
    struct session *s = map_find(&t->by_id, id);

    if (!s) {
        map_put(&t->by_id, id, loaded);
        return loaded;
    }
    session_free(loaded);
    return s;
}

/* False: not in the table. */
static bool find_live(struct mcp_worker *w, const struct principal *who, struct slice id,
                      struct session_info *out, err_t *out_e)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = map_find(&t->by_id, id);

    if (s) {
        *out_e = s->is_volatile ? ERR_NOT_FOUND : check_of(s, who);
        if (*out_e == OK) {
            *out = s->info;
            session_touch(w, t, s, worker_now(w->worker));
        }
    }
    table_unlock(t);
    return s != NULL;
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
    e = row_load(w, who, id, &s);
    if (e != OK) return e;
    if (s->used_ms < now - SESSION_ROW_MS) {
        session_free(s);
        return ERR_NOT_FOUND;
    }
    /* After a restart it is not known what its stream saw: one without a position begins now. */
    s->streamed = true;
    t = table_lock(w);
    s = adopt(t, s, id);
    e = check_of(s, who);
    if (e == OK) {
        *out = s->info;
        session_touch(w, t, s, now);
    }
    table_unlock(t);
    return e;
}

struct mcp_worker *session_holder(struct mcp_worker *w, const struct principal *who,
                                  struct slice id)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = map_find(&t->by_id, id);
    struct mcp_worker *holder = NULL;

    if (s && s->is_volatile && check_of(s, who) == OK) {
        s->touched_ms = worker_now(w->worker);
        holder = s->stream_worker;
    }
    table_unlock(t);
    return holder;
}

bool session_uris(struct mcp_worker *w, const char *id, struct session_info *out_info,
                  struct session_uri **out, size_t *out_count)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);

    if (s) {
        *out_info = s->info;
        *out_count = s->shown.uri_count;
        *out = xalloc(*out_count * sizeof(**out) + 1);
        if (*out_count) memcpy(*out, s->shown.uris, *out_count * sizeof(**out));
    }
    table_unlock(t);
    return s != NULL;
}

/* ---- the standalone stream ---- */

bool session_take_stream(struct mcp_worker *w, const char *id, uint64_t number, bool take_over,
                         uint64_t *out_after)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);
    bool taken = s && (!s->stream_worker || take_over);

    if (taken) {
        if (s->stream_worker) mcp_wake(s->stream_worker, MCP_WAKE_CLOSE, s->stream);
        s->stream_worker = w;
        s->stream = number;
        *out_after = s->streamed ? HUB_FROM_NOW : s->start;
    }
    table_unlock(t);
    return taken;
}

void session_leave_stream(struct mcp_worker *w, const char *id, uint64_t number)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);

    if (s && s->stream_worker == w && s->stream == number) {
        s->stream_worker = NULL;
        s->touched_ms = worker_now(w->worker);
    }
    table_unlock(t);
}

void session_streamed(struct mcp_worker *w, const char *id)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);

    if (s) s->streamed = true;
    table_unlock(t);
}

/* ---- life ---- */

struct mcp_sessions *mcp_sessions_new(struct mcp *m)
{
    struct mcp_sessions *t = xcalloc(sizeof(*t));
    uint32_t start;

    pthread_mutex_init(&t->lock, NULL);
    t->mcp = m;
    list_init(&t->commits);
    list_init(&t->settled);
    /* Numbers of kept answers are not those of the process before, which clients may ask for. */
    crypto_random(&start, sizeof(start));
    t->last_kept = (uint64_t)start << 8;
    return t;
}

static void free_commits(struct list *commits)
{
    struct list *node;

    while ((node = list_pop(commits)))
        commit_free(LIST_ENTRY(node, struct commit, link));
}

void mcp_sessions_free(struct mcp_sessions *t)
{
    struct session *s;
    size_t at = 0;

    if (!t) return;
    while ((s = map_next(&t->by_id, &at, NULL)))
        session_free(s);
    map_done(&t->by_id);
    buf_done(&t->swept);
    free_commits(&t->commits);
    free_commits(&t->settled);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
