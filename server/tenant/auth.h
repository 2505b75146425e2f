/* Keys: how a request becomes a principal.
 *
 * A key is `parley_live_` or `parley_test_` and 43 random characters; the database holds its
 * SHA-256 only. The two made at first start also stand in DATA/first-keys (0600). Lookups go
 * through a table in memory under one lock; any thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "server/tenant/principal.h"

struct request;
struct server;
struct tenants;

enum { AUTH_KEY_MAX = 64 };

/* Loads tenants and keys; at first start makes the tenant and its two keys, waits until they are
 * durable and writes `first_keys_path`. On main, before the workers start. */
err_t tenants_open(struct server *s, const char *first_keys_path, struct tenants **out) MUST_CHECK;
void tenants_close(struct tenants *t);

/* The principal of a request: the operator's for the unix socket, else by `Authorization: Bearer`.
 * UNAUTHORIZED says which header was read, never the key. */
err_t auth_request(struct server *s, const struct request *r, struct principal *out) MUST_CHECK;
/* The same for a key as text. */
err_t auth_key(struct server *s, struct slice key, struct principal *out) MUST_CHECK;
/* Answers the request with the error: 401 carries `WWW-Authenticate: Bearer realm="parley"` (and
 * no resource_metadata), 403, all with the native body. */
void auth_refuse(struct request *r, err_t e);

/* Makes a key; its text goes to `out` (once: nobody can read it again). `done` on the calling
 * worker when it is durable. */
struct key_made {
    void (*done)(struct key_made *m, err_t e);
    char key[AUTH_KEY_MAX];
    char id[PRINCIPAL_KEY_MAX];
    void *private_;
};
void auth_key_new(struct server *s, uint64_t tenant, enum world world, unsigned rights,
                  struct slice name, struct key_made *m);
