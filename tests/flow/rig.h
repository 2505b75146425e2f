/* A rig: the sandbox as a child process, and the server without its doors as another one, which is
 * told what to do over a pipe, so that it can be killed at any moment and started again on the same
 * data. Answers are lines. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { RIG_LINE_MAX = 256 * 1024 };

struct rig {
    char folder[64]; /* data of the server and state of the sandbox are below it */
    char sim_listen[32], sim_control[32];
    int sim_port, control_port;
    pid_t sim, server;
    int to, from; /* of the server */
    char pending[2 * RIG_LINE_MAX];
    size_t pending_len;
    char line[RIG_LINE_MAX]; /* the last answer */
    const char *faults;      /* PARLEY_FAULTS of the next server, NULL none */
    unsigned workers;
};

void rig_open(struct rig *r);
void rig_close(struct rig *r);
void rig_sim_start(struct rig *r);
void rig_sim_stop(struct rig *r);
void rig_server_start(struct rig *r);
/* kill -9 */
void rig_server_kill(struct rig *r);
/* SIGTERM's way: waits for the end; the exit status. */
int rig_server_stop(struct rig *r);

/* Says a line to the server: "pair", "send ACC JID TEXT", "status ACC", "messages ACC", "chats
 * ACC", "events", "read ACC CHAT", "reconnect ACC", "logout ACC", "delete ACC", "accounts", "pair
 * ACC", "faults NAME=N …", "metric NAME", "heap" (bytes allocated). */
void rig_say(struct rig *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The next line; fails the test after `ms`. */
const char *rig_hear(struct rig *r, int ms);
/* Says, then the next line. */
const char *rig_ask(struct rig *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Asks until the answer contains `wanted`; fails the test after `ms`. */
void rig_until(struct rig *r, const char *wanted, int ms, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* How often `part` stands in the answer to `what`. */
int rig_count(struct rig *r, const char *part, const char *what);
/* Asks until it stands there `n` times; fails the test after `ms`. */
void rig_until_count(struct rig *r, int n, const char *part, int ms, const char *what);

/* One request to the sandbox's control API; the body of the answer, in a static buffer. */
const char *rig_sim(struct rig *r, const char *method, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* GETs until the answer contains `wanted`, and returns it; fails the test after `ms`. */
const char *rig_sim_until(struct rig *r, const char *wanted, int ms, const char *path);

/* Pairs an account with a new phone of the sandbox; its id in `out`. */
void rig_pair(struct rig *r, const char *number, char out[64]);
#define RIG_ME "15550001111"
#define RIG_OTHER "15550002222"
/* Opens the rig with an account of RIG_ME and somebody who writes to it, Ada on RIG_OTHER. */
void rig_open_two(struct rig *r, char account[64]);
/* Ada writes to the account. */
void rig_other_writes(struct rig *r, const char *text);

/* ---- rig_server.c: the server's side ---- */
/* What the child is from its fork on: the exit status. */
int rig_server_main(const struct rig *r);
