#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fixture.h"
#include "storage/check.h"
#include "storage/page.h"
#include "storage/pages.h"

static struct fixture f;
static char said[4096];
static uint8_t *file;
static size_t len;

static void begin(void) { fixture_init(&f); }
static void end(void)
{
    free(file);
    file = NULL;
    fixture_done(&f);
}
TestSuite(pages, .init = begin, .fini = end);

static void tell(void *context, const char *line)
{
    size_t n = strlen(said);
    snprintf(said + n, sizeof(said) - n, "%s\n", line);
}

static void put_rows(uint32_t from, uint32_t to, size_t size)
{
    static const uint8_t zeros[20000];
    struct batch b;

    batch_init(&b);
    for (uint32_t i = from; i < to; i++) {
        struct key k = key_of_scope((struct scope){1, i});
        batch_put(&b, DB_data, key_slice(&k), slice_of(zeros, size));
    }
    fixture_commit(&f, &b);
    batch_done(&b);
}

/* Several levels, values on pages of their own, and pages that are free again. */
static void fill(void)
{
    for (uint32_t i = 0; i < 20; i++)
        put_rows(i * 100, i * 100 + 100, 60);
    put_rows(5000, 5020, 20000);
    put_rows(300, 900, 90);
}

static void read_file(void)
{
    char path[512];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", f.path);
    int fd = open(path, O_RDONLY);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    len = (size_t)st.st_size;
    file = realloc(file, len);
    cr_assert_eq(pread(fd, file, len, 0), (ssize_t)len);
    close(fd);
}

static size_t parts[2];
static void part(void *context, enum page_part what, const char *tree, size_t at, size_t n)
{
    parts[what] += n;
}

static size_t walk(err_t *out)
{
    struct pages p = {.file = slice_of(file, len), .tell = tell, .part = part};
    uint64_t txn = 0;

    said[0] = '\0';
    parts[0] = parts[1] = 0;
    *out = pages_newest(p.file, &txn);
    if (*out == OK) *out = pages_walk(&p, txn);
    return p.findings;
}

Test(pages, a_sound_file_has_no_finding)
{
    err_t e;

    fill();
    read_file();
    cr_assert_eq(walk(&e), 0, "%s", said);
    CHECK_OK(e);
    cr_assert_geq(parts[PAGE_RECORD], 20 * 20000 + 2000 * 60);
    cr_assert_geq(parts[PAGE_STRUCTURE], 2000 * 10);
}

Test(pages, the_heads_alone_have_no_finding)
{
    uint64_t txn;

    fill();
    read_file();
    struct pages p = {.file = slice_of(file, len), .tell = tell, .heads_only = true};
    CHECK_OK(pages_newest(p.file, &txn));
    CHECK_OK(pages_walk(&p, txn));
    cr_assert_eq(p.findings, 0, "%s", said);
}

Test(pages, a_backup_has_no_finding)
{
    char path[300];
    struct store_options o = {.path = path, .map_size = FIXTURE_MAP, .read_only = true};
    struct check_result r;
    struct store *s;

    fill();
    snprintf(path, sizeof(path), "%s/copy", f.path);
    CHECK_OK(store_backup(f.store, path));
    CHECK_OK(store_open(&o, &s));
    said[0] = '\0';
    CHECK_OK(check_store(s, tell, NULL, &r));
    cr_assert(check_is_clean(&r), "%s", said);
    store_close(s);
    fixture_remove(path);
}

/* --- an old copy of a page ---------------------------------------------------------------- */

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

static uint8_t *first_node(uint8_t *page) { return page + get16(page + 16); }

static bool is_kind(const uint8_t *page, unsigned kind)
{
    return get16(page + 10) == kind && get16(page + 12) > 16;
}

/* A page that nothing leads to and that begins with the same key. */
static uint16_t old_copy_of(uint8_t *page, const uint8_t *used)
{
    uint8_t *node = first_node(page);

    for (size_t n = 2; n < len / 4096; n++) {
        uint8_t *other = file + n * 4096, *its = first_node(other);
        if (used[n] || !is_kind(other, 2) || its + 64 > other + 4096) continue;
        if (memcmp(its + 6, node + 6, 2 + get16(node + 6)) == 0) return (uint16_t)n;
    }
    return 0;
}

