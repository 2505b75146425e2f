/* Everything a running parleyd holds, made by main.c in this order and freed in the reverse one.
 * The pointers never change while workers run; what stands behind them says who may touch it. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct accounts;
struct config;
struct directory;
struct hubs;
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
    struct hubs *hubs;           /* one per worker: who gets which event */
    int64_t started_at;          /* ms */
    atomic_bool stopping;
};
