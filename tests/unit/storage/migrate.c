#include "fixture.h"
#include "storage/accounts.h"
#include "storage/migrate.h"
#include "storage/tail.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(migrate, .init = begin, .fini = end);

static int calls, crash_at;

/* Copies a number a call: "n" -> "copied". */
static err_t slowly(struct view *view, struct batch *batch, struct buf *position, bool *out_done)
{
    uint8_t at = position->len ? position->data[0] : 0;

    if (++calls == crash_at) return fail(STORE_FAILED, "here it crashes");
    batch_put(batch, DB_data, slice_of(&at, 1), SLICE("copied"));
    buf_reset(position);
    buf_put_u8(position, (uint8_t)(at + 1));
    *out_done = at == 9;
    return OK;
}

static err_t at_once(struct view *view, struct batch *batch, struct buf *position, bool *out_done)
{
    batch_put(batch, DB_data, SLICE("at once"), SLICE("done"));
    *out_done = true;
    return OK;
}

static const struct migration list[] = {
    {SCHEMA_VERSION + 1, "slowly", slowly}, {SCHEMA_VERSION + 2, "at once", at_once}, {0}};

static unsigned version(void)
{
    unsigned v;
    CHECK_OK(view_begin(f.view));
    CHECK_OK(schema_version(f.view, &v));
    view_end(f.view);
    return v;
}

Test(migrate, a_fresh_store_has_the_newest_version) { cr_assert_eq(version(), SCHEMA_VERSION); }

Test(migrate, climbs_step_by_step_and_goes_on_after_a_crash)
{
    struct slice out;

    crash_at = 5;
    cr_assert_neq(migrate(f.store, list, SCHEMA_VERSION + 2), OK);
    cr_assert_eq(version(), SCHEMA_VERSION);
    calls = crash_at = 0;
    CHECK_OK(migrate(f.store, list, SCHEMA_VERSION + 2));
    cr_assert_eq(calls, 6); /* four slices were done before */
    cr_assert_eq(version(), SCHEMA_VERSION + 2);

    CHECK_OK(view_begin(f.view));
    for (uint8_t i = 0; i < 10; i++) {
        CHECK_OK(view_find(f.view, DB_data, slice_of(&i, 1), &out));
        cr_assert(slice_is(out, "copied"));
    }
    CHECK_OK(view_find(f.view, DB_data, SLICE("at once"), &out));
    cr_assert(slice_is(out, "done"));
    view_end(f.view);
    CHECK_OK(migrate(f.store, list, SCHEMA_VERSION + 2));
}

Test(migrate, refuses_what_is_newer_and_what_has_no_step)
{
    CHECK_OK(migrate(f.store, list, SCHEMA_VERSION + 2));
    cr_assert_eq(migrate(f.store, list, SCHEMA_VERSION + 1), ERR_STORE_VERSION);
    cr_assert_eq(migrate(f.store, list, SCHEMA_VERSION + 9), ERR_STORE_VERSION);
    cr_assert_eq(version(), SCHEMA_VERSION + 2);
}

/* What schema 1 had: a tail for the account. */
static void put_old_row(struct batch *b, struct scope scope, uint32_t seq)
{
    struct key k = key_of_kind(scope, 0, KIND_tail_1);
    AUTO(buf) row = {0};

    key_be64(&k, seq);
    buf_put_be32(&row, 3);
    buf_put_be32(&row, 100);
    buf_put_be32(&row, seq);
    batch_put(b, DB_data, key_slice(&k), buf_slice(&row));
}

Test(migrate, to_2_moves_the_tail_of_every_account)
{
    static const struct scope scopes[] = {{1, 1}, {1, 900}, {70000, 2}};
    static const uint8_t one[4] = {0, 0, 0, 1};
    struct batch b;
    size_t n;

    batch_init(&b);
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        struct db_account a = {
            .tenant = scopes[i].tenant, .account = scopes[i].account, .secret = 1};
        db_account_put(&b, &a);
        for (uint32_t seq = 1; seq <= 40 + i; seq++)
            put_old_row(&b, scopes[i], seq);
    }
    batch_put(&b, DB_meta, SLICE("schema"), SLICE_ARRAY(one));
    CHECK_OK(writer_commit(f.writer, &b));
    batch_done(&b);
    CHECK_OK(migrate(f.store, migrations, SCHEMA_VERSION));
    cr_expect_eq(version(), SCHEMA_VERSION);
    CHECK_OK(view_begin(f.view));
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        CHECK_OK(db_tail_count(f.view, scopes[i], &n));
        cr_expect_eq(n, 40 + i);
    }
    view_end(f.view);
}

Test(migrate, to_2_a_damaged_row_keeps_no_other_from_moving)
{
    static const uint8_t one[4] = {0, 0, 0, 1}, term[] = "\0\0\0\3\0\0\0\1\0\0\0\77\7spoiled";
    struct scope scopes[] = {{1, 1}, {1, 2}};
    struct key k = key_of_kind(scopes[1], 0, KIND_tail_1);
    struct batch b;
    size_t n;

    batch_init(&b);
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        struct db_account a = {.tenant = 1,
                               .account = scopes[i].account,
                               .secret = 1,
                               .label = i ? SLICE("sound") : SLICE("damaged")};
        db_account_put(&b, &a);
        for (uint32_t seq = 1; seq <= 40; seq++)
            put_old_row(&b, scopes[i], seq);
    }
    key_be64(&k, 20);
    batch_put(&b, DB_data, key_slice(&k), slice_of(term, sizeof(term) - 1));
    batch_put(&b, DB_meta, SLICE("schema"), SLICE_ARRAY(one));
    CHECK_OK(writer_commit(f.writer, &b));
    batch_done(&b);
    fixture_flip(&f, "damaged");
    fixture_flip(&f, "spoiled");
    CHECK_OK(migrate(f.store, migrations, SCHEMA_VERSION));
    cr_expect_eq(version(), SCHEMA_VERSION);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_tail_count(f.view, scopes[0], &n));
    cr_expect_eq(n, 40);
    CHECK_OK(db_tail_count(f.view, scopes[1], &n));
    cr_expect_eq(n, 39);
    view_end(f.view);
}
