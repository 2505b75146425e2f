#include "fixture.h"
#include "storage/migrate.h"

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
