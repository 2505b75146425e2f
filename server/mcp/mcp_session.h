/* Sessions of the older revisions: what the server remembers between requests.
 *
 * One table for all workers under one lock, because any connection on any worker may carry a
 * request of any session; what is read is copied out. A session of /mcp is also a row
 * (storage/sessions.h) that is durable before the client hears of it, so a client goes on after a
 * restart; the table holds what was used lately, and loads the rest when asked for. A session
 * belongs to the key that opened it: for another key it does not exist.
 *
 * Life: dropped from memory after SESSION_IDLE_MS without stream or request, which nobody
 * notices; the row ends SESSION_ROW_MS after the last use, and then the id is unknown (404). */
#pragma once
#include "proto/base/arena.h"
#include "server/events/event.h"
#include "server/events/hub.h"
#include "server/mcp/rpc.h"
#include "server/tenant/principal.h"
#include "server/worker.h"
#include "storage/sessions.h"

struct mcp;
struct mcp_sessions;
struct mcp_worker;

enum {
    SESSION_TEXT_MAX = 48, /* an id with its NUL */
    SESSION_IDLE_MS = 30 * 60 * 1000,
    SESSION_ROW_MS = 24 * 60 * 60 * 1000,
    SESSION_USED_EVERY_MS = 60 * 60 * 1000, /* how exactly the row knows its last use */
    SESSION_SWEEP_MS = 60 * 1000,
    SESSION_URIS_MAX = HUB_FILTERS_MAX,
    SESSION_URI_MAX = SUBSCRIPTION_NAME_MAX,
    SESSION_INFLIGHT_MAX = 256, /* requests under way */
    SESSIONS_MAX = 50000,       /* in memory */
    SESSION_ROWS_MAX = 200000,
    KEPT_STREAMS_MAX = 16, /* answers of one session that may be fetched again */
    KEPT_BYTES_MAX = 4 << 20,
    KEPT_MS = 5 * 60 * 1000, /* after the answer is complete */
};

/* In the order of time. */
enum mcp_revision {
    MCP_2024_11_05,
    MCP_2025_03_26,
    MCP_2025_06_18,
    MCP_2025_11_25,
    MCP_2026_07_28,
    MCP_REVISIONS,
};
#define MCP_LATEST_SESSION MCP_2025_11_25
const char *mcp_revision_text(enum mcp_revision r);
/* MCP_REVISIONS when it is none of ours. */
enum mcp_revision mcp_revision_find(struct slice text);

/* RFC 5424, least severe first. */
enum mcp_level { MCP_DEBUG, MCP_INFO, MCP_NOTICE, MCP_WARNING, MCP_LEVELS = 8 };
/* MCP_LEVELS when it is none. */
enum mcp_level mcp_level_find(struct slice text);
const char *mcp_level_text(enum mcp_level l);

/* What a client declares that it can be asked for. */
enum mcp_ability { MCP_CAN_ELICIT = 1, MCP_CAN_SAMPLE = 2, MCP_CAN_LIST_ROOTS = 4 };

/* What a request needs to know of its session; a copy. */
struct session_info {
    enum mcp_revision revision;
    enum mcp_level level; /* MCP_DEBUG until logging/setLevel */
    bool wants_vendor;    /* declared the events extension */
    uint8_t abilities;    /* of enum mcp_ability */
    bool initialized;     /* notifications/initialized came */
    char id[SESSION_TEXT_MAX];
};

/* One resource subscription; a copy. */
struct session_uri {
    char uri[SESSION_URI_MAX + 1];
    struct event_filter filter;
    uint64_t since; /* events up to this number are older than the subscription */
};

struct mcp_sessions *mcp_sessions_new(struct mcp *m);
void mcp_sessions_free(struct mcp_sessions *t);
/* Drops what is idle, deletes expired rows now and then. First worker only. */
void mcp_sessions_sweep(struct mcp_worker *w);

/* ---- changes that must be durable ----
 *
 * Nobody sees a change before its commit: neither requests nor streams, on any worker. Each starts
 * a commit and calls `done` on the worker `w` when it is durable or has failed. What `done` needs
 * travels as a number, because its request may be gone by then. */
struct session_change {
    void (*done)(struct mcp_worker *w, uint64_t number, err_t e, const char *session);
    uint64_t number;
};

struct session_new {
    enum mcp_revision revision;
    struct slice capabilities, client; /* JSON */
    bool wants_vendor;
    uint8_t abilities;
};
/* TOO_BUSY when there are too many sessions. */
err_t session_create(struct mcp_worker *w, const struct principal *who, const struct session_new *n,
                     struct session_change change) MUST_CHECK;
