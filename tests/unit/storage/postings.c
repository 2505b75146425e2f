#include "fixture.h"
#include "storage/postings.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(postings, .init = begin, .fini = end);

static const struct scope scope = {1, 7};
#define TERM SLICE("word")

static void add(const struct posting *items, size_t count)
{
    struct batch b;
    batch_init(&b);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(posting_add(&b, f.view, scope, TERM, items, count));
    view_end(f.view);
    fixture_commit(&f, &b);
    batch_done(&b);
}

/* All entries, newest first. */
static size_t read_all(struct posting *out, size_t *blocks)
{
    struct posting max = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
    struct posting_stream s;
    size_t n = 0;
    bool found;

    *blocks = 0;
    CHECK_OK(view_begin(f.view));
    posting_stream_init(&s, f.view, scope, TERM, blocks);
    for (;;) {
        CHECK_OK(posting_stream_seek(&s, max, &found, &out[n]));
        if (!found) break;
        max = out[n++];
        if (max.seq-- == 0) max.sec--, max.seq = UINT32_MAX;
    }
    posting_stream_done(&s);
    view_end(f.view);
    return n;
}

Test(postings, keep_order_however_they_come)
{
    enum { COUNT = 3000 };
    static struct posting all[COUNT], out[COUNT + 1], part[COUNT];
    static bool taken[COUNT];
    size_t blocks, left = COUNT;

    for (uint32_t i = 0; i < COUNT; i++)
        all[i] = (struct posting){1000 + i / 3, 1 + i % 7 / 6, i % 3 + 1};
    srand(1);
    while (left > 0) { /* random pieces, sorted within themselves, some of them again */
        size_t n = 0;
        for (size_t i = 0; i < COUNT; i++) {
            if (rand() % 10 != 0) continue;
            part[n++] = all[i];
            left -= !taken[i];
            taken[i] = true;
        }
        for (size_t i = 1; i < n; i++) /* peers are part of the order */
            for (size_t j = i; j > 0 && posting_cmp(part[j - 1], part[j]) > 0; j--) {
                struct posting p = part[j];
                part[j] = part[j - 1];
                part[j - 1] = p;
            }
        add(part, n);
    }
    cr_assert_eq(read_all(out, &blocks), COUNT);
    for (size_t i = 1; i < COUNT; i++)
        cr_assert_lt(posting_cmp(out[i], out[i - 1]), 0);
    cr_assert_leq(blocks, COUNT / (POSTINGS_MAX / 4));
}

Test(postings, that_come_in_order_fill_their_blocks)
{
    static struct posting out[2000];
    size_t blocks;

    for (uint32_t i = 0; i < 1000; i += 10) {
        struct posting p[10];
        for (uint32_t j = 0; j < 10; j++)
            p[j] = (struct posting){1000 + i + j, 1, 1};
        add(p, 10);
    }
    cr_assert_eq(read_all(out, &blocks), 1000);
    cr_assert_eq(blocks, 5);
}

Test(postings, a_damaged_block_is_an_error)
{
    struct batch b;
    struct posting_stream s;
    struct posting out;
    size_t blocks = 0;
    bool found;

    add(&(struct posting){10, 1, 1}, 1);
    batch_init(&b);
    struct key k = key_of_kind(scope, 0, KIND_postings);
    key_bytes(&k, SLICE("word\0\0\0\0\x0b\0\0\0\1\0\0\0\1"));
    static const uint8_t bad[][4] = {{0x80}, {0, 2, 1}, {0, 1, 0x80, 0x80}};
    for (size_t i = 0; i < 3; i++) {
        batch_put(&b, DB_data, key_slice(&k), slice_of(bad[i], i == 0 ? 1 : i == 1 ? 3 : 4));
        fixture_commit(&f, &b);
        CHECK_OK(view_begin(f.view));
        posting_stream_init(&s, f.view, scope, TERM, &blocks);
        cr_assert_eq(posting_stream_seek(&s, (struct posting){99, 0, 0}, &found, &out),
                     ERR_STORE_DAMAGED);
        posting_stream_done(&s);
        view_end(f.view);
    }
    batch_done(&b);
}
