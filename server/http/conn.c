/* A connection: reads, parses, hands the request over, writes. See conn.h for the states.
 *
 * llhttp parses; we own every limit: header bytes and count, target, body, time for each phase,
 * unsent output. What a peer does wrong is answered with a JSON body and a lingering close, so
 * that the answer is not lost to a reset while the peer still sends. */
#include "server/http/conn.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    READ_CHUNK = 64 * 1024,
    INPUT_MAX = 64 * 1024, /* pipelined bytes kept while a handler works */
    LINGER_MS = 2000,
    WRITE_STALL_MS = 60 * 1000, /* a peer that takes nothing for this long is gone */
    KEEPALIVE_MS = 15 * 1000,
    DRAIN_MS = 2000, /* a closing server waits this long for answers and writes */
    IOV_MAX_OURS = 64,
};

/* Offsets into conn.head while a request's headers arrive. */
struct conn_head {
    struct span {
        uint32_t from, to;
    } target, names[HTTP_HEADERS_MAX], values[HTTP_HEADERS_MAX];
    size_t count, trailer_bytes;
    bool in_value;
    const char *chunk_from, *chunk_to; /* the bytes being parsed now */
    const char *name_to;               /* where the last piece of a name ended */
    const char *value_to;              /* the same of a value; NULL: at the end of its chunk */
    int status;                        /* answer of a refusal, 0: none */
    const char *code, *words;
};

static void parse_more(struct conn *c);

/* ---- output ---- */

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
        free(c->queue);
        c->queue = NULL;
        c->queue_cap = 0;
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

static void linger(struct conn *c);
static void flush_now(struct conn *c);
static void go_on(struct conn *c);

