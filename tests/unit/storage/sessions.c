#include "fixture.h"
#include "storage/retention.h"
#include "storage/sessions.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(sessions, .init = begin, .fini = end);

static void fill(struct batch *b)
{
    static const char *const ids[] = {"aa", "aab", "b"};
    for (size_t i = 0; i < 3; i++) {
        db_session_put(b, 1,
                       &(struct db_session){.id = slice_text(ids[i]),
                                            .key = 5,
                                            .revision = SLICE("2025-06-18"),
                                            .used_ms = 1000 * (int64_t)i});
        db_subscription_put(b, 1, slice_text(ids[i]),
                            &(struct db_subscription){.name = SLICE("whatsapp://x"), .cursor = i});
    }
    db_subscription_put(b, 1, SLICE("aa"), &(struct db_subscription){.name = SLICE("z")});
}

static size_t subscriptions(const char *id)
{
    struct db_subscription s;
    AUTO(range) r = {0};
    size_t n = 0;
    db_subscriptions(&r, f.view, 1, slice_text(id));
    while (db_subscription_next(&r, &s))
        n++;
    CHECK_OK(range_error(&r));
    return n;
}

static bool is_there(uint32_t tenant, struct slice id, struct db_session *out)
{
    bool found;

    CHECK_OK(db_session_find(f.view, tenant, id, &found, out));
    return found;
}

static uint32_t count_sessions(void)
{
    AUTO(range) r = {0};
    struct db_session s;
    uint32_t tenant, n = 0;

    db_sessions(&r, f.view, 0);
    while (db_session_next(&r, &tenant, &s))
        n++;
    CHECK_OK(range_error(&r));
    return n;
}

Test(sessions, are_found_by_id_within_their_tenant)
{
    struct batch b;
    struct db_session s;
    char long_id[SESSION_ID_MAX + 1];

    memset(long_id, 'a', sizeof(long_id));
    batch_init(&b);
    fill(&b);
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    cr_assert(is_there(1, SLICE("aab"), &s) && s.key == 5 && slice_is(s.revision, "2025-06-18"));
    cr_assert(!is_there(2, SLICE("aab"), &s));
    cr_assert(!is_there(1, SLICE_ARRAY(long_id), &s));
    cr_assert(!is_there(1, SLICE("aa\0whatsapp://x"), &s));
    cr_assert_eq(count_sessions(), 3);
    cr_assert_eq(subscriptions("aa"), 2);
    cr_assert_eq(subscriptions("aab"), 1);
    cr_assert_eq(subscriptions("a"), 0);

    CHECK_OK(db_session_delete(&b, f.view, 1, SLICE("aa")));
    view_end(f.view);
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    cr_assert(!is_there(1, SLICE("aa"), &s));
    cr_assert_eq(subscriptions("aa"), 0);
    cr_assert_eq(subscriptions("aab"), 1);
    view_end(f.view);
    batch_done(&b);
}

Test(sessions, expire_when_idle)
{
    struct batch b;
    struct store_stat stat;
    bool more;

    batch_init(&b);
    fill(&b);
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(
        retention_step(&b, f.view, 1, &(struct retention){.session_idle_ms = 500}, 2000, &more));
    view_end(f.view);
    fixture_commit(&f, &b);
    CHECK_OK(store_stat(f.store, DB_sessions, &stat));
    cr_assert_eq(stat.entries, 2); /* "b" and its subscription */
    batch_done(&b);
}
