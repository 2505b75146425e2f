#include "fixture.h"
#include "storage/tenants.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(tenants, .init = begin, .fini = end);

Test(tenants, come_back_as_they_were)
{
    struct batch b;
    struct db_tenant t;
    AUTO(range) r = {0};

    batch_init(&b);
    db_tenant_put(&b, &(struct db_tenant){.tenant = 2, .secret = 99, .name = SLICE("second")});
    db_tenant_put(&b, &(struct db_tenant){.tenant = 1, .created_ms = -5});
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_tenant_get(f.view, 2, &t));
    cr_assert(t.tenant == 2 && t.secret == 99 && slice_is(t.name, "second"));
    cr_assert_eq(db_tenant_get(f.view, 3, &t), ERR_NOT_FOUND);
    db_tenants(&r, f.view);
    cr_assert(db_tenant_next(&r, &t) && t.tenant == 1 && t.created_ms == -5);
    cr_assert(db_tenant_next(&r, &t) && t.tenant == 2);
    cr_assert(!db_tenant_next(&r, &t));
    range_done(&r);
    view_end(f.view);
    db_tenant_delete(&b, 2);
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    cr_assert_eq(db_tenant_get(f.view, 2, &t), ERR_NOT_FOUND);
    view_end(f.view);
    batch_done(&b);
}

Test(tenants, counters_start_at_zero_and_keep_what_was_put)
{
    struct batch b;
    uint64_t n = 7;

    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_counter_find(f.view, "account", &n));
    cr_assert_eq(n, 0);
    view_end(f.view);
    batch_init(&b);
    db_counter_put(&b, "account", 0, 41);
    db_counter_put(&b, "tenant", 0, 3);
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_counter_find(f.view, "account", &n));
    cr_assert_eq(n, 41);
    view_end(f.view);
    batch_done(&b);
}

static uint64_t counter(const char *name)
{
    uint64_t n = 0;

    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_counter_find(f.view, name, &n));
    view_end(f.view);
    return n;
}

static void put_counter(const char *name, unsigned giver, uint64_t value)
{
    struct batch b;

    batch_init(&b);
    db_counter_put(&b, name, giver, value);
    fixture_commit(&f, &b);
    batch_done(&b);
}

Test(tenants, the_highest_of_all_givers_counts_whoever_commits_last)
{
    put_counter("account", 3, 42);
    put_counter("account", 0, 41);
    cr_assert_eq(counter("account"), 42);
    put_counter("account", 200, 43); /* a number of two bytes */
    put_counter("account", 1, 40);
    put_counter("account", 3, 42);
    cr_assert_eq(counter("account"), 43);
    put_counter("accounts", 0, 99); /* a name that begins like it */
    put_counter("accounts", 7, 98);
    put_counter("acc", 7, 97);
    cr_assert_eq(counter("account"), 43);
    cr_assert_eq(counter("accounts"), 99);
    cr_assert_eq(counter("acc"), 97);
    cr_assert_eq(counter("a"), 0);
}
