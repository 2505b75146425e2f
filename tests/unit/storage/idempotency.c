#include "fixture.h"
#include "storage/idempotency.h"
#include "storage/retention.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(idempotency, .init = begin, .fini = end);

#define HASH SLICE("0123456789abcdef")
static const int64_t HOUR = 3600 * 1000, START = 1763632800123;

static bool find(uint32_t tenant, int64_t now, struct db_claim *c)
{
    bool found;
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_claim_find(f.view, tenant, HASH, now, &found, c));
    view_end(f.view);
    return found;
}

Test(idempotency, a_claim_lives_24_hours)
{
    struct batch b;
    struct db_claim c = {
        .hash = HASH, .created_ms = START, .fingerprint = SLICE("args"), .account = 3};

    batch_init(&b);
    db_claim_put(&b, 1, &c);
    fixture_commit(&f, &b);
    cr_assert(find(1, START, &c) && !c.answered && slice_is(c.fingerprint, "args"));
    c.answered = true;
    c.reply = SLICE("{}");
    db_claim_put(&b, 1, &c);
    fixture_commit(&f, &b);
    for (int64_t h = 0; h < 24; h++)
        cr_assert(find(1, START + h * HOUR, &c) && c.answered);
    cr_assert(slice_is(c.reply, "{}"));
    cr_assert(!find(1, START + 24 * HOUR, &c));
    cr_assert(!find(2, START, &c));
    batch_done(&b);
}

Test(idempotency, retention_removes_only_what_expired)
{
    struct batch b;
    struct db_claim c = {.hash = HASH};
    struct store_stat stat;
    bool more;

    batch_init(&b);
    for (int64_t h = 0; h < 96; h += 12) {
        c.created_ms = START + h * HOUR;
        db_claim_put(&b, 1, &c);
    }
    fixture_commit(&f, &b);
    CHECK_OK(store_stat(f.store, DB_idempotency, &stat));
    cr_assert_leq(stat.entries, 5); /* a day has one row per claim */
    CHECK_OK(view_begin(f.view));
    CHECK_OK(retention_step(&b, f.view, 1, &(struct retention){0}, START + 84 * HOUR, &more));
    view_end(f.view);
    cr_assert(!more);
    fixture_commit(&f, &b);
    CHECK_OK(store_stat(f.store, DB_idempotency, &stat));
    cr_assert_eq(stat.entries, 2);
    cr_assert(find(1, START + 84 * HOUR, &c));
    batch_done(&b);
}
