/* Accounts from inside: the structs that the files of this folder share.
 *
 * An account belongs to one worker. Its object is made at the first input and lives until the
 * account is deleted or the process ends; its client is freed and opened again from disk when a
 * commit failed or a row is damaged (account_break), and `epoch` grows then. */
#pragma once
#include "proto/base/map.h"
#include "server/account/account.h"
#include "server/account/link.h"
#include "server/account/turn.h"
#include "server/directory.h"
#include "server/metrics.h"
#include "server/server.h"
#include "storage/accounts.h"
#include "storage/batch.h"
#include "storage/id.h"
#include "storage/messages.h"
#include "storage/view.h"
#include "storage/writer.h"

enum { WORLD_COUNT = 2 }; /* live, sandbox: index of targets and configs */

enum {
    ACCOUNTS_CONNECTS_MS = 10,     /* pace of new links: so often … */
    ACCOUNTS_CONNECTS = 4,         /* … so many per worker */
    ACCOUNTS_CONNECTING_MAX = 256, /* links of a worker between lookup and login */
    ACCOUNT_REOPEN_MS = 1000,      /* pause before a broken account is opened again … */
    ACCOUNT_SOUND_MS = 300 * 1000, /* … doubled each time, unless it was sound for so long */
    ACCOUNT_CALLS_MAX = 1024,      /* calls that wait on one account */
    ACCOUNT_READ_MAX = 1024,       /* unread messages of which one reading tells the authors */
    ACCOUNT_READ_AUTHORS_MAX = 64, /* so many authors */
    ACCOUNT_READ_LOOK_MAX = 16384, /* messages looked at for them, whatever the count says */
    ACCOUNT_EVENT_IDS_MAX = 1024,  /* messages that one message.read names */
    ACCOUNT_LEAVE_MS = 10 * 1000,  /* for the logout of a deleted account */
    TURN_HOMES = 4,                /* people whose rows a message's turn reads and writes */
    TURN_UNSEEN = 2,               /* an author's number and LID */
};

/* What the accounts of one worker share. Its thread only. */
struct account_worker {
    struct accounts *accounts;
    struct worker *worker;
    struct links *links;
    struct view *view; /* of turns; begun while one reads */
    bool view_begun;
    struct turn *turn; /* the one that is open */
    struct wa_config configs[WORLD_COUNT];
    struct map open;     /* number (4 bytes) -> struct account */
    struct list waiting; /* accounts that wait for their turn to connect */
    struct stored {
        struct scope scope;
        uint64_t secret;
    } * stored; /* paired accounts to be opened, one after the other */
    size_t stored_count, stored_at, stored_cap;
    struct timer pace;
    size_t connecting;
    bool has_root_key[WORLD_COUNT];
    bool stopping;
    struct post start, stop; /* two: a stop may come while the start is still on its way */
    struct timer drain;
};

struct accounts {
    struct server *server;
    uint8_t data_key[32];
    struct link_target targets[WORLD_COUNT];
    struct account_worker *workers;
    size_t count;
    struct resolver *resolver;
    struct rootkey *rootkey; /* asks the sandbox for its key; NULL when it is an option */
    struct post doubt;       /* of the sandbox's key, to main */
    atomic_bool in_doubt;
    atomic_uint next_number; /* of accounts */
    size_t left_to_stop;     /* main's */
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* A row of the outbox that is on its way; the row's bytes stay in the database. */
struct outbox_entry {
    struct list node;
    uint64_t ordinal;
    uint64_t operation; /* of the call that waits, 0 after a restart */
    uint32_t link;      /* the newest that it was handed to; 0: none of this process */
    struct place place; /* the message, peer 0: none */
    char id[STANZA_ID_MAX];
};

enum call_kind { CALL_PLAIN, CALL_CREATE, CALL_PAIR, CALL_SEND };

struct account {
    struct scope scope;
    uint64_t secret; /* of its acc_ id */
    struct account_worker *home;
    struct wa_client *client; /* NULL while broken or not opened */
    struct wa_host host;
    uint32_t epoch;
    uint64_t turn_number; /* of the newest turn that wrote; rises for ever */
    uint64_t written;     /* the same within this epoch, 0: none yet */

    struct list turns;   /* not released yet, oldest first */
    struct list batches; /* of the open turn and of undurable ones: the overlay */
    size_t undurable, undurable_bytes;
    bool paused; /* the link is not read */

