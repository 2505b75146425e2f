/* The world of a client in tests: rows in a hash map, turns, commits that the test decides.
 *
 * A turn is open while a wa_client_… call runs. Its saves are seen at once by later loads, its
 * events and sends wait. fake_commit() makes the oldest closed turn durable: rows change, events
 * are recorded, sends are handed to `on_send`. fake_crash() throws every turn away that is not
 * durable, as a failed commit or a kill does. Rows of WA_NS_MESSAGE are made of the MESSAGE
 * events, under every pair of addresses of chat and author. Randomness is repeatable. */
#pragma once
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/client/client.h"

struct fake_turn;

struct fake_host {
    struct wa_host host;
    struct map rows;
    struct list turns; /* closed, oldest first */
    struct fake_turn *open;
    uint64_t seed;
    struct arena arena; /* of events and messages recorded */
    char **events;      /* as text, in order of commit */
    size_t event_count, event_cap, event_read;
    struct buf refusal; /* of the last event that had one */
    struct list outbox; /* struct fake_outbox: durable and not done */
    void (*on_send)(void *ctx, const struct wa_send *send);
    void *ctx;
    size_t saves, loads;
    err_t load_error;         /* what every load answers, when not OK */
    unsigned undurable_sends; /* sends of turns not committed yet */
};

struct fake_outbox {
    struct list node;
    struct buf id, stanza;
};

void fake_host_init(struct fake_host *h, uint64_t seed);
void fake_host_done(struct fake_host *h);
void fake_turn_open(struct fake_host *h);
void fake_turn_close(struct fake_host *h);
/* false when no closed turn waits. */
bool fake_commit(struct fake_host *h);
void fake_commit_all(struct fake_host *h);
void fake_crash(struct fake_host *h);
size_t fake_turns(const struct fake_host *h);
/* The durable value, NULL when there is none. */
const struct buf *fake_row(struct fake_host *h, enum wa_ns ns, const char *owner, const char *name);
/* How many durable rows of a kind there are. */
size_t fake_row_count(struct fake_host *h, enum wa_ns ns);
/* The next event not read yet, NULL at the end. Texts look like
 *   connected 15550001111:5@s.whatsapp.net 777:5@lid
 *   message text 888@lid from 888@lid:5 id ABC "hello"
 * with the flags offline, waiting, completes, ours, group where they apply. */
const char *fake_event(struct fake_host *h);
/* Forgets the events not read yet. */
void fake_events_skip(struct fake_host *h);
