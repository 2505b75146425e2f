/* A call: one use of one tool, whatever the door it came through.
 *
 * A door makes a call on its own worker (`home`), gives it a principal and arguments, starts it and
 * hears exactly once, on `home`, how it ended. In between it runs as steps: check arguments,
 * authorise, claim the idempotency key, run. A tool that reads answers at home from a short view;
 * one that acts travels to the account's worker as an account_call and comes back with its last
 * commit. So a reply never leaves before what it says is durable. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/steps.h"
#include "server/account/account.h"
#include "server/server.h"
#include "server/tenant/principal.h"
#include "server/worker.h"

struct act;
struct call;
struct claim;
struct json;
struct tool;
struct view;

enum {
    CALL_CURSOR_MAX = 512,
    CALL_IDEMPOTENCY_KEY_MAX = 255,
    CALL_MS = 45 * 1000,     /* the longest any call may take; then QUERY_TIMEOUT */
    CALL_ARGS_MAX = 1 << 20, /* bytes of arguments */
};

/* A picture beside the JSON result: MCP shows it as image content. */
struct call_image {
    struct slice base64; /* SLICE_NONE: none */
    const char *media_type;
};

struct call {
    struct arena arena; /* of the tool; `done` leaves it alone, the account's worker may be in it */
    struct server *server;
    struct worker *home;
    struct principal who;
    const struct tool *tool;
    const struct json *args; /* checked against the tool's rows before run() */
    uint64_t id;             /* for logs and cancellation; unique in the process */

    /* The reply, whole when `done` is called, and borrowed until it returns. */
    err_t error;
    struct slice problem; /* {"code":…,"message":…,…}, when error is not OK */
    struct buf result;    /* a JSON object by the tool's result schema, when it is OK */
    struct call_image image;

    void (*done)(struct call *c);
    void *owner; /* the door's */

    /* ---- private to server/api ---- */
    struct steps steps;
    struct json *parsed;     /* owns args */
    struct account_call ask; /* while it is on the account's worker */
    const struct act *act;   /* what it does there */
    struct timer deadline;
    struct list link;       /* of the home worker's running calls */
    struct claim *claim;    /* its idempotency claim, NULL */
    struct list claim_link; /* in another call's claim, which it joined */
    struct post post;
    struct slice effect;               /* of an earlier call with this claim that got no reply */
    void *state;                       /* of the tool, in the arena */
    void (*on_cancel)(struct call *c); /* of a tool that waits at home: ends it */
    struct buf problem_text;
    char about[ACCOUNT_ID_MAX]; /* the account that the arguments name; "" none */
    char words[ACCOUNT_WORDS_MAX];
    char trail[ACCOUNT_WORDS_MAX];
    char field[64], expected[160]; /* of a refused argument */
    int64_t started_ticks;
    bool travelling, joining, told;
};

/* A call of `tool`, to be started or freed. `home` is the calling worker. */
struct call *call_new(struct server *s, struct worker *home, const struct principal *who,
                      const struct tool *tool);
/* Only for a call that was never started. */
void call_free(struct call *c);

/* The arguments as JSON text of an object; parsed into the call's memory. invalid_request comes
 * through done, so the door need not look. SLICE_NONE means {}. */
void call_take_json(struct call *c, struct slice text);

/* Starts it. `done` may be called before this returns, and is the call's end: it is freed when
 * done returns. */
void call_start(struct call *c, void (*done)(struct call *c), void *owner);

/* Home worker. The caller does not want it any more: a tool that waits ends now (CANCELLED), one
 * whose work is already on its way ends with its real reply; done is called either way. */
void call_cancel(struct call *c);
/* Home worker. The door is gone: done will not be called, the work goes on to its end. */
void call_abandon(struct call *c);
/* Home worker; NULL when it has ended. For cancellations that come as an id. */
struct call *call_find(struct worker *home, uint64_t id);
