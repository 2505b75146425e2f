/* One WhatsApp account's protocol: bytes in, turns out. Owns no socket, database or clock.
 *
 * One client belongs to one account and so to one thread. Every function below that takes `now`
 * (unix ms) is the input of one turn: during it the client loads, saves, emits and sends through
 * its host, and nothing of that takes effect before the host's commit. Such a function fails only
 * when the client itself can no longer be trusted (damaged rows); the host then discards the turn,
 * frees the client and opens it again from disk. What a server or peer does wrong is handled
 * inside: the link is closed, the event tells why.
 *
 * Life: wa_client_new, wa_client_open (stored account) or wa_client_pair (new one), then
 * link_up / recv / released / link_down / tick as they happen. After every call the host looks at
 * wa_client_wish() and wa_client_deadline(). */
#pragma once
#include "proto/base/arena.h"
#include "proto/client/host.h"
#include "proto/crypto/crypto.h"

struct wa_client;

/* Shared by all clients; may be replaced between calls (the app version is re-read at each
 * connect, so that an outdated client is mended without a rebuild). */
struct wa_config {
    struct crypto_key root_key; /* signs the server's Noise certificate chain */
    uint32_t version[3];        /* 2, 3000, N */
    struct slice device_name;   /* shown on the phone: "Parley" */
    bool check_validity;        /* refuse certificates out of date (tests may own the clock) */
    unsigned first_prekeys;     /* one-time keys of the first upload; 0: WA_FIRST_PREKEYS */
};

/* What the official client uploads after pairing. A load test takes fewer: 30 us of CPU each. */
enum { WA_FIRST_PREKEYS = 812, WA_MORE_PREKEYS = 50, WA_LOW_PREKEYS = 5 };

struct wa_client *wa_client_new(const struct wa_config *config, const struct wa_host *host);
void wa_client_free(struct wa_client *c);

/* Loads the stored account; NOT_FOUND when there is none. Wishes for a link when it is paired: at
 * once, or when its ban is over. */
err_t wa_client_open(struct wa_client *c, int64_t now) MUST_CHECK;
/* True after a ban, or a refusal after which the client stayed away, until the next login: why, as
 * DISCONNECTED told it, also when that was before the client was opened. */
bool wa_client_held_off(const struct wa_client *c, struct wa_down *out);
/* Makes fresh keys, saves them, wishes for a link; codes follow as WA_EVENT_QR. Called again
 * while pairing or after PAIR_FAILED it starts over with new keys. */
err_t wa_client_pair(struct wa_client *c, int64_t now) MUST_CHECK;

/* ---- the link ---- */
enum wa_wish { WA_WISH_NONE, WA_WISH_LINK };
/* Whether a link should be up; with WA_WISH_LINK and none up: open one at *out_at (ms). */
enum wa_wish wa_client_wish(const struct wa_client *c, int64_t *out_at);
/* The WebSocket is open; `link` is a number never used before for this client. */
err_t wa_client_link_up(struct wa_client *c, uint32_t link, int64_t now) MUST_CHECK;
err_t wa_client_recv(struct wa_client *c, struct slice bytes, int64_t now) MUST_CHECK;
/* The link is gone, or could not be opened. */
err_t wa_client_link_down(struct wa_client *c, const char *why, int64_t now) MUST_CHECK;
/* Says what time it is, as every input does: when the wall clock was set back, what was to come
 * soon still does. Before wa_client_deadline() or wa_client_wish() is held against a clock. */
void wa_client_clock(struct wa_client *c, int64_t now);
/* Next moment (ms) at which tick wants to be called; INT64_MAX when there is none. */
int64_t wa_client_deadline(const struct wa_client *c);
err_t wa_client_tick(struct wa_client *c, int64_t now) MUST_CHECK;

/* Release, after the commit of the turn that queued it: turns a send into bytes for the socket
 * (appends to `out`) and starts its deadline. No turn of its own: it saves and emits nothing.
 * A send for a link that is gone appends nothing. */
