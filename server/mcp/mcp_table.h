/* Inside mcp_session.c, mcp_change.c, mcp_rows.c and mcp_kept.c only: the table itself. Everything
 * in it is guarded by its lock. Commits are posted under it, so that the order in the database is
 * the order in memory. */
#pragma once
#include <pthread.h>

#include "server/mcp/inside.h"

struct session {
    struct session_info info;
    uint32_t tenant, key;
    int64_t created_ms, used_ms, touched_ms;
    uint64_t start; /* the log's last number when it was made */
    struct buf capabilities, client;
    struct session_uri *uris;
    size_t uri_count;
    bool is_volatile, stale, ended;
    /* live */
    struct mcp_worker *stream_worker; /* NULL: no stream */
    uint64_t stream;
    bool streamed;
    struct list asks, kept;
    size_t ask_count, kept_count, kept_bytes;
};

struct inflight {
    struct list link;
    struct mcp_worker *worker;
    uint64_t ask;
    size_t len;
    uint8_t rpc_id[];
};

struct kept {
    struct list link;
    uint64_t number;
    struct slice rpc_id; /* points into rpc_id_text */
    char rpc_id_text[16];
    struct buf *frames;
    size_t count;
    bool ended;
    int64_t ended_at;
    struct mcp_worker *reader_worker; /* NULL: nobody reads */
    uint64_t reader;
};

enum change_kind { CHANGE_QUIET, CHANGE_CREATE, CHANGE_FILTERS, CHANGE_END };

/* A commit on its way; in `commits`, so that a shutdown frees what no worker took back. */
struct commit {
    struct list link;
    struct batch batch;
    struct post post;
    struct mcp_worker *home;
    enum change_kind kind;
    struct session_change change;
    char session[SESSION_TEXT_MAX];
};

struct mcp_sessions {
    pthread_mutex_t lock;
    struct mcp *mcp;
    struct map by_id;
    struct list commits;
    uint64_t last_kept;
    size_t rows;         /* counted by the sweep, grown by what is made since */
    size_t rows_counted; /* in the round that is under way */
    struct buf swept;    /* the row it came to; the first worker's */
};

struct mcp_sessions *table_lock(struct mcp_worker *w);
void table_unlock(struct mcp_sessions *t);
/* A session that has not ended, by its id alone: for who found it before. */
struct session *table_get(struct mcp_sessions *t, const char *id);
/* Takes it out and frees it, if it is there. */
void table_forget(struct mcp_sessions *t, const char *id);

/* The number of its API key, which a session belongs to. */
uint32_t session_key(const struct principal *who);
struct session *session_new(const struct principal *who);
void session_free(struct session *s);
void session_add_uri(struct session *s, const struct session_uri *u);
void kept_free(struct session *s, struct kept *k);

/* Posts to a stream, a tail or an ask of another worker. */
void mcp_wake(struct mcp_worker *to, enum mcp_wake what, uint64_t number);

/* ---- commits ---- */

struct commit *commit_new(struct mcp_worker *w, const char *session, enum change_kind kind,
                          struct session_change change);
/* One that was not posted. */
void commit_free(struct commit *c);
/* Under the lock. */
void commit_post(struct mcp_sessions *t, struct commit *c);
/* A change of the row itself; under the lock. */
void commit_row(struct mcp_worker *w, struct mcp_sessions *t, struct session *s,
                enum change_kind kind, struct session_change change);
/* Counts as a use; the row learns of it now and then. Under the lock. */
void session_touch(struct mcp_worker *w, struct mcp_sessions *t, struct session *s, int64_t now);

/* ---- rows ---- */

void row_put(struct batch *b, const struct session *s);
void row_put_uri(struct batch *b, const struct session *s, const struct session_uri *u,
                 int64_t now);
/* Row and subscriptions, with what the view sees. */
err_t row_delete(struct mcp_worker *w, struct batch *b, uint32_t tenant,
                 struct slice id) MUST_CHECK;
/* A fresh look at the row, NOT_FOUND without words; not under the lock, because it reads. */
err_t row_load(struct mcp_worker *w, const struct principal *who, struct slice id,
               struct session **out) MUST_CHECK;
