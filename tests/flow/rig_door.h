/* parleyd and the sandbox as programs on free ports, and plain blocking connections to them. The
 * first failure ends the test; the children die with it. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/base/slice.h"

enum { DOOR_ANSWER_MAX = 1 << 20, DOOR_PATIENCE_S = 30 };

struct door {
    char folder[64], key[128]; /* the first test key */
    int port, sim_port, control_port;
    pid_t parleyd, sim;
};

/* A connection and the last answer on it. */
struct line {
    int fd, status;
    char answer[DOOR_ANSWER_MAX];
    size_t len;
};

void door_open(struct door *d, const char *workers);
/* The same with further words for parleyd's command line, NULL-terminated. */
void door_open_with(struct door *d, const char *workers, const char *const *words);
/* The first key of this kind ("parley_live_") into `out`. */
void door_read_key(const struct door *d, const char *kind, char out[128]);
/* SIGTERM to parleyd, which must end with 0; the sandbox goes on. */
void door_stop(struct door *d);
/* Stops what still runs. */
void door_close(struct door *d);
void door_failed(const char *what, const char *text) __attribute__((noreturn));
/* -1 when nobody listens. */
int door_dial(int port);
/* One request with these headers ("Name: value\r\n"…); `body` may be NULL. */
void line_say(struct line *l, const char *head, const char *headers, const char *body);
/* Some more bytes; fails when the other side has closed or says nothing. */
void line_more(struct line *l);
/* The body of one whole answer; of an event stream, its headers. */
const char *line_hear(struct line *l);
/* One request to a sandbox's control API, which must succeed. One thread at a time. */
const char *door_ask_control(int port, const char *head, const char *body);
const char *door_ask_sim(const struct door *d, const char *head, const char *body);
/* The phone of this number, made when there is none, scans the code. */
void door_scan(int control_port, const char *number, struct slice code);
/* Pairs an account of this key with a new phone of the sandbox at `control_port` and waits until
 * it is connected. `headers` authorises; its id goes into `out_id` (NULL: nobody asks). */
void door_pair(struct line *l, const char *headers, int control_port, const char *number,
               char out_id[64]);
/* One message, written by the phone `from` to the account `to`: how long, in us, until `stream`, an
 * event stream, shows it. No two may have the same `n`. */
int64_t door_beat(const struct door *d, struct line *stream, const char *from, const char *to,
                  size_t n);
/* For qsort(): int64_t. */
int by_time(const void *x, const void *y);
/* What parleyd has in memory of its own, KB. */
long door_anon_kb(const struct door *d);
