/* Inside server/http only: one connection, its parser, its request and its output.
 *
 * A connection parses one request at a time; bytes of the next ones wait in `input` until the
 * current request has ended, so answers come in order. Output is a queue of shared byte blocks
 * that is written once per loop turn. Owned by one worker. */
#pragma once
#include <llhttp.h>
#include <stdatomic.h>
#include <uv.h>

#include "server/http/http.h"
#include "server/worker.h"
#include "proto/base/map.h"

struct http_server;

/* One per worker: what it serves. */
struct http_worker {
    struct http_server *server;
    struct worker *worker;
    struct list conns;
    struct map requests; /* id (8 bytes) -> struct request */
    uint64_t next_id;
    size_t body_bytes;         /* of all requests that have not ended */
    _Atomic size_t conn_count; /* read by main to choose a worker */
    struct shared_bytes *keepalive;
    bool closing;
    struct post close_post;
    struct list greedy; /* connections that go on in the next loop turn */
    struct post greedy_post;
    bool greedy_posted;
};

enum conn_state {
    CONN_IDLE,    /* between requests */
    CONN_HEADERS, /* the first byte of a request has come */
    CONN_BODY,
    CONN_BUSY,   /* a handler has the request */
    CONN_STREAM, /* became an event stream */
    CONN_LINGER, /* the last answer is out; what still comes is thrown away */
    CONN_CLOSED,
};

struct chunk {
    struct shared_bytes *bytes;
};

enum { CONN_FEW = 2 }; /* blocks whose places are within the connection */

struct conn {
    /* What each event that goes out touches stands together: thousands of streams do not fit into
     * the caches of a core, and every line of theirs is fetched anew for every event. */
    struct deferred flush;
    struct chunk *queue; /* `few`, or the heap */
    unsigned queue_at, queue_len, queue_cap;
    int fd;
    size_t head_sent; /* bytes of queue[queue_at] already written */
    size_t unsent;
    struct http_worker *home;
    struct sse *sse;     /* &own_sse, or NULL */
    int64_t progress_at; /* when the peer last took bytes */
    enum conn_state state;
    bool close_after, writing;
    bool choked;       /* its peer takes no answers: no further request until it has */
    bool overrun;      /* a stream's reader is too slow: closed at the end of the loop turn */
    bool tell_drained; /* the stream's owner waits for on_drained */
    struct chunk few[CONN_FEW];
    struct sse own_sse;

    struct list link;
    struct list greedy; /* in http_worker.greedy: had its share of this loop turn */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    bool is_operator, keep_alive, peer_ended, reading, head_only, parsing;
    llhttp_t parser;
    struct buf head;  /* target, names and values of the request being parsed */
    struct buf input; /* bytes not parsed yet */
    struct request *request;
    struct timer timer;
    unsigned burst; /* requests answered in the loop turn of burst_at */
    int64_t burst_at;
    size_t writing_bytes; /* handed to uv_write, at the front of the queue */
    uv_write_t write;
    struct conn_head *parse; /* state of the header being parsed */
    char peer[64];
    bool peer_is_loopback;
};

/* Takes an accepted socket over. */
void conn_open(struct http_worker *home, int fd, bool is_operator);
/* Ends it now; a request's or stream's owner is told. */
void conn_close(struct conn *c);
/* Queues bytes (takes the reference) and asks for a flush at the end of the loop turn. */
void conn_queue(struct conn *c, struct shared_bytes *take);
/* The current request has been answered: next one, or the end. */
void conn_request_ended(struct conn *c);
/* Arms the deadline that belongs to the state. */
void conn_arm(struct conn *c);
/* After it had to wait: parses what came meanwhile, then reads again. */
void conn_go_on(struct conn *c);
/* Nothing more to say: tells the peer, throws away what it still sends, then closes. */
void conn_linger(struct conn *c);
void conn_queue_init(struct conn *c);
/* Lets go of what was not written. */
void conn_queue_done(struct conn *c);
/* conn.flush: writes what is queued, or closes a stream that was overrun. */
void conn_on_flush(struct deferred *d);

/* ---- parsing ---- */

enum parsed {
    PARSED_ALL,     /* the input is used up, the request goes on */
    PARSED_REQUEST, /* one is complete, in conn.request */
    PARSED_BADLY,   /* parse_answer_refusal() says what was wrong */
};
void parse_init(struct conn *c);
enum parsed parse_input(struct conn *c);
/* The request that is under way did not come in time: from now on it is refused. */
void parse_time_out(struct conn *c);
bool parse_was_refused(const struct conn *c);
void parse_answer_refusal(struct conn *c);

/* Who is at the other end on this machine, by the user. A few system calls. */
enum peer_kind {
    PEER_UNKNOWN,   /* the kernel does not tell */
    PEER_PROGRAM,   /* of a service, also when we are one, or of root when we are not: maybe a proxy
                     */
    PEER_SAME_USER, /* as we: a person, or root */
    PEER_PERSON,    /* another one */
};
enum peer_kind peer_kind(const struct conn *c);
/* Runs the handler of the route, or answers 404, 405, 403 itself. */
void router_dispatch(struct http_server *s, struct request *r);
struct request *request_new(struct conn *c);
void request_free(struct request *r);
/* Percent-decoded into `a`, but for %2F: a slash that a proxy in front did not see as one parts no
 * segments here either. */
struct slice request_decode_path(struct arena *a, struct slice s);
void sse_gone(struct sse *s);
void sse_drained(struct sse *s);
bool sse_keepalive(struct conn *c);

struct http_server {
    struct http_config config;
    struct worker *main;
    struct http_worker *workers;
    size_t worker_count;
    struct listener *listeners[2];
    _Atomic size_t conn_total, stream_total;
    void (*closed)(void *arg);
    void *closed_arg;
    _Atomic size_t workers_left;
    struct post closed_post;
};
/* A connection is gone; the last one of a closing worker ends the worker's part. */
void http_conn_gone(struct http_worker *home);
/* "1234 (python3)" of who listens on the port, into `out`; false when it cannot be found. */
bool http_find_listener(int port, char *out, size_t out_len);
