/* A world: server accounts with a real store, the simulated WhatsApp with its phones, and the
 * network between them, in one process, on one thread, on a clock of their own. A seed decides
 * everything (traffic, faults, latencies, keys), so one seed replays one history.
 *
 *   world.c         main: which seeds, and the life of a world
 *   world_clock.c   the worker, the log and all randomness, played
 *   world_net.c     links as wires with latency, cuts and silence
 *   world_house.c   the server: open, kill, crash, close; commits
 *   world_traffic.c what people and callers do
 *   world_plan.c    what goes wrong: rows of world_faults.def
 *   world_judge.c   what must be true in the end
 *
 * Nothing here is shared with another thread. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/account/accounts.h"
#include "server/account/inside.h"
#include "server/config.h"
#include "storage/chats.h"
#include "storage/events.h"
#include "storage/monitor.h"
#include "tools/sim/faults.h"
#include "tools/sim/phone.h"
#include "tools/sim/rules.h"

enum {
    RESIDENTS = 3, /* accounts of the server, each with a phone */
    STRANGERS = 2, /* phones without one */
    PEOPLE = RESIDENTS + STRANGERS,
    TENANT = 1,
    LETTERS_MAX = 600,
};

/* One of the server's accounts. */
struct resident {
    char id[ACCOUNT_ID_MAX];
    uint32_t number;
    char chat[ACCOUNT_ID_MAX]; /* of its newest send, "" */
    bool unlinked;             /* or not paired yet */
    uint16_t old_device;       /* which was unlinked, or asked to leave */
    int64_t known_from;        /* the phones know its device from here on */
};

/* What somebody wrote on a phone. */
struct letter {
    char id[SIM_ID_MAX], text[24];
    unsigned from;    /* person */
    uint32_t readers; /* bit per resident that must hold it */
    uint32_t excused; /* bit per resident that was unlinked meanwhile */
};

struct errand {
    struct account_call call;
    struct list node;
    struct world *world;
    unsigned resident, person; /* who sends to whom */
    char text[24];
    bool done, lost; /* lost: the process died under it */
    bool deleted;    /* with its account */
    err_t (*act)(struct errand *e, struct account *a, struct turn *t);
};

struct world {
    uint64_t seed;
    bool verbose;
    int64_t now;  /* of everything; ms */
    int64_t skew; /* what the server's clock shows more */
    uint64_t dice;
    uint64_t printed; /* newest line of the relay's trace that --verbose has shown */
    uint64_t history; /* a hash of all that happened */
    unsigned violations;
    unsigned strangers; /* so many may log in whom the relay does not know any more */
    bool forged;        /* a bundle of somebody carried a wrong signature */
    bool storm;         /* faults also while accounts are paired */

    /* the simulated WhatsApp */
    struct sim_relay relay;
    struct sim_phones phones;
    struct sim_phone *people[PEOPLE]; /* residents first */
    struct sim_group *group;
    char group_jid[64];

    /* the server */
    struct server server;
    struct config config;
    char folder[80], root_key[2 * CRYPTO_KEY + 1];
    struct worker *worker;
    bool running, fatal, stopped;
    int64_t commit_at, probe_at; /* INT64_MAX: nothing to do */
    int64_t slow_until, full_until, quota_until;
    struct batch probe;
    bool probing;
    uint64_t last_seq; /* of the newest event handed on */

    /* the network */
    struct list parcels, wires;
    unsigned wire_count;
    bool deaf;       /* the process is dying: nothing leaves any more */
    unsigned refuse; /* so many of the next connections fail */
    void (*links_done)(void *arg);
    void *links_arg;

    struct resident residents[RESIDENTS];
    struct list errands;
    struct letter letters[LETTERS_MAX];
    unsigned letter_count, text_count;
};

/* ---- world_clock.c ---- */
void clock_seed(uint64_t seed);
/* Uniform below n, of the world's dice. */
uint64_t roll(struct world *w, uint64_t n);
static inline bool chance(struct world *w, unsigned percent) { return roll(w, 100) < percent; }
struct worker *clock_open(struct world *w);
void clock_close(struct worker *k);
void clock_set(struct worker *k, int64_t now);
/* Runs what was posted. */
void clock_posts(struct worker *k);
/* The next timer's moment on the worker's clock, INT64_MAX; fires it when it is due. */
int64_t clock_due(struct worker *k);
void clock_fire(struct worker *k);
/* Into the history, and to the reader of --verbose. */
void note(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mix(struct world *w, struct slice bytes);
/* An invariant does not hold. */
void violated(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern bool log_aloud;
/* Which seed it was, when an assertion or a sanitizer ends the process. */
void clock_obituary(void);

/* ---- world_net.c ---- */
struct sim_host net_host(struct world *w);
void net_init(struct world *w);
void net_done(struct world *w);
int64_t net_due(const struct world *w);
void net_deliver(struct world *w); /* the parcel that is due */
/* All links are gone at once, nobody on this side is told. */
void net_kill(struct world *w);
/* Faults on a wire that is up; false when there is none. */
bool net_cut(struct world *w, bool inside_frame);
bool net_silence(struct world *w);
bool net_stall(struct world *w, int64_t ms);
extern struct world *the_world; /* link.h has no place for it */

/* ---- world_house.c ---- */
void house_open(struct world *w);
void house_close(struct world *w);
/* The process dies: what was not committed is gone. */
void house_kill(struct world *w);
/* Commits what is queued when its time has come. */
void house_commit(struct world *w);
/* Notices that something was queued. */
void house_look(struct world *w);
void house_fill_disk(struct world *w, int64_t ms);
void house_probe(struct world *w);

/* ---- world_traffic.c ---- */
void traffic_settle_in(struct world *w); /* people, accounts, pairing */
void traffic_act(struct world *w);       /* one thing somebody does */
/* A call that reconnects the account. */
void traffic_reconnect(struct world *w, unsigned resident);
/* Pairs it again when it is unlinked; false when it did not come to that. */
/* A caller logs an account out, or deletes it; false when there is none to take. */
bool traffic_leave(struct world *w, bool deletes);
bool traffic_pair(struct world *w, unsigned resident);
void traffic_unlinked(struct world *w, unsigned resident);
void traffic_lose_calls(struct world *w);
bool traffic_is_over(struct world *w);
void traffic_done(struct world *w);
bool resident_is_connected(struct world *w, unsigned resident, struct account_status *out);
struct sim_device *resident_device(struct world *w, unsigned resident);

/* ---- world_plan.c ---- */
void plan_strike(struct world *w); /* one fault */
void plan_stop(struct world *w);   /* no more of them */
void plan_begin(uint64_t seed);
/* How often each fired; false when one never did. */
bool plan_report(void);

/* ---- world_judge.c ---- */
void judge(struct world *w);
/* How much there was to judge in all worlds. */
void judge_report(void);
bool judge_is_settled(struct world *w);

/* ---- world.c ---- */
void world_settle(struct world *w);
void world_pass(struct world *w, int64_t ms);
