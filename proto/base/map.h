/* A hash map from bytes to a pointer. Keys are copied; values stay the caller's.
 *
 * The hash is keyed with a random seed of the process, because keys come from outside. {0} is an
 * empty map. One owner, one thread. */
#pragma once
#include "proto/base/slice.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t count, used, cap;
};

void map_done(struct map *m);
/* The value before, NULL if none. `value` must not be NULL. */
void *map_put(struct map *m, struct slice key, void *value);
void *map_find(const struct map *m, struct slice key);
/* The value that was there, NULL if none. */
void *map_remove(struct map *m, struct slice key);
/* Walks all entries in no order: size_t at = 0; while ((v = map_next(m, &at, &key))) …
 * Removing the entry just handed out is allowed, adding is not. */
void *map_next(const struct map *m, size_t *at, struct slice *out_key);
/* Seeded 64-bit hash of bytes, the same for the life of the process. */
uint64_t map_hash(struct slice key);
