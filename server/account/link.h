/* A link: the WebSocket of an account, on libwebsockets over its worker's uv loop. Bytes in, bytes
 * out; it knows nothing of turns or stanzas. The only file that includes libwebsockets.
 *
 * One `struct links` per worker. All functions on that worker's thread. Callbacks come from the
 * loop, never from inside link_open() or link_write(); on_down comes exactly once, last, and the
 * link is gone when it returns. The owner may call link_close() inside on_up and on_data. */
#pragma once
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "server/worker.h"

struct link;
struct links;
struct resolver;

enum {
    LINK_CONNECT_MS = 20 * 1000, /* lookup, connect, TLS and upgrade, of all addresses together */
    LINK_CLOSE_MS = 2 * 1000,    /* to write what is queued and say goodbye */
    LINK_RX_BYTES = 1024,        /* of each link */
    LINK_TX_BYTES = 64 << 10,    /* of a frame, to the kernel at once; takes no memory */
    LINK_HOST_MAX = 256,
    LINK_PATH_MAX = 512,
    LINK_QUEUE_MAX = 16 << 20, /* bytes queued to write; more closes the link */
    LINK_WHOLE_MAX = 64 << 10, /* bytes of a message; of a larger one, pieces are handed on */
};

/* Where a world's accounts connect to. */
struct link_target {
    char host[LINK_HOST_MAX]; /* name or number, without brackets */
    char path[LINK_PATH_MAX];
    uint16_t port;
    bool tls;
    const char *ca_file; /* NULL or "": the system's authorities */
    void *tls_context;   /* OpenSSL's, shared by all workers; see link_target_open */
};
/* "wss://web.whatsapp.com/ws/chat"; BAD_ARGUMENT otherwise. */
err_t link_target_parse(const char *url, const char *ca_file, struct link_target *out) MUST_CHECK;

/* Makes the TLS context, once for all workers: a set of authorities is 0.7 MB. BAD_ARGUMENT when
 * the CA file cannot be read or is none. Main thread. */
err_t link_target_open(struct link_target *t) MUST_CHECK;
/* After the last links_free(). */
void link_target_close(struct link_target *t);

/* Stands in on_down's `why`, before what is wrong, when the server's TLS certificate was refused.
 */
#define LINK_CERTIFICATE "certificate: "

struct link_owner {
    void (*on_up)(void *owner);
    void (*on_data)(void *owner, struct slice bytes);
    void (*on_down)(void *owner, const char *why);
    void *context;
};

/* Before the worker starts. `targets` are
 * borrowed for the life of the links; link_open() names one by its index. */
err_t links_new(struct worker *w, struct resolver *resolver, const struct link_target *targets,
                size_t count, struct links **out) MUST_CHECK;
/* Closes what is open (on_down is called) and takes libwebsockets off the loop in its two steps;
 * then `done`, on the worker. */
void links_close(struct links *l, void (*done)(void *arg), void *arg);
/* After `done`. */
void links_free(struct links *l);
size_t links_count(const struct links *l);

struct link *link_open(struct links *l, size_t target, const struct link_owner *owner);
/* Queues one WebSocket message; copied. Nothing when the link is closing. */
void link_write(struct link *k, struct slice bytes);
/* Closes after what is queued was written; on_data is not called any more. `why` is a literal. */
void link_close(struct link *k, const char *why);
/* Back-pressure: stops reading the socket, and reads on. */
void link_pause(struct link *k);
void link_resume(struct link *k);
size_t link_queued(const struct link *k);
