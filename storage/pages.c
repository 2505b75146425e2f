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
#include "storage/page.h"
#include "storage/record.h"
#include "storage/store.h"

enum {
    MAGIC = 0xbeefc0de,
    VERSION = 1,
    TREE_SIZE = 48,
    META_SIZE = 24 + 2 * TREE_SIZE + 16,
    LEVELS_MAX = 32,
    INTEGER_KEYS = 8,
    ORDER_FLAGS = 0x7f, /* of a tree, those that change how it is read */
    PAGE_MIN = 512,
    PAGE_MAX = 65536,
    MENDS_MAX = 16,
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

struct walk {
    struct pages *out;
    struct meta meta;
    const char *name; /* of the tree under way */
    struct tree seen; /* its counts so far */
    uint64_t unseen;  /* pages that hold long values, where rows are not looked at */
    uint64_t freed;   /* the newest list of free pages is of this commit */
    uint8_t *pages;   /* a mark for each */
    size_t mends;     /* leaves that one bit made sound */
};
enum { UNMARKED, USED, FREE };

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
    *out = (struct tree){.flags = (uint16_t)page_get(at + 4, 2),
                         .depth = (uint16_t)page_get(at + 6, 2),
                         .branch_pages = page_get(at + 8, 8),
                         .leaf_pages = page_get(at + 16, 8),
                         .overflow_pages = page_get(at + 24, 8),
                         .entries = page_get(at + 32, 8),
                         .root = page_get(at + 40, 8)};
}

static err_t read_meta(struct slice file, size_t page_size, unsigned n, struct meta *out)
{
    const uint8_t *page = file.data + n * page_size, *at = page + PAGE_HEAD;

    if (file.len < n * page_size + PAGE_HEAD + META_SIZE)
        return fail(STORE_DAMAGED, "no meta page");
    if (page_get(page + 10, 2) != PAGE_META || page_get(at, 4) != MAGIC)
        return fail(STORE_DAMAGED, "meta page %u is none", n);
    if (page_get(at + 4, 4) != VERSION) return fail(STORE_VERSION, "data of another LMDB");
    read_tree(at + 24, &out->free);
    read_tree(at + 24 + TREE_SIZE, &out->main);
    out->page_size = (uint32_t)page_get(at + 24, 4); /* stands where the first tree has room */
    at += 24 + 2 * (size_t)TREE_SIZE;
    out->last_page = page_get(at, 8);
    out->txn = page_get(at + 8, 8);
    return OK;
}

