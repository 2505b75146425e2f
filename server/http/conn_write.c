/* A connection's output: a queue of shared blocks, written once per loop turn. What the kernel
 * takes at once is sent without libuv: write() goes through the file system's layers first, whose
 * notes on the file are as cold as the connection. The rest is libuv's to write. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/http/conn.h"

enum { IOV_MAX_OURS = 64 };

void conn_queue_init(struct conn *c)
{
    c->queue = c->few;
    c->queue_cap = CONN_FEW;
}

static void free_queue(struct conn *c)
{
    if (c->queue != c->few) free(c->queue);
}

void conn_queue_done(struct conn *c)
{
    for (size_t i = c->queue_at; i < c->queue_len; i++)
        shared_bytes_unref(c->queue[i].bytes);
    free_queue(c);
}

/* Who is always a little behind never empties his queue: the places of what was written are taken
 * again, or it would grow for as long as he listens. */
static void move_up(struct conn *c)
{
    c->queue_len -= c->queue_at;
    memmove(c->queue, c->queue + c->queue_at, c->queue_len * sizeof(*c->queue));
    c->queue_at = 0;
}

static void make_room(struct conn *c)
{
    if (c->queue_at >= c->queue_cap / 2) {
        move_up(c);
        return;
    }
    struct chunk *wider = xalloc(2 * c->queue_cap * sizeof(*wider));

    memcpy(wider, c->queue, c->queue_len * sizeof(*wider));
    free_queue(c);
    c->queue = wider;
    c->queue_cap *= 2;
}

static void drop_written(struct conn *c, size_t n)
{
    c->unsent -= n;
    if (n) c->progress_at = worker_ticks(c->home->worker);
    while (n || (c->queue_at < c->queue_len && c->queue[c->queue_at].bytes->len == c->head_sent)) {
        struct shared_bytes *b = c->queue[c->queue_at].bytes;
        size_t left = b->len - c->head_sent;
        if (n < left) {
            c->head_sent += n;
            break;
        }
        n -= left;
        c->head_sent = 0;
        c->queue_at++;
        shared_bytes_unref(b);
    }
    if (c->queue_at == c->queue_len) c->queue_at = c->queue_len = 0;
    if (!c->queue_len && c->queue_cap > 32) {
        free_queue(c);
        conn_queue_init(c);
    }
}

static size_t fill_iov(const struct conn *c, uv_buf_t iov[IOV_MAX_OURS], size_t *out_bytes)
{
    size_t n = 0;
    *out_bytes = 0;
    for (size_t i = c->queue_at; i < c->queue_len && n < IOV_MAX_OURS; i++) {
        struct shared_bytes *b = c->queue[i].bytes;
        size_t skip = i == c->queue_at ? c->head_sent : 0;
        iov[n++] = uv_buf_init((char *)b->data + skip, (unsigned)(b->len - skip));
        *out_bytes += b->len - skip;
    }
    return n;
}

static void flush_now(struct conn *c);

static void after_drain(struct conn *c)
{
    if (c->unsent) return;
    if (c->choked) {
        c->choked = false;
        if (!c->close_after) return conn_go_on(c);
    }
    if (c->close_after && c->state != CONN_BUSY) {
        conn_linger(c);
    } else if (c->tell_drained && c->sse) {
        sse_drained(c->sse);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *c = write->data;

    c->writing = false;
    if (c->state == CONN_CLOSED) return;
    if (status < 0) {
        conn_close(c);
        return;
    }
    drop_written(c, c->writing_bytes);
    flush_now(c);
}

/* What the kernel takes now; UV_EAGAIN: nothing. */
static ssize_t send_now(struct conn *c, uv_buf_t *iov, size_t n)
{
    struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
    ssize_t sent;

    do
        sent = n == 1 ? send(c->fd, iov->base, iov->len, MSG_DONTWAIT | MSG_NOSIGNAL)
                      : sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return sent;
    return errno == EAGAIN || errno == ENOBUFS ? UV_EAGAIN : -errno;
}

static void flush_now(struct conn *c)
{
    uv_buf_t iov[IOV_MAX_OURS];
    size_t bytes, n;

    while (!c->writing && c->unsent && c->state != CONN_CLOSED) {
        n = fill_iov(c, iov, &bytes);
        ssize_t wrote = send_now(c, iov, n);
        if (wrote > 0) {
            drop_written(c, (size_t)wrote);
            continue;
        }
        if (wrote != UV_EAGAIN && wrote < 0) {
            conn_close(c);
            return;
        }
        c->write.data = c;
        c->writing_bytes = bytes;
        if (uv_write(&c->write, &c->stream, iov, (unsigned)n, on_written)) {
            conn_close(c);
            return;
        }
        c->writing = true;
    }
    if (c->state != CONN_CLOSED) after_drain(c);
}

void conn_on_flush(struct deferred *d)
{
    struct conn *c = CONTAINER_OF(d, struct conn, flush);

    if (c->overrun)
        conn_close(c);
    else
        flush_now(c);
}

void conn_queue(struct conn *c, struct shared_bytes *take)
{
    if (c->state == CONN_CLOSED || take->len == 0) {
        shared_bytes_unref(take);
        return;
    }
    if (c->queue_len == c->queue_cap) make_room(c);
    if (!c->unsent) c->progress_at = worker_ticks(c->home->worker);
    c->queue[c->queue_len++].bytes = take;
    c->unsent += take->len;
    worker_defer(c->home->worker, &c->flush);
}
