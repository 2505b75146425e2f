/* Who has which account: account id -> worker and a small status, for all threads, under one lock.
 *
 * Filled at start from the account records, afterwards by the accounts themselves, at the release
 * of the turn that changed something: what is read here is durable. Any thread; everything is
 * copied out. */
#pragma once
#include "proto/base/map.h"
#include "server/account/account.h"

struct directory;

struct directory *directory_new(void);
void directory_free(struct directory *d);

/* Adds an account and pins it to a worker: the one with the fewest. Not `visible`: only
 * directory_worker() finds it, until its first directory_update(). */
struct worker *directory_add(struct directory *d, const struct account_status *status,
                             struct worker *const *workers, size_t n, bool visible);
void directory_remove(struct directory *d, struct slice account);
/* Replaces the status; its version grows. An account that is gone stays gone. */
void directory_update(struct directory *d, const struct account_status *status);

/* NULL when there is no such account. */
struct worker *directory_worker(struct directory *d, struct slice account);
bool directory_status(struct directory *d, struct slice account, struct account_status *out);
/* By the name in /qr/{pairing}; false when the pairing has ended. */
bool directory_pairing(struct directory *d, struct slice pairing, struct account_status *out);
/* The pairing started last, for /qr on loopback. */
bool directory_newest_pairing(struct directory *d, struct account_status *out);
/* Accounts of a tenant's world in order of their ids (so of their age), behind `after` ("" from the
 * start). How many were written to `out`. */
size_t directory_list(struct directory *d, uint32_t tenant, bool sandbox, struct slice after,
                      struct account_status *out, size_t max);

struct directory_counts {
    size_t accounts;
    size_t by_state[ACCOUNT_LOGGED_OUT + 1];
};
void directory_count(struct directory *d, struct directory_counts *out);
