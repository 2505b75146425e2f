/* The layout is that of LMDB 0.9 on a 64-bit machine: 16 bytes of head, then the places of the
 * nodes from the front, and the nodes from the end. */
#include "storage/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/xalloc.h"
#include "storage/key.h"

enum {
    MAGIC = 0xbeefc0de,
    VERSION = 1,
    HEAD = 16,
    NODE_HEAD = 8,
    TREE_SIZE = 48,
    META_SIZE = 24 + 2 * TREE_SIZE + 16,
    LEVELS_MAX = 32,
    IS_BRANCH = 1,
    IS_LEAF = 2,
    IS_OVERFLOW = 4,
    IS_META = 8,
    NODE_BIG = 1,  /* the value stands on pages of its own */
    NODE_TREE = 2, /* the value is the root of a sub-database */
    INTEGER_KEYS = 8,
    ORDER_FLAGS = 0x7f, /* of a tree, those that change how it is read */
    PAGE_MIN = 512,
    PAGE_MAX = 65536,
};
static const uint64_t NO_PAGE = ~0ull;

struct tree {
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
    uint64_t txn, last_page;
    uint32_t page_size;
    struct tree free, main;
};

struct node {
    const uint8_t *at;
    uint16_t flags;
    struct slice key;
    uint64_t low; /* of a branch: the page; of a leaf: the length of its value */
};

struct walk {
    struct pages *out;
    struct meta meta;
    const char *name; /* of the tree under way */
    struct tree seen; /* its counts so far */
    uint64_t unseen;  /* pages that hold long values, where rows are not looked at */
    uint8_t *pages;   /* a mark for each */
};
enum { UNMARKED, USED, FREE };

static uint64_t get(const uint8_t *at, size_t n)
{
    uint64_t v = 0;

    memcpy(&v, at, n); /* little-endian, as the machines we run on */
    return v;
}

static void say(struct walk *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct walk *w, const char *format, ...)
{
    char line[400];
    int n = snprintf(line, sizeof(line), "%s: ", w->name);
    va_list args;

    va_start(args, format);
    vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
    va_end(args);
    w->out->findings++;
    w->out->tell(w->out->context, line);
}

static void part(struct walk *w, enum page_part what, const uint8_t *at, size_t len)
{
    struct pages *p = w->out;

    if (p->part && len) p->part(p->context, what, w->name, (size_t)(at - p->file.data), len);
}

/* ---- the meta pages ---- */

static void read_tree(const uint8_t *at, struct tree *out)
{
    *out = (struct tree){.flags = (uint16_t)get(at + 4, 2),
                         .depth = (uint16_t)get(at + 6, 2),
                         .branch_pages = get(at + 8, 8),
                         .leaf_pages = get(at + 16, 8),
                         .overflow_pages = get(at + 24, 8),
                         .entries = get(at + 32, 8),
                         .root = get(at + 40, 8)};
}

static err_t read_meta(struct slice file, size_t page_size, unsigned n, struct meta *out)
{
    const uint8_t *page = file.data + n * page_size, *at = page + HEAD;

    if (file.len < n * page_size + HEAD + META_SIZE) return fail(STORE_DAMAGED, "no meta page");
    if (get(page + 10, 2) != IS_META || get(at, 4) != MAGIC)
        return fail(STORE_DAMAGED, "meta page %u is none", n);
    if (get(at + 4, 4) != VERSION) return fail(STORE_VERSION, "data of another LMDB");
    read_tree(at + 24, &out->free);
    read_tree(at + 24 + TREE_SIZE, &out->main);
    out->page_size = (uint32_t)get(at + 24, 4); /* stands where the first tree has room */
    at += 24 + 2 * (size_t)TREE_SIZE;
    out->last_page = get(at, 8);
    out->txn = get(at + 8, 8);
    return OK;
}

