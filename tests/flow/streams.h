/* What the files of flow_streams share: who writes, who reads, and what is noted of both.
 *
 *   streams.c         the run: options, the house, the end
 *   streams_writers.c accounts on every worker, and retention behind them
 *   streams_readers.c streams that stall, are cut and resume; one of another tenant
 *   streams_judge.c   what is held against what was written */
#pragma once
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/events/hub.h"
#include "server/server.h"
#include "storage/view.h"
#include "storage/writer.h"

enum {
    TENANT = 1,
    STRANGERS = 2, /* a tenant that writes nothing, so must see nothing */
    STREAMS = 50,
    ACCOUNTS = 6,
    TURNS = 8, /* of one account under way */
    PEERS = 4,
    WORKERS_MAX = 8,
    LOG_BYTES = 256 * 1024, /* what retention leaves */
};
#define KEY "key_streams"

struct account {
    struct worker *worker;
    uint32_t number;
    uint32_t written; /* events, counted by the account */
    uint64_t turn;
    struct turn {
        struct batch batch;
        struct post post;
        struct account *account;
    } turns[TURNS];
};

/* What a stream was given: an event, or with `last` a gap. */
struct item {
    uint64_t seq, last;
    uint32_t account, n;
};

/* From one opening to the next; what got lost on the way is not in it. */
struct session {
    uint64_t after;
    size_t first, end; /* items */
    struct event_filter filters[2];
    size_t filter_count;
    bool follows_key, sandbox, all_worlds;
};

struct stream {
    struct hub_stream hub;
    struct event_filter filters[2];
    struct worker *worker;
    struct timer timer;
    struct post move;
    uint64_t random;
    enum { GONE, OPEN, STALLED, SETTLED } state;
    size_t room; /* events it still takes */
    struct item *items;
    size_t item_count, item_cap;
    struct session *sessions;
    size_t session_count;
    const char *wrong;
};

#define CHANCES(row)                                                                               \
    row(stalls) row(fills) row(cuts) row(drops) row(lost_tails) row(moves) row(gaps)               \
        row(live_only) row(trims)
struct chances {
#define CHANCE(name) atomic_ulong name;
    CHANCES(CHANCE)
#undef CHANCE
};

struct truth {
    uint32_t account, n, peer;
    uint16_t type;
    uint8_t world;
    bool known;
};

struct house {
    char path[64];
    struct server server;
    struct worker *workers[WORKERS_MAX];
    struct view *views[WORKERS_MAX];
    struct account accounts[ACCOUNTS];
    struct stream streams[STREAMS];
    struct chances chances;
    uint32_t wanted;
    atomic_uint begun, ended; /* events handed to the writer, turns that found nothing left */
    atomic_bool finishing;
    atomic_uint settled;
    struct trimmer {
        struct batch batch;
        struct timer timer;
        struct post post;
    } trimmer;
    /* the writer's thread, while it runs */
    struct truth *truth;
    uint64_t truth_max, last, trimmed;
    bool doubled, failed;
    struct hub_stream stranger;
    atomic_bool leaked;
};

extern struct house house;

/* Ends the program with 2: what fails here is no finding. */
void must(err_t e, const char *what);

static inline uint64_t roll(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static inline uint64_t below(uint64_t *state, uint64_t n) { return roll(state) % n; }
#define HAPPENED(name) atomic_fetch_add(&house.chances.name, 1)

/* ---- streams_writers.c ---- */
enum { KINDS = 4 };
extern const enum event_kind kinds[KINDS]; /* of the events that are written */
void writers_start(void);
void writers_done(void);

/* ---- streams_readers.c ---- */
void readers_start(uint64_t seed);
void readers_done(void);

/* ---- streams_judge.c ---- */
enum { KEY_FILTERS = 2 };
extern const struct event_filter key_filters[KEY_FILTERS]; /* of KEY, for streams that follow it */
/* How much is wrong. */
unsigned judge(void);
