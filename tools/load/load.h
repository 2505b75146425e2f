/* parley-load: the sandbox with many accounts, and the clients of who serves them, in one process
 * on one loop and one clock, so that a latency is one subtraction. Tasks come on stdin, one a line
 * (`inbound rate=500 seconds=5 pid=4711`); each ends with one JSON object on stdout.
 *
 * Who serves is `http`: parleyd, or a peer behind a bridge that speaks the two routes that matter
 * (tests/interop/bridges). One thread; the floor of the fan-out is a process of its own. */
#pragma once
#include <jansson.h>

#include "tools/sim/server.h"

enum {
    LOAD_NUMBER_MAX = 24,
    LOAD_PAIRS_AT_ONCE = 32,
    LOAD_ASKERS = 16,
    LOAD_PHONE_PREKEYS = 10, /* a contact gives one to each account that writes to it */
    LOAD_MESSAGES_MAX = 1 << 21
};

/* Where the process listens and keeps what it knows; the command line. */
struct load_options {
    const char *state, *tls_cert, *tls_key, *least_prekeys;
    struct sim_endpoint listen, control;
};

/* One task: what a line says, the rest as it is by default. */
struct load_task {
    int64_t accounts, active, rate, window, seconds, streams, messages, turn, prekeys, bytes, pid;
    char http[64], key[128], what[32];
};

struct load {
    struct load_options options;
    struct load_task task;
    uv_loop_t loop;
    struct sim_server sim;
    struct sockaddr_in http;
    uv_timer_t timer; /* of the running task */
    uv_pipe_t tasks;
    struct buf line;
    bool busy, ended; /* ended: stdin is closed */
};

/* ---- load.c ---- */

/* Numbers of the i-th account and the i-th contact. */
const char *load_account(size_t i, char out[LOAD_NUMBER_MAX]);
const char *load_contact(size_t i, char out[LOAD_NUMBER_MAX]);
/* A phone with this number, made when it is missing. */
struct sim_phone *load_phone(struct load *l, const char *number, const char *name);
/* The i-th contact writes to its account, i modulo `accounts`; the time when the bytes were handed
 * to the socket, us. */
int64_t load_write(struct load *l, size_t i, const char *text);
/* Companions that are logged in on a connection above `since`, with `prekeys` one-time keys. */
size_t load_connected(const struct load *l, uint64_t since, uint32_t prekeys);
/* Ends the process with an error. */
void load_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Ends the task: its result, the text of a JSON object. */
void load_done(struct load *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- measure.c ---- */

int64_t load_us(void);
/* CPU seconds of a process, 0 for this one, to the microsecond; -1 when it is gone. */
double load_cpu(int64_t pid);
/* RssAnon in bytes. */
int64_t load_anon(int64_t pid);

/* What parleyd counts itself; 0 of a peer. */
struct counts {
    int64_t commits, bytes; /* bytes: written by the commits */
};
/* What passes between two moments; several spans add up. */
struct meter {
    bool counting; /* asks for the counts, for which who serves must be an HTTP server */
    int64_t us, written, began_us, began_written;
    double target_s, own_s, began_target, began_own;
    struct counts counts, began_counts;
};
void meter_go(struct load *l, struct meter *m);
void meter_stop(struct load *l, struct meter *m);

/* How long things took, for percentiles. */
struct times {
    int64_t *us;
    size_t count, room;
    bool sorted;
};
void times_add(struct times *t, int64_t us);
double times_ms(struct times *t, unsigned per_mille);
void times_done(struct times *t);
/* The members that every result has: count, rate, percentiles, CPU, bytes. */
const char *load_figures(struct meter *m, struct times *t, char out[1024]);

/* ---- http.c: one connection to who serves ---- */

struct peer {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct load *load;
    struct buf in, waiting; /* waiting: a request until the connection stands */
    bool connected, streaming;
    char session[128]; /* Mcp-Session-Id of the last answer that had one; sent along */
    /* The answer of a request. */
    void (*on_answer)(struct peer *p, int status, struct slice body);
    /* One frame of an event stream, without the empty line. */
    void (*on_frame)(struct peer *p, struct slice frame);
    void (*on_stream)(struct peer *p); /* the stream's headers have come */
    void *owner;
    size_t number; /* of the owner's choice */
};
struct peer *peer_new(struct load *l, void *owner);
/* One request at a time. `body` NULL: none. */
void peer_ask(struct peer *p, const char *method, const char *path, const char *body);
/* Frees it, later. */
void peer_close(struct peer *p);

/* ---- warm.c ---- */

/* Contacts and accounts get to know each other: each of the first `contacts` writes to its account
 * and is answered, so that chains run. Done once for each contact. */
void warm_start(struct load *l, size_t contacts, void (*done)(struct load *l));
/* The chat of the i-th contact's account with it. */
const char *warm_chat(size_t i);
/* The accounts answer every one of the first `contacts` once more. */
void warm_answer(struct load *l, size_t contacts, void (*done)(struct load *l));

/* ---- the tasks ---- */

void pair_start(struct load *l);    /* phones pair through POST /v1/accounts; state is saved */
void phones_start(struct load *l);  /* phones that others pair with; saved by `save` */
void save_start(struct load *l);    /* the sandbox goes to --state */
void wait_start(struct load *l);    /* until the accounts are logged in */
void drop_start(struct load *l);    /* all connections end at once; until all are back */
void inbound_start(struct load *l); /* contacts write; latency from the socket to /v1/events */
void fill_start(struct load *l);    /* the same without measuring: a history of words */
void send_start(struct load *l);    /* callers of POST /v1/messages; latency until the ack */
void fanout_start(
    struct load *l);             /* the same events to many readers; what=events, mcp, sdk, floor */
void read_start(struct load *l); /* callers of the reading tools */

/* `parley-load floor PORT`: the process that does nothing but write frames. */
int floor_main(int port);
/* What fill writes as the n-th message, and a word of it: 0 is the most frequent one. */
void words_message(size_t n, struct buf *out);
void words_word(size_t rank, struct buf *out);
