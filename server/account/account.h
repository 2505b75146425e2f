/* An account: one WhatsApp device we hold, on its worker.
 *
 * Every input of it (bytes of its link, a timer, a call) opens a turn (turn.h); nothing leaves
 * before the turn's commit. The object is opened lazily from its records: 10,000 stored accounts
 * cost a directory entry each until their first input.
 *
 * What other threads may do: account_create(), account_ask() and the directory's snapshots
 * (directory.h). Everything that takes a `struct account *` runs on the account's worker, inside
 * the turn given. */
#pragma once
#include "proto/client/client.h"
#include "server/worker.h"

struct account;
struct server;
struct turn;

enum {
    ACCOUNT_ID_MAX = 48,      /* "acc_" and its body, with the NUL */
    ACCOUNT_CODE_MAX = 512,   /* a QR string, with the NUL */
    ACCOUNT_PAIRING_MAX = 40, /* the unguessable name in /qr/{pairing}, with the NUL */
    ACCOUNT_ADDRESS_MAX = 64, /* a bare JID as text, with the NUL */
    ACCOUNT_NAME_MAX = 128,
    ACCOUNT_WORDS_MAX = 320,
    ACCOUNT_SEND_MS = 20 * 1000, /* a send without an ack answers `pending` then */
    ACCOUNT_PAIR_MS = 20 * 1000, /* a pairing without a first code fails then */
};

/* The public states, by their names in the native surface. */
enum account_state {
    ACCOUNT_PAIRING,      /* "pairing": codes are shown */
    ACCOUNT_CONNECTED,    /* "connected": logged in */
    ACCOUNT_DISCONNECTED, /* "disconnected": paired, the link is down; reason says why */
    ACCOUNT_EXPIRED,      /* "expired": codes ran out unscanned */
    ACCOUNT_LOGGED_OUT,   /* "logged_out": credentials are gone; pair again */
};
const char *account_state_text(enum account_state s);

/* What other threads see of an account: copied out of the directory, so always whole. */
struct account_status {
    char id[ACCOUNT_ID_MAX];
    uint32_t tenant, number; /* key of its rows: struct scope of storage */
    bool sandbox;            /* world of the account: test keys see it, live keys do not */
    enum account_state state;
    enum wa_reason reason;             /* of disconnected, expired, logged_out */
    int reason_code;                   /* stream:error or failure number, 0 */
    int64_t until_s;                   /* end of a ban, 0 */
    int64_t retry_at;                  /* ms of the next try, 0: not by itself */
    int64_t changed_at;                /* ms of the last change of state */
    int64_t code_expires_at;           /* ms */
    unsigned codes_left;               /* codes that follow this one */
    char pairing[ACCOUNT_PAIRING_MAX]; /* "" when not pairing */
    char phone[ACCOUNT_ADDRESS_MAX];   /* "+14155550198", "" before the first pairing */
    char lid[ACCOUNT_ADDRESS_MAX];     /* "123@lid" */
    char name[ACCOUNT_NAME_MAX];       /* push name or business name */
    int64_t paired_at;                 /* ms, 0 */
    bool blocked;                      /* the disk is full or the record damaged: links stay down */
    uint64_t version;                  /* grows with every change */
    char code[ACCOUNT_CODE_MAX];       /* the code to scan now, "" when there is none; last */
};

/* ---- calls: work of other threads on an account ---- */

/* How a send ended, or stands. */
enum account_sent { ACCOUNT_SENT_PENDING, ACCOUNT_SENT_OK, ACCOUNT_SENT_FAILED };

/* One piece of work for one account. The object itself travels: the caller fills it (or embeds
 * it), hands it over with account_ask() and gets it back in `done`, on the worker `home`, exactly
 * once, whatever happens (account unknown, worker stopping, commit failed). In between it belongs
 * to the account's worker.
 *
 * `run` opens the work: it is called inside an open turn on the account's worker, may read and
 * write through the turn and calls at most one account_… verb below. A verb that waits
 * (account_pair, account_send_text) keeps the call after run() returns; `stored` and `ended` are
 * then called inside later turns, so that an idempotency record lands in the batch of the effect
 * and its reply in the last batch. `done` follows the commit of the last turn. An error returned by
 * run() or by a verb ends the call; it never closes the account. */
