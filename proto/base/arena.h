/* Memory that dies together: one arena per stanza, turn and call. {0} is an empty one.
 *
 * Allocation never fails (see xalloc.h, and arena_try_reserve); nothing is freed alone. Blocks are
 * 16-byte aligned. One owner, one thread. */
#pragma once
#include "proto/base/err.h"
#include "proto/base/slice.h"
#include "proto/base/xalloc.h"

struct arena_block;
struct arena {
    struct arena_block *head;
    size_t total; /* bytes handed out since the last reset */
};

void arena_done(struct arena *a);
/* Forgets everything handed out; keeps the first block for the next use. */
void arena_reset(struct arena *a);
/* The same for one that held secrets: what was handed out is overwritten first. */
void arena_wipe(struct arena *a);
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
/* For a size from outside: the next arena_alloc() of at most `size` has its room. NO_MEMORY. */
err_t arena_try_reserve(struct arena *a, size_t size) MUST_CHECK;
/* Zeroed. */
void *arena_calloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
#define arena_new(a, type) ((type *)arena_calloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_calloc((a), (n) * sizeof(type)))
struct slice arena_dup(struct arena *a, struct slice s);
/* A NUL-terminated copy. */
char *arena_text(struct arena *a, struct slice s);
struct slice arena_printf(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
