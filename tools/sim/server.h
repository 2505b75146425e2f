/* The sim as a program: relay and phones on one libuv loop, with a WebSocket listener, the control
 * API, a clock that can be moved, and a state file. One thread.
 *
 * With a state folder nothing leaves before the state it follows from is on disk: bytes for
 * sockets are held back until the next save, so that a sim that was killed comes back without
 * having promised anything it forgot. Without one bytes leave at once.
 *
 *   sim_server_init -> sim_server_open (listens) -> the loop runs -> sim_server_stop -> the loop
 *   runs until it is empty -> sim_server_done */
#pragma once
#include <uv.h>

#include "tools/sim/alive.h"
#include "tools/sim/phone.h"

struct sim_endpoint {
    char host[64];
    int port; /* 0: any free one */
};

struct sim_settings {
    struct sim_endpoint listen, control;
    const char *tls_cert, *tls_key; /* NULL: plain */
    const char *root_key_file;      /* 32 bytes as hex; made when missing; NULL: none */
    const char *state_dir;          /* NULL: nothing survives */
    bool alive;
    struct sim_options relay;
};

struct sim_listener;
struct sim_control;

struct sim_server {
    uv_loop_t *loop;
    struct sim_settings settings;
    struct sim_relay relay;
    struct sim_phones phones;
    struct sim_alive alive;
    struct sim_listener *listener;
    struct sim_control *control;
    uv_timer_t wake;     /* the relay's next timer */
    uv_timer_t save;     /* state goes to disk soon */
    int64_t clock_ahead; /* ms that POST /clock added */
    int state_lock;      /* descriptor, -1 without a state */
    struct list held;    /* bytes that wait for the save */
    uint64_t save_from;  /* uv_hrtime: not before; a slow disk gets half of the time at most */
    bool dirty, stopping;
};

err_t sim_server_init(struct sim_server *s, uv_loop_t *loop,
                      const struct sim_settings *settings) MUST_CHECK;
err_t sim_server_open(struct sim_server *s) MUST_CHECK;
/* Begins to close everything; the loop empties by itself. */
void sim_server_stop(struct sim_server *s);
void sim_server_done(struct sim_server *s);

/* The sim's time, unix milliseconds. */
int64_t sim_server_now(const struct sim_server *s);
/* After every input: phones work, timers run, the next wake-up is set, what changed is saved. */
void sim_server_settle(struct sim_server *s);
/* Saves at once if there is something to save, and lets go what was held. */
void sim_server_commit(struct sim_server *s);
/* A socket is gone: what was held for it goes nowhere. */
void sim_server_forget(struct sim_server *s, void *socket);

/* listen.c */
err_t sim_listener_open(struct sim_server *s, struct sim_listener **out) MUST_CHECK;
int sim_listener_port(const struct sim_listener *l);
void sim_listener_write(void *socket, struct slice bytes);
void sim_listener_close(void *socket);
void sim_listener_stop(struct sim_listener *l);
/* After the loop ran empty; runs it again by itself. */
void sim_listener_free(struct sim_listener *l);

/* control.c */
err_t sim_control_open(struct sim_server *s, struct sim_control **out) MUST_CHECK;
int sim_control_port(const struct sim_control *c);
void sim_control_stop(struct sim_control *c);

/* state.c */
err_t sim_state_load(struct sim_server *s) MUST_CHECK;
err_t sim_state_save(struct sim_server *s) MUST_CHECK;