static void after_drain(struct conn *c)
{
    if (c->unsent) return;
    if (c->choked) {
        c->choked = false;
        if (!c->close_after) return go_on(c);
    }
    if (c->close_after && c->state != CONN_BUSY) {
        linger(c);
    } else if (c->sse) {
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

static void flush_now(struct conn *c)
{
    uv_buf_t iov[IOV_MAX_OURS];
    size_t bytes, n;

    while (!c->writing && c->unsent && c->state != CONN_CLOSED) {
        n = fill_iov(c, iov, &bytes);
        int wrote = uv_try_write(&c->stream, iov, (unsigned)n);
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

static void on_flush(struct deferred *d)
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
    if (c->queue_len == c->queue_cap) {
        c->queue_cap = c->queue_cap ? c->queue_cap * 2 : 4;
        c->queue = xrealloc(c->queue, c->queue_cap * sizeof(*c->queue));
    }
    if (!c->unsent) c->progress_at = worker_ticks(c->home->worker);
    c->queue[c->queue_len++].bytes = take;
    c->unsent += take->len;
    worker_defer(c->home->worker, &c->flush);
}

/* ---- the end ---- */

static void on_uv_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    struct http_worker *home = c->home;

    for (size_t i = c->queue_at; i < c->queue_len; i++)
        shared_bytes_unref(c->queue[i].bytes);
    free(c->queue);
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

/* Nothing more to say: tell the peer, throw away what it still sends, then close. */
static void linger(struct conn *c)
{
    if (c->state == CONN_LINGER) return;
    uv_os_fd_t fd;

    c->state = CONN_LINGER;
    if (c->peer_ended || uv_fileno(&c->handle, &fd)) {
        conn_close(c);
        return;
    }
    shutdown(fd, SHUT_WR);
    conn_arm(c);
}

/* ---- deadlines ---- */

static void on_deadline(struct timer *t, int64_t now)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);
    int64_t stalled = worker_ticks(c->home->worker) - c->progress_at;

    if (c->unsent && stalled >= WRITE_STALL_MS) {
        conn_close(c);
        return;
    }
    switch (c->state) {
    case CONN_HEADERS:
    case CONN_BODY:
        c->parse->status = 408;
        c->parse->code = "request_timeout";
        c->parse->words = "the request did not arrive in time";
        parse_more(c);
        return;
    case CONN_STREAM:
        if (!sse_keepalive(c)) return;
        break;
    case CONN_BUSY:
        if (c->home->closing) {
            conn_close(c);
            return;
        }
        break;
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
        [CONN_IDLE] = HTTP_IDLE_MS,   [CONN_HEADERS] = HTTP_HEADER_MS, [CONN_BODY] = HTTP_BODY_MS,
        [CONN_BUSY] = WRITE_STALL_MS, [CONN_STREAM] = KEEPALIVE_MS,    [CONN_LINGER] = LINGER_MS,
    };
    struct worker *w = c->home->worker;

    if (c->state == CONN_CLOSED) return;
    c->timer.fire = on_deadline;
    timer_arm(w, &c->timer, worker_now(w) + (c->home->closing ? DRAIN_MS : spans[c->state]));
}

/* ---- parsing ---- */

static int refuse(struct conn *c, int status, const char *code, const char *words)
{
    c->parse->status = status;
    c->parse->code = code;
    c->parse->words = words;
    return HPE_USER;
}

static int keep(struct conn *c, struct span *s, const char *at, size_t n)
{
    if (c->head.len + n > HTTP_HEADER_BYTES_MAX)
        return refuse(c, 431, "headers_too_large", "the request's headers are above 16 KiB");
    if (s->to == 0) s->from = s->to = (uint32_t)c->head.len;
    buf_put(&c->head, slice_of(at, n));
    s->to = (uint32_t)c->head.len;
    return 0;
}

static int on_begin(llhttp_t *p)
{
    struct conn *c = p->data;

    if (!c->parse) c->parse = xalloc(sizeof(*c->parse));
    const char *from = c->parse->chunk_from, *to = c->parse->chunk_to;
    memset(c->parse, 0, sizeof(*c->parse));
    c->parse->chunk_from = from;
    c->parse->chunk_to = to;
    buf_reset(&c->head);
    c->state = CONN_HEADERS;
    conn_arm(c);
    return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    if (c->head.len + n > HTTP_TARGET_MAX)
        return refuse(c, 414, "target_too_long", "the request target is above 4 KiB");
    return keep(c, &c->parse->target, at, n);
}

/* Fields behind a chunked body: nobody asked for them, and the buffer holds the body now. */
static int skip_trailer(struct conn *c, size_t n)
{
    c->parse->trailer_bytes += n;
    if (c->parse->trailer_bytes > HTTP_HEADER_BYTES_MAX)
        return refuse(c, 431, "headers_too_large", "the request's trailers are above 16 KiB");
    return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct conn_head *h = c->parse;

    if (c->request) return skip_trailer(c, n);
    if (h->in_value) {
        h->count++;
        h->in_value = false;
    }
    h->name_to = at + n;
    if (h->count == HTTP_HEADERS_MAX)
        return refuse(c, 431, "too_many_headers", "the request has more than 64 headers");
    return keep(c, &h->names[h->count], at, n);
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct conn_head *h = c->parse;

    if (c->request) return skip_trailer(c, n);
    /* A value in two pieces is a chunk boundary, or a folded line, which we refuse: proxies and
     * servers disagree about what it means (RFC 9112 5.2). */
    bool folded = h->in_value && h->values[h->count].to != h->values[h->count].from &&
                  !(at == h->chunk_from && h->value_to == NULL);
    if (n && !h->in_value && h->name_to >= h->chunk_from && h->name_to < at)
        folded = memchr(h->name_to, '\n', (size_t)(at - h->name_to)) != NULL;
    if (folded) return refuse(c, 400, "invalid_request", "a header continues on a second line");
    h->in_value = true;
    h->value_to = at + n == h->chunk_to ? NULL : at + n;
    return keep(c, &h->values[h->count], at, n);
}

static struct slice span_of(const struct request *r, struct slice head, struct span s)
{
    return slice_sub(head, s.from, s.to);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct slice percent_decode(struct arena *a, struct slice s, bool plus)
{
    uint8_t *out = arena_alloc(a, s.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        int hi = -1, lo = -1;
        if (s.data[i] == '%' && i + 2 < s.len) {
            hi = hex_digit(s.data[i + 1]);
            lo = hex_digit(s.data[i + 2]);
        }
        if (hi >= 0 && lo >= 0) {
            out[n++] = (uint8_t)(hi << 4 | lo);
            i += 2;
        } else {
            out[n++] = plus && s.data[i] == '+' ? ' ' : s.data[i];
        }
    }
    return slice_of(out, n);
}

static void fill_request(struct conn *c, struct request *r)
{
    struct conn_head *h = c->parse;
    struct slice head = arena_dup(&r->arena, buf_slice(&c->head));
    struct slice target = span_of(r, head, h->target);
    size_t question = slice_find(target, '?');

    if (h->in_value) h->count++;
    h->in_value = false;
    r->method = slice_text(llhttp_method_name((llhttp_method_t)c->parser.method));
    r->path = percent_decode(&r->arena, slice_sub(target, 0, question), false);
    r->query = question < target.len ? slice_from(target, question + 1) : SLICE("");
    for (size_t i = 0; i < h->count; i++) {
        r->headers[i].name = span_of(r, head, h->names[i]);
        r->headers[i].value = span_of(r, head, h->values[i]);
    }
    r->header_count = h->count;
}

static struct request *request_new(struct conn *c)
{
    struct request *r = xcalloc(sizeof(*r));

    r->conn = c;
    r->worker = c->home->worker;
    r->id = ++c->home->next_id;
    r->peer = slice_text(c->peer);
    r->peer_is_loopback = c->peer_is_loopback;
    r->is_operator = c->is_operator;
    map_put(&c->home->requests, slice_of(&r->id, sizeof(r->id)), r);
    return r;
}

static void send_continue(struct conn *c)
{
    conn_queue(c, shared_bytes_new(SLICE("HTTP/1.1 100 Continue\r\n\r\n")));
}

static int on_headers(llhttp_t *p)
{
    struct conn *c = p->data;
    struct request *r = c->request = request_new(c);

    fill_request(c, r);
    c->head_only = p->method == HTTP_HEAD;
    if (p->upgrade || p->method == HTTP_CONNECT)
        return refuse(c, 501, "not_implemented", "this server does not change protocols");
    if (p->http_major != 1) return refuse(c, 505, "version_not_supported", "use HTTP/1.1");
    if ((p->flags & F_CONTENT_LENGTH) && p->content_length > HTTP_BODY_MAX)
        return refuse(c, 413, "body_too_large", "the body is above 4 MiB");
    if (slice_is(request_header(r, "expect"), "100-continue")) send_continue(c);
    c->state = CONN_BODY;
    conn_arm(c);
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct buf *body = &c->head; /* the headers were copied; the buffer is free for the body */

    if (c->request->state == NULL) {
        buf_reset(body);
        c->request->state = c; /* marks that the body has begun */
    }
    if (body->len + n > HTTP_BODY_MAX)
        return refuse(c, 413, "body_too_large", "the body is above 4 MiB");
    if (c->home->body_bytes + n > c->home->server->config.bodies_max)
        return refuse(c, 503, "server_busy", "too many large requests at once; try again");
    buf_put(body, slice_of(at, n));
    c->home->body_bytes += n;
    c->request->body_counted += n;
    return 0;
}

static int on_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    struct request *r = c->request;

    if (r->state) {
        r->body = arena_dup(&r->arena, buf_slice(&c->head));
        r->state = NULL;
    } else {
        r->body = SLICE("");
    }
    buf_done(&c->head);
    c->keep_alive = llhttp_should_keep_alive(p);
    c->state = CONN_BUSY;
    return HPE_PAUSED; /* the next request waits for this one's end */
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void answer_refusal(struct conn *c)
{
    struct conn_head *h = c->parse;
    struct request *r = c->request ? c->request : (c->request = request_new(c));
    int status = h && h->status ? h->status : 400;

    r->state = NULL;
    buf_reset(&c->input);
    c->keep_alive = false;
    c->state = CONN_BUSY;
    reply_problem(r, status, h && h->code ? h->code : "invalid_request", "%s",
                  h && h->words ? h->words : "the request is not well-formed HTTP");
}

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
        go_on(c);
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
        if (c->parse && c->parse->status) {
            answer_refusal(c);
            break;
        }
        if (!c->input.len || must_wait(c)) break;
        if (!c->parse) c->parse = xcalloc(sizeof(*c->parse));

        const char *from = (const char *)c->input.data;
        c->parse->chunk_from = from;
        c->parse->chunk_to = from + c->input.len;
        llhttp_errno_t e = llhttp_execute(&c->parser, from, c->input.len);
        if (e == HPE_OK) {
            buf_reset(&c->input);
            continue;
        }
        if (e != HPE_PAUSED) {
            answer_refusal(c);
            break;
        }
        buf_drop_front(&c->input, (size_t)(llhttp_get_error_pos(&c->parser) - from));
        llhttp_resume(&c->parser);
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
    if (c->state == CONN_BUSY && c->input.len > INPUT_MAX) {
        uv_read_stop(&c->stream);
        c->reading = false;
    }
    if (c->input.cap > INPUT_MAX && !c->input.len) buf_done(&c->input);
}

static void read_again(struct conn *c)
{
    if (c->reading || c->peer_ended || c->state == CONN_CLOSED) return;
    if (c->choked || !list_empty(&c->greedy)) return;
    uv_read_start(&c->stream, on_alloc, on_read);
    c->reading = true;
}

/* After must_wait(). */
static void go_on(struct conn *c)
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
    c->flush.run = on_flush;
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
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
    c->progress_at = worker_ticks(home->worker);
    conn_arm(c);
    read_again(c);
    if (home->closing) conn_close(c);
}

/* ---- what handlers read ---- */

struct slice request_header(const struct request *r, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < r->header_count; i++)
        if (r->headers[i].name.len == n &&
            strncasecmp((const char *)r->headers[i].name.data, name, n) == 0)
            return r->headers[i].value;
    return SLICE_NONE;
}

struct slice request_query(struct request *r, const char *name)
{
    struct slice rest = r->query, pair;
    while (slice_split(&rest, '&', &pair)) {
        size_t equals = slice_find(pair, '=');
        struct slice key = percent_decode(&r->arena, slice_sub(pair, 0, equals), true);
        if (slice_is(key, name))
            return percent_decode(&r->arena, slice_from(pair, equals + 1), true);
    }
    return SLICE_NONE;
}
