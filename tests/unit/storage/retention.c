#include "chats_fixture.h"
#include "storage/events.h"
#include "storage/retention.h"
#include "storage/sessions.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(retention, .init = begin, .fini = end);

Test(retention, purges_an_account_in_slices_and_nothing_beside_it)
{
    struct scope mine = w.scope;
    struct store_stat stat;
    struct key prefix = key_of_scope(mine);
    bool more = true;
    size_t slices = 0;

    for (uint32_t account = 6; account <= 8; account++) {
        w.scope.account = account;
        uint32_t peer = world_peer(&w, "1@lid");
        for (uint32_t i = 1; i <= 400; i++)
            world_message(&w, peer, i, "hello");
        world_commit(&w);
    }
    CHECK_OK(store_stat(w.f.store, DB_data, &stat));
    size_t all = stat.entries;
    cr_assert_eq(all % 3, 0);
    for (; more; slices++) {
        CHECK_OK(purge_step(&w.batch, w.f.view, DB_data, key_slice(&prefix), &more));
        cr_assert_leq(w.batch.op_count, 1000);
        world_commit(&w);
    }
    cr_assert_eq(slices, 2);
    CHECK_OK(store_stat(w.f.store, DB_data, &stat));
    cr_assert_eq(stat.entries, all / 3 * 2);
}

Test(retention, purges_damaged_rows_too)
{
    struct key prefix = key_of_scope(w.scope);
    uint32_t peer = world_peer(&w, "1@lid");
    bool more;
    AUTO(range) r = {0};

    for (uint32_t i = 1; i <= 3; i++)
        world_message(&w, peer, i, i == 2 ? "spoiled" : "hello");
    world_commit(&w);
    view_end(w.f.view);
    fixture_flip(&w.f, "spoiled");
    world_turn(&w);
    CHECK_OK(purge_step(&w.batch, w.f.view, DB_data, key_slice(&prefix), &more));
    cr_expect(!more);
    world_commit(&w);
    range_prefix(&r, w.f.view, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    cr_expect(!range_next(&r) && range_error(&r) == OK, "something is left");
}

Test(retention, trims_a_long_log_in_slices)
{
    struct retention limits = {.event_age_ms = 1};
    struct store_stat stat;
    bool more = true;
    size_t slices = 0;

    for (int i = 0; i < 2500; i++)
        batch_event(&w.batch, 1, &(struct event_head){.at_ms = 5}, SLICE("{}"));
    world_commit(&w);
    for (; more; slices++) {
        CHECK_OK(retention_step(&w.batch, w.f.view, 1, &limits, 1000, &more));
        world_commit(&w);
    }
    cr_assert_eq(slices, 3);
    CHECK_OK(store_stat(w.f.store, DB_events, &stat));
    cr_assert_eq(stat.entries, 1); /* the number row */
}

/* Damages what says "spoiled", then lets the oldest go; the log that is left. */
static struct db_log trim_with_damage(const struct retention *limits)
{
    struct db_log log;
    bool more;

    world_commit(&w);
    view_end(w.f.view);
    fixture_flip(&w.f, "spoiled");
    world_turn(&w);
    CHECK_OK(retention_step(&w.batch, w.f.view, 1, limits, 1000, &more));
    world_commit(&w);
    CHECK_OK(db_log_find(w.f.view, 1, &log));
    return log;
}

Test(retention, a_damaged_event_keeps_no_other_in_the_log)
{
    struct retention limits = {.event_age_ms = 1};
    struct event_head head = {.at_ms = 5};

    for (int i = 0; i < 3; i++)
        batch_event(&w.batch, 1, &head, i == 0 ? SLICE("spoiled") : SLICE("sound"));
    struct db_log log = trim_with_damage(&limits);
    cr_expect_eq(log.first_seq, log.next_seq, "%u are left",
                 (unsigned)(log.next_seq - log.first_seq));
}

static struct db_log trim_all(struct retention limits)
{
    struct db_log log;
    bool more = true;

    for (size_t slices = 0; more; slices++) {
        cr_assert_lt(slices, 10u, "no end");
        CHECK_OK(retention_step(&w.batch, w.f.view, 1, &limits, 1000, &more));
        world_commit(&w);
    }
    CHECK_OK(db_log_find(w.f.view, 1, &log));
    return log;
}

static void log_events(size_t spoiled, size_t sound)
{
    struct event_head head = {.at_ms = 5};

    for (size_t i = 0; i < spoiled + sound; i++)
        batch_event(&w.batch, 1, &head, i < spoiled ? SLICE("spoiled") : SLICE("as such"));
    world_commit(&w);
    view_end(w.f.view);
    fixture_flip(&w.f, "spoiled");
    world_turn(&w);
}

/* More of them than a slice holds, and none that says how old they are. */
Test(retention, damaged_events_do_not_stop_the_log_from_being_cut)
{
    struct db_log log;

    log_events(2500, 3);
    log = trim_all((struct retention){.event_age_ms = 1});
    cr_expect_eq(log.first_seq, 2504u, "%u are left", (unsigned)(log.next_seq - log.first_seq));
    cr_expect_eq(log.bytes, 0u);
}

Test(retention, the_room_of_damaged_events_is_counted)
{
    struct db_log log;
    uint64_t one = EVENT_HEAD + strlen("spoiled");

    log_events(1200, 300);
    log = trim_all((struct retention){.event_bytes = 350 * one});
    cr_expect_eq(log.first_seq, 1151u, "cut up to %u", (unsigned)log.first_seq);
    log = trim_all((struct retention){.event_bytes = 200 * one});
    cr_expect_eq(log.first_seq, 1301u, "cut up to %u", (unsigned)log.first_seq);
}

/* One of them cannot be read, and of another a subscription: the log is cut all the same, and so
 * are the sessions that can. */
Test(retention, a_damaged_session_keeps_nothing_else)
{
    static const char *const ids[] = {"a", "b", "c"};
    struct retention limits = {.event_age_ms = 1, .session_idle_ms = 1};
    struct db_session row;
    bool found;

    for (int i = 0; i < 3; i++)
        db_session_put(&w.batch, 1,
                       &(struct db_session){.id = slice_text(ids[i]),
                                            .revision = i == 0 ? SLICE("spoiled") : SLICE("sound"),
                                            .used_ms = 5});
    db_subscription_put(&w.batch, 1, SLICE("b"),
                        &(struct db_subscription){.name = SLICE("x"), .filter = SLICE("spoiled")});
    batch_event(&w.batch, 1, &(struct event_head){.at_ms = 5}, SLICE("{}"));
    struct db_log log = trim_with_damage(&limits);
    cr_expect_eq(log.first_seq, log.next_seq, "the log was not cut");
    for (int i = 1; i < 3; i++) {
        CHECK_OK(db_session_find(w.f.view, 1, slice_text(ids[i]), &found, &row));
        cr_expect(!found, "session %s is still there", ids[i]);
    }
}
