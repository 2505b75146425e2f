/* Changes of sessions on their way to the database. Read from the bottom: commit_post() notes what
 * a session's next row is made of; settle_through() lets streams and requests see it when it is
 * durable, in the order of the commits, whichever worker hears of its own first. A commit that
 * fails changes nothing that anybody has seen. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/mcp/mcp_table.h"
#include "server/release.h"
#include "storage/writer.h"

/* ---- what a session chose ---- */

static size_t index_of(const struct session_choice *x, struct slice uri)
{
    size_t i = 0;

    while (i < x->uri_count && !slice_is(uri, x->uris[i].uri))
        i++;
    return i;
}

const struct session_uri *choice_find(const struct session_choice *x, struct slice uri)
{
    size_t i = index_of(x, uri);

    return i < x->uri_count ? &x->uris[i] : NULL;
}

void choice_add(struct session_choice *x, const struct session_uri *u)
{
    size_t i = index_of(x, slice_text(u->uri));

    if (i == x->uri_count) {
        x->uris = xrealloc(x->uris, (i + 1) * sizeof(*x->uris));
        x->uri_count++;
    }
    x->uris[i] = *u;
}

static void choice_remove(struct session_choice *x, struct slice uri)
{
    size_t i = index_of(x, uri);

    if (i < x->uri_count) x->uris[i] = x->uris[--x->uri_count];
}

static void choice_done(struct session_choice *x)
{
    free(x->uris);
    *x = (struct session_choice){0};
}

static void choice_copy(struct session_choice *to, const struct session_choice *from)
{
    to->level = from->level;
    for (size_t i = 0; i < from->uri_count; i++)
        choice_add(to, &from->uris[i]);
}

static void choose(struct session_choice *x, const struct commit *c)
{
    switch (c->kind) {
    case CHANGE_CREATE:
    case CHANGE_TOUCH:
    case CHANGE_LEVEL: x->level = c->level; break;
    case CHANGE_SUBSCRIBE: choice_add(x, &c->uri); break;
    case CHANGE_UNSUBSCRIBE: choice_remove(x, slice_text(c->uri.uri)); break;
    case CHANGE_SWEEP:
    case CHANGE_END: break;
    }
}

const struct session_choice *session_next(const struct session *s)
{
    return s->under_way ? &s->next : &s->shown;
}

/* ---- durable, or failed ---- */

static void close_streams(const struct session *s)
{
    if (s->stream_worker) mcp_wake(s->stream_worker, MCP_WAKE_CLOSE, s->stream);
    LIST_EACH(node, &s->kept)
    {
        struct kept *k = LIST_ENTRY(node, struct kept, link);
        if (k->reader_worker) mcp_wake(k->reader_worker, MCP_WAKE_TAIL_CLOSE, k->reader);
    }
}

static void show(struct mcp_sessions *t, struct session *s, const struct commit *c)
{
    choose(&s->shown, c);
    s->info.level = s->shown.level;
    if (c->kind == CHANGE_END) {
        if (t->rows) t->rows--;
        close_streams(s);
        table_forget(t, c->session);
    } else if (c->kind >= CHANGE_LEVEL && s->stream_worker) {
        mcp_wake(s->stream_worker, MCP_WAKE_RELOAD, s->stream);
    }
}

/* What is still under way goes on as if the one that failed had never been. */
static void take_back(struct mcp_sessions *t, struct session *s, const struct commit *failed)
{
    choice_done(&s->next);
    if (s->under_way) choice_copy(&s->next, &s->shown);
    LIST_EACH(node, &t->commits)
    {
        const struct commit *c = LIST_ENTRY(node, struct commit, link);
        if (s->under_way && strcmp(c->session, failed->session) == 0) choose(&s->next, c);
    }
    if (failed->kind == CHANGE_END) s->ended = false;
    if (failed->kind == CHANGE_CREATE) table_forget(t, failed->session);
}

static void settle(struct mcp_sessions *t, struct commit *c, err_t e)
{
    struct session *s = map_find(&t->by_id, slice_text(c->session));

    list_remove(&c->link);
    list_push(&t->settled, &c->link);
    c->settled = true;
    if (!s) return;
    assert(s->under_way);
    if (--s->under_way == 0) choice_done(&s->next);
    if (e == OK)
        show(t, s, c);
    else
        take_back(t, s, c);
}

/* Workers hear of their commits in any order; the writer settled them in the order of posting, so
 * what was posted before this one has its result too. */
static void settle_through(struct mcp_sessions *t, const struct commit *last)
{
    while (!last->settled) {
        struct commit *c = LIST_ENTRY(t->commits.next, struct commit, link);
        settle(t, c, c->batch.result);
    }
}

static void on_back(struct post *p, struct worker *worker)
{
    struct commit *c = CONTAINER_OF(p, struct commit, post);
    err_t e = c->batch.result;

    if (e == OK) release_check(0, c->batch.turn, NULL, "a session");
    struct mcp_sessions *t = table_lock(c->home);

    settle_through(t, c);
    list_remove(&c->link);
    table_unlock(t);
    if (c->change.done) c->change.done(c->home, c->change.number, e, c->session);
    commit_free(c);
}

/* ---- posting ---- */

static void on_durable(struct batch *b)
{
    struct commit *c = b->context;

    worker_post(c->home->worker, &c->post);
}

struct commit *commit_new(struct mcp_worker *w, const char *session, enum change_kind kind,
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

void commit_free(struct commit *c)
{
    batch_done(&c->batch);
    free(c);
}

void commit_post(struct mcp_sessions *t, struct session *s, struct commit *c)
{
    if (s && s->is_volatile) {
        list_push(&t->settled, &c->link);
        c->settled = true;
        show(t, s, c);
        worker_post(c->home->worker, &c->post);
        return;
    }
    if (s && s->under_way++ == 0) choice_copy(&s->next, &s->shown);
    if (s) choose(&s->next, c);
    list_push(&t->commits, &c->link);
    writer_post(t->mcp->server->writer, &c->batch);
}

void commit_row(struct mcp_worker *w, struct mcp_sessions *t, struct session *s,
                enum change_kind kind, enum mcp_level level, struct session_change change)
{
    struct commit *c = commit_new(w, s->info.id, kind, change);

    c->level = level;
    row_put(&c->batch, s, level);
    commit_post(t, s, c);
}