static void mark(void *context, enum page_part what, const char *tree, size_t at, size_t n)
{
    ((uint8_t *)context)[at / 4096] = 1;
}

/* A file with every kind of page, walked: `used` says which are reached from the newest commit. */
static struct pages walk_full(uint8_t used[4096], uint64_t *txn)
{
    fill();
    read_file();
    struct pages p = {.file = slice_of(file, len), .tell = tell, .part = mark, .context = used};
    CHECK_OK(pages_newest(p.file, txn));
    CHECK_OK(pages_walk(&p, *txn));
    return p;
}

/* A look-up meets no error when a branch leads to what a page was some commits ago. */
Test(pages, an_old_copy_of_a_page_is_found)
{
    uint8_t used[4096] = {0};
    unsigned tried = 0;
    uint64_t txn;
    err_t e;

    struct pages p = walk_full(used, &txn);
    for (size_t n = 2; n < len / 4096; n++) {
        uint8_t *page = file + n * 4096;
        if (!used[n] || !is_kind(page, 1)) continue;
        for (unsigned i = 0; i < (get16(page + 12) - 16u) / 2; i++) {
            uint8_t *pointer = page + get16(page + 16 + 2 * i);
            uint16_t now = get16(pointer), old = old_copy_of(file + now * 4096, used);
            if (!old) continue;
            memcpy(pointer, &old, 2);
            cr_assert(walk(&e) > 0 && e == OK, "page %u in the place of %u", old, now);
            struct pages heads = {.file = p.file, .tell = tell, .heads_only = true};
            cr_assert(pages_walk(&heads, txn) == OK && heads.findings);
            memcpy(pointer, &now, 2);
            tried++;
        }
    }
    cr_assert_geq(tried, 5);
}

/* One bit makes a place that of the page beside it, which may be an older copy of this one. */
Test(pages, a_place_outside_its_page_is_found)
{
    uint8_t used[4096] = {0};
    unsigned tried = 0;
    uint64_t txn;

    struct pages p = walk_full(used, &txn);
    for (size_t n = 2; n < len / 4096; n++) {
        uint8_t *page = file + n * 4096;
        struct pages heads = {.file = p.file, .tell = tell, .heads_only = true};
        if (!used[n] || !is_kind(page, 2)) continue;
        page[17] ^= 4096 >> 8;
        cr_assert(pages_walk(&heads, txn) == OK && heads.findings, "page %zu", n);
        page[17] ^= 4096 >> 8;
        tried++;
    }
    cr_assert_geq(tried, 20);
}

/* The bytes of a row that was replaced stay in the page, and its checksum is sound. */
Test(pages, a_pointer_to_a_row_that_is_gone_is_not_followed)
{
    static _Alignas(4096) uint8_t page[4096];

    page[10] = 2; /* a leaf whose rows begin at 3000 */
    page[14] = 3000 & 255;
    page[15] = 3000 >> 8;
    cr_expect(pages_is_in_use(page + 3000 + 8 + 10, 10, 4096));
    cr_expect_not(pages_is_in_use(page + 2998 + 8 + 10, 10, 4096));
    cr_expect_not(pages_is_in_use(page + 1000, 10, 4096));
    page[10] = 4; /* a long value has its page for itself */
    cr_expect(pages_is_in_use(page + 16, 10, 4096));
}

Test(pages, a_meta_page_of_another_commit_is_refused)
{
    enum { TXN = 16 + 24 + 2 * 48 + 8 };
    uint64_t txn;

    fill();
    read_file();
    for (unsigned page = 0; page < 2; page++)
        for (unsigned bit = 0; bit < 64; bit++) {
            uint8_t *at = file + page * 4096 + TXN + bit / 8;
            *at ^= (uint8_t)(1 << bit % 8);
            cr_assert_eq(pages_newest(slice_of(file, len), &txn), ERR_STORE_DAMAGED,
                         "page %u bit %u", page, bit);
            *at ^= (uint8_t)(1 << bit % 8);
        }
    CHECK_OK(pages_newest(slice_of(file, len), &txn));
}