/* A session that lives as long as its stream: no row. Its id goes to `out`. */
err_t session_create_volatile(struct mcp_worker *w, const struct principal *who, uint64_t stream,
                              char out[SESSION_TEXT_MAX]) MUST_CHECK;
/* The result of initialize in a volatile session. */
void session_set_client(struct mcp_worker *w, const char *id, const struct session_new *n);
void session_set_initialized(struct mcp_worker *w, const char *id);
/* NOT_FOUND when the session has ended meanwhile; TOO_BUSY: SESSION_URIS_MAX. */
err_t session_subscribe(struct mcp_worker *w, const char *id, const struct session_uri *uri,
                        struct session_change change) MUST_CHECK;
err_t session_unsubscribe(struct mcp_worker *w, const char *id, struct slice uri,
                          struct session_change change) MUST_CHECK;
err_t session_set_level(struct mcp_worker *w, const char *id, enum mcp_level level,
                        struct session_change change) MUST_CHECK;
/* Ends it: its stream is closed. */
err_t session_end(struct mcp_worker *w, const char *id, struct session_change change) MUST_CHECK;
/* Volatile ones, when their stream is gone. */
void session_drop(struct mcp_worker *w, const char *id);

/* ---- looking up ---- */

/* NOT_FOUND without words when there is none of this id for this key, TOO_BUSY when its end is not
 * durable yet. Counts as a use. */
err_t session_find(struct mcp_worker *w, const struct principal *who, struct slice id,
                   struct session_info *out) MUST_CHECK;
/* A volatile session's worker, for POST /messages; NULL when there is none for this key. */
struct mcp_worker *session_holder(struct mcp_worker *w, const struct principal *who,
                                  struct slice id);
/* Copies its subscriptions to the heap (free it). False when the session has ended. */
bool session_uris(struct mcp_worker *w, const char *id, struct session_info *out_info,
                  struct session_uri **out, size_t *out_count);

/* ---- the standalone stream ---- */

/* Notes that stream `number` of worker `w` is the session's stream. False when another one is and
 * `take_over` is not set; with it the other is closed. *out_after: where a stream that names no
 * position begins. */
bool session_take_stream(struct mcp_worker *w, const char *id, uint64_t number, bool take_over,
                         uint64_t *out_after);
void session_leave_stream(struct mcp_worker *w, const char *id, uint64_t number);
/* A frame with an id went out: from now on a stream without a position begins with what is new. */
void session_streamed(struct mcp_worker *w, const char *id);

/* ---- requests under way, for notifications/cancelled from any worker ---- */

/* False when too many are under way. */
bool session_ask_begins(struct mcp_worker *w, const char *id, struct slice rpc_id, uint64_t ask);
void session_ask_ends(struct mcp_worker *w, const char *id, uint64_t ask);
/* Cancels it on its worker, wherever that is. */
void session_ask_cancel(struct mcp_worker *w, const char *id, struct slice rpc_id);

/* ---- answers as streams that can be fetched again ----
 *
 * An answer that became a stream is kept here frame by frame, so that a client whose connection
 * broke gets the rest on GET with Last-Event-ID, on whatever worker that arrives. Who writes it to
 * a connection is its reader: (worker, number), told by a post when there is more. */

/* The number of a new one, 0 when there are too many. `rpc_id`: of the only request, if it is a
 * small number, which then stands in the event ids. */
uint64_t kept_open(struct mcp_worker *w, const char *id, struct slice rpc_id);
/* Adds a message; `ends` after the last (which may be SLICE_NONE). */
void kept_add(struct mcp_worker *w, const char *id, uint64_t kept, struct slice message, bool ends);
/* The reader is now (w, reader); the one before is closed. False when there is none of this
 * number. */
bool kept_attach(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t reader);
/* Its reader's connection is closed; the answer waits to be fetched. */
void kept_hang_up(struct mcp_worker *w, const char *id, uint64_t kept);
void kept_detach(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t reader);
/* Appends the frames behind number *after and moves it; *out_ended: there will be no more. False
 * when it is gone. */
bool kept_read(struct mcp_worker *w, const char *id, uint64_t kept, uint64_t *after,
               struct buf *out, bool *out_ended);

/* Event ids of kept streams: "p<kept>[.<rpc id>]-<frame>". */
struct kept_position {
    uint64_t kept, frame;
    struct slice rpc_id; /* SLICE_NONE */
};
enum { KEPT_LOST = 0xffff }; /* frame number of "the server was restarted" */
bool kept_parse(struct slice event_id, struct kept_position *out);
void kept_print(struct buf *out, uint64_t kept, struct slice rpc_id, uint64_t frame);
