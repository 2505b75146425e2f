/* Names to addresses, without blocking a worker: uv_getaddrinfo on the pool.
 *
 * The pool has few threads, so one lookup per name is in flight for the whole process, however
 * many accounts wait for it: the resolver lives on one worker (main's), others post their
 * questions to it and get the answer posted back. An answer is kept for RESOLVE_KEEP_MS, a failure
 * for none. A lookup cannot be stopped; who no longer wants the answer says so, and its deadline is
 * its own. */
#pragma once
#include <netinet/in.h>

#include "proto/base/err.h"
#include "server/worker.h"

enum {
    RESOLVE_NAME_MAX = 256,
    RESOLVE_ADDRESSES_MAX = 8,
    RESOLVE_KEEP_MS = 10 * 1000,
    RESOLVE_NAMES_MAX = 64, /* names remembered */
};

struct resolver;

/* Texts as lws and log want them: "192.0.2.1", "2001:db8::1". */
struct resolved {
    size_t count; /* 0: nothing found, `why` says it */
    char addresses[RESOLVE_ADDRESSES_MAX][INET6_ADDRSTRLEN];
    char why[64];
};

/* One question. Made by lookup_start(); who asks may name it until `done`. */
struct lookup;

struct resolver *resolver_new(struct worker *owner);
/* The loops of the owner and of all who asked have ended. */
void resolver_free(struct resolver *r);

/* No lookup is in flight. On the owner. */
bool resolver_is_quiet(const struct resolver *r);

/* Asks on the calling worker; `done` comes later on it, never inside this call, and may be told
 * OK by count. A numeric address needs no lookup. */
struct lookup *lookup_start(struct resolver *r, struct worker *home, const char *name,
                            void (*done)(void *owner, const struct resolved *found), void *owner);
/* `done` will not be called. On the home worker, before `done`. */
void lookup_abandon(struct lookup *l);