Test(pages, a_store_does_not_open_at_an_older_commit)
{
    char path[512];
    enum { TXN = 16 + 24 + 2 * 48 + 8 };
    struct store_options o = {.path = f.path, .map_size = FIXTURE_MAP, .read_only = true};
    struct store *s;
    uint64_t newest;

    fill();
    read_file();
    CHECK_OK(pages_newest(slice_of(file, len), &newest));
    snprintf(path, sizeof(path), "%s/data.mdb", f.path);
    int fd = open(path, O_RDWR);
    uint8_t high = 1;
    cr_assert_eq(pwrite(fd, &high, 1, (off_t)(((newest ^ 1) & 1) * 4096 + TXN + 5)), 1);
    close(fd);
    cr_assert_eq(store_open(&o, &s), ERR_STORE_DAMAGED);
}

/* --- a bit that is put right --------------------------------------------------------------- */

enum { SHARED = 24 }; /* rows of two accounts that share a leaf */

static struct key shared_key(uint32_t i)
{
    struct key k = key_of_scope((struct scope){1, 100 + i / 12});
    key_bytes(&k, SLICE("row"));
    key_be32(&k, i);
    return k;
}

static void put_shared(void)
{
    struct batch b;

    batch_init(&b);
    for (uint32_t i = 0; i < SHARED; i++) {
        struct key k = shared_key(i);
        char text[32];
        int n = snprintf(text, sizeof(text), "this is row %u", i);
        batch_put(&b, DB_data, key_slice(&k), slice_of(text, (size_t)n));
    }
    fixture_commit(&f, &b);
    batch_done(&b);
}

/* Flips bits of the key of a shared row, in the page that is in use. */
static void flip_key(uint32_t row, size_t byte, uint8_t bits)
{
    uint8_t used[4096] = {0};
    char path[512];
    uint64_t txn;
    struct key k = shared_key(row);

    read_file();
    struct pages p = {.file = slice_of(file, len), .tell = tell, .part = mark, .context = used};
    CHECK_OK(pages_newest(p.file, &txn));
    CHECK_OK(pages_walk(&p, txn));
    uint8_t *at = file;
    do {
        at = memmem(at + 1, (size_t)(file + len - at - 1), k.data, k.len);
        cr_assert(at);
    } while (!used[(size_t)(at - file) / 4096]);
    at[byte] ^= bits;
    snprintf(path, sizeof(path), "%s/data.mdb", f.path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && pwrite(fd, at + byte, 1, (off_t)(at + byte - file)) == 1);
    close(fd);
}

static size_t rows_found(struct store *s)
{
    struct view *v;
    size_t found = 0;

    CHECK_OK(view_new(s, &v));
    CHECK_OK(view_begin(v));
    for (uint32_t i = 0; i < SHARED; i++) {
        struct key k = shared_key(i);
        struct slice out = SLICE_NONE;
        err_t e = view_find(v, DB_data, key_slice(&k), &out);
        found += e == OK && !slice_is_none(out);
    }
    view_free(v);
    return found;
}

static err_t open_again(bool read_only, size_t *out_found)
{
    struct store_options o = {
        .path = f.path, .map_size = FIXTURE_MAP, .read_only = read_only, .tell = tell};
    struct store *s;

    said[0] = '\0';
    TRY(store_open(&o, &s));
    *out_found = rows_found(s);
    store_close(s);
    return OK;
}

/* Found by a flip of tests/crash/flips: thirteen rows of a leaf were hidden by the key of one, and
 * the account that shared the leaf could not work. */
Test(pages, a_flipped_key_does_not_hide_the_rows_of_another_account)
{
    size_t found;

    put_shared();
    fixture_close(&f);
    flip_key(11, 1, 0x80); /* of the first account's last row */
    CHECK_OK(open_again(true, &found));
    cr_assert_lt(found, SHARED - 1, "%zu: the row alone is lost, which is no proof", found);

    CHECK_OK(open_again(false, &found));
    cr_expect_eq(found, SHARED);
    cr_expect(strstr(said, "is flipped back"), "%s", said);
    CHECK_OK(open_again(false, &found));
    cr_expect_eq(found, SHARED);
    cr_expect_str_empty(said);
    fixture_open(&f);
}

