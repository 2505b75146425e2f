/* Inside server/mcp only: the door's state on each worker, and one request on its way.
 *
 * An *ask* is one JSON-RPC request: made by a transport on its worker, run by the table of
 * methods, answered exactly once through `answer` (unless abandoned), then freed. What comes back
 * from other threads names it by its number. */
#pragma once
#include "proto/base/map.h"
#include "server/api/json.h"
#include "server/mcp/mcp.h"
#include "server/mcp/mcp_session.h"
#include "server/server.h"

struct call;
struct mcp_ask;
struct mcp_stream;
struct view;

enum {
    PROMPT_ARG_MAX = 4096,  /* of a prompt's argument: it is cut */
    COMPLETIONS_MAX = 100,  /* values offered for one, as MCP has it */
    MCP_PROGRESS_MS = 1000, /* the first progress notification; then every MCP_PROGRESS_EVERY_MS */
    MCP_PROGRESS_EVERY_MS = 5000,
    MCP_LATE_MS = 2000, /* an answer that takes longer becomes a stream */
};

struct mcp_worker {
    struct mcp *mcp;
    struct worker *worker;
    struct view *view;
    struct map asks;       /* number -> struct mcp_ask */
    struct map streams;    /* number -> struct mcp_stream */
    struct map tails;      /* number -> struct mcp_tail: readers of kept answers */
    struct map speakers;   /* session id -> struct mcp_speaker: /sse clients */
    struct list exchanges; /* POSTs under way */
    uint64_t last_number;
    struct timer sweep;
    struct post start;
};

struct mcp {
    struct server *server;
    const struct mcp_offer *offer;
    uint8_t state_key[32]; /* signs what clients carry for us, see mcp_state_seal() */
    struct mcp_sessions *sessions;
    size_t worker_count;
    struct mcp_worker *workers;
    atomic_size_t watchers; /* streams that watch an account's status */
};

struct mcp_worker *mcp_at(struct mcp *m, struct worker *w);
/* The worker's own. */
struct hub *mcp_hub(struct mcp_worker *w);
static inline uint64_t mcp_number(struct mcp_worker *w) { return ++w->last_number; }
static inline struct slice mcp_key(const uint64_t *number)
{
    return slice_of(number, sizeof(*number));
}

enum mcp_era { MCP_SESSION = 1, MCP_MODERN = 2 };

struct mcp_ask {
    /* The transport fills these. */
    struct mcp_worker *home;
    enum mcp_era era;
    struct principal who;
    struct session_info session; /* id "" when there is none */
    bool is_volatile;            /* a session of /sse */
    struct rpc_message message;  /* borrows from what the transport keeps until the answer */
    void *owner;
    /* The response, SLICE_NONE when it was cancelled and none may be sent. `status` is the HTTP
     * status that an answer which is no stream has. The ask is freed after it. */
    void (*answer)(struct mcp_ask *a, struct slice response, int status);
    /* A notification that belongs to this request. */
    void (*notify)(struct mcp_ask *a, struct slice notification);
    /* Closes the connection; the answer waits to be fetched. NULL: not with this transport. */
    void (*hang_up)(struct mcp_ask *a);

    /* mcp.c's */
    uint64_t number;
    struct arena arena;
    const struct mcp_method *method;
    struct slice progress_token; /* JSON, SLICE_NONE */
    struct timer progress, later;
    void (*then)(struct mcp_ask *a); /* of `later` */
    void (*on_reply)(struct mcp_ask *a, const struct json *result);
    unsigned asked; /* requests sent to the client, see mcp_client.h */
    int64_t started_at;
    struct call *call; /* while it runs */
    void (*on_called)(struct mcp_ask *a, struct call *c);
    struct buf result;
    struct pen pen;
    struct slice note;                  /* of the method that waits */
    char new_session[SESSION_TEXT_MAX]; /* made by initialize */
    bool cancelled;
};

/* A new ask for the transport to fill and start; or free, when it is not started. */
struct mcp_ask *mcp_ask_new(struct mcp_worker *home);
void mcp_ask_free(struct mcp_ask *a);
/* Runs it; `answer` may come before this returns. */
void mcp_ask_start(struct mcp_ask *a);
struct mcp_ask *mcp_ask_find(struct mcp_worker *home, uint64_t number);
/* The caller does not want it any more: ends with answer(SLICE_NONE) as soon as it can. */
void mcp_ask_cancel(struct mcp_ask *a);
/* Nobody is there to answer to: freed now, its work goes on. */
void mcp_ask_abandon(struct mcp_ask *a);
/* A message that is no request. */
void mcp_notification(struct mcp_worker *w, const struct session_info *session,
                      const struct rpc_message *m);
