#include "storage/page.h"

uint64_t page_get(const uint8_t *at, size_t bytes)
{
    uint64_t v = 0;

    memcpy(&v, at, bytes);
    return v;
}

size_t page_nodes(const uint8_t *page) { return (size_t)(page_get(page + 12, 2) - PAGE_HEAD) / 2; }

static size_t size_of(const struct page_node *n, bool leaf)
{
    return PAGE_NODE + n->key.len + (!leaf ? 0 : n->flags & NODE_BIG ? 8 : n->low);
}

size_t page_node(const uint8_t *page, size_t page_size, size_t index, bool leaf,
                 struct page_node *out)
{
    size_t at = page_get(page + PAGE_HEAD + 2 * index, 2), size;

    if (at < page_get(page + 14, 2) || at + PAGE_NODE > page_size) return 0;
    out->at = page + at;
    out->flags = (uint16_t)page_get(out->at + 4, 2);
    out->key = slice_of(out->at + PAGE_NODE, page_get(out->at + 6, 2));
    out->low = leaf ? page_get(out->at, 4) : page_get(out->at, 6);
    size = size_of(out, leaf);
    return at + size <= page_size ? (size + 1) & ~(size_t)1 : 0;
}

bool page_head_is_sound(const uint8_t *page, size_t page_size)
{
    uint64_t lower = page_get(page + 12, 2), upper = page_get(page + 14, 2);

    return lower > PAGE_HEAD && lower % 2 == 0 && lower <= upper && upper < page_size;
}

static bool is_between(struct slice key, struct slice last, const struct page_bounds *b)
{
    return key.len > 0 && (slice_is_none(last) || slice_cmp(last, key) < 0) &&
           (slice_is_none(b->from) || slice_cmp(b->from, key) <= 0) &&
           (slice_is_none(b->to) || slice_cmp(key, b->to) < 0);
}

bool page_leaf_is_sound(const uint8_t *page, size_t page_size, struct page_bounds bounds)
{
    struct slice last = SLICE_NONE;
    size_t taken = 0;

    if (!page_head_is_sound(page, page_size)) return false;
    for (size_t i = 0; i < page_nodes(page); i++) {
        struct page_node n;
        size_t size = page_node(page, page_size, i, true, &n);

        if (size == 0 || n.flags > NODE_BIG || !is_between(n.key, last, &bounds)) return false;
        last = n.key;
        taken += size;
    }
    return taken == page_size - page_get(page + 14, 2);
}

/* ---- the bit that was flipped ---- */

struct mending {
    uint8_t *page;
    size_t page_size;
    struct page_bounds bounds;
    bool (*row_is_sound)(void *context, const struct page_node *row);
    void *context;
    size_t bit, unsound, nodes; /* the best one so far; rows whose checksum fails with it; rows */
    bool found, doubtful;
};

static size_t unsound_rows(const struct mending *m)
{
    size_t count = 0;

    for (size_t i = 0; i < page_nodes(m->page); i++) {
        struct page_node n;

        count +=
            page_node(m->page, m->page_size, i, true, &n) == 0 || !m->row_is_sound(m->context, &n);
    }
    return count;
}

static void flip(struct mending *m, size_t bit) { m->page[bit / 8] ^= (uint8_t)(1u << bit % 8); }

/* Another bit of the same key may put it in order as well, or one of its neighbour's: the right
 * one alone makes all checksums sound. Where more bits are flipped than one, the damaged row stays
 * damaged, and the others can be found again. Where two bits make all sound, as when the bounds of
 * the page fit with some rows fewer or with some that were deleted, nobody can say which it was. */
static void try_bit(struct mending *m, size_t bit)
{
    size_t unsound = SIZE_MAX, nodes = 0;

    flip(m, bit);
    if (page_leaf_is_sound(m->page, m->page_size, m->bounds)) {
        unsound = unsound_rows(m);
        nodes = page_nodes(m->page);
    }
    flip(m, bit);
    m->doubtful |= m->found && unsound == 0 && m->unsound == 0;
    if (unsound > m->unsound || (unsound == m->unsound && nodes <= m->nodes)) return;
    m->found = true;
    m->unsound = unsound;
    m->nodes = nodes;
    m->bit = bit;
}

bool page_leaf_mend(uint8_t *page, size_t page_size, struct page_bounds bounds,
                    bool (*row_is_sound)(void *context, const struct page_node *row), void *context,
                    size_t *out_at)
{
    struct mending m = {.page = page,
                        .page_size = page_size,
                        .bounds = bounds,
                        .row_is_sound = row_is_sound,
                        .context = context};

    m.unsound = unsound_rows(&m); /* no sound row becomes damaged */
    for (size_t bit = 8 * PAGE_BOUNDS; bit < 8 * page_size; bit++)
        try_bit(&m, bit);
    if (!m.found || m.doubtful) return false;
    flip(&m, m.bit);
    *out_at = m.bit / 8;
    return true;
}