static void write_file(const uint8_t *bytes)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/data.mdb", f.path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && pwrite(fd, bytes, len, 0) == (ssize_t)len);
    close(fd);
}

Test(pages, what_cannot_be_put_right_keeps_the_store_shut_and_as_it_is)
{
    size_t found;

    put_shared();
    fixture_close(&f);
    read_file();
    uint8_t *sound = memcpy(malloc(len), file, len);
    flip_key(7, 1, 0xc0); /* two bits */
    read_file();
    uint8_t *damaged = memcpy(malloc(len), file, len);
    cr_expect_eq(open_again(false, &found), ERR_STORE_DAMAGED);
    cr_expect_str_empty(said);
    read_file();
    cr_expect(memcmp(damaged, file, len) == 0);
    write_file(sound);
    free(damaged);
    free(sound);
    fixture_open(&f);
}

/* Found by a flip of tests/crash/flips: with the second bit of one of the two numbers flipped they
 * still follow each other, and the older commit is the newest. */
Test(pages, a_commit_under_the_number_of_another_is_refused)
{
    enum { TXN = 16 + 24 + 2 * 48 + 8 };
    size_t found;

    for (uint32_t i = 0; i < 4; i++) {
        put_rows(i, i + 1, 10);
        fixture_close(&f);
        read_file();
        for (size_t page = 0; page < 2; page++) {
            file[page * 4096 + TXN] ^= 2;
            write_file(file);
            cr_expect_eq(open_again(false, &found), ERR_STORE_DAMAGED, "%u, page %zu", i, page);
            file[page * 4096 + TXN] ^= 2;
        }
        write_file(file);
        CHECK_OK(open_again(false, &found));
        fixture_open(&f);
    }
}

/* Twelve rows, of which four take 128 bytes. */
static void make_leaf(uint8_t page[4096])
{
    enum { ROWS = 12, KEY = 4 };
    uint16_t at = 4096;

    memset(page, 0, 4096);
    for (uint16_t i = 0; i < ROWS; i++) {
        uint16_t value = i ? 32 - 8 - KEY : 160 - 8 - KEY;
        at = (uint16_t)(at - 8 - KEY - value);
        memcpy(page + at, (uint16_t[]){value, 0, 0, KEY}, 8);
        memcpy(page + at + 8, (uint8_t[]){'k', 'e', 'y', (uint8_t)i}, KEY);
        memcpy(page + 16 + 2 * i, &at, 2);
    }
    memcpy(page + 12, (uint16_t[]){16 + 2 * ROWS, at}, 4);
}

static bool any_row_is_sound(void *context, const struct page_node *row) { return true; }

/* Found by a flip of tests/crash/flips: the page fitted with four rows fewer, too. */
Test(pages, what_two_bits_may_put_right_is_left_alone)
{
    struct page_bounds all = {0};
    uint8_t sound[4096], page[4096];
    size_t at;

    make_leaf(sound);
    cr_assert(page_leaf_is_sound(sound, 4096, all));
    for (size_t where = 12; where <= 14; where += 2) { /* four rows fewer; 128 bytes fewer */
        memcpy(page, sound, 4096);
        page[where] ^= where == 12 ? 8 : 128;
        cr_expect(!page_leaf_is_sound(page, 4096, all));
        cr_expect(!page_leaf_mend(page, 4096, all, any_row_is_sound, NULL, &at));
        page[where] ^= where == 12 ? 8 : 128;
        cr_expect(memcmp(page, sound, 4096) == 0);
    }
}

/* Lets the second row's key of every leaf of a tree be out of order. How many leaves. */
static unsigned spoil_leaves(const uint8_t *used)
{
    unsigned spoilt = 0;

    for (size_t n = 2; n < len / 4096; n++) {
        uint8_t *page = file + n * 4096;
        struct page_node row;
        if (used[n] != 1 || page_get(page + 10, 2) != PAGE_LEAF || page_nodes(page) < 20) continue;
        if (!page_node(page, 4096, 1, true, &row) || row.flags || row.low < 60) continue;
        page[row.at - page + PAGE_NODE] ^= 0x80; /* the tenant's number: behind all others */
        spoilt++;
    }
    return spoilt;
}

