/* Everything a running parleyd holds, made by main.c in this order and freed in the reverse one.
 * The pointers never change while workers run; what stands behind them says who may touch it. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account_status;
struct accounts;
struct claims;
struct config;
struct directory;
struct http_server;
struct hubs;
struct mcp;
struct metrics;
struct store;
struct tenants;
struct worker;
struct writer;

struct server {
    const struct config *config;
    struct store *store;
    struct writer *writer;
    struct worker *main; /* index -1: accepts connections, signals */
    struct worker **workers;
    size_t worker_count;
    struct directory *directory; /* account id -> worker, status */
    struct accounts *accounts;   /* what all accounts share: keys, worlds, resolver */
    struct tenants *tenants;     /* keys and principals */
    struct claims *claims;       /* idempotency of the calls that run */
    struct hubs *hubs;           /* one per worker: who gets which event */
    struct mcp *mcp;             /* sessions and streams of agents */
    struct http_server *http;
    /* At the release of a turn that changed an account's status (a new code, a state), on its
     * worker; set before the workers start. May be NULL. */
    void (*on_status)(struct server *s, const struct account_status *status);
    int64_t started_at; /* ms */
    atomic_bool stopping;
};

/* Waits for the workers, which were told to stop. */
void server_join(struct server *s);
/* Everything that was made, in the reverse order; what has no accounts has none to free. */
void server_free(struct server *s);