/* A commit writes the page that the one before did not, so their numbers follow each other. */
static err_t read_metas(struct slice file, struct meta out[2])
{
    uint64_t size = file.len >= PAGE_HEAD + META_SIZE ? page_get(file.data + PAGE_HEAD + 24, 4) : 0;

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

/* A commit that changes anything writes its root anew, and lists the old one's page as free under
 * its own number; the first one has no older root. So a flipped number of a commit, which may make
 * an older one the newest, does not go with its lists. */
static bool is_of_its_commit(const struct meta *m, uint64_t freed)
{
    return freed == m->txn || (m->txn < 2 && freed == 0);
}

/* The commit of the newest list of free pages, 0 without any; that of the meta page when there is
 * no way to it, which another bit than one of its number must have closed. */
static uint64_t newest_list(struct slice file, const struct meta *m)
{
    uint64_t number = m->free.root;

    if (m->free.depth == 0 && number == NO_PAGE) return 0;
    for (unsigned depth = m->free.depth; depth && depth <= LEVELS_MAX; depth--) {
        struct page_node n;

        if (number >= file.len / m->page_size) break;
        const uint8_t *page = file.data + number * m->page_size;
        if (!page_head_is_sound(page, m->page_size) ||
            !page_node(page, m->page_size, page_nodes(page) - 1, depth == 1, &n))
            break;
        if (depth == 1) return n.key.len == 8 ? page_get(n.key.data, 8) : m->txn;
        number = n.low;
    }
    return m->txn;
}

/* The commit before the newest, which LMDB keeps whole: was it the newest, and its number lost a
 * bit? Only while nothing runs on the file. */
static err_t check_older(struct slice file)
{
    struct meta metas[2];

    TRY(read_metas(file, metas));
    const struct meta *older = &metas[metas[0].txn > metas[1].txn];
    uint64_t freed = newest_list(file, older);
    if (is_of_its_commit(older, freed)) return OK;
    return fail(STORE_DAMAGED, "the meta page of commit %llu leads to what commit %llu left",
                (unsigned long long)older->txn, (unsigned long long)freed);
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
    uint64_t lower = page_get(page + 12, 2), upper = page_get(page + 14, 2);
    bool sane = page_get(page, 8) == number && page_get(page + 10, 2) == kind &&
                lower > PAGE_HEAD && lower % 2 == 0 && lower <= upper && upper < w->meta.page_size;

    part(w, PAGE_STRUCTURE, page, sane ? lower : PAGE_HEAD);
    if (!sane) say(w, "the head of page %llu is damaged", (unsigned long long)number);
    return sane;
}

/* Nodes lie one behind the other, so their lengths make up what the head says is taken. */
static bool check_nodes(struct walk *w, uint64_t number, bool leaf)
{
    const uint8_t *page = page_at(w, number);
    size_t taken = 0;

    for (size_t i = 0; i < page_nodes(page); i++) {
        struct page_node n;
        size_t size = page_node(page, w->meta.page_size, i, leaf, &n);

        taken += size;
        if (size && (!leaf || n.flags <= NODE_TREE)) continue;
        say(w, "page %llu: node %zu is damaged", (unsigned long long)number, i);
        return false;
    }
    if (taken == w->meta.page_size - page_get(page + 14, 2)) return true;
    say(w, "page %llu: its nodes take %zu bytes", (unsigned long long)number, taken);
    return false;
}

static int compare(const struct walk *w, struct slice a, struct slice b)
{
    if (!(w->seen.flags & INTEGER_KEYS)) return slice_cmp(a, b);
    uint64_t x = page_get(a.data, 8), y = page_get(b.data, 8);
    return x < y ? -1 : x > y;
}

/* ---- trees ---- */

static bool check_key(struct walk *w, uint64_t number, struct slice key, struct slice last,
                      const struct page_bounds *b)
{
    bool sized = key.len > 0 && (!(w->seen.flags & INTEGER_KEYS) || key.len == 8);
    bool ordered = sized && (slice_is_none(last) || compare(w, last, key) < 0) &&
                   (slice_is_none(b->from) || compare(w, b->from, key) <= 0) &&
                   (slice_is_none(b->to) || compare(w, key, b->to) < 0);

    if (!ordered) say(w, "page %llu: a key is out of order", (unsigned long long)number);
    return ordered;
}

/* Pages that the value takes, by its length; the head may count more: where a commit writes a value
 * twice, LMDB puts a shorter one into the pages of the first. */
static void check_overflow(struct walk *w, const struct page_node *n)
{
    uint64_t first = page_get(n->key.data + n->key.len, 8);
    uint64_t least = (PAGE_HEAD - 1 + n->low) / w->meta.page_size + 1, count = least;
    const uint8_t *page = NULL;

    part(w, PAGE_STRUCTURE, n->key.data + n->key.len, 8);
    if (first < w->meta.last_page + 1 && has_bytes(w, first, 1)) {
        page = page_at(w, first);
        if (page_get(page + 12, 4) > least) count = page_get(page + 12, 4);
    }
    for (uint64_t i = 0; i < count; i++)
        if (!take_page(w, first + i, USED)) return;
    if (!has_bytes(w, first, least)) return;
    part(w, PAGE_STRUCTURE, page, PAGE_HEAD);
    part(w, PAGE_RECORD, page + PAGE_HEAD, n->low);
    w->seen.overflow_pages += count;
    if (page_get(page, 8) != first || page_get(page + 10, 2) != PAGE_OVERFLOW ||
        page_get(page + 12, 4) < least)
        say(w, "the head of page %llu is damaged", (unsigned long long)first);
}

struct level {
    void (*row)(struct walk *w, const struct page_node *n, struct slice value); /* NULL: a record */
};

static void take_row(struct walk *w, const struct level *l, const struct page_node *n)
{
    const uint8_t *value = n->key.data + n->key.len;
    bool big = n->flags & NODE_BIG;

    w->seen.entries++;
    part(w, PAGE_STRUCTURE, n->at, PAGE_NODE);
    part(w, l->row ? PAGE_STRUCTURE : PAGE_RECORD, n->key.data, n->key.len);
    if (big)
        check_overflow(w, n);
    else
        part(w, l->row ? PAGE_STRUCTURE : PAGE_RECORD, value, n->low);
    if (l->row && !big) l->row(w, n, slice_of(value, n->low));
    if (l->row && big &&
        has_bytes(w, page_get(value, 8), (PAGE_HEAD - 1 + n->low) / w->meta.page_size + 1))
        l->row(w, n, slice_of(page_at(w, page_get(value, 8)) + PAGE_HEAD, n->low));
    if (!l->row && n->flags & NODE_TREE) say(w, "a row is a tree");
}

static void walk_leaf(struct walk *w, const struct level *l, uint64_t number, struct page_bounds b)
{
    const uint8_t *page = page_at(w, number);
    struct slice last = SLICE_NONE;

    w->seen.leaf_pages++;
    for (size_t i = 0; i < page_nodes(page); i++) {
        struct page_node n;

        page_node(page, w->meta.page_size, i, true, &n);
        if (!check_key(w, number, n.key, last, &b)) return;
        last = n.key;
        take_row(w, l, &n);
    }
}

/* The checksum is sound; a long value stands on pages of its own. */
static bool row_is_sound(void *context, const struct page_node *n)
{
    const struct walk *w = context;
    struct slice value = slice_of(n->key.data + n->key.len, n->low), payload;

    if (n->flags & NODE_BIG) {
        uint64_t first = page_get(value.data, 8), pages = w->out->file.len / w->meta.page_size;
        if (first >= pages || n->low > (pages - first) * w->meta.page_size - PAGE_HEAD)
            return false;
        value.data = page_at(w, first) + PAGE_HEAD;
    }
    err_t e = record_open(store_db_of(slice_text(w->name)), n->key, value, &payload);
    if (e != OK) err_clear();
    return e != ERR_STORE_DAMAGED;
}

static bool mend_leaf(struct walk *w, uint64_t number, struct page_bounds b)
{
    size_t size = w->meta.page_size, at;
    uint8_t *copy = memcpy(xalloc(size), page_at(w, number), size);
    bool mended = page_leaf_mend(copy, size, b, row_is_sound, w, &at);

    if (mended) w->out->mended(w->out->context, w->name, number * size + at, copy[at]);
    w->mends += mended;
    free(copy);
    return mended;
}

/* Looking for the bit takes milliseconds: not where nothing will be put right any more, or a large
 * file with many damaged pages would keep its server from saying so for hours. Of rows that a newer
 * version keeps we do not know the checksum. */
static bool may_mend(const struct walk *w)
{
    return w->out->mended && !w->out->findings && w->mends < MENDS_MAX &&
           store_db_of(slice_text(w->name)) != DB_COUNT;
}

/* A place outside its page is one in the page beside it, where an older copy of the row may be; a
 * key out of order hides the rows beside it. */
static void check_leaf(struct walk *w, uint64_t number, struct page_bounds b)
{
    w->seen.leaf_pages++;
    if (page_leaf_is_sound(page_at(w, number), w->meta.page_size, b)) return;
    if (may_mend(w) && mend_leaf(w, number, b)) return;
    say(w, "page %llu: a row is damaged, and with it the way to the others",
        (unsigned long long)number);
}

static bool looks_at_rows(const struct walk *w, const struct level *l)
{
    return l->row || !w->out->heads_only;
}

static void walk_page(struct walk *w, const struct level *l, uint64_t number, unsigned depth,
                      struct page_bounds b);

/* The first key of a branch counts as the lowest, whatever it is. */
static void walk_branch(struct walk *w, const struct level *l, uint64_t number, unsigned depth,
                        struct page_bounds b)
{
    const uint8_t *page = page_at(w, number);
    size_t count = page_nodes(page);
    struct slice last = SLICE_NONE;

    w->seen.branch_pages++;
    for (size_t i = 0; i < count; i++) {
        struct page_node n = {0}, next = {0};
        struct page_bounds inner = b;

        page_node(page, w->meta.page_size, i, false, &n);
        part(w, PAGE_STRUCTURE, n.at, PAGE_NODE + n.key.len);
        if (i > 0 && !check_key(w, number, n.key, last, &b)) return;
        if (i > 0) last = inner.from = n.key;
        if (i + 1 < count) {
            page_node(page, w->meta.page_size, i + 1, false, &next);
            inner.to = next.key;
        }
        walk_page(w, l, n.low, depth - 1, inner);
    }
}

static void walk_page(struct walk *w, const struct level *l, uint64_t number, unsigned depth,
                      struct page_bounds b)
{
    bool leaf = depth == 1;

    if (!take_page(w, number, USED) || !has_bytes(w, number, 1)) return;
    if (!check_head(w, number, leaf ? PAGE_LEAF : PAGE_BRANCH)) return;
    if (leaf && !looks_at_rows(w, l)) {
        check_leaf(w, number, b);
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
        walk_page(w, l, t->root, t->depth, (struct page_bounds){0});
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
static void take_database(struct walk *w, const struct page_node *n, struct slice value)
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
static void take_free(struct walk *w, const struct page_node *n, struct slice value)
{
    uint64_t count = value.len >= 8 ? page_get(value.data, 8) : NO_PAGE, last = NO_PAGE;

    if (count > value.len / 8 - 1 || page_get(n->key.data, 8) > w->meta.txn) {
        say(w, "a list of free pages is damaged");
        return;
    }
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = page_get(value.data + 8 * i, 8);

        if (number >= last) say(w, "a list of free pages is out of order");
        last = number;
        if (!take_page(w, number, FREE)) return;
    }
    w->freed = page_get(n->key.data, 8); /* keys are in order */
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
    part(w, PAGE_STRUCTURE, w->out->file.data, PAGE_HEAD + META_SIZE);
    part(w, PAGE_STRUCTURE, w->out->file.data + w->meta.page_size, PAGE_HEAD + META_SIZE);
    walk_tree(w, "databases", &w->meta.main, 0, &databases);
    walk_tree(w, "free pages", &w->meta.free, INTEGER_KEYS, &lists);
    check_leftovers(w);
    if (!w->out->findings && !is_of_its_commit(&w->meta, w->freed))
        say(w, "the meta page of commit %llu leads to what commit %llu left",
            (unsigned long long)w->meta.txn, (unsigned long long)w->freed);
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

    return page_get(page + 10, 2) != PAGE_LEAF ||
           at >= page_get(page + 14, 2) + PAGE_NODE + key_len;
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

/* What the look at the heads came to: the first finding, and what is to be put right. */
struct look {
    char first[200];
    struct mend {
        size_t at;
        uint8_t byte;
        char tree[32];
    } mends[MENDS_MAX];
    size_t count;
};

static void keep_first(void *context, const char *line)
{
    struct look *l = context;

    if (!l->first[0]) snprintf(l->first, sizeof(l->first), "%s", line);
}

static void keep_mend(void *context, const char *tree, size_t at, uint8_t byte)
{
    struct look *l = context;
    struct mend *m = &l->mends[l->count++];

    *m = (struct mend){.at = at, .byte = byte};
    snprintf(m->tree, sizeof(m->tree), "%s", tree);
}

static err_t look_at_heads(struct slice file, struct look *l)
{
    struct pages p = {
        .file = file, .heads_only = true, .tell = keep_first, .mended = keep_mend, .context = l};
    uint64_t txn;

    TRY(pages_newest(file, &txn));
    TRY(check_older(file));
    TRY(pages_walk(&p, txn));
    if (p.findings)
        return fail(STORE_DAMAGED, "its pages are damaged (%s; %zu findings)", l->first,
                    p.findings);
    return OK;
}

static err_t put_right(const char *path, const struct look *l)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0;

    for (size_t i = 0; done && i < l->count; i++)
        done = pwrite(fd, &l->mends[i].byte, 1, (off_t)l->mends[i].at) == 1;
    done = done && fdatasync(fd) == 0;
    int error = errno;
    if (fd >= 0) close(fd);
    return done ? OK : fail(STORE_FAILED, "%s: %s", path, strerror(error));
}

static void tell_mends(const char *path, const struct look *l, void (*tell)(void *, const char *),
                       void *context)
{
    char line[400];

    for (size_t i = 0; i < l->count; i++) {
        snprintf(line, sizeof(line),
                 "%s: a bit of byte %zu, among the rows of %s, was flipped, and is flipped back: "
                 "the rows beside it can be found again. The memory or the disk of this machine "
                 "may be failing: back up, then look at them.",
                 path, l->mends[i].at, l->mends[i].tree);
        tell(context, line);
    }
}

err_t pages_open_check(const char *path, void (*tell)(void *context, const char *line),
                       void *context)
{
    struct slice file;
    struct look l = {0};

    TRY(pages_map(path, &file));
    err_t e = slice_is_none(file) ? OK : look_at_heads(file, &l);
    pages_unmap(file);
    TRY(e);
    if (l.count == 0) return OK;
    TRY(put_right(path, &l));
    if (tell) tell_mends(path, &l, tell, context);
    return OK;
}
