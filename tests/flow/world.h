/* A world: server accounts with a real store, the simulated WhatsApp with its phones, and the
 * network between them, in one process, on one thread, on a clock of their own. A seed decides
 * everything (traffic, faults, latencies, keys), so one seed replays one history. `struct town` is
 * one of them.
 *
 *   world.c         the life of a world
 *   worlds.c        main: which seeds
 *   world_clock.c   the workers, the log and all randomness, played
 *   world_net.c     links as wires with latency, cuts and silence
 *   world_house.c   the server: open, kill, crash, close; commits
 *   world_traffic.c what people do, and work given to accounts
 *   world_people.c  people who are met under two addresses, until an account learns who they are
 *   world_calls.c   calls of the API by agents, at any worker, again after a crash
 *   world_streams.c streams on the event log: slow, broken, resumed
 *   world_log.c     what the log was given, what retention cut from it, and who was told so
 *   world_plan.c    what goes wrong: rows of world_faults.def
 *   world_flows.c   the longest flows, and those that mend, for
 *   world_loops.c   which fails each point of them, one after the other
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
#include "server/tenant/auth.h"
#include "storage/chats.h"
#include "storage/events.h"
#include "storage/id.h"
#include "storage/monitor.h"
#include "storage/writer.h"
#include "tools/sim/faults.h"
#include "tools/sim/phone.h"
#include "tools/sim/rules.h"

enum {
    RESIDENTS = 3, /* accounts of the server, each with a phone */
    STRANGERS = 2, /* phones without one */
    PEOPLE = RESIDENTS + STRANGERS,
    TENANT = 1,
    LETTERS_MAX = 600,
    READINGS_MAX = 400,
    WORKERS_MAX = 3,
    AGENTS = 2,       /* callers that follow the log with wait_for_event and list_events */
    STREAMS = 7,      /* of the hub; the last */
    CHAT_STREAMS = 2, /* ask for one chat */
    REORDER_MS = 20001,
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

/* Whom it meets under two addresses (world_people.c): one after the other. */
struct neighbour {
    uint32_t account; /* the resident's number then */
    unsigned index, stage;
    bool lid_first;
    const struct errand *last; /* which makes the stage when it goes well */
};

/* What somebody wrote on a phone. */
struct letter {
    char id[SIM_ID_MAX], text[24];
    unsigned from;    /* person */
    uint32_t readers; /* bit per resident that must hold it */
    uint32_t excused; /* bit per resident that was unlinked meanwhile */
    bool in_group;
};

/* What a resident sent and a phone has read. */
struct read_mark {
    char text[24];
    unsigned resident;
    bool excused; /* it was unlinked: the receipt may have gone to its device of then */
};

struct errand {
    struct account_call call;
    struct list node;
    struct town *world;
    unsigned resident, person; /* who sends to whom */
    char text[24];
    bool done, lost; /* lost: the process died under it */
    bool deleted;    /* with its account */
    err_t (*act)(struct errand *e, struct account *a, struct turn *t);
};

struct request;
struct stream;
struct upkeep;

/* A fault loop (world_loops.c): the n-th point of one kind fails. */
enum loop_kind { LOOP_MEMORY, LOOP_SOCKET, LOOP_COMMIT, LOOP_FLUSH, LOOP_KINDS };
struct loop {
    bool armed, fired;
    enum loop_kind kind;
    unsigned long fail_at, points[LOOP_KINDS];
};

/* What the log was given, in order: number n stands at n - 1. Retention has cut all up to `cut`. */
struct past_event {
    struct event_head head;
    uint8_t due; /* bit per stream that asks for its chat: it must be shown this */
    struct buf bytes;
};
struct past {
    struct past_event *events;
    uint64_t count, room, cut;
};

/* One who follows the log by calls: behind `cursor` nothing has been seen. */
struct agent {
    uint64_t cursor;
    uint64_t cut; /* of the log when it asked */
    struct request *asking;
    int64_t next_at;
};

