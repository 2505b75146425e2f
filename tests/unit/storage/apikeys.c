#include "fixture.h"
#include "storage/apikeys.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(apikeys, .init = begin, .fini = end);

#define HASH SLICE("0123456789abcdef0123456789abcdef")

Test(apikeys, log_in_by_hash_until_they_are_deleted)
{
    struct batch b;
    struct db_apikey k = {.tenant = 4, .number = 5, .world = 1, .hash = HASH, .hint = SLICE("x9")};
    struct db_apikey found;
    AUTO(range) r = {0};

    batch_init(&b);
    db_apikey_put(&b, &k);
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_apikey_login(f.view, HASH, &found));
    cr_assert(found.tenant == 4 && found.number == 5 && found.world == 1);
    cr_assert(slice_is(found.hint, "x9") && slice_eq(found.hash, HASH));
    cr_assert_eq(db_apikey_login(f.view, SLICE("0123456789abcdef0123456789abcdeX"), &found),
                 ERR_NOT_FOUND);
    cr_assert_eq(db_apikey_login(f.view, SLICE("short"), &found), ERR_NOT_FOUND);
    cr_assert_eq(db_apikey_get(f.view, 5, 5, &found), ERR_NOT_FOUND, "another tenant's");
    db_apikeys(&r, f.view, 4);
    cr_assert(db_apikey_next(&r, &found));
    cr_assert(!db_apikey_next(&r, &found));
    range_done(&r);
    db_apikeys(&r, f.view, 5);
    cr_assert(!db_apikey_next(&r, &found));
    range_done(&r);
    view_end(f.view);

    db_apikey_delete(&b, &k);
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    cr_assert_eq(db_apikey_login(f.view, HASH, &found), ERR_NOT_FOUND);
    view_end(f.view);
    batch_done(&b);
}
