/* parley-load: the sandbox with many accounts, and the clients of a parleyd, in one process on one
 * loop and one clock, so that a latency is one subtraction. Results are one JSON object on stdout.
 *
 *   pair     pairs --accounts phones through POST /v1/accounts and keeps the sandbox in --state
 *   inbound  contacts write to accounts; latency from the sandbox's socket to /v1/events
 *   send     callers of POST /v1/messages; latency from the request to the answer
 *   fanout   the same events to --streams readers, beside the bare uv_try_write floor
 *
 * One thread; `floor` is a child process. */
#pragma once
#include <jansson.h>

#include "tools/sim/server.h"

enum { LOAD_NUMBER_MAX = 24, LOAD_PAIRS_AT_ONCE = 8 };

struct load_options {
    const char *mode, *state, *http, *key;
    struct sim_endpoint listen, control;
    int64_t accounts, active, rate, window, seconds, streams, pid;
};

struct load {
    struct load_options options;
    uv_loop_t loop;
    struct sim_server sim;
    struct sockaddr_in http;
    uv_timer_t watch; /* waits for the accounts */
    void (*on_ready)(struct load *l);
    int64_t began_ms; /* of uv_now */
    int exit_code;
};

/* ---- http.c: one connection to parleyd ---- */

struct peer {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct load *load;
    struct sockaddr_in to;
    struct buf in, waiting; /* waiting: a request until the connection stands */
    bool connected, streaming;
    /* The answer of a request. */
    void (*on_answer)(struct peer *p, int status, struct slice body);
    /* One frame of an event stream, without the empty line. NULL: frames are only counted. */
    void (*on_frame)(struct peer *p, struct slice frame);
    void (*on_stream)(struct peer *p); /* the stream's headers have come */
    void *owner;
    uint64_t frames, bytes;
};
void peer_init(struct load *l, struct peer *p);
/* One request at a time. `body` NULL: none. */
void peer_ask(struct peer *p, const char *method, const char *path, const char *body);
void peer_close(struct peer *p);

/* ---- load.c ---- */

/* Numbers of the i-th account and the i-th contact. */
const char *load_account(size_t i, char out[LOAD_NUMBER_MAX]);
const char *load_contact(size_t i, char out[LOAD_NUMBER_MAX]);
/* Writes; the time when the bytes were handed to the socket, us. */
int64_t load_write(struct load *l, const char *from, const char *to, const char *text);
/* Phones of the contacts, made where they are missing. */
void load_contacts(struct load *l, size_t n);
/* Companions that are connected and hold at least `prekeys` one-time keys. */
size_t load_connected(const struct load *l, uint32_t prekeys);
int64_t load_us(void);
/* CPU seconds of a process (user + system), 0 for this one; -1 when it is gone. */
double load_cpu(int64_t pid);
/* RssAnon in bytes. */
int64_t load_anon(int64_t pid);
/* Bytes the process has written: the database, and its events (libwebsockets is not counted). The
 * count of the block layer is of no use: it takes a whole large folio for each dirty page. */
int64_t load_written(int64_t pid);
/* Ends the run with an error. */
void load_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Ends it well; the JSON was printed. */
void load_stop(struct load *l);

/* The modes; each is called when the accounts are connected (pair: at once). */
void pair_start(struct load *l);
void inbound_start(struct load *l);
void fanout_start(struct load *l);
void send_start(struct load *l);
/* Before the loop: the child that plays the floor; fanout_start speaks to it. */
void fanout_fork(struct load *l);

/* ---- warm.c ---- */

/* Each contact writes to its account and is answered, so that both chains run. */
void warm_start(struct load *l, size_t contacts, void (*done)(struct load *l));
/* The chat of the i-th account with its contact. */
const char *warm_chat(size_t i);