/* A commit writes the page that the one before did not, so their numbers follow each other. */
static err_t read_metas(struct slice file, struct meta out[2])
{
    uint64_t size = file.len >= HEAD + META_SIZE ? get(file.data + HEAD + 24, 4) : 0;

    if (size < PAGE_MIN || size > PAGE_MAX || (size & (size - 1)))
        return fail(STORE_DAMAGED, "the size of a page is %llu", (unsigned long long)size);
    for (unsigned n = 0; n < 2; n++)
        TRY(read_meta(file, size, n, &out[n]));
    uint64_t a = out[0].txn, b = out[1].txn;
    bool fresh = a == 0 && b == 0;
    if (out[1].page_size != size || (!fresh && ((a & 1) != 0 || (b + 1 != a && a + 1 != b))))
        return fail(STORE_DAMAGED, "the meta pages are of the commits %llu and %llu",
                    (unsigned long long)a, (unsigned long long)b);
    return OK;
}

err_t pages_newest(struct slice file, uint64_t *out_txn)
{
    struct meta metas[2];

    TRY(read_metas(file, metas));
    *out_txn = metas[0].txn > metas[1].txn ? metas[0].txn : metas[1].txn;
    return OK;
}

/* ---- one page ---- */

static const uint8_t *page_at(const struct walk *w, uint64_t number)
{
    return w->out->file.data + number * w->meta.page_size;
}

static bool take_page(struct walk *w, uint64_t number, int mark)
{
    if (number < 2 || number > w->meta.last_page) {
        say(w, "page %llu is not in the file", (unsigned long long)number);
        return false;
    }
    if (w->pages[number] != UNMARKED) {
        say(w, "page %llu has two places", (unsigned long long)number);
        return false;
    }
    w->pages[number] = (uint8_t)mark;
    return true;
}

static bool has_bytes(struct walk *w, uint64_t number, uint64_t count)
{
    uint64_t all = w->out->file.len / w->meta.page_size;

    if (number < all && count <= all - number) return true;
    say(w, "the file ends before page %llu", (unsigned long long)(number + count - 1));
    return false;
}

static bool check_head(struct walk *w, uint64_t number, unsigned kind)
{
    const uint8_t *page = page_at(w, number);
    uint64_t lower = get(page + 12, 2), upper = get(page + 14, 2);
    bool sane = get(page, 8) == number && get(page + 10, 2) == kind && lower > HEAD &&
                lower % 2 == 0 && lower <= upper && upper < w->meta.page_size;

    part(w, PAGE_STRUCTURE, page, sane ? lower : HEAD);
    if (!sane) say(w, "the head of page %llu is damaged", (unsigned long long)number);
    return sane;
}

static size_t node_count(const uint8_t *page) { return (size_t)(get(page + 12, 2) - HEAD) / 2; }

/* The bytes of the node at this place; 0 when it does not lie inside its page. */
static size_t read_node(const struct walk *w, const uint8_t *page, size_t index, bool leaf,
                        struct node *out)
{
    size_t at = get(page + HEAD + 2 * index, 2), key_len, size;

    if (at < get(page + 14, 2) || at + NODE_HEAD > w->meta.page_size) return 0;
    out->at = page + at;
    out->flags = (uint16_t)get(out->at + 4, 2);
    key_len = get(out->at + 6, 2);
    out->key = slice_of(out->at + NODE_HEAD, key_len);
    out->low = leaf ? get(out->at, 4) : get(out->at, 6);
    size = NODE_HEAD + key_len + (!leaf ? 0 : out->flags & NODE_BIG ? 8 : out->low);
    return at + size <= w->meta.page_size ? (size + 1) & ~(size_t)1 : 0;
}

/* Nodes lie one behind the other, so their lengths make up what the head says is taken. */
static bool check_nodes(struct walk *w, uint64_t number, bool leaf)
{
    const uint8_t *page = page_at(w, number);
    size_t taken = 0;

    for (size_t i = 0; i < node_count(page); i++) {
        struct node n;
        size_t size = read_node(w, page, i, leaf, &n);

        taken += size;
        if (size && (!leaf || n.flags <= NODE_TREE)) continue;
        say(w, "page %llu: node %zu is damaged", (unsigned long long)number, i);
        return false;
    }
    if (taken == w->meta.page_size - get(page + 14, 2)) return true;
    say(w, "page %llu: its nodes take %zu bytes", (unsigned long long)number, taken);
    return false;
}

