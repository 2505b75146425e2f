/* HTTP as the doors see it: a request with its whole body, and a reply that is either sent at
 * once, later, or becomes a stream.
 *
 * A connection lives on one worker and never moves; requests of one connection are answered in
 * order (pipelining). All functions on its worker's thread. Limits are in HTTP_… below; the
 * connection enforces them and answers 400, 408, 413, 414, 431, 501 by itself with a JSON body.
 *
 * A handler gets a `struct request` and must end it exactly once: reply_json/…, or sse_start. It
 * may do so later; meanwhile on_gone tells when the client hung up (then the request must no
 * longer be touched). To come back from another thread, keep `request_id` and its worker and use
 * request_find(). */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"

enum {
    HTTP_HEADER_BYTES_MAX = 16 * 1024, /* request line and headers together: 431 */
    HTTP_HEADERS_MAX = 64,
    HTTP_TARGET_MAX = 4096,  /* 414 */
    HTTP_BODY_MAX = 4 << 20, /* 413 */
    HTTP_PIPELINE_MAX =
        16, /* requests of one connection in one loop turn: then it waits for the next */
    HTTP_HEADER_MS = 10 * 1000, /* from the first byte to the end of the headers: 408 */
    HTTP_BODY_MS = 60 * 1000,
    HTTP_IDLE_MS = 75 * 1000,
    HTTP_STALL_MS = 60 * 1000,    /* without taking a byte of what waits for it */
    HTTP_LINGER_MS = 2000,        /* of listening behind the last answer */
    HTTP_INPUT_MAX = 64 * 1024,   /* of further requests while one is being answered */
    HTTP_CHOKE = 256 * 1024,      /* unsent answers of one connection: no further request is read */
    HTTP_UNSENT_MAX = 8 << 20,    /* bytes a peer does not take; the connection is closed */
    HTTP_CONNECTIONS_MAX = 16384, /* per process; further ones get 503 */
    HTTP_BODIES_MAX = 128 << 20,  /* of one worker's requests, until they have ended: 503 */
};

struct worker;
struct conn;
struct request;

struct header {
    struct slice name, value;
};

struct request {
    struct arena arena;
    struct conn *conn;
    uint64_t id;
    struct worker *worker;
    struct slice method; /* "GET" */
    struct slice path;   /* percent-decoded, without the query */
    struct slice query;  /* raw, without '?' */
    struct header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct slice body;
    struct slice peer; /* "127.0.0.1:50312" */
    bool peer_is_loopback;
    bool is_operator;       /* came over the unix socket in the data folder */
    struct slice params[4]; /* path parameters in the order of the route */
    size_t param_count;
    void *state; /* the handler's */
    void (*on_gone)(struct request *r);
    struct buf extra_headers; /* "Name: value\r\n"…, see reply_header */
    size_t body_counted;      /* in the worker's sum of bodies */
    bool ended;
};

/* Case-insensitive; SLICE_NONE when absent. */
struct slice request_header(const struct request *r, const char *name);
/* Percent-decoded into the request's arena; SLICE_NONE when absent. */
struct slice request_query(struct request *r, const char *name);
/* From this machine and by no proxy: a loopback peer that names a loopback host in HTTP/1.1,
 * carries no header of a proxy, and is a person's program, which a proxy is not. False when that
 * cannot be told; see deploy/README.md. */
bool request_is_local(const struct request *r);
/* NULL when the client is gone. On the request's worker only. */
struct request *request_find(struct worker *w, uint64_t id);

/* Adds a header to the reply; values with CR, LF or NUL are dropped. */
void reply_header(struct request *r, const char *name, struct slice value);
void reply_bytes(struct request *r, int status, const char *content_type, struct slice body);
void reply_json(struct request *r, int status, struct slice json);
/* Status without a body (202, 204). */
void reply_empty(struct request *r, int status);
/* {"code":…,"message":…} of the native surface. */
void reply_problem(struct request *r, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same of an error of the house, which is logged, with status and words by api/edge.h. 401
 * carries `WWW-Authenticate: Bearer realm="parley"` (and no resource_metadata). */
void reply_refuse(struct request *r, err_t e);

/* ---- streams ---- */

/* Event bytes shared by many streams: written whole, never copied. */
struct shared_bytes {
    unsigned refs; /* one thread: a hub's copy belongs to its worker */
    size_t len;
    uint8_t data[];
};
struct shared_bytes *shared_bytes_new(struct slice s);
struct shared_bytes *shared_bytes_ref(struct shared_bytes *b);
void shared_bytes_unref(struct shared_bytes *b);

struct sse {
    void *owner;
    /* The peer is gone or was closed for being slow; the stream must not be touched afterwards. */
    void (*on_closed)(struct sse *s);
    /* What was written is out, after sse_await_drained(): replay may go on. May be NULL. */
    void (*on_drained)(struct sse *s);
};
/* Ends the request as an event stream (200, no-cache, X-Accel-Buffering: no). Comments keep it
 * alive every 15 s by themselves. */
struct sse *sse_start(struct request *r, void *owner, void (*on_closed)(struct sse *s));
/* Frames are gathered and written once per loop turn. */
void sse_write(struct sse *s, struct slice frame);
void sse_write_shared(struct sse *s, struct shared_bytes *frame);
/* Bytes not yet taken by the kernel. */
size_t sse_unsent(const struct sse *s);
/* Asks for one on_drained, when there is something unsent. */
void sse_await_drained(struct sse *s);
/* Closes after what was written; on_closed is not called. */
void sse_end(struct sse *s);
/* One frame: "id: …\nevent: …\ndata: …\n\n"; id and event may be SLICE_NONE, data may span lines.
 */
void sse_frame(struct buf *out, struct slice id, struct slice event, struct slice data);

/* ---- routes ---- */

struct route {
    const char *method; /* "GET"; "*" any (the handler answers 405) */
    const char *path;   /* "/qr/{pairing}" */
    void (*handle)(struct request *r);
};
/* Finds by method and path: 404 and 405 (with Allow) are answered here. HEAD is served as GET
 * without a body, OPTIONS gets Allow. */
struct http_server;
struct http_config {
    const char *listen;          /* "127.0.0.1:8790" */
    const char *operator_socket; /* path of the unix socket, NULL for none */
    const char *const *hosts;    /* Host names accepted besides loopback names, NULL-terminated */
    const char *public_url;      /* its name is accepted as Host and Origin too; may be NULL */
    const char *const *origins;  /* Origins accepted besides loopback ones, NULL-terminated */
    const struct route *const *tables; /* NULL-terminated list of tables; a table ends with {0} */
    void *context;
    size_t connections_max, bodies_max; /* 0: HTTP_CONNECTIONS_MAX, HTTP_BODIES_MAX */
};
/* Binds on the calling (main) worker and hands connections to the worker with the fewest. A busy
 * port is ERR_BAD_ARGUMENT whose words name the address and, where it can be found, the pid. */
err_t http_open(const struct http_config *config, struct worker *main_worker,
                struct worker *const *workers, size_t worker_count,
                struct http_server **out) MUST_CHECK;
/* Stops accepting; then each worker closes its connections. `done` on the main worker. */
void http_close(struct http_server *s, void (*done)(void *arg), void *arg);
void http_free(struct http_server *s);
void *http_context(const struct request *r);
size_t http_connections(const struct http_server *s);
size_t http_streams(const struct http_server *s);
/* The port it listens on, also when it was told to take a free one. Main worker. */
int http_port(const struct http_server *s);
