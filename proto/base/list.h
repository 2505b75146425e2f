/* An intrusive doubly linked list with a head of its own. A list_init()ed node is in no list, and
 * removing it again is harmless. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "proto/base/xalloc.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline void list_insert(struct list *before, struct list *node)
{
    node->prev = before->prev;
    node->next = before;
    before->prev->next = node;
    before->prev = node;
}
static inline void list_push(struct list *head, struct list *node) { list_insert(head, node); }
static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert(head->next, node);
}
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
/* The first node taken out, NULL when empty. */
static inline struct list *list_pop(struct list *head)
{
    struct list *node = head->next;
    if (node == head) return NULL;
    /* The analyser forgets that a freed node had been unlinked.
     * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    list_remove(node);
    return node;
}
/* Moves all of `from` behind the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
/* `node` may be removed inside the loop. */
#define LIST_EACH(node, head)                                                                      \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);              \
         node = node##_next, node##_next = node->next)