static int compare(const struct walk *w, struct slice a, struct slice b)
{
    if (!(w->seen.flags & INTEGER_KEYS)) return slice_cmp(a, b);
    uint64_t x = get(a.data, 8), y = get(b.data, 8);
    return x < y ? -1 : x > y;
}

/* ---- trees ---- */

/* Keys from `from` (absent: any) up to, not with, `to`. */
struct bounds {
    struct slice from, to;
};

static bool check_key(struct walk *w, uint64_t number, struct slice key, struct slice last,
                      const struct bounds *b)
{
    bool sized = key.len > 0 && (!(w->seen.flags & INTEGER_KEYS) || key.len == 8);
    bool ordered = sized && (slice_is_none(last) || compare(w, last, key) < 0) &&
                   (slice_is_none(b->from) || compare(w, b->from, key) <= 0) &&
                   (slice_is_none(b->to) || compare(w, key, b->to) < 0);

    if (!ordered) say(w, "page %llu: a key is out of order", (unsigned long long)number);
    return ordered;
}

static void check_overflow(struct walk *w, const struct node *n)
{
    uint64_t first = get(n->key.data + n->key.len, 8);
    uint64_t count = (HEAD - 1 + n->low) / w->meta.page_size + 1;
    const uint8_t *page;

    part(w, PAGE_STRUCTURE, n->key.data + n->key.len, 8);
    for (uint64_t i = 0; i < count; i++)
        if (!take_page(w, first + i, USED)) return;
    if (!has_bytes(w, first, count)) return;
    page = page_at(w, first);
    part(w, PAGE_STRUCTURE, page, HEAD);
    part(w, PAGE_RECORD, page + HEAD, n->low);
    w->seen.overflow_pages += count;
    if (get(page, 8) != first || get(page + 10, 2) != IS_OVERFLOW || get(page + 12, 4) != count)
        say(w, "the head of page %llu is damaged", (unsigned long long)first);
}

struct level {
    void (*row)(struct walk *w, const struct node *n, struct slice value); /* NULL: a record */
};

static void take_row(struct walk *w, const struct level *l, const struct node *n)
{
    const uint8_t *value = n->key.data + n->key.len;
    bool big = n->flags & NODE_BIG;

    w->seen.entries++;
    part(w, PAGE_STRUCTURE, n->at, NODE_HEAD);
    part(w, l->row ? PAGE_STRUCTURE : PAGE_RECORD, n->key.data, n->key.len);
    if (big)
        check_overflow(w, n);
    else
        part(w, l->row ? PAGE_STRUCTURE : PAGE_RECORD, value, n->low);
    if (l->row && !big) l->row(w, n, slice_of(value, n->low));
    if (l->row && big && has_bytes(w, get(value, 8), (HEAD - 1 + n->low) / w->meta.page_size + 1))
        l->row(w, n, slice_of(page_at(w, get(value, 8)) + HEAD, n->low));
    if (!l->row && n->flags & NODE_TREE) say(w, "a row is a tree");
}

static void walk_leaf(struct walk *w, const struct level *l, uint64_t number, struct bounds b)
{
    const uint8_t *page = page_at(w, number);
    struct slice last = SLICE_NONE;

    w->seen.leaf_pages++;
    for (size_t i = 0; i < node_count(page); i++) {
        struct node n;

        read_node(w, page, i, true, &n);
        if (!check_key(w, number, n.key, last, &b)) return;
        last = n.key;
        take_row(w, l, &n);
    }
}

/* A place outside its page is one in the page beside it, where an older copy of the row may be. */
static void check_places(struct walk *w, uint64_t number)
{
    const uint8_t *page = page_at(w, number);

    for (size_t i = 0; i < node_count(page); i++) {
        size_t at = get(page + HEAD + 2 * i, 2);

        if (at >= get(page + 14, 2) && at + NODE_HEAD <= w->meta.page_size) continue;
        say(w, "page %llu: node %zu is damaged", (unsigned long long)number, i);
        return;
    }
}

