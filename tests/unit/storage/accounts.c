#include "fixture.h"
#include "storage/accounts.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(accounts, .init = begin, .fini = end);

Test(accounts, are_walked_by_tenant_or_all)
{
    struct batch b;
    struct db_account a;
    AUTO(range) r = {0};
    uint32_t seen = 0;

    batch_init(&b);
    for (uint32_t i = 1; i <= 6; i++)
        db_account_put(&b, &(struct db_account){.tenant = 1 + i % 2,
                                                .account = i,
                                                .secret = i * 100,
                                                .state = 3,
                                                .pn = SLICE("1@s.whatsapp.net")});
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    db_accounts(&r, f.view, 2);
    while (db_account_next(&r, &a)) {
        cr_assert(a.tenant == 2 && a.account % 2 == 1 && a.secret == a.account * 100);
        seen++;
    }
    CHECK_OK(range_error(&r));
    cr_assert_eq(seen, 3);
    range_done(&r);
    for (db_accounts(&r, f.view, 0), seen = 0; db_account_next(&r, &a);)
        seen++;
    cr_assert_eq(seen, 6);
    range_done(&r);
    CHECK_OK(db_account_get(f.view, (struct scope){1, 2}, &a));
    cr_assert(slice_is(a.pn, "1@s.whatsapp.net") && a.state == 3 && slice_is_none(a.lid));
    cr_assert_eq(db_account_get(f.view, (struct scope){2, 2}, &a), ERR_NOT_FOUND);
    view_end(f.view);
    batch_done(&b);
}

/* The damaged key of a neighbour may hide a row from look-ups, not from a walk. */
Test(accounts, are_found_by_a_walk_too)
{
    struct db_account got;
    struct batch b;

    batch_init(&b);
    for (uint32_t n = 1; n <= 3; n++)
        db_account_put(&b, &(struct db_account){.tenant = 2, .account = n, .secret = 100 + n});
    fixture_commit(&f, &b);
    batch_done(&b);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_account_search(f.view, (struct scope){2, 3}, &got));
    cr_assert_eq(got.secret, 103);
    cr_assert_eq(db_account_search(f.view, (struct scope){2, 4}, &got), ERR_NOT_FOUND);
    cr_assert_eq(db_account_search(f.view, (struct scope){1, 3}, &got), ERR_NOT_FOUND);
    view_end(f.view);
}