void wa_client_release(struct wa_client *c, const struct wa_send *send, int64_t now,
                       struct buf *out);

/* ---- what calls ask for; each is a turn ---- */

struct wa_text {
    uint64_t operation;     /* chosen by the caller, comes back in the events */
    struct slice id;        /* message id; from wa_client_message_id() */
    struct wa_party to;     /* a person; at least one address */
    struct slice text;      /* UTF-8, 1..WA_TEXT_MAX bytes */
    struct slice quoted_id; /* SLICE_NONE: no quote */
    struct wa_jid quoted_author;
    struct slice quoted_raw; /* Message protobuf of the quoted message, may be empty */
    const struct wa_jid *mentions;
    size_t mention_count;
};
enum { WA_TEXT_MAX = 65536, WA_MESSAGE_ID_MAX = 64 };

/* "3EB0" and 18 hex digits. */
struct slice wa_client_message_id(struct wa_client *c, int64_t now, struct arena *arena);
/* Starts a send. Ends in WA_EVENT_SEND_FAILED, or in WA_EVENT_MESSAGE + WA_EVENT_OUTBOX in one
 * turn and later WA_EVENT_OUTBOX_DONE. Sends to one chat run in call order. NOT_CONNECTED at once
 * when there is no logged-in link. */
err_t wa_client_send_text(struct wa_client *c, const struct wa_text *text, int64_t now) MUST_CHECK;
/* Gives a send up that is not encrypted yet: it ends in WA_EVENT_SEND_FAILED (QUERY_TIMEOUT) and
 * nothing of it leaves. One that is encrypted goes on. */
err_t wa_client_send_cancel(struct wa_client *c, uint64_t operation, int64_t now) MUST_CHECK;
/* Repeats an outbox row after WA_EVENT_CONNECTED, oldest first: same bytes, same id. */
err_t wa_client_resend(struct wa_client *c, struct slice id, struct slice stanza,
                       int64_t now) MUST_CHECK;
/* Read receipts for messages of one author in one chat (outboxed as one stanza per 256 ids). */
struct wa_read {
    struct wa_party chat, author;
    bool is_group;
    bool played; /* voice messages that were listened to */
    const struct slice *ids;
    size_t id_count;
};
err_t wa_client_mark_read(struct wa_client *c, const struct wa_read *read, int64_t now) MUST_CHECK;
/* A file that no media host has any more: asks the phone to upload it again. */
struct wa_lost_media {
    struct wa_party chat, author;
    bool is_group, from_me;
    struct slice id;        /* of the message */
    struct slice media_key; /* 32 bytes, from its content */
};
err_t wa_client_ask_media(struct wa_client *c, const struct wa_lost_media *lost,
                          int64_t now) MUST_CHECK;
/* Asks the server to forget this device; ends in WA_EVENT_UNPAIRED. Without a link the
 * credentials are deleted at once. */
err_t wa_client_logout(struct wa_client *c, int64_t now) MUST_CHECK;
/* Drops the back-off: wishes for a link now; a live link is cycled. Also after REPLACED. */
err_t wa_client_reconnect(struct wa_client *c, int64_t now) MUST_CHECK;
/* Stops wishing for a link and closes it (shutdown, account deleted). */
err_t wa_client_stop(struct wa_client *c, int64_t now) MUST_CHECK;

/* ---- what it is now ---- */
enum wa_client_state {
    WA_CLIENT_NEW,     /* no credentials */
    WA_CLIENT_PAIRING, /* waiting for a scan */
    WA_CLIENT_OFFLINE, /* paired, no login */
    WA_CLIENT_ONLINE,  /* logged in */
    WA_CLIENT_LOGGED_OUT,
};
enum wa_client_state wa_client_state_of(const struct wa_client *c);
/* Own address with device; WA_SERVER_NONE before pairing. */
struct wa_party wa_client_self(const struct wa_client *c);
/* Heap bytes held, for /metrics/accounts. */
size_t wa_client_memory(const struct wa_client *c);
