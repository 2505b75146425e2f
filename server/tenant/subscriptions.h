/* Subscriptions: what a key asked for with subscribe_events. Rows in the database (they outlive
 * connections and restarts), filters in every hub.
 *
 * A subscription's id is made from its selection, so subscribing twice to the same is one. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/list.h"
#include "server/events/event.h"
#include "server/tenant/principal.h"
#include "storage/sessions.h"

struct server;

enum { SUBSCRIPTION_ID_MAX = 40, SUBSCRIPTIONS_MAX = 64 /* of one key */ };

struct subscription {
    char id[SUBSCRIPTION_ID_MAX]; /* "sub_…" */
    struct slice events;          /* names as they were asked for, comma separated */
    struct slice account, chat;   /* ids, SLICE_NONE */
    uint64_t cursor;
    int64_t created_ms;
};

/* Fills in the id from key, events, account and chat; BAD_ARGUMENT for an unknown event. */
err_t subscription_name(struct subscription *s, const struct principal *who) MUST_CHECK;
/* As a row. The slices of `out` borrow from `arena`. */
void subscription_put(struct batch *b, const struct principal *who, struct arena *arena,
                      const struct subscription *s);

/* A subscription on its way to the disk, where no view shows it yet; so that many who subscribe at
 * once keep the limit together. Any thread. */
struct subscription_place {
    struct list link;
    char key[PRINCIPAL_KEY_MAX], id[SUBSCRIPTION_ID_MAX];
};
/* One of the key's SUBSCRIPTIONS_MAX places, or the one that this subscription has already;
 * BAD_ARGUMENT when all are taken. Before the commit is posted. */
err_t subscription_take_place(struct server *s, const struct principal *who, const char *id,
                              struct subscription_place *out) MUST_CHECK;
/* The commit's outcome is known. */
void subscription_leave_place(struct subscription_place *p);

/* A walk: db_subscriptions(&r, v, tenant, key), then this. */
bool subscription_next(struct range *r, struct arena *arena, struct subscription *out);

/* Any thread, after a key's rows have changed durably: reads them and tells every hub. One lock
 * around both, so that hubs end with the newest. */
err_t subscriptions_refresh(struct server *s, uint32_t tenant, struct slice key) MUST_CHECK;

/* The filter of a selection: the chat with the chats merged into it, the account, or all. False: an
 * id is malformed. */
bool subscription_filter(struct view *v, uint32_t tenant, uint64_t kinds, struct slice account,
                         struct slice chat, struct event_filter *out);