struct account_call {
    char account[ACCOUNT_ID_MAX];
    struct worker *home;
    err_t (*run)(struct account_call *c, struct account *a, struct turn *t);
    /* The effect (message row and outbox row) is in the batch of `t`. May be NULL. */
    void (*stored)(struct account_call *c, struct account *a, struct turn *t);
    /* The result is known (fields below); `t` is the last turn of the call. May be NULL. Not
     * called when there is no turn any more (unknown account, failed commit, shutdown). */
    void (*ended)(struct account_call *c, struct account *a, struct turn *t);
    void (*done)(struct account_call *c, struct worker *home);

    /* The result, for `ended` and `done`. */
    err_t error;                   /* of errors.def */
    char words[ACCOUNT_WORDS_MAX]; /* fail()'s words with it, "" if none */
    char trail[ACCOUNT_WORDS_MAX]; /* err_trail() of it, for the log */
    /* account_send_text: PENDING after 20 s without an ack; with an error when nobody waits for it
     * any more. Then `message` is on its way if it is in the database, and else never will be. */
    enum account_sent sent;
    int sent_code;                /* the ack's error number, 0 */
    char message[ACCOUNT_ID_MAX]; /* "msg_…" of the message stored */
    char chat[ACCOUNT_ID_MAX];    /* "chat_…" it is in */

    /* private to server/account */
    struct post post;
    struct list link;
    struct timer timer;
    struct server *server;
    struct account *owner; /* NULL before it arrived, and once it has ended */
    uint64_t operation;
    unsigned kind;
    struct {
        uint32_t tenant;
        bool sandbox;
    } create;
};

/* Any thread. NOT_FOUND comes back through `done` as every other error. TOO_BUSY when the account
 * has too many undurable turns. */
void account_ask(struct server *s, struct account_call *c);

/* Any thread. A new account of a tenant: mints the id into c->account, chooses the worker with
 * the fewest accounts, then works as account_ask() (run() usually calls account_pair()). The
 * account's row is part of that first turn; if the call fails before it, no account is left. */
void account_create(struct server *s, uint32_t tenant, bool sandbox, struct account_call *c);

/* ---- verbs for run(): on the account's worker, in the turn given ---- */

/* Starts pairing, or joins the pairing that runs: never a second one. Waits for the first code, at
 * most 20 s (QUERY_TIMEOUT; the pairing goes on). A paired account answers ALREADY_PAIRED; one that
 * is logged out or expired starts over with fresh keys. After done() the code stands in the status.
 */
err_t account_pair(struct account *a, struct turn *t, struct account_call *c) MUST_CHECK;

/* A text to one person. NOT_PAIRED without a logged-in link, and nothing is stored then. Waits
 * until the server has taken or refused it, at most 20 s. `text` fields are copied. The chat and
 * contact rows of the person are made when missing. `operation` and `id` of `text` are chosen
 * here. */
err_t account_send_text(struct account *a, struct turn *t, struct account_call *c,
                        const struct wa_text *text) MUST_CHECK;

/* Marks a chat read up to its latest message: read receipts for what was unread, unread 0. Does
 * not wait for the server: the receipts are outboxed. `chat` is "chat_…". */
err_t account_mark_read(struct account *a, struct turn *t, struct slice chat) MUST_CHECK;

/* Connects now; a live link is cycled. NOT_PAIRED when there are no credentials. */
err_t account_reconnect(struct account *a, struct turn *t) MUST_CHECK;
/* Asks WhatsApp to forget this device and deletes the credentials. Chats stay. NOT_PAIRED when
 * there are none. */
err_t account_logout(struct account *a, struct turn *t) MUST_CHECK;
/* Logs out, takes the account out of every list and purges its rows as a job. */
err_t account_delete(struct account *a, struct turn *t) MUST_CHECK;

/* The directory's snapshot as this turn will leave it. */
const struct account_status *account_status_of(const struct account *a);
struct slice account_id(const struct account *a);
uint32_t account_tenant(const struct account *a);
bool account_is_sandbox(const struct account *a);
