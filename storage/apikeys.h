/* API keys: stored as SHA-256 of the key's text, which the caller computes; the text is nowhere.
 * Two rows in one batch: `logins` finds tenant and number by hash, `apikeys` holds the record. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

enum { APIKEY_HASH = 32 };

struct db_apikey {
    uint32_t tenant, number; /* key */
    uint64_t secret;         /* of its key_ id */
    uint8_t world;           /* 0 live, 1 sandbox */
    bool revoked;
    int64_t created_ms, expires_ms, used_ms; /* expires_ms 0: never; used_ms: now and then */
    struct slice hash;                       /* APIKEY_HASH bytes */
    struct slice name, rights, hint; /* rights: the server's; hint: last characters, for lists */
};

void db_apikey_put(struct batch *b, const struct db_apikey *k);
void db_apikey_delete(struct batch *b, const struct db_apikey *k);
err_t db_apikey_get(struct view *v, uint32_t tenant, uint32_t number,
                    struct db_apikey *out) MUST_CHECK;
/* By hash. NOT_FOUND without a trail when unknown: a wrong key is daily bread. */
err_t db_apikey_login(struct view *v, struct slice hash, struct db_apikey *out) MUST_CHECK;
void db_apikeys(struct range *r, struct view *v, uint32_t tenant);
bool db_apikey_next(struct range *r, struct db_apikey *out);