/* The same; the client's answer to a request of ours. */
void mcp_response(struct mcp_worker *w, const struct session_info *session,
                  const struct rpc_message *m);

/* ---- for the methods ---- */

/* Opens the result's object; write members with a->pen, then mcp_done(). */
void mcp_begin(struct mcp_ask *a);
/* The same for a result that is not complete (mcp_client.c). */
void mcp_begin_as(struct mcp_ask *a, const char *result_type);
/* Sends the result. Return at once. */
void mcp_done(struct mcp_ask *a);
/* An empty result. */
void mcp_done_empty(struct mcp_ask *a);
/* Sends an error. Return at once. */
void mcp_refuse(struct mcp_ask *a, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mcp_refuse_with(struct mcp_ask *a, int code, struct slice data, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The error of the last fail(), by its class. */
void mcp_refuse_error(struct mcp_ask *a, err_t e);
/* An optional opaque cursor; false when it was refused because this list has one page. */
bool mcp_single_page(struct mcp_ask *a);
/* Calls `then` in a while, instead of returning with an answer. A cancelled ask ends meanwhile. */
void mcp_later(struct mcp_ask *a, int64_t ms, void (*then)(struct mcp_ask *a));
/* Notes the token that the client wants progress under; a clock tells it from now on. */
void mcp_progress_begin(struct mcp_ask *a);
/* Progress that the method counts itself, when the client wants to hear of it; from then on none
 * is told by the clock. */
void mcp_progress(struct mcp_ask *a, int64_t done, int64_t total);
/* notifications/message on the request's own stream; nothing below the level that the client asked
 * for, in the modern era nothing unless it did. `data` is JSON. */
void mcp_log(struct mcp_ask *a, enum mcp_level level, const char *logger, struct slice data);
/* Starts a tool with arguments as JSON; on_called hears its end with a->call cleared. */
bool mcp_call(struct mcp_ask *a, const char *tool, struct slice args,
              void (*on_called)(struct mcp_ask *a, struct call *c));

struct mcp_method {
    const char *name;
    unsigned eras;      /* of enum mcp_era */
    bool needs_session; /* of the older era */
    bool is_cacheable;  /* lists and reads carry ttlMs and cacheScope in the modern era */
    void (*run)(struct mcp_ask *a);
};

enum mcp_list { MCP_LIST_TOOLS = 1, MCP_LIST_PROMPTS = 2, MCP_LIST_RESOURCES = 4 };

/* An argument of a tool that clients of the modern era repeat as a header, Mcp-Param-NAME; its
 * schema says so with "x-mcp-header". */
struct mcp_param_header {
    const char *tool, *argument, *header;
};
struct mcp_offer {
    const struct mcp_method *methods; /* ends with a row without a name */
    struct slice (*instructions)(void);
    unsigned changing;                      /* of enum mcp_list: lists that may change */
    const struct mcp_param_header *headers; /* ends with a row without a tool; may be NULL */
};
/* A list of the offer is another now; its readers are told. Any thread. */
void mcp_list_changed(struct mcp *m, enum mcp_list which);

/* mcp_tools.c, mcp_resources.c, mcp_prompts.c */
void mcp_tools_list(struct mcp_ask *a);
void mcp_tools_call(struct mcp_ask *a);
void mcp_resources_list(struct mcp_ask *a);
void mcp_templates_list(struct mcp_ask *a);
void mcp_resources_read(struct mcp_ask *a);
void mcp_resources_subscribe(struct mcp_ask *a);
void mcp_resources_unsubscribe(struct mcp_ask *a);
void mcp_prompts_list(struct mcp_ask *a);
void mcp_prompts_get(struct mcp_ask *a);
void mcp_complete(struct mcp_ask *a);

/* mcp_http.c */
void mcp_http_handle(struct request *r);
/* What is left of them when the process ends. */
void mcp_exchanges_free(struct mcp_worker *w);
/* mcp_sse.c */
void mcp_sse_open(struct request *r);
void mcp_sse_message(struct request *r);

/* ---- what posts of the sessions reach on a stream's worker; unknown numbers are gone ---- */

enum mcp_wake {
    MCP_WAKE_RELOAD, /* subscriptions or level of the session changed */
    MCP_WAKE_CLOSE,  /* the session ended, or another stream took over */
    MCP_WAKE_TAIL,   /* a kept answer has more */
    MCP_WAKE_TAIL_CLOSE,
    MCP_WAKE_CANCEL, /* an ask */
};
void mcp_stream_reload(struct mcp_worker *w, uint64_t number);
void mcp_stream_close(struct mcp_worker *w, uint64_t number);
void mcp_tail_read(struct mcp_worker *w, uint64_t number);
void mcp_tail_close(struct mcp_worker *w, uint64_t number);
