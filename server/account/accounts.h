/* All accounts of the process: what they share, how they start and how they end.
 *
 * Start is lazy: the directory gets a row per account, the objects are made while their links are
 * opened at a steady pace. Main thread, except where it says otherwise. */
#pragma once
#include "proto/base/err.h"
#include "server/account/account.h"

struct accounts;
struct server;

/* Before the workers start: keys, targets, link contexts, directory. */
err_t accounts_open(struct server *s, struct accounts **out) MUST_CHECK;
/* After the workers have started: accounts begin to connect. */
void accounts_start(struct accounts *as);
/* No new calls, links closed, and every turn durable; then `done` on the main worker. */
void accounts_stop(struct accounts *as, void (*done)(void *arg), void *arg);
/* False while a name lookup hangs, which nothing can stop. */
bool accounts_are_quiet(const struct accounts *as);
/* After the workers were joined. */
void accounts_free(struct accounts *as);

/* The app version of links to come; any thread. */
void accounts_set_version(struct accounts *as, const uint32_t version[3]);
/* Figures of one account, for /metrics/accounts and the like. */
struct account_figures {
    char id[ACCOUNT_ID_MAX];
    enum account_state state;
    size_t memory_bytes, undurable, waiting_calls, outbox;
    size_t lag_ms; /* age of the oldest turn that has not left */
    int64_t reconnects;
};
struct accounts_ask {
    struct post post;
    struct accounts *accounts;
    struct worker *home;
    size_t at; /* worker asked now */
    size_t max, count;
    struct account_figures *items; /* of the heap; whom it ends with frees it */
    void (*done)(struct accounts_ask *q);
};
/* Walks the workers one after the other; `done` on `home`. */
void accounts_figures(struct accounts *as, struct accounts_ask *q);
