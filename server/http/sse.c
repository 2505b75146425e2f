/* Event streams: a connection that has stopped listening and only tells. */
#include <stdlib.h>

#include "server/http/conn.h"

enum { DRAINED_LOW = 64 * 1024 };

static struct conn *conn_of(const struct sse *s) { return CONTAINER_OF(s, struct conn, own_sse); }

struct sse *sse_start(struct request *r, void *owner, void (*on_closed)(struct sse *s))
{
    struct conn *c = r->conn;
    struct sse *s = &c->own_sse;
    AUTO(buf) head = {0};

    buf_put_text(&head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                        "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"
                        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n");
    buf_put(&head, buf_slice(&r->extra_headers));
    buf_put_text(&head, "\r\n");
    r->ended = true;
    *s = (struct sse){.owner = owner, .on_closed = on_closed};
    c->sse = s;
    atomic_fetch_add(&c->home->server->stream_total, 1);
    c->state = CONN_STREAM;
    c->keep_alive = false;
    c->request = NULL;
    request_free(r);
    /* A stream reads nothing more: what the parser and the input hold is given back. */
    buf_done(&c->input);
    buf_done(&c->head);
    free(c->parse);
    c->parse = NULL;
    conn_queue(c, shared_bytes_new(buf_slice(&head)));
    conn_arm(c);
    return s;
}

static void sse_done(struct sse *s)
{
    struct conn *c = conn_of(s);

    c->sse = NULL;
    *s = (struct sse){0};
    atomic_fetch_sub(&c->home->server->stream_total, 1);
}

size_t sse_unsent(const struct sse *s) { return conn_of(s)->unsent; }

void sse_write_shared(struct sse *s, struct shared_bytes *frame)
{
    struct conn *c = conn_of(s);

    /* A slow reader: it comes back and heals by replay. Closed later, so that nobody who writes
     * loses his stream under his feet. A reader that keeps up gets a frame of any size. */
    if (c->unsent > DRAINED_LOW && c->unsent + frame->len > HTTP_UNSENT_MAX) c->overrun = true;
    if (c->overrun)
        worker_defer(c->home->worker, &c->flush);
    else
        conn_queue(c, shared_bytes_ref(frame));
}

void sse_write(struct sse *s, struct slice frame)
{
    struct shared_bytes *b = shared_bytes_new(frame);

    sse_write_shared(s, b);
    shared_bytes_unref(b);
}

void sse_end(struct sse *s)
{
    struct conn *c = conn_of(s);

    sse_done(s);
    c->close_after = true;
    c->state = CONN_IDLE;
    worker_defer(c->home->worker, &c->flush);
    conn_arm(c);
}

void sse_gone(struct sse *s)
{
    if (s->on_closed) s->on_closed(s);
    sse_done(s);
}

void sse_await_drained(struct sse *s) { conn_of(s)->tell_drained = true; }

void sse_drained(struct sse *s)
{
    conn_of(s)->tell_drained = false;
    if (s->on_drained) s->on_drained(s);
}

/* False when the stream was closed by it. */
bool sse_keepalive(struct conn *c)
{
    if (c->unsent) return true; /* it has something to swallow already */
    conn_queue(c, shared_bytes_ref(c->home->keepalive));
    return c->state == CONN_STREAM;
}

void sse_frame(struct buf *out, struct slice id, struct slice event, struct slice data)
{
    struct slice line;

    if (!slice_is_none(id)) buf_printf(out, "id: " SLICE_FMT "\n", SLICE_ARG(id));
    if (!slice_is_none(event)) buf_printf(out, "event: " SLICE_FMT "\n", SLICE_ARG(event));
    if (!data.len) buf_put_text(out, "data: \n");
    for (struct slice rest = data; data.len && slice_split(&rest, '\n', &line);) {
        buf_put_text(out, "data: ");
        buf_put(out, line);
        buf_put_u8(out, '\n');
    }
    buf_put_u8(out, '\n');
}
