/* Inside mcp_session.c, mcp_change.c, mcp_commit.c, mcp_rows.c and mcp_kept.c only: the table
 * itself. Everything in it is guarded by its lock. Commits are posted under it, so that the order
 * in the database is the order in memory. */
#pragma once
#include <pthread.h>

#include "server/mcp/inside.h"

/* What a client may choose again and again: its level and its resource subscriptions. */
struct session_choice {
    enum mcp_level level;
    struct session_uri *uris;
    size_t uri_count;
};

struct session {
    struct session_info info; /* its level is that of `shown` */
    uint32_t tenant, key;
    int64_t created_ms, used_ms, touched_ms;
    uint64_t start; /* the log's last number when it was made */
    struct buf capabilities, client;
    struct session_choice shown; /* durable: what streams and requests go by */
    struct session_choice next;  /* with all that is under way; see session_next() */
    size_t under_way;            /* commits */
    bool is_volatile, ended;
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

enum change_kind {
    CHANGE_SWEEP, /* of no session */
    CHANGE_CREATE,
    CHANGE_TOUCH, /* its last use */
    CHANGE_LEVEL,
    CHANGE_SUBSCRIBE,
    CHANGE_UNSUBSCRIBE,
    CHANGE_END,
};

/* A commit on its way; in `commits` or `settled`, so that a shutdown frees what no worker took
 * back. */
struct commit {
    struct list link;
    struct batch batch;
    struct post post;
    struct mcp_worker *home;
    enum change_kind kind;
    enum mcp_level level;   /* of the row that CREATE, TOUCH and LEVEL put */
    struct session_uri uri; /* of SUBSCRIBE and UNSUBSCRIBE */
    bool settled;
    struct session_change change;
    char session[SESSION_TEXT_MAX];
};

struct mcp_sessions {
    pthread_mutex_t lock;
    struct mcp *mcp;
    struct map by_id;
    struct list commits; /* as they were posted; their outcome is not known yet */
    struct list settled; /* the others, whose workers do not know yet */
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
void kept_free(struct session *s, struct kept *k);

/* Posts to a stream, a tail or an ask of another worker. */
void mcp_wake(struct mcp_worker *to, enum mcp_wake what, uint64_t number);

/* ---- commits: mcp_commit.c ---- */

/* What a session will have chosen when all that is under way is durable: what its next row is made
 * of, and what limits count. */
const struct session_choice *session_next(const struct session *s);
/* NULL when there is none. */
const struct session_uri *choice_find(const struct session_choice *x, struct slice uri);
/* In the place of the one with the same uri, if there is one. */
void choice_add(struct session_choice *x, const struct session_uri *u);

struct commit *commit_new(struct mcp_worker *w, const char *session, enum change_kind kind,
                          struct session_change change);
/* One that was not posted. */
void commit_free(struct commit *c);
/* Under the lock; of session `s`, NULL for a sweep. A volatile session has no row: what changes is
 * true at once, and told by a post all the same. */
void commit_post(struct mcp_sessions *t, struct session *s, struct commit *c);
/* A change of the row itself, which says `level`; under the lock. */
void commit_row(struct mcp_worker *w, struct mcp_sessions *t, struct session *s,
                enum change_kind kind, enum mcp_level level, struct session_change change);
/* Counts as a use; the row learns of it now and then. Under the lock. */
void session_touch(struct mcp_worker *w, struct mcp_sessions *t, struct session *s, int64_t now);

/* ---- rows ---- */

void row_put(struct batch *b, const struct session *s, enum mcp_level level);
void row_put_uri(struct batch *b, const struct session *s, const struct session_uri *u,
                 int64_t now);
/* Row and subscriptions, with what the view sees. */
err_t row_delete(struct mcp_worker *w, struct batch *b, uint32_t tenant,
                 struct slice id) MUST_CHECK;
/* A fresh look at the row, NOT_FOUND without words; not under the lock, because it reads. */
err_t row_load(struct mcp_worker *w, const struct principal *who, struct slice id,
               struct session **out) MUST_CHECK;
