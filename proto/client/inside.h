/* The client from inside: its state, and the few verbs every file of this folder speaks with.
 *
 * Nothing here outlives a link except the account row, the back-off and the wish: idle, a client
 * is this struct and nothing else. `arena` and `now` belong to the input being worked on. */
#pragma once
#include "proto/base/list.h"
#include "proto/client/account.h"
#include "proto/client/backoff.h"
#include "proto/client/client.h"
#include "proto/signal/keystore.h"
#include "proto/wire/frame.h"
#include "proto/wire/handshake.h"
#include "proto/wire/node.h"
#include "proto/wire/noise.h"

enum wa_timer {
#define TIMER(name, handler, of_link) WA_TIMER_##name,
#include "proto/client/timers.def"
#undef TIMER
    WA_TIMER_COUNT
};
#define WA_NEVER INT64_MAX

enum wa_phase {
    WA_PHASE_DOWN,      /* no link */
    WA_PHASE_HANDSHAKE, /* Noise XX is running */
    WA_PHASE_ENTERING,  /* transport; waiting for success, failure or pair-device */
    WA_PHASE_PAIRING,   /* codes on show */
    WA_PHASE_ONLINE,    /* after success */
    WA_PHASE_CLOSING,   /* we asked for the close; what still comes in is not read */
};

struct wa_pairing;
struct wa_rows;

struct wa_client {
    const struct wa_config *config;
    struct wa_host host;
    struct arena *arena;
    struct wa_rows *rows; /* what was read into that arena; NULL: nothing yet */
    int64_t now;

    enum wa_client_state state;
    struct wa_account account;
    struct wa_keystore keystore;

    /* the link */
    enum wa_phase phase;
    uint32_t link;
    uint32_t iq_prefix, iq_count; /* ids of this link's queries: prefix-count */
    struct wa_handshake *handshake;
    struct wa_frames frames;
    struct wa_transport transport;
    struct wa_pairing *pairing; /* refs not shown yet; NULL outside PAIRING */
    int64_t received_at;
    int64_t server_ahead_ms; /* the server's clock minus ours, at least */
    int64_t login_ahead_ms;  /* the same, as its login said in whole seconds */
    uint8_t offline_stalls;  /* times in a row that a batch did not come */
    uint16_t offline_left;   /* stanzas of the batch asked for; 0: not pulling */
    bool announced;          /* CONNECTED was emitted for this link */
    bool uploading;          /* prekeys are on their way */
    bool logging_out;
    uint8_t uploads; /* of prekeys since uploads_from */
    int64_t uploads_from;
    bool has_held;  /* up long enough: the back-off is forgotten when this link ends */
    bool restarted; /* told to after a login, and no link has held since */

    /* the wish */
    bool wants_link;
    int64_t link_at;
    struct wa_backoff backoff;
    enum wa_reason told; /* last DISCONNECTED reason; the same is not told twice */
    int told_code;
    uint32_t refused_version; /* version[2] that got a 405 */
    int64_t rotate_after;     /* the server did not want a new signed prekey before */

    int64_t timers[WA_TIMER_COUNT];
    struct list queries; /* struct wa_query, oldest first */
    struct list sends;   /* struct wa_sending, in call order */
    struct list asks;    /* of ask_phone.c: messages to be asked for, or whose answer is awaited */
    unsigned ask_count, asks_awaited, asks_made;
    int64_t asks_since; /* the hour in which so many were made */
};

/* ---- rows and randomness ---- */

/* Where the rows of this input are read to, and their texts made; NULL behind the last. */
void wa_arena_set(struct wa_client *c, struct arena *arena);
/* An input asks the host for a row once, however many files want it, until it saves that row. */
err_t wa_load_key(struct wa_client *c, struct wa_key key, struct arena *arena,
                  struct slice *out) MUST_CHECK;
err_t wa_load(struct wa_client *c, enum wa_ns ns, struct slice owner, struct slice name,
              struct slice *out) MUST_CHECK;
void wa_save(struct wa_client *c, enum wa_ns ns, struct slice owner, struct slice name,
             struct slice value);
void wa_save_account(struct wa_client *c);
void wa_random(struct wa_client *c, void *out, size_t n);
uint32_t wa_random_u32(struct wa_client *c);
/* An error after which the client must be opened again from disk; all others end where they
 * happen. */
bool wa_is_fatal(err_t e);

/* ---- outwards ---- */

void wa_emit(struct wa_client *c, const struct wa_event *event);
/* `query` as in struct wa_send. */
void wa_send_node(struct wa_client *c, const struct wa_node *node, uint32_t query);
/* A stanza encoded before (an outbox row). */
void wa_send_encoded(struct wa_client *c, struct slice stanza, uint32_t query);
void wa_send_bytes(struct wa_client *c, struct slice bytes);
void wa_send_close(struct wa_client *c);

/* ---- the link's end (link.c) ---- */

enum wa_retry { WA_RETRY_BACKOFF, WA_RETRY_NOW, WA_RETRY_AT, WA_RETRY_STOP };
struct wa_end {
    enum wa_reason reason;
    int code;
    int64_t until_s;
    enum wa_retry retry;
    int64_t retry_at;     /* WA_RETRY_AT */
    struct slice refusal; /* of struct wa_down */
};
/* Closes the link if there is one, drops what waits on it, tells the owner, plans the next. */
err_t wa_link_end(struct wa_client *c, const struct wa_end *end) MUST_CHECK;
/* Closes and drops without a word and without a plan. */
err_t wa_link_drop(struct wa_client *c) MUST_CHECK;
/* Wishes for a link at `at` (ms). */
void wa_link_want(struct wa_client *c, int64_t at);
/* Deletes the credentials: UNPAIRED, or PAIR_FAILED while there are none. */
err_t wa_unpair(struct wa_client *c, enum wa_reason reason, int code) MUST_CHECK;
/* The same, refused with these words. */
err_t wa_unpair_refused(struct wa_client *c, enum wa_reason reason, int code,
                        struct slice refusal) MUST_CHECK;

static inline void wa_timer_set(struct wa_client *c, enum wa_timer t, int64_t at)
{
    c->timers[t] = at;
}
static inline bool wa_is_online(const struct wa_client *c) { return c->phase == WA_PHASE_ONLINE; }

/* ---- time ---- */

/* The server's now, in seconds. */
int64_t wa_server_now(const struct wa_client *c);
/* A `t` of a stanza in seconds; false when it is absent or no time of this age. What comes out can
 * be multiplied and added to without a thought. */
bool wa_time_read(struct slice t, int64_t *out);
/* The same, or the server's now. A stamp is no later than the server's clock, so what it says of
 * that clock is remembered: an own message is not dated before the one it answers. */
int64_t wa_time_or_now(struct wa_client *c, struct slice t);

/* ---- addresses ---- */

/* "777@lid" in the arena. */
struct slice wa_bare_text(struct wa_client *c, const struct wa_jid *jid);
/* Our own AD address as a stanza's `from`: the phone-number form. */
struct wa_jid wa_self_pn(const struct wa_client *c);
