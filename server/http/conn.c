/* A connection's life: it opens, reads, hands requests over, waits, closes. See conn.h for the
 * states; parse.c makes requests of bytes, conn_write.c takes the answers away.
 *
 * We own every limit: header bytes and count, target, body, time for each phase, unsent output.
 * What a peer does wrong is answered with a JSON body and a lingering close, so that the answer is
 * not lost to a reset while the peer still sends. */
#include "server/http/conn.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    READ_CHUNK = 64 * 1024,
    KEEPALIVE_MS = 15 * 1000,
    DRAIN_MS = 2000, /* a closing server waits this long for answers and writes */
};

static void parse_more(struct conn *c);

/* ---- the end ---- */

static void on_uv_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    struct http_worker *home = c->home;

    conn_queue_done(c);
    free(c->parse);
    buf_done(&c->head);
    buf_done(&c->input);
    free(c);
    http_conn_gone(home);
}

static void drop_request(struct conn *c)
{
    struct request *r = c->request;

    if (!r) return;
    c->request = NULL;
    if (r->state == c) r->state = NULL;
    if (!r->ended && r->on_gone) r->on_gone(r);
    request_free(r);
}

void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSED) return;

    c->state = CONN_CLOSED;
    list_remove(&c->greedy);
    timer_disarm(c->home->worker, &c->timer);
    worker_undefer(&c->flush);
    list_remove(&c->link);
    drop_request(c);
    if (c->sse) sse_gone(c->sse);
    uv_close(&c->handle, on_uv_closed);
}

static void read_again(struct conn *c);

/* Nothing more to say: tell the peer, throw away what it still sends, then close. A close with
 * bytes unread would take the answer away from the peer, so who had to wait is read again. */
void conn_linger(struct conn *c)
{
    if (c->state == CONN_LINGER) return;

    c->state = CONN_LINGER;
    if (c->peer_ended) {
        conn_close(c);
        return;
    }
    shutdown(c->fd, SHUT_WR);
    conn_arm(c);
    list_remove(&c->greedy);
    c->choked = false;
    read_again(c);
}

/* ---- deadlines ---- */

static void on_deadline(struct timer *t, int64_t now)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);
    int64_t stalled = worker_ticks(c->home->worker) - c->progress_at;

    if (c->home->closing || (c->unsent && stalled >= HTTP_STALL_MS)) {
        conn_close(c);
        return;
    }
    /* Of who hung up in the middle nothing more comes: only what he has not taken is waited for. */
    if ((c->state == CONN_HEADERS || c->state == CONN_BODY) && !c->close_after) {
        parse_time_out(c);
        parse_more(c);
        return;
    }
    switch (c->state) {
    case CONN_STREAM:
        if (!sse_keepalive(c)) return;
        break;
    case CONN_BUSY: break;
    default:
        if (!c->unsent) {
            conn_close(c);
            return;
        }
    }
    conn_arm(c);
}

void conn_arm(struct conn *c)
{
    static const int64_t spans[] = {
        [CONN_IDLE] = HTTP_IDLE_MS,   [CONN_HEADERS] = HTTP_HEADER_MS,
        [CONN_BODY] = HTTP_BODY_MS,   [CONN_BUSY] = HTTP_STALL_MS,
        [CONN_STREAM] = KEEPALIVE_MS, [CONN_LINGER] = HTTP_LINGER_MS,
    };
    struct worker *w = c->home->worker;

    if (c->state == CONN_CLOSED) return;
    c->timer.fire = on_deadline;
    timer_arm(w, &c->timer, worker_now(w) + (c->home->closing ? DRAIN_MS : spans[c->state]));
}

/* ---- taking turns ---- */

/* A pipeline has its share of a loop turn, so that other connections have theirs. */
static bool has_had_its_share(struct conn *c)
{
    int64_t turn = worker_ticks(c->home->worker);

    if (c->burst_at != turn) c->burst = 0;
    c->burst_at = turn;
    return c->burst >= HTTP_PIPELINE_MAX;
}

static void on_greedy(struct post *p, struct worker *w)
{
    struct http_worker *home = CONTAINER_OF(p, struct http_worker, greedy_post);
    struct list ready, *node;

    home->greedy_posted = false;
    list_init(&ready);
    list_splice(&ready, &home->greedy);
    while ((node = list_pop(&ready))) {
        struct conn *c = LIST_ENTRY(node, struct conn, greedy);
        c->burst = 0;
        conn_go_on(c);
    }
}

static void wait_for_next_turn(struct conn *c)
{
    struct http_worker *home = c->home;

    list_push(&home->greedy, &c->greedy);
    if (home->greedy_posted) return;
    home->greedy_posted = true;
    home->greedy_post.run = on_greedy;
    worker_post(home->worker, &home->greedy_post);
}

