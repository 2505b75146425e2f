#include "fixture.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(view, .init = begin, .fini = end);

static void put(struct batch *b, const char *key, const char *value)
{
    batch_put(b, DB_data, slice_text(key), slice_text(value));
}

/* The walk as "key=value key=value". */
static const char *walk(const char *from, const char *to, enum range_direction direction,
                        const char *skip_at, const char *skip_to)
{
    static char text[1024];
    AUTO(range) r = {0};
    size_t n = 0;

    text[0] = '\0';
    range_between(&r, f.view, DB_data, slice_text(from), slice_text(to), direction);
    while (range_next(&r)) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s" SLICE_FMT "=" SLICE_FMT,
                              n ? " " : "", SLICE_ARG(r.key), SLICE_ARG(r.value));
        if (skip_at && slice_is(r.key, skip_at)) range_skip_to(&r, slice_text(skip_to));
    }
    CHECK_OK(range_error(&r));
    return text;
}

static void store_letters(void)
{
    struct batch b;
    batch_init(&b);
    for (const char *k = "acegi"; *k; k++)
        put(&b, (char[]){*k, 0}, "old");
    fixture_commit(&f, &b);
    batch_done(&b);
}

Test(view, walks_a_range_both_ways)
{
    store_letters();
    CHECK_OK(view_begin(f.view));
    cr_assert_str_eq(walk("c", "h", RANGE_FORWARDS, 0, 0), "c=old e=old g=old");
    cr_assert_str_eq(walk("c", "g", RANGE_BACKWARDS, 0, 0), "e=old c=old");
    cr_assert_str_eq(walk("b", "", RANGE_BACKWARDS, 0, 0), "i=old g=old e=old c=old");
    cr_assert_str_eq(walk("", "", RANGE_FORWARDS, 0, 0), "a=old c=old e=old g=old i=old");
    cr_assert_str_eq(walk("j", "", RANGE_FORWARDS, 0, 0), "");
    cr_assert_str_eq(walk("d", "e", RANGE_BACKWARDS, 0, 0), "");
    cr_assert_str_eq(walk("", "", RANGE_FORWARDS, "a", "f"), "a=old g=old i=old");
    cr_assert_str_eq(walk("", "", RANGE_FORWARDS, "e", "b"), "a=old c=old e=old g=old i=old");
    cr_assert_str_eq(walk("", "", RANGE_BACKWARDS, "i", "d"), "i=old c=old a=old");
    cr_assert_str_eq(walk("", "", RANGE_BACKWARDS, "i", "c"), "i=old c=old a=old");
    view_end(f.view);
}

/* NULL: there is none. */
static void expect_letter(const char *key, const char *value)
{
    struct slice out;

    CHECK_OK(view_find(f.view, DB_data, slice_text(key), &out));
    cr_assert(value ? slice_is(out, value) : slice_is_none(out), "%s", key);
}

static void write_pending(struct list *pending, struct batch *one, struct batch *two)
{
    list_init(pending);
    batch_init(one);
    batch_init(two);
    list_push(pending, &one->pending);
    list_push(pending, &two->pending);
    put(one, "b", "one");
    put(one, "c", "one");
    put(one, "z", "one");
    batch_delete(one, DB_data, SLICE("e"));
    put(two, "c", "two");
    put(two, "e", "two");
    batch_delete(two, DB_data, SLICE("z"));
    batch_delete(two, DB_data, SLICE("i"));
    batch_put(two, DB_events, SLICE("d"), SLICE("elsewhere"));
}

Test(view, sees_what_pending_batches_wrote)
{
    struct list pending;
    struct batch one, two;

    store_letters();
    write_pending(&pending, &one, &two);
    CHECK_OK(view_begin(f.view));
    view_overlay(f.view, &pending);
    cr_assert_str_eq(walk("", "", RANGE_FORWARDS, 0, 0), "a=old b=one c=two e=two g=old");
    cr_assert_str_eq(walk("", "", RANGE_BACKWARDS, 0, 0), "g=old e=two c=two b=one a=old");
    cr_assert_str_eq(walk("", "", RANGE_FORWARDS, "a", "c"), "a=old c=two e=two g=old");
    cr_assert_str_eq(walk("", "", RANGE_BACKWARDS, "g", "c"), "g=old c=two b=one a=old");
    expect_letter("c", "two");
    expect_letter("i", NULL);
    expect_letter("a", "old");
    view_end(f.view);

    CHECK_OK(view_begin(f.view));
    expect_letter("c", "old");
    view_end(f.view);
    batch_done(&one);
    batch_done(&two);
}

Test(view, keeps_its_snapshot_while_the_writer_goes_on)
{
    struct batch b;
    struct slice out;

    store_letters();
    CHECK_OK(view_begin(f.view));
    batch_init(&b);
    put(&b, "a", "new");
    fixture_commit(&f, &b);
    batch_done(&b);
    CHECK_OK(view_find(f.view, DB_data, SLICE("a"), &out));
    cr_assert(slice_is(out, "old"));
    view_end(f.view);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(view_find(f.view, DB_data, SLICE("a"), &out));
    cr_assert(slice_is(out, "new"));
    view_end(f.view);
}

/* ---- damage ---- */

Test(view, names_the_damaged_row_until_somebody_passes_over_it)
{
    AUTO(range) r = {0};
    struct slice key, value;
    struct batch b;
    enum db db;

    batch_init(&b);
    put(&b, "a", "sound");
    put(&b, "b", "spoiled");
    put(&b, "c", "sound");
    fixture_commit(&f, &b);
    batch_done(&b);
    fixture_flip(&f, "spoiled");
    CHECK_OK(view_begin(f.view));
    CHECK_OK(view_find(f.view, DB_data, SLICE("a"), &value));
    cr_expect(!view_damaged(f.view, &db, &key));
    cr_expect_eq(view_find(f.view, DB_data, SLICE("b"), &value), ERR_STORE_DAMAGED);
    cr_expect(view_damaged(f.view, &db, &key) && db == DB_data && slice_is(key, "b"));
    range_prefix(&r, f.view, DB_data, SLICE_NONE, RANGE_FORWARDS);
    while (range_next(&r) || range_pass_damage(&r))
        ;
    CHECK_OK(range_error(&r));
    cr_expect(!view_damaged(f.view, &db, &key));
    cr_expect_eq(store_damaged(f.store), 2u);
    range_done(&r);
    view_end(f.view);
}

/* Of "c1 c2 c3" the one in the middle became "s2": behind it the range goes on. */
Test(view, a_walk_goes_on_behind_a_row_that_went_astray)
{
    AUTO(range) r = {0};
    struct batch b;

    batch_init(&b);
    put(&b, "key-c1", "old");
    put(&b, "key-c2", "old");
    put(&b, "key-c3", "old");
    fixture_commit(&f, &b);
    batch_done(&b);
    fixture_flip(&f, "y-c2");
    CHECK_OK(view_begin(f.view));
    range_prefix(&r, f.view, DB_data, SLICE("key-c"), RANGE_FORWARDS);
    cr_assert(range_next(&r) && slice_is(r.key, "key-c1"));
    cr_assert(!range_next(&r) && r.astray && range_error(&r) == ERR_STORE_DAMAGED);
    cr_assert(!range_pass_damage(&r), "nobody knows its key");
    range_resume(&r);
    cr_assert(range_next(&r) && slice_is(r.key, "key-c3"));
    cr_assert(!range_next(&r));
    CHECK_OK(range_error(&r));
    range_done(&r);
    view_end(f.view);
}
