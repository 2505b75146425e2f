/* Legacy MCP sessions and their subscriptions: rows, so that a client goes on after a restart with
 * the same session id. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

enum { SESSION_ID_MAX = 64, SUBSCRIPTION_NAME_MAX = 200 };

struct db_session {
    struct slice id; /* key, at most SESSION_ID_MAX bytes without 00 */
    uint32_t key;    /* number of the API key that opened it */
    struct slice revision, capabilities, client, log_level, path, extra; /* opaque to storage */
    int64_t created_ms, used_ms; /* used_ms is written at most every few minutes */
};
void db_session_put(struct batch *b, uint32_t tenant, const struct db_session *s);
/* *out_found; an id that is too long is not found. */
err_t db_session_find(struct view *v, uint32_t tenant, struct slice id, bool *out_found,
                      struct db_session *out) MUST_CHECK;
/* With its subscriptions. */
err_t db_session_delete(struct batch *b, struct view *v, uint32_t tenant,
                        struct slice id) MUST_CHECK;
/* Of one tenant; with tenant 0 of all. Subscriptions and what is damaged are left out. */
void db_sessions(struct range *r, struct view *v, uint32_t tenant);
bool db_session_next(struct range *r, uint32_t *out_tenant, struct db_session *out);

struct db_subscription {
    struct slice name;   /* key, at most SUBSCRIPTION_NAME_MAX bytes: a URI, or an id */
    struct slice filter; /* opaque to storage */
    uint64_t cursor;     /* last seq that counts as seen when it was made */
    int64_t created_ms;
};
/* `owner`: a session's id, or any other text that names who subscribes (an API key's id). */
void db_subscription_put(struct batch *b, uint32_t tenant, struct slice owner,
                         const struct db_subscription *s);
void db_subscription_delete(struct batch *b, uint32_t tenant, struct slice owner,
                            struct slice name);
void db_subscriptions(struct range *r, struct view *v, uint32_t tenant, struct slice owner);
bool db_subscription_next(struct range *r, struct db_subscription *out);