static unsigned mended;
static void count_mended(void *context, const char *tree, size_t at, uint8_t byte) { mended++; }

static struct pages look_at_heads(void)
{
    struct pages p = {
        .file = slice_of(file, len), .heads_only = true, .tell = tell, .mended = count_mended};
    uint64_t txn;

    said[0] = '\0';
    mended = 0;
    CHECK_OK(pages_newest(p.file, &txn));
    CHECK_OK(pages_walk(&p, txn));
    return p;
}

/* Each try takes milliseconds: a large file with thousands of such leaves is refused soon. */
Test(pages, no_bit_is_looked_for_where_too_many_are_flipped)
{
    uint8_t used[4096] = {0};
    uint64_t txn;

    walk_full(used, &txn);
    unsigned spoilt = spoil_leaves(used);
    cr_assert_geq(spoilt, 25);
    struct pages p = look_at_heads();
    cr_expect_eq(mended, 16);
    cr_expect_eq(p.findings, spoilt - 16, "%s", said);
}

/* Its rows may have checksums of another kind, so which bit is the right one is not known. */
Test(pages, a_database_of_another_version_is_left_alone)
{
    static const uint8_t node[] = {NODE_TREE, 0, 4, 0, 'd', 'a', 't', 'a'};
    uint8_t used[4096] = {0}, *at = file;
    uint64_t txn;

    walk_full(used, &txn);
    for (at = file; (at = memmem(at, (size_t)(file + len - at), node, sizeof node)); at++)
        at[5] = 'b';
    cr_assert_eq(look_at_heads().findings, 0, "%s", said);
    cr_assert_geq(spoil_leaves(used), 25);
    cr_expect_gt(look_at_heads().findings, 0);
    cr_expect_eq(mended, 0);
}

/* Whatever bytes there are: no crash, no end that does not come. */
Test(pages, any_flip_in_the_structure_is_survived, .timeout = 60)
{
    err_t e;
    unsigned found = 0;

    fill();
    read_file();
    srand(11);
    for (int i = 0; i < 3000; i++) {
        size_t at = (size_t)(rand() % (int)(len / 4096)) * 4096 + (size_t)rand() % 200;
        uint8_t bit = (uint8_t)(1 << rand() % 8);
        file[at] ^= bit;
        found += walk(&e) > 0 || e != OK;
        file[at] ^= bit;
    }
    cr_assert_geq(found, 300);
}

/* What is cut off at the end may have been free. */
Test(pages, a_file_that_is_cut_off_is_survived)
{
    err_t e;

    fill();
    read_file();
    size_t whole = len;
    for (; len > 0; len -= len > 5000 ? 4999 : 1) {
        bool found = walk(&e) > 0 || e != OK;
        cr_assert(found || len > whole / 2, "%zu bytes are enough", len);
        err_clear();
    }
    cr_assert(walk(&e) == 0 && e == ERR_STORE_DAMAGED);
}

/* LMDB writes into the pages of a long value that the same commit wrote before, also where a
 * shorter one needs fewer of them. */
Test(pages, a_long_value_that_shrinks_within_a_commit_is_sound)
{
    static const uint8_t zeros[20000];
    struct batch a, b;
    struct key k = key_of_scope((struct scope){1, 1});

    batch_init(&a);
    batch_init(&b);
    batch_put(&a, DB_data, key_slice(&k), slice_of(zeros, 20000));
    batch_put(&b, DB_data, key_slice(&k), slice_of(zeros, 5000));
    writer_post(f.writer, &a);
    writer_post(f.writer, &b);
    cr_assert_eq(writer_step(f.writer), 2);
    uint64_t txn;
    read_file();
    struct pages p = {.file = slice_of(file, len), .tell = tell};
    CHECK_OK(pages_newest(p.file, &txn));
    CHECK_OK(pages_walk(&p, txn));
    cr_assert_eq(p.findings, 0, "%s", said);
    batch_done(&a);
    batch_done(&b);
}