static bool looks_at_rows(const struct walk *w, const struct level *l)
{
    return l->row || !w->out->heads_only;
}

static void walk_page(struct walk *w, const struct level *l, uint64_t number, unsigned depth,
                      struct bounds b);

/* The first key of a branch counts as the lowest, whatever it is. */
static void walk_branch(struct walk *w, const struct level *l, uint64_t number, unsigned depth,
                        struct bounds b)
{
    const uint8_t *page = page_at(w, number);
    size_t count = node_count(page);
    struct slice last = SLICE_NONE;

    w->seen.branch_pages++;
    for (size_t i = 0; i < count; i++) {
        struct node n = {0}, next = {0};
        struct bounds inner = b;

        read_node(w, page, i, false, &n);
        part(w, PAGE_STRUCTURE, n.at, NODE_HEAD + n.key.len);
        if (i > 0 && !check_key(w, number, n.key, last, &b)) return;
        if (i > 0) last = inner.from = n.key;
        if (i + 1 < count) {
            read_node(w, page, i + 1, false, &next);
            inner.to = next.key;
        }
        walk_page(w, l, n.low, depth - 1, inner);
    }
}

static void walk_page(struct walk *w, const struct level *l, uint64_t number, unsigned depth,
                      struct bounds b)
{
    bool leaf = depth == 1;

    if (!take_page(w, number, USED) || !has_bytes(w, number, 1)) return;
    if (!check_head(w, number, leaf ? IS_LEAF : IS_BRANCH)) return;
    if (leaf && !looks_at_rows(w, l)) {
        check_places(w, number);
        w->seen.leaf_pages++;
        return;
    }
    if (!check_nodes(w, number, leaf)) return;
    if (leaf)
        walk_leaf(w, l, number, b);
    else
        walk_branch(w, l, number, depth, b);
}

static void compare_counts(struct walk *w, const struct tree *t)
{
    const struct tree *s = &w->seen;
    uint64_t found = s->branch_pages + s->leaf_pages + s->overflow_pages,
             counted = t->branch_pages + t->leaf_pages + t->overflow_pages;

    if (s->branch_pages != t->branch_pages || s->leaf_pages != t->leaf_pages ||
        s->overflow_pages != t->overflow_pages || s->entries != t->entries)
        say(w, "%llu rows on %llu pages found, %llu on %llu counted",
            (unsigned long long)s->entries, (unsigned long long)found,
            (unsigned long long)t->entries, (unsigned long long)counted);
}

static void walk_tree(struct walk *w, const char *name, const struct tree *t, unsigned flags,
                      const struct level *l)
{
    struct tree outer = w->seen;
    const char *outer_name = w->name;

    w->name = name;
    w->seen = (struct tree){.flags = (uint16_t)flags};
    if ((t->flags & ORDER_FLAGS) != flags || t->depth > LEVELS_MAX ||
        (t->depth == 0) != (t->root == NO_PAGE))
        say(w, "its root is damaged");
    else if (t->depth)
        walk_page(w, l, t->root, t->depth, (struct bounds){0});
    if (!looks_at_rows(w, l)) {
        w->seen.overflow_pages = t->overflow_pages;
        w->seen.entries = t->entries;
        w->unseen += t->overflow_pages;
    }
    compare_counts(w, t);
    w->seen = outer;
    w->name = outer_name;
}

/* ---- the three kinds ---- */

static const struct level records = {NULL};

/* A row of the main tree: a sub-database by its name. */
static void take_database(struct walk *w, const struct node *n, struct slice value)
{
    struct tree t;
    char name[64];

    if (n->flags != NODE_TREE || value.len != TREE_SIZE) {
        say(w, "a sub-database is damaged");
        return;
    }
    read_tree(value.data, &t);
    snprintf(name, sizeof(name), SLICE_FMT, SLICE_ARG(slice_sub(n->key, 0, sizeof(name) - 1)));
    walk_tree(w, name, &t, 0, &records);
}

static const struct level databases = {take_database};

