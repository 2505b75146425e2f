/* Keys: how a request becomes a principal.
 *
 * A key is `parley_live_` or `parley_test_` and 43 random characters; the database holds its
 * SHA-256 only. The two made at first start also stand in DATA/first-keys (0600). Lookups go
 * through a table in memory under one lock; any thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "server/tenant/principal.h"

struct list;
struct request;
struct server;
struct tenants;
struct worker;

enum { AUTH_KEY_MAX = 64 };

/* Loads tenants and keys; at first start makes the tenant and its two keys, writes
 * `first_keys_path` (one key per line, live first) and commits them. On main, while the writer's
 * thread is not started yet. */
err_t tenants_open(struct server *s, const char *first_keys_path, struct tenants **out) MUST_CHECK;
/* Tells the hubs what every key is subscribed to. Once s->tenants and s->hubs are there. */
err_t tenants_start(struct server *s) MUST_CHECK;
void tenants_close(struct tenants *t);
/* Subscriptions on their way to the disk; tenant/subscriptions.c guards it. */
struct list *tenants_subscribing(struct tenants *t);

/* The principal of a request: the operator's for the unix socket, else by `Authorization: Bearer`.
 * UNAUTHORIZED says which header was read, never the key. */
err_t auth_request(struct server *s, const struct request *r, struct principal *out) MUST_CHECK;
/* The same for a key as text. */
err_t auth_key(struct server *s, struct slice key, struct principal *out) MUST_CHECK;

/* A key being made or revoked. */
struct key_change {
    void (*done)(struct key_change *k, err_t e); /* on `home`, when it is durable */
    void *owner;
    struct worker *home;        /* NULL: the calling worker */
    char key[AUTH_KEY_MAX];     /* of a new one: its text, which nobody can read again */
    char id[PRINCIPAL_KEY_MAX]; /* "key_…" */
    /* private */
    struct server *server;
    struct key_entry *entry;
    struct key_batch *work;
};
void auth_key_new(struct server *s, uint32_t tenant, enum world world, unsigned rights,
                  struct slice name, struct key_change *k);
/* From its commit on the key is refused, and streams it holds open are ended; if the commit fails
 * nothing has changed. NOT_FOUND comes at once. */
err_t auth_key_revoke(struct server *s, uint32_t tenant, struct slice id,
                      struct key_change *k) MUST_CHECK;

/* What GET /v1/keys shows; never the key. */
struct key_info {
    char id[PRINCIPAL_KEY_MAX], name[64], hint[8];
    enum world world;
    unsigned rights;
    int64_t created_ms;
};
/* At most `max`, by number; how many were written. */
size_t auth_keys(struct tenants *t, uint32_t tenant, struct key_info *out, size_t max);