/* True when the next request must wait; reading stops until then. */
static bool must_wait(struct conn *c)
{
    if (!list_empty(&c->greedy) || c->choked) return true;
    if (c->unsent > HTTP_CHOKE)
        c->choked = true;
    else if (has_had_its_share(c))
        wait_for_next_turn(c);
    else
        return false;
    uv_read_stop(&c->stream);
    c->reading = false;
    return true;
}

/* Feeds what waits to the parser, until a request is complete or more bytes are needed. */
static void parse_more(struct conn *c)
{
    if (c->parsing) return; /* called by a handler that this loop called */
    c->parsing = true;
    while (c->state <= CONN_BODY && !c->close_after) {
        if (parse_was_refused(c)) {
            parse_answer_refusal(c);
            break;
        }
        if (!c->input.len || must_wait(c)) break;

        enum parsed got = parse_input(c);
        if (got == PARSED_BADLY) {
            parse_answer_refusal(c);
            break;
        }
        if (got == PARSED_ALL) continue;
        conn_arm(c);
        c->burst++;
        router_dispatch(c->home->server, c->request);
    }
    c->parsing = false;
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static _Thread_local char chunk[READ_CHUNK];
    *buf = uv_buf_init(chunk, sizeof(chunk));
}

static void on_end(struct conn *c, bool orderly)
{
    bool wants_answer = c->state == CONN_BUSY && c->request && !c->request->on_gone;

    c->peer_ended = true;
    c->close_after = true;
    if (orderly && (wants_answer || (c->unsent && c->state != CONN_STREAM))) {
        uv_read_stop(&c->stream); /* half-closed: the peer may still read its answer */
        c->reading = false;
        return;
    }
    conn_close(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = stream->data;

    if (c->state == CONN_CLOSED || n == 0) return;
    if (n < 0) {
        on_end(c, n == UV_EOF);
        return;
    }
    if (c->state == CONN_LINGER || c->state == CONN_STREAM || c->close_after) return;
    buf_put(&c->input, slice_of(buf->base, (size_t)n));
    parse_more(c);
    if (c->state == CONN_BUSY && c->input.len > HTTP_INPUT_MAX) {
        uv_read_stop(&c->stream);
        c->reading = false;
    }
    if (c->input.cap > HTTP_INPUT_MAX && !c->input.len) buf_done(&c->input);
}

static void read_again(struct conn *c)
{
    if (c->reading || c->peer_ended || c->state == CONN_CLOSED) return;
    if (c->choked || !list_empty(&c->greedy)) return;
    uv_read_start(&c->stream, on_alloc, on_read);
    c->reading = true;
}

/* After must_wait(). */
void conn_go_on(struct conn *c)
{
    parse_more(c);
    if (c->state <= CONN_BODY && !c->close_after) read_again(c);
}

void conn_request_ended(struct conn *c)
{
    struct request *r = c->request;

    c->request = NULL;
    if (r) request_free(r);
    if (!c->keep_alive || c->home->closing) c->close_after = true;
    if (c->close_after) {
        c->state = CONN_IDLE;
        worker_defer(c->home->worker, &c->flush);
        conn_arm(c);
        return;
    }
    if (c->state == CONN_BUSY) c->state = CONN_IDLE;
    conn_arm(c);
    read_again(c);
    parse_more(c);
}

/* ---- opening ---- */

static void name_peer(struct conn *c)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    char host[INET6_ADDRSTRLEN] = "";

    if (c->is_operator) {
        snprintf(c->peer, sizeof(c->peer), "operator");
        c->peer_is_loopback = true;
        return;
    }
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &len)) return;
    if (address.ss_family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)&address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        c->peer_is_loopback = (ntohl(in->sin_addr.s_addr) >> 24) == 127;
        snprintf(c->peer, sizeof(c->peer), "%s:%u", host, ntohs(in->sin_port));
        return;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
    inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
    c->peer_is_loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    snprintf(c->peer, sizeof(c->peer), "[%s]:%u", host, ntohs(in6->sin6_port));
}

void conn_open(struct http_worker *home, int fd, bool is_operator)
{
    struct conn *c = xcalloc(sizeof(*c));
    uv_loop_t *loop = worker_loop(home->worker);

    c->home = home;
    c->is_operator = is_operator;
    c->fd = fd;
    c->flush.run = conn_on_flush;
    conn_queue_init(c);
    list_push(&home->conns, &c->link);
    list_init(&c->greedy);
    if (is_operator) {
        uv_pipe_init(loop, &c->pipe, 0);
    } else {
        uv_tcp_init(loop, &c->tcp);
    }
    c->handle.data = c;
    int e = is_operator ? uv_pipe_open(&c->pipe, fd) : uv_tcp_open(&c->tcp, fd);
    if (e) {
        close(fd);
        conn_close(c);
        return;
    }
    if (!is_operator) uv_tcp_nodelay(&c->tcp, 1);
    name_peer(c);
    parse_init(c);
    c->progress_at = worker_ticks(home->worker);
    conn_arm(c);
    read_again(c);
    if (home->closing) conn_close(c);
}