/* A row of the free list: how many pages, then their numbers, the highest first. */
static void take_free(struct walk *w, const struct node *n, struct slice value)
{
    uint64_t count = value.len >= 8 ? get(value.data, 8) : NO_PAGE, last = NO_PAGE;

    if (count > value.len / 8 - 1 || get(n->key.data, 8) > w->meta.txn) {
        say(w, "a list of free pages is damaged");
        return;
    }
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = get(value.data + 8 * i, 8);

        if (number >= last) say(w, "a list of free pages is out of order");
        last = number;
        if (!take_page(w, number, FREE)) return;
    }
}

static const struct level lists = {take_free};

static void check_leftovers(struct walk *w)
{
    uint64_t left = 0;

    for (uint64_t n = 2; n <= w->meta.last_page; n++)
        left += w->pages[n] == UNMARKED;
    if (left != w->unseen)
        say(w, "%llu pages are neither in use nor free", (unsigned long long)(left - w->unseen));
}

static void walk_all(struct walk *w)
{
    w->name = "pages";
    part(w, PAGE_STRUCTURE, w->out->file.data, HEAD + META_SIZE);
    part(w, PAGE_STRUCTURE, w->out->file.data + w->meta.page_size, HEAD + META_SIZE);
    walk_tree(w, "databases", &w->meta.main, 0, &databases);
    walk_tree(w, "free pages", &w->meta.free, INTEGER_KEYS, &lists);
    check_leftovers(w);
}

err_t pages_walk(struct pages *p, uint64_t txn)
{
    enum { UNWRITTEN_MAX = 1024 };
    struct walk w = {.out = p};
    struct meta metas[2];

    TRY(read_metas(p->file, metas));
    w.meta = metas[txn & 1];
    if (w.meta.txn != txn) return fail(NOT_FOUND, "commit %llu", (unsigned long long)txn);
    /* The last ones may have been free before anybody wrote them, but not many. */
    if (w.meta.last_page > 2 * (p->file.len / w.meta.page_size) + UNWRITTEN_MAX)
        return fail(STORE_DAMAGED, "its last page is %llu", (unsigned long long)w.meta.last_page);
    w.pages = xcalloc(w.meta.last_page + 1);
    walk_all(&w);
    free(w.pages);
    return OK;
}

bool pages_is_in_use(const void *value, size_t key_len, size_t page_size)
{
    size_t at = (uintptr_t)value & (page_size - 1);
    const uint8_t *page = (const uint8_t *)value - at;

    return get(page + 10, 2) != IS_LEAF || at >= get(page + 14, 2) + NODE_HEAD + key_len;
}

/* ---- files ---- */

err_t pages_map(const char *path, struct slice *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *out = SLICE_NONE;
    if (fd < 0 && errno == ENOENT) return OK;
    bool opened = fd >= 0 && fstat(fd, &st) == 0;
    bool empty = opened && st.st_size == 0;
    void *map = opened && !empty ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0)
                                 : MAP_FAILED;
    int error = errno;
    if (fd >= 0) close(fd);
    if (empty) return OK;
    if (map == MAP_FAILED) return fail(STORE_FAILED, "%s: %s", path, strerror(error));
    *out = slice_of(map, (size_t)st.st_size);
    return OK;
}

void pages_unmap(struct slice file)
{
    if (file.data) munmap((void *)file.data, file.len);
}

static void keep_first(void *context, const char *line)
{
    char *first = context;

    if (!*first) snprintf(first, 200, "%s", line);
}

static err_t check_heads(struct slice file)
{
    char first[200] = "";
    struct pages p = {.file = file, .heads_only = true, .tell = keep_first, .context = first};
    uint64_t txn;

    TRY(pages_newest(file, &txn));
    TRY(pages_walk(&p, txn));
    if (p.findings == 0) return OK;
    return fail(STORE_DAMAGED, "its pages are damaged (%s; %zu findings)", first, p.findings);
}

err_t pages_check_heads(const char *path)
{
    struct slice file;

    TRY(pages_map(path, &file));
    err_t e = slice_is_none(file) ? OK : check_heads(file);
    pages_unmap(file);
    return e;
}
