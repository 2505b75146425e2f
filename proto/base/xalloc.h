/* Memory for small sizes. When there is none left the process stops, so callers need no error
 * path. A size that came from outside is checked against a named limit before it comes here. */
#pragma once
#include <stddef.h>

void *xalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));

/* Frees the object behind a pointer variable on every way out of the block: AUTO(buf) b = {0}; */
#define AUTO(type) __attribute__((cleanup(type##_done))) struct type

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