    struct link *link;
    const char *link_why; /* it ended, while the client is told */
    uint32_t link_number;
    bool link_is_up, connecting;
    struct list waiting_node; /* of home->waiting */
    struct timer timer;       /* the client's deadline, or when to connect or reopen */

    struct list calls; /* that wait for the world, oldest first */
    size_t call_count;
    bool pair_refused; /* what waited for a code was told why none comes; who asks again starts over
                        */
    uint64_t operation; /* of the newest call */
    struct list outbox;
    bool outbox_loaded, resend_due, resend_begun;
    size_t tail_rows; /* what search scans; folded when there are many */
    bool tail_counted;
    bool slicing;    /* a slice of background work is not durable yet: the next begins after it */
    bool forgetting; /* unpaired: the keys of that pairing go, slice by slice */
    struct buf forget_at; /* where the next slice goes on */

    bool broken, deleted;
    err_t broken_by;
    unsigned failures;            /* in a row; the pause before the next try grows */
    int64_t broken_at;            /* ms */
    bool created;                 /* by a call whose turn is not durable yet */
    bool row_dirty, status_dirty; /* of the open turn */
    struct db_account_text {      /* texts of the account row, which borrow nothing */
        char pn[ACCOUNT_ADDRESS_MAX], lid[ACCOUNT_ADDRESS_MAX];
        char push_name[ACCOUNT_NAME_MAX], platform[32], reason[32];
    } text;
    int64_t created_ms, connected_ms, disconnected_ms, deleted_ms;
    struct buf refusal;           /* of the account row: sealed */
    struct account_status status; /* as the open turn will leave it */
};

struct queued_send {
    struct queued_send *next;
    struct wa_send send;
};
struct queued_event {
    struct queued_event *next;
    struct event_head head;
    struct slice bytes;
};

struct turn {
    struct list node; /* of account->turns */
    struct account *account;
    int64_t now;
    int64_t closed_ticks; /* not wall time, which may be stepped back */
    uint64_t needs;       /* newest number that must be durable before this is released */
    struct arena arena;
    struct batch batch;
    bool posted, durable, slices;
    bool left; /* by an account that broke: its commit alone judges it */
    err_t error;
    struct post post;
    struct queued_send *first_send, *last_send;
    struct queued_event *first_live, *last_live;
    struct list calls;             /* given back at release */
    struct account_status *status; /* for the directory; NULL: unchanged */
    bool removes;                  /* the account leaves the directory */
    struct { /* the message of ours stored last, for the outbox row that follows */
        struct slice id;
        struct place place;
        uint64_t operation;
    } own;
    /* What this turn has looked up, the newest of it. A home is for ever; what was not seen is
     * until a message is stored. */
    struct {
        struct slice owner;
        uint32_t home;
    } homes[TURN_HOMES];
    struct unseen {
        uint32_t peers[1 + CONTACT_PARTS_MAX];
        struct slice author, id;
    } unseen[TURN_UNSEEN];
    unsigned home_count, unseen_count; /* in all; older ones give way */
};

/* ---- turn.c ---- */
struct turn *turn_open(struct account *a);
/* `e`: the client's verdict on itself; not OK throws the turn away and breaks the account. */
void turn_close(struct turn *t, err_t e);
void turn_send(struct turn *t, const struct wa_send *send);
/* Gives the call back at release. */
void turn_ends_call(struct turn *t, struct account_call *c);
/* Throws an open turn away before anything of it counts. */
void turn_discard(struct turn *t);
/* Back to the caller at once, without a turn. */
void turn_give_back(struct account_call *c);
/* The account broke: its turns are read no more, and come back by themselves. What is durable is
 * released all the same, but for its sends, whose link is gone. */
void account_leave_turns(struct account *a);

/* ---- account.c ---- */
struct account *account_new(struct account_worker *aw, const struct db_account *row);
/* Makes the client and lets it read its rows. */
void account_open(struct account *a);
/* What the directory shows of a row while nobody has opened it. */
void account_status_of_row(const struct db_account *row, struct account_status *out);
void account_free(struct account *a);
/* Nothing of it is left: a created account whose first commit failed, or a deleted one. */
void account_vanish(struct account *a);
/* A commit failed or a row is damaged: link and client go, the disk tells again. */
void account_break(struct account *a, err_t e);
/* When the last turn of a broken account has come back, calls that wait for the world end: from
 * here on the database knows what became of them. */
void account_end_break(struct account *a);
/* Opens it again when the old turns have come back and the old link is gone, else later. */
void account_try_reopen(struct account *a, int64_t now);
/* The open turn writes the account's row, and its release tells the directory. */
void account_changed(struct account *a);
/* The release alone tells the directory: codes and retries are nothing to store. */
void account_status_changed(struct account *a);
void account_write_row(struct account *a, struct turn *t);
/* Keeps how WhatsApp refused us, sealed: it may hold a token that must not be shown. SLICE_NONE: it
 * takes us again. */
void account_keep_refusal(struct account *a, struct slice refusal);
/* The same as it came, empty when there is none. */
err_t account_refusal(const struct account *a, struct buf *out) MUST_CHECK;
/* "account=acc_…", for LOG. */
const char *account_subject(const struct account *a);

/* ---- settle.c ---- */
extern const struct link_owner account_link_owner;
void account_on_link_down(struct account *a, const char *why);
void account_on_timer(struct timer *timer, int64_t now);
/* What must be true after every turn: link as wished, timer at the next deadline, link read or
 * not, fold and resend started when due. */
void account_settle(struct account *a);

/* ---- verbs.c ---- */
/* The keys of the last pairing are gone: what waited for that begins. */
err_t account_pair_waiting(struct account *a, struct turn *t) MUST_CHECK;

/* ---- calls.c ---- */
/* The call waits for the world: an event of a later turn ends it, or a timer after `ms`. */
err_t account_keep_call(struct account *a, struct turn *t, struct account_call *c,
                        enum call_kind kind, int64_t ms) MUST_CHECK;
void account_drop_call(struct account *a, struct account_call *c);
/* Ends a call in the open turn, with the words of the row. */
void account_end_call(struct account *a, struct turn *t, struct account_call *c, err_t e);
struct account_call *account_call_of(struct account *a, uint64_t operation);
/* No code will come before somebody mends what `why` says: calls that wait for one end now. */
void account_refuse_pairing(struct account *a, struct turn *t, err_t e, const char *why);
/* Calls that wait for a code, and give up, tell why the link ended last. */
void account_note_link_end(struct account *a, const char *why);
/* All that wait, without a turn: nobody will answer them. What a send has stored by then stands. */
void account_fail_calls(struct account *a, err_t e);
/* They wait no longer than until account_fail_calls(). */
void account_stop_calls(struct account *a);

/* ---- accounts.c ---- */
struct account *accounts_find(struct account_worker *aw, uint32_t number);
void accounts_add(struct account_worker *aw, struct account *a);
void accounts_remove(struct account_worker *aw, struct account *a);
/* Asks for a link; the pace decides when link_open() happens. */
void accounts_connect(struct account *a);
void accounts_connected(struct account *a);
void accounts_dont_connect(struct account *a);
/* The sandbox's certificate is not signed by the key we know: asks for it again. */
void accounts_doubt_root_key(struct accounts *as);

/* ---- ingest.c, outbox.c ---- */
err_t ingest_event(struct account *a, struct turn *t, const struct wa_event *event) MUST_CHECK;
/* Of an enum wa_content_kind: not of those that tell of other messages, or of nothing a person
 * reads, which are kept and are nobody's unread messages. */
bool ingest_is_news(unsigned kind);
/* What an opened client remembers of its end, for the status alone: it was told when it happened.
 */
void ingest_held_off(struct account *a, const struct wa_down *down);
/* message.sent of a message of ours that WhatsApp has taken. */
err_t ingest_message_sent(struct account *a, struct turn *t, const struct db_message *m) MUST_CHECK;
err_t outbox_load(struct account *a, struct turn *t) MUST_CHECK;
err_t outbox_add(struct account *a, struct turn *t, const struct wa_event *event) MUST_CHECK;
err_t outbox_finish(struct account *a, struct turn *t, const struct wa_event *event) MUST_CHECK;
/* Everything on its way fails: the account was unpaired. */
err_t outbox_fail_all(struct account *a, struct turn *t) MUST_CHECK;
/* Gives the rows that this link has not seen to the client, oldest first: at most OUTBOX_PIECE, so
 * that they never fill the link's queue, which would close it. *out_more when some are left. */
enum { OUTBOX_PIECE = 2 << 20 };
err_t outbox_resend(struct account *a, struct turn *t, bool *out_more) MUST_CHECK;
void outbox_forget(struct account *a);
