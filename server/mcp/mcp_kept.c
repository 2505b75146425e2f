/* What of a session is under way: its requests, and answers that became streams. */
#include <stdlib.h>

#include "proto/base/text.h"
#include "server/http/http.h"
#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_table.h"

/* ---- requests under way ---- */

bool session_ask_begins(struct mcp_worker *w, const char *id, struct slice rpc_id, uint64_t ask)
{
    struct inflight *a = xcalloc(sizeof(*a) + rpc_id.len);
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);
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
    table_unlock(t);
    free(a);
    return fits;
}

void session_ask_ends(struct mcp_worker *w, const char *id, uint64_t ask)
{
    struct mcp_sessions *t = table_lock(w);
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
    table_unlock(t);
}

void session_ask_cancel(struct mcp_worker *w, const char *id, struct slice rpc_id)
{
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);

    if (s) {
        LIST_EACH(node, &s->asks)
        {
            struct inflight *a = LIST_ENTRY(node, struct inflight, link);
            if (slice_eq(slice_of(a->rpc_id, a->len), rpc_id))
                mcp_wake(a->worker, MCP_WAKE_CANCEL, a->ask);
        }
    }
    table_unlock(t);
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
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);
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
    table_unlock(t);
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
    struct mcp_sessions *t = table_lock(w);
    struct session *s = table_get(t, id);
    struct kept *k = find_kept(s, kept);

    if (k) {
        if (!slice_is_none(message)) add_frame(s, k, message);
        if (ends) {
            k->ended = true;
            k->ended_at = worker_now(w->worker);
        }
        if (k->reader_worker) mcp_wake(k->reader_worker, MCP_WAKE_TAIL, k->reader);
    }
    table_unlock(t);
}

bool kept_attach(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t reader)
{
    struct mcp_sessions *t = table_lock(w);
    struct kept *k = find_kept(table_get(t, id), kept);

    if (k) {
        if (k->reader_worker) mcp_wake(k->reader_worker, MCP_WAKE_TAIL_CLOSE, k->reader);
        k->reader_worker = w;
        k->reader = reader;
    }
    table_unlock(t);
    return k != NULL;
}

void kept_hang_up(struct mcp_worker *w, const char *id, uint64_t kept)
{
    struct mcp_sessions *t = table_lock(w);
    struct kept *k = find_kept(table_get(t, id), kept);

    if (k && k->reader_worker) mcp_wake(k->reader_worker, MCP_WAKE_TAIL_CLOSE, k->reader);
    table_unlock(t);
}

void kept_detach(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t reader)
{
    struct mcp_sessions *t = table_lock(w);
    struct kept *k = find_kept(table_get(t, id), kept);

    if (k && k->reader_worker == w && k->reader == reader) k->reader_worker = NULL;
    table_unlock(t);
}

bool kept_read(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t *after,
               struct buf *out, bool *out_ended)
{
    struct mcp_sessions *t = table_lock(w);
    struct kept *k = find_kept(table_get(t, id), kept);

    if (k) {
        for (; *after < k->count; ++*after)
            buf_put(out, buf_slice(&k->frames[*after]));
        *out_ended = k->ended;
    }
    table_unlock(t);
    return k != NULL;
}
