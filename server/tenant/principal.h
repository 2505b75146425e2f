/* A principal: who asks, as a request's key says. Plain data, copied into every call and stream,
 * so that nothing points at a key that may be deleted meanwhile. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/slice.h"

enum {
    PRINCIPAL_KEY_MAX = 40, /* "key_" and its body, with the NUL */
};

/* An account belongs for ever to the world of the key that paired it; a key sees its own only. */
enum world { WORLD_LIVE, WORLD_TEST };

/* What a key may do: the category of a tool is one of the first three. */
enum right {
    RIGHT_READ = 1,
    RIGHT_WRITE = 2,
    RIGHT_DELETE = 4,
    RIGHT_ADMIN = 8, /* keys and tenants; the operator's socket has it */
    RIGHTS_TOOLS = RIGHT_READ | RIGHT_WRITE | RIGHT_DELETE,
    RIGHTS_ALL = RIGHTS_TOOLS | RIGHT_ADMIN,
};

struct principal {
    uint32_t tenant;
    enum world world;            /* accounts it makes belong to this world */
    bool all_worlds;             /* the operator sees both */
    unsigned rights;             /* of enum right */
    char key[PRINCIPAL_KEY_MAX]; /* "key_…"; "operator" for the unix socket */
};

static inline bool principal_may(const struct principal *p, enum right r)
{
    return (p->rights & (unsigned)r) == (unsigned)r;
}
static inline bool principal_sees(const struct principal *p, uint32_t tenant, bool sandbox)
{
    return p->tenant == tenant && (p->all_worlds || (p->world == WORLD_TEST) == sandbox);
}
