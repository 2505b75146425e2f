/* Memory for small sizes. When there is none left the process stops, so callers need no error
 * path. A size that came from outside is checked against a named limit and then asked for with
 * xtry(), which may say no: one account then starts over from disk, and the others go on. */
#pragma once
#include <stddef.h>

/* realloc() for what the outside makes us hold, within its limit: NULL when there is no memory, and
 * `p` is as it was. Ends in NO_MEMORY (buf_try_reserve, arena_try_reserve). */
void *xtry(void *p, size_t size);
void *xalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));

/* Frees the object behind a pointer variable on every way out of the block: AUTO(buf) b = {0}; */
#define AUTO(type) __attribute__((cleanup(type##_done))) struct type

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