struct town {
    uint64_t seed;
    bool verbose;
    int64_t now;  /* of everything; ms */
    int64_t skew; /* what the server's clock shows more */
    uint64_t dice;
    uint64_t printed; /* newest line of the relay's trace that --verbose has shown */
    uint64_t history; /* a hash of all that happened */
    unsigned violations;
    unsigned mended;    /* bits of the data file that opening put right */
    unsigned strangers; /* so many may log in whom the relay does not know any more */
    bool somebody_left; /* the group: the relay refuses what its phone still answers there */
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
    struct worker *main, *workers[WORKERS_MAX];
    size_t worker_count;
    struct principal who; /* of the test key, which all callers have */
    bool running, fatal, stopped, leaving;
    int64_t commit_at, probe_at; /* INT64_MAX: nothing to do */
    int64_t slow_until, full_until, quota_until;
    struct batch probe;
    bool probing;
    uint64_t last_seq; /* of the newest event handed on */
    struct past past;
    struct upkeep *upkeep;   /* of a tidy world; the others keep all */
    bool tidy;               /* upkeep runs, and the log keeps little: */
    int64_t log_bytes;       /* so much, */
    int64_t log_bytes_least; /* or so little since the last commit */

    /* the network */
    struct list parcels, wires;
    unsigned wire_count;
    bool serving;    /* it is the server's code that runs */
    bool deaf;       /* the process is dying: nothing leaves any more */
    unsigned refuse; /* so many of the next connections fail */

    struct resident residents[RESIDENTS];
    struct neighbour neighbours[RESIDENTS];
    struct list errands;
    struct letter letters[LETTERS_MAX];
    unsigned letter_count, text_count;
    struct read_mark readings[READINGS_MAX];
    unsigned reading_count;

    struct list requests, ghosts, promises;
    struct agent agents[AGENTS];
    struct stream *streams;
    bool subscribed; /* the key, to message.* */

    struct loop loop;
};

