#include "proto/base/xalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *p, size_t size)
{
    if (p) return p;
    fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

void *xtry(void *p, size_t size) { return realloc(p, size ? size : 1); }
void *xalloc(size_t size) { return need(malloc(size ? size : 1), size); }
void *xcalloc(size_t size) { return need(calloc(1, size ? size : 1), size); }
void *xrealloc(void *p, size_t size) { return need(realloc(p, size ? size : 1), size); }
char *xstrdup(const char *text) { return need(strdup(text), strlen(text)); }
