/* A WhatsApp that has turned against one account: the sandbox inside this process, on a thread of
 * its own, which pairs and answers as ever until it is told to strike. */
#pragma once
#include <pthread.h>

#include "tools/sim/server.h"

/* The server's handshake message as it should be, and what goes out instead. */
typedef void hostile_mangle(const struct sim_relay *r, struct slice hello, struct buf *out);

struct hostile {
    struct sim_server sim;
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*job)(struct hostile *h, void *arg); /* under the lock; NULL when it is done */
    void *job_arg;
    hostile_mangle *mangle;
    void (*write)(void *ctx, void *socket, struct slice bytes); /* the sandbox's own */
    int port, control_port;
    char root_key[65];
};

void hostile_open(struct hostile *h);
void hostile_close(struct hostile *h);
/* Runs a job on its thread and waits for it. */
void hostile_do(struct hostile *h, void (*job)(struct hostile *h, void *arg), void *arg);
/* What its thread may do: the account's connection, NULL when it is not logged in (or does not
 * show codes); raw bytes; an encoded stanza, sealed, whatever its bytes are. */
struct sim_conn *hostile_victim(struct hostile *h, enum sim_phase phase);
void hostile_write(struct sim_conn *c, struct slice bytes);
void hostile_seal(struct sim_conn *c, struct slice stanza);
/* Pings with this id; whether the answer has come, behind all that what was said before costs. */
void hostile_ping(struct sim_conn *c, const char *id);
bool hostile_heard(const struct hostile *h, const char *id);

/* ---- the strikes (rig_strikes.c) ---- */

#define HOSTILE_HONEST "15550001111" /* the account of the other, honest server */
#define HOSTILE_FRIEND "15550003333" /* to whom it wrote the message of this id */
extern char hostile_message_id[64];

struct strike {
    const char *name;
    hostile_mangle *mangle;             /* at the handshake; or */
    void (*chain)(struct sim_relay *r); /* the certificates it shows there; or */
    void (*strike)(struct sim_conn *c); /* on a connection that is logged in */
    const char *reason;                 /* what the account's status says then; NULL: it stays */
    unsigned times;                     /* at least; 0: twice */
    bool is_silent;                     /* nothing said behind it is heard */
    enum sim_phase phase;               /* SIM_PAIRING: while codes are shown; else logged in */
};
/* rig_handshakes.c */
hostile_mangle mangle_in_clear, mangle_without_static, mangle_without_certificate, mangle_low_order,
    mangle_huge, mangle_client_hello;
void chain_of_stranger(struct sim_relay *r);
void chain_for_another(struct sim_relay *r);
void chain_expired(struct sim_relay *r);
void chain_of_noise(struct sim_relay *r);
void chain_of_nothing(struct sim_relay *r);

extern const struct strike strikes[];
extern const size_t strike_count;

/* ---- hostile people (rig_peers.c): phones of the honest server, so with sound sessions ---- */

struct door;
struct peer {
    const char *name;
    void (*make)(struct buf *out); /* a packed Message */
};
extern const struct peer peers[];
extern const size_t peer_count;
void peer_send(const struct door *d, const struct peer *p, const char *from, const char *to);
