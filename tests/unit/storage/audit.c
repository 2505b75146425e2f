#include "fixture.h"
#include "storage/audit.h"
#include "storage/retention.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(audit, .init = begin, .fini = end);

static size_t count(int64_t from, int64_t to)
{
    struct db_audit a;
    AUTO(range) r = {0};
    size_t n = 0;
    CHECK_OK(view_begin(f.view));
    db_audits(&r, f.view, 1, from, to, RANGE_BACKWARDS);
    while (db_audit_next(&r, &a))
        n += slice_is(a.tool, "send_message");
    CHECK_OK(range_error(&r));
    range_done(&r);
    view_end(f.view);
    return n;
}

Test(audit, is_walked_by_time_and_cut_by_age)
{
    struct batch b;
    bool more;

    batch_init(&b);
    for (int64_t i = 0; i < 10; i++)
        db_audit_put(&b, 1,
                     &(struct db_audit){.at_ms = 1000 + i / 2,
                                        .nonce = (uint32_t)i,
                                        .tool = SLICE("send_message")});
    fixture_commit(&f, &b);
    cr_assert_eq(count(0, 0), 10);
    cr_assert_eq(count(1001, 1003), 4);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(retention_step(&b, f.view, 1, &(struct retention){.audit_age_ms = 100}, 1103, &more));
    view_end(f.view);
    fixture_commit(&f, &b);
    cr_assert_eq(count(0, 0), 4);
    batch_done(&b);
}
