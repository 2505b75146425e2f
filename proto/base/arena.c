#include "proto/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first block and its head are what malloc still keeps at hand for the next who asks. */
enum { FIRST_BLOCK = 1024 - 32, LARGEST_BLOCK = 64 * 1024, ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    _Alignas(ALIGN) uint8_t bytes[];
};

static size_t next_cap(const struct arena *a, size_t size)
{
    size_t cap = a->head ? a->head->cap * 2 : FIRST_BLOCK;

    if (cap > LARGEST_BLOCK) cap = LARGEST_BLOCK;
    return cap < size ? size : cap;
}

static struct arena_block *push(struct arena *a, struct arena_block *b, size_t cap)
{
    *b = (struct arena_block){.next = a->head, .cap = cap};
    a->head = b;
    return b;
}

/* What `size` bytes take, aligned. */
static size_t room_of(size_t size)
{
    size_t need = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);

    return need ? need : ALIGN;
}

static bool has_room(const struct arena *a, size_t need)
{
    return a->head && a->head->cap - a->head->used >= need;
}

void arena_done(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    struct arena_block *b = a->head;
    a->total = 0;
    if (!b) return;

    while (b->next) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    b->used = 0;
    a->head = b;
}

void arena_wipe(struct arena *a)
{
    for (struct arena_block *b = a->head; b; b = b->next)
        explicit_bzero(b->bytes, b->used);
    arena_reset(a);
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t need = room_of(size), cap = next_cap(a, need);
    struct arena_block *b = a->head;

    if (!has_room(a, need)) b = push(a, xalloc(sizeof(*b) + cap), cap);
    void *p = b->bytes + b->used;
    b->used += need;
    a->total += need;
    return p;
}

err_t arena_try_reserve(struct arena *a, size_t size)
{
    size_t need = room_of(size), cap = next_cap(a, need);
    struct arena_block *b;

    if (has_room(a, need)) return OK;
    b = xtry(NULL, sizeof(*b) + cap);
    if (!b) return fail(NO_MEMORY, "%zu bytes", cap);
    push(a, b, cap);
    return OK;
}

void *arena_calloc(struct arena *a, size_t size) { return memset(arena_alloc(a, size), 0, size); }

struct slice arena_dup(struct arena *a, struct slice s)
{
    if (slice_is_none(s)) return s;
    uint8_t *p = arena_alloc(a, s.len);
    if (s.len) memcpy(p, s.data, s.len);
    return slice_of(p, s.len);
}

char *arena_text(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.len + 1);
    if (s.len) memcpy(p, s.data, s.len);
    p[s.len] = '\0';
    return p;
}

struct slice arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);

    char *p = arena_alloc(a, (size_t)(n > 0 ? n : 0) + 1);
    vsnprintf(p, (size_t)(n > 0 ? n : 0) + 1, format, again);
    va_end(again);
    return slice_of(p, (size_t)(n > 0 ? n : 0));
}
