/* One page of LMDB 0.9 as it lies in the file of a 64-bit machine: 16 bytes of head, then the
 * places of its nodes from the front, and the nodes from the end. Here a page is looked at by
 * itself; pages.h walks the trees. Pure functions over bytes; any thread. */
#pragma once
#include "proto/base/slice.h"

enum {
    PAGE_HEAD = 16,
    PAGE_NODE = 8,    /* the head of a node */
    PAGE_BOUNDS = 12, /* where the head tells where the places end and the nodes begin */
    PAGE_BRANCH = 1,
    PAGE_LEAF = 2,
    PAGE_OVERFLOW = 4, /* the first of those that hold one long value */
    PAGE_META = 8,
    NODE_BIG = 1,  /* the value stands on pages of its own */
    NODE_TREE = 2, /* the value is the root of a sub-database */
};

struct page_node {
    const uint8_t *at;
    uint16_t flags;
    struct slice key;
    uint64_t low; /* of a branch: the page; of a leaf: the length of its value */
};

/* Keys from `from` (absent: any) up to, not with, `to`. */
struct page_bounds {
    struct slice from, to;
};

/* A number of so many bytes, little-endian, as the machines we run on write it. */
uint64_t page_get(const uint8_t *at, size_t bytes);
bool page_head_is_sound(const uint8_t *page, size_t page_size);
/* Of a page whose head is sound. */
size_t page_nodes(const uint8_t *page);
/* The bytes that the node takes; 0 when it does not lie inside its page. */
size_t page_node(const uint8_t *page, size_t page_size, size_t index, bool leaf,
                 struct page_node *out);

/* A leaf of records, as a commit left it: each node inside the page, one behind the other, their
 * keys in order and inside the bounds that lead to it. A look-up that meets a key out of order
 * goes astray, and misses rows beside it that are sound. */
bool page_leaf_is_sound(const uint8_t *page, size_t page_size, struct page_bounds bounds);
/* Flips back the bit that makes the leaf sound again and leaves the fewest rows with a checksum
 * (`row_is_sound`) that fails. False when no bit does without damage to a row that was sound, or
 * when two do and leave none damaged: then the page is as it was. Tries every bit: some
 * milliseconds. */
bool page_leaf_mend(uint8_t *page, size_t page_size, struct page_bounds bounds,
                    bool (*row_is_sound)(void *context, const struct page_node *row), void *context,
                    size_t *out_at);