/* ---- world_clock.c ---- */
void clock_seed(uint64_t seed);
/* Uniform below n, of the world's dice. */
uint64_t roll(struct town *w, uint64_t n);
static inline bool chance(struct town *w, unsigned percent) { return roll(w, 100) < percent; }
/* Worker `index`, or main's for -1. */
struct worker *clock_open(struct town *w, int index);
void clock_close(struct worker *k);
/* The thread that runs now is this worker's, and it runs the server's code, until it is left. */
void clock_enter(struct worker *k);
void clock_leave(void);
/* One of them: who a call comes in at. */
struct worker *clock_any(struct town *w);
void clock_set(struct town *w);
/* Runs what was posted, a post here and a post there. */
void clock_posts(struct town *w);
/* The next timer's moment on the server's clock, INT64_MAX; fires it when it is due. */
int64_t clock_due(struct town *w);
void clock_fire(struct town *w);
/* Into the history, and to the reader of --verbose. */
void note(struct town *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mix(struct town *w, struct slice bytes);
/* An invariant does not hold. */
void violated(struct town *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern bool log_aloud;
/* What the server said before it gave up; "" at first. */
extern char clock_last_error[400];
/* Which seed it was, when an assertion or a sanitizer ends the process. */
void clock_obituary(void);

/* ---- world_net.c ---- */
struct sim_host net_host(struct town *w);
void net_init(struct town *w);
void net_done(struct town *w);
int64_t net_due(const struct town *w);
void net_deliver(struct town *w); /* the parcel that is due */
/* All links are gone at once, nobody on this side is told. */
void net_kill(struct town *w);
/* Faults on a wire that is up; false when there is none. */
bool net_cut(struct town *w, bool inside_frame);
bool net_silence(struct town *w);
bool net_stall(struct town *w, int64_t ms);
/* Some of the wires stand still, one after the other, and go on in another order. */
bool net_swizzle(struct town *w);
extern struct town *the_town; /* link.h has no place for it */

/* ---- world_house.c ---- */
void house_open(struct town *w);
void house_close(struct town *w);
/* The server alone, on the folder that there is. */
void house_start(struct town *w);
void house_stop(struct town *w);
void house_remove_folder(struct town *w);
/* Nothing gets in or out any more, and what is queued fails, as if it had never been. */
void house_lose_queued(struct town *w);
/* The process dies: what was not committed is gone. */
void house_kill(struct town *w);
/* It is stopped as by SIGTERM, and started again. */
void house_restart(struct town *w);
/* NULL when its object is not open. */
struct account *house_account(struct town *w, unsigned resident);
/* Commits what is queued when its time has come. */
void house_commit(struct town *w);
/* Notices that something was queued. */
void house_look(struct town *w);
void house_fill_disk(struct town *w, int64_t ms);
void house_probe(struct town *w);
/* From now on upkeep runs, here and in servers that are started later. */
void house_tidy(struct town *w);
/* So much the log keeps from now on. */
void house_keep(struct town *w, int64_t bytes);

/* ---- world_traffic.c ---- */
void traffic_settle_in(struct town *w); /* people, accounts, pairing */
void traffic_act(struct town *w);       /* one thing somebody does */
/* Two letters to one account, of which the first is overtaken. */
bool traffic_reorder(struct town *w);
/* Somebody leaves the group, or comes back. */
bool traffic_change_group(struct town *w);
/* Accounts that found out that they are logged out are known to be so. */
void traffic_look(struct town *w);
const char *number_of(unsigned person);
/* A call that reconnects the account. */
void traffic_reconnect(struct town *w, unsigned resident);
/* Pairs it again when it is unlinked; false when it did not come to that. */
/* A caller logs an account out, or deletes it; false when there is none to take. */
bool traffic_leave(struct town *w, bool deletes);
bool traffic_pair(struct town *w, unsigned resident);
void traffic_unlinked(struct town *w, unsigned resident);
void traffic_lose_calls(struct town *w);
bool traffic_is_over(struct town *w);
/* A call that sends a text of its own; freed by traffic_done(). */
struct errand *traffic_send(struct town *w, unsigned resident, unsigned person);
/* Any other call, in two steps. */
struct errand *traffic_errand(struct town *w, unsigned resident,
                              err_t (*act)(struct errand *, struct account *, struct turn *));
void traffic_hand_over(struct errand *e);
/* Somebody writes to the group, if he is in it. */
void traffic_write_group(struct town *w);
/* A letter from somebody to a resident; NULL when it could not be written. */
const struct letter *traffic_letter(struct town *w, unsigned from, unsigned resident);
const struct letter *traffic_group_letter(struct town *w, unsigned from);
/* Everything that came to this phone is read on it. */
void traffic_read_all(struct town *w, unsigned person);
void traffic_done(struct town *w);
bool resident_is_connected(struct town *w, unsigned resident, struct account_status *out);
struct sim_device *resident_device(struct town *w, unsigned resident);

/* ---- world_people.c ---- */
/* One thing that an account hears of its neighbour. */
void people_meet(struct town *w);
/* The chat_ id of somebody who may be met under another address too; false when it finds none. */
bool people_chat(struct town *w, struct view *v, char out[ID_TEXT_MAX]);

/* ---- world_calls.c ---- */
/* send_message, with or without a key. */
void calls_send(struct town *w);
/* One of the keys that were used is used again; `now` also while its first call runs. */
void calls_repeat(struct town *w);
/* One of the tools that read or act on an account. */
void calls_other(struct town *w);
void calls_subscribe(struct town *w);
/* One of the agents asks for nothing for a while. */
bool calls_rest(struct town *w);
/* Agents ask for what is next. */
void calls_follow(struct town *w);
/* The doors close: callers are gone, calls that only wait end. */
void calls_cut(struct town *w);
/* The process is gone: so is what still ran. */
void calls_bury(struct town *w);
/* Nothing runs any more but waits for events. */
bool calls_are_over(struct town *w);
void calls_deleted(struct town *w, unsigned resident);
/* A promise with a key that nobody has asked for yet. */
struct promise *calls_promise(struct town *w, unsigned resident, unsigned person);
/* Asks, and waits for the end of the call. */
void calls_ask(struct town *w, struct promise *p);
err_t calls_use(struct town *w, const char *tool, const char *args);
void calls_init(struct town *w);
void calls_done(struct town *w);
/* What a caller was promised, for the judge. */
struct promise {
    struct list node;
    unsigned resident, person;
    char text[24], key[24]; /* "": no idempotency key */
    char account[ACCOUNT_ID_MAX];
    const struct promise *rival; /* the same key with another text */
    int64_t first_at;            /* on the server's clock */
    unsigned asked, lost;
    bool deleted;                 /* with its account */
    char message[ACCOUNT_ID_MAX]; /* answered: this one; "" */
    bool answered_sent;
    err_t error; /* of the last answer */
};

/* ---- world_streams.c ---- */
void streams_open(struct town *w);
void streams_cut(struct town *w);
void streams_act(struct town *w);
/* Everybody reads. */
void streams_resume(struct town *w);
/* The newest event of the log, before anybody hears of it. */
void streams_take(struct town *w, struct past_event *e);
/* Two chats became one, or may have: a commit is over. */
void streams_look_up(struct town *w);
/* Each has seen what the log holds for it, once and in order. */
void streams_judge(struct town *w);
/* Closed ones open, full ones go on. */
void streams_act_once(struct town *w);
/* From the beginning again, once they open. */
void streams_rewind(struct town *w);
/* One of them breaks and stays away for a while; false before there are some. */
bool streams_rest(struct town *w);
bool streams_are_at_end(struct town *w);
void streams_done(struct town *w);

/* ---- world_log.c ---- */
void log_take(struct town *w, const struct log_event *e);
/* Behind a commit or a start: how far the log was cut, and whether it had to be. */
void log_look(struct town *w);
/* Somebody is told that first..last fell out of the log; `cut` is what had when he asked. */
void log_gap(struct town *w, const char *who, uint64_t first, uint64_t last, uint64_t cut);
/* The rows are those that it was given and that were not cut. */
void log_judge(struct town *w);
void log_done(struct town *w);

/* ---- world_plan.c ---- */
void plan_strike(struct town *w); /* one fault */
void plan_stop(struct town *w);   /* no more of them */
/* A row of LATE or TIDY was met: a connection that is refused, a commit that fails, a gap. */
void plan_met(const char *name);
/* How often each fired; false when one never did. */
bool plan_report(void);

/* ---- world_judge.c ---- */
/* What the server holds of a resident. */
struct held {
    char id[SIM_ID_MAX], text[24];
    char name[ID_TEXT_MAX]; /* msg_… */
    uint8_t status;
    bool from_me;
};
struct shelf {
    struct held items[4 * LETTERS_MAX];
    size_t count;
};
void judge_shelf(struct town *w, unsigned resident, struct shelf *out);
/* How often the phone got the text. */
unsigned judge_copies(const struct sim_phone *p, const char *text);
void judge(struct town *w);
/* How much there was to judge in all worlds. */
void judge_report(void);
bool judge_is_settled(struct town *w);
/* Once judge() is through: what accounts keep in memory is what fresh ones have. */
void judge_memory(struct town *w);
/* A resident holds a letter, with its text. */
bool judge_holds(struct town *w, unsigned resident, const struct letter *l);
/* The other side has read what was sent. */
bool judge_is_read(struct town *w, unsigned resident, const char *text);

/* ---- world_loops.c ---- */
/* Counts a point; true when it is the one that fails. */
bool loop_due(struct town *w, enum loop_kind kind);

/* ---- world.c ---- */
void world_begin(struct town *w, uint64_t seed, bool verbose);
/* Faults have stopped: until everybody is back and nothing is owed. */
void world_settle_down(struct town *w);
void world_end(struct town *w);
size_t memory_in_use(void);
/* So many bytes more than before; 0 when all was given back. */
size_t memory_missing(size_t before);
void world_settle(struct town *w);
void world_pass(struct town *w, int64_t ms);
