/* What changes a session: made, ended, subscribed, its level. Each change is a commit of its row,
 * posted under the table's lock, and is seen when that is durable (mcp_commit.c). */
#include <stdio.h>

#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/mcp/mcp_table.h"

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
    s->key = session_key(who);
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
    struct mcp_sessions *t = table_lock(w);
    err_t e = check_room(t);

    if (e == OK) {
        s->info.revision = n->revision;
        s->info.wants_vendor = n->wants_vendor;
        s->info.abilities = n->abilities;
        buf_put(&s->capabilities, n->capabilities);
        buf_put(&s->client, n->client);
        map_put(&t->by_id, slice_text(s->info.id), s);
        t->rows++;
        commit_row(w, t, s, CHANGE_CREATE, s->info.level, change);
    }
    table_unlock(t);
    if (e != OK) session_free(s);
    return e;
}

err_t session_create_volatile(struct mcp_worker *w, const struct principal *who, uint64_t stream,
                              char out[SESSION_TEXT_MAX])
{
    struct session *s = make(w, who);
    struct mcp_sessions *t = table_lock(w);
    err_t e = check_room(t);

    if (e == OK) {
        s->is_volatile = true;
        s->stream_worker = w;
        s->stream = stream;
        memcpy(out, s->info.id, sizeof(s->info.id));
        map_put(&t->by_id, slice_text(s->info.id), s);
    }
    table_unlock(t);
    if (e != OK) session_free(s);
    return e;
}

void session_set_client(struct mcp_worker *w, const char *id, const struct session_new *n)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);

    if (s) {
        s->info.revision = n->revision;
        s->info.wants_vendor = n->wants_vendor;
        s->info.abilities = n->abilities;
    }
    table_unlock(t);
}

void session_set_initialized(struct mcp_worker *w, const char *id)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);

    if (s && !s->info.initialized) {
        s->info.initialized = true;
        if (s->is_volatile) mcp_wake(s->stream_worker, MCP_WAKE_RELOAD, s->stream);
    }
    table_unlock(t);
}

err_t session_end(struct mcp_worker *w, const char *id, struct session_change change)
{
    struct commit *c = commit_new(w, id, CHANGE_END, change);
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);
    err_t e = s ? row_delete(w, &c->batch, s->tenant, slice_text(id)) : ERR_NOT_FOUND;

    if (e == OK) {
        const struct session_choice *next = session_next(s);
        s->ended = true;
        /* Subscriptions that are on their way to the database are not in the view yet. */
        for (size_t i = 0; i < next->uri_count; i++)
            db_subscription_delete(&c->batch, s->tenant, slice_text(id),
                                   slice_text(next->uris[i].uri));
        commit_post(t, s, c);
    }
    table_unlock(t);
    if (e == OK) return OK;
    commit_free(c);
    return e;
}

void session_drop(struct mcp_worker *w, const char *id)
{
    struct mcp_sessions *t = table_lock(w);

    table_forget(t, id);
    table_unlock(t);
}

/* ---- changing ---- */

static err_t subscribe(struct mcp_worker *w, struct mcp_sessions *t, struct session *s,
                       const struct session_uri *uri, struct session_change change)
{
    const struct session_uri *known;
    struct commit *c;

    if (!s) return fail(NOT_FOUND, "the session has ended");
    known = choice_find(session_next(s), slice_text(uri->uri));
    if (!known && session_next(s)->uri_count == SESSION_URIS_MAX)
        return fail(TOO_BUSY, "a session has at most %d resource subscriptions", SESSION_URIS_MAX);
    c = commit_new(w, s->info.id, CHANGE_SUBSCRIBE, change);
    c->uri = known ? *known : *uri;
    row_put_uri(&c->batch, s, &c->uri, worker_now(w->worker));
    commit_post(t, s, c);
    return OK;
}

err_t session_subscribe(struct mcp_worker *w, const char *id, const struct session_uri *uri,
                        struct session_change change)
{
    struct mcp_sessions *t = table_lock(w);
    err_t e = subscribe(w, t, table_get(t, id), uri, change);

    table_unlock(t);
    return e;
}

err_t session_unsubscribe(struct mcp_worker *w, const char *id, struct slice uri,
                          struct session_change change)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);

    if (s) {
        struct commit *c = commit_new(w, id, CHANGE_UNSUBSCRIBE, change);
        if (uri.len && uri.len <= SESSION_URI_MAX) {
            memcpy(c->uri.uri, uri.data, uri.len);
            db_subscription_delete(&c->batch, s->tenant, slice_text(id), uri);
        }
        commit_post(t, s, c);
    }
    table_unlock(t);
    return s ? OK : fail(NOT_FOUND, "the session has ended");
}

err_t session_set_level(struct mcp_worker *w, const char *id, enum mcp_level level,
                        struct session_change change)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);

    if (s) commit_row(w, t, s, CHANGE_LEVEL, level, change);
    table_unlock(t);
    return s ? OK : fail(NOT_FOUND, "the session has ended");
}
