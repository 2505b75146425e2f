/* What a tool works with: private to server/api/tool_*.c.
 *
 * A tool that reads is `err_t read_x(struct call *c, struct view *v)` behind call_read(); one that
 * acts is a `struct act` behind call_act(), whose functions run on the account's worker. Both
 * write the result with a pen on c->result. */
#pragma once
#include "server/account/turn.h"
#include "server/api/args.h"
#include "server/api/call.h"
#include "server/api/faces.h"
#include "server/api/json.h"
#include "server/events/event.h"
#include "storage/chats.h"
#include "storage/messages.h"
#include "storage/view.h"

/* A page of messages or chats ends early, with a cursor, when it is so large: texts of other people
 * decide how long an item is. */
enum { CALL_PAGE_BYTES = 1 << 20 };

/* Ends the call: the result is written, or `e` with the words of the last fail(). Home worker. */
void call_finish(struct call *c);
void call_fail(struct call *c, err_t e);
/* The same as the outcome of a step. */
enum step_result call_step(struct call *c, err_t e);

/* Puts words to STORE_DAMAGED: what is damaged, by the ids that the caller knows, and what helps.
 * `v` NULL: the account that the call went to. */
void call_word_damage(struct call *c, struct view *v);

/* Runs `read` over a fresh snapshot and ends the call with what it says. */
enum step_result call_read(struct call *c, err_t (*read)(struct call *c, struct view *v));

enum {
    EVENTS_SCAN_MAX = 5000,     /* rows that one list_events looks through */
    EVENTS_BYTES_MAX = 1 << 20, /* in one answer */
    EVENTS_WAIT_MAX = 100,      /* events that one wait_for_event hands out */
};

/* The parts of a call that run on the account's worker. */
struct act {
    /* Opens the work, see account_call.run. */
    err_t (*run)(struct call *c, struct account *a, struct turn *t);
    /* The result is known: write it, in the last turn. NULL when run() wrote it. */
    err_t (*ended)(struct call *c, struct account *a, struct turn *t);
    /* Back at home, without an error: may add to the result. NULL: it is finished. */
    void (*answered)(struct call *c);
    /* Back at home, with an error: may put better words to it, or find that it is none (c->error OK
     * and the result written). NULL: it is kept. */
    void (*failed)(struct call *c);
    /* What an idempotency claim remembers of the effect while there is no reply. NULL: nothing. */
    struct slice (*effect)(struct call *c);
    bool keeps_reply; /* the reply is stored; else it is made anew from the effect */
};
enum step_result call_act(struct call *c, struct slice account, const struct act *act);
/* A new account of the caller's tenant and world. */
enum step_result call_act_on_new(struct call *c, const struct act *act);

/* Wall clock of the worker that runs it, ms. */
int64_t call_now(const struct call *c);

/* ---- what arguments name ---- */

/* NOT_FOUND unless the caller sees it. */
err_t call_account(struct call *c, struct slice id, struct account_status *out) MUST_CHECK;
/* Of `account_id`, or the only account that the caller sees; BAD_ARGUMENT when there are several.
 */
err_t call_account_arg(struct call *c, struct account_status *out) MUST_CHECK;

struct call_chat {
    struct account_status account;
    struct scope scope;
    struct face_person self;
    struct db_contact contact;
    struct db_chat chat; /* next_seq 0: no conversation yet */
};
/* The account's half alone. */
void call_scope(const struct account_status *account, struct call_chat *out);
err_t call_chat(struct call *c, struct view *v, struct slice chat_id,
                struct call_chat *out) MUST_CHECK;
/* A message with its chat. */
err_t call_message(struct call *c, struct view *v, struct slice message_id, struct call_chat *out,
                   struct db_message *out_message) MUST_CHECK;

/* ---- writing ---- */

void call_write_status(struct call *c, const struct account_status *s);
err_t call_write_message(struct call *c, struct pen *p, const char *key, struct view *v,
                         const struct call_chat *in, const struct db_message *m) MUST_CHECK;
err_t call_write_chat(struct call *c, struct pen *p, const char *key, struct view *v,
                      const struct call_chat *in) MUST_CHECK;
/* "http://127.0.0.1:8790/qr/…" */
struct slice call_pairing_url(struct call *c, const char *pairing);
/* Opaque cursors: numbers in, text out; BAD_ARGUMENT for one that this tool never gave out. */
void cursor_write(struct pen *p, const char *key, char tag, const uint64_t *numbers, size_t n);
err_t cursor_read(struct slice text, char tag, uint64_t *numbers, size_t n) MUST_CHECK;
