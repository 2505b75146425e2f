#include "fixture.h"
#include "storage/events.h"
#include "storage/retention.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(events, .init = begin, .fini = end);

/* The numbers of a walk as "2 3 4". */
static const char *walk(uint32_t tenant, uint64_t after, uint64_t through,
                        enum range_direction direction)
{
    static char text[512];
    struct db_event e;
    AUTO(range) r = {0};
    size_t n = 0;

    text[0] = '\0';
    CHECK_OK(view_begin(f.view));
    db_events(&r, f.view, tenant, after, through, direction);
    while (db_event_next(&r, &e)) {
        cr_assert(e.head.account == 7 && e.head.type == 2 && e.head.world == 1);
        cr_assert_eq(e.head.at_ms, (int64_t)e.seq * 1000);
        cr_assert_eq(e.bytes.len, 100);
        n += (size_t)sprintf(text + n, "%s%llu", n ? " " : "", (unsigned long long)e.seq);
    }
    CHECK_OK(range_error(&r));
    range_done(&r);
    view_end(f.view);
    return text;
}

static void ten_events(struct batch *b, uint32_t tenant)
{
    uint8_t bytes[100] = {0};
    for (int64_t i = 1; i <= 10; i++)
        batch_event(
            b, tenant,
            &(struct event_head){.account = 7, .peer = 1, .type = 2, .world = 1, .at_ms = i * 1000},
            SLICE_ARRAY(bytes));
    fixture_commit(&f, b);
}

static struct db_log retain(struct batch *b, struct retention limits, int64_t now)
{
    struct db_log log;
    bool more;

    CHECK_OK(view_begin(f.view));
    CHECK_OK(retention_step(b, f.view, 1, &limits, now, &more));
    view_end(f.view);
    fixture_commit(&f, b);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_log_find(f.view, 1, &log));
    view_end(f.view);
    return log;
}

Test(events, are_read_from_a_cursor_either_way)
{
    struct batch b;
    batch_init(&b);
    ten_events(&b, 2);
    ten_events(&b, 1);
    cr_assert_str_eq(walk(1, 0, 0, RANGE_FORWARDS), "1 2 3 4 5 6 7 8 9 10");
    cr_assert_str_eq(walk(1, 7, 0, RANGE_FORWARDS), "8 9 10");
    cr_assert_str_eq(walk(1, 3, 6, RANGE_FORWARDS), "4 5 6");
    cr_assert_str_eq(walk(1, 3, 6, RANGE_BACKWARDS), "6 5 4");
    cr_assert_str_eq(walk(1, 10, 0, RANGE_FORWARDS), "");
    cr_assert_str_eq(walk(1, UINT64_MAX, 0, RANGE_FORWARDS), "");
    cr_assert_str_eq(walk(3, 0, 0, RANGE_FORWARDS), "");
    batch_done(&b);
}

Test(events, are_kept_by_age_and_by_size)
{
    struct batch b;
    batch_init(&b);
    ten_events(&b, 1);
    struct db_log log = retain(&b, (struct retention){.event_age_ms = 5000}, 8500);
    cr_assert(log.first_seq == 4 && log.next_seq == 11 && log.bytes == 7 * (100 + EVENT_HEAD));
    cr_assert_str_eq(walk(1, 0, 0, RANGE_FORWARDS), "4 5 6 7 8 9 10");
    log = retain(&b, (struct retention){.event_bytes = 300}, 8500);
    cr_assert(log.first_seq == 9 && log.bytes <= 300);
    cr_assert_str_eq(walk(1, 0, 0, RANGE_FORWARDS), "9 10");
    log = retain(&b, (struct retention){.event_age_ms = 1}, 1000000);
    cr_assert(log.first_seq == 11 && log.next_seq == 11 && log.bytes == 0);
    ten_events(&b, 1);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_log_find(f.view, 1, &log));
    view_end(f.view);
    cr_assert(log.next_seq == 21 && log.first_seq == 11);
    batch_done(&b);
}

Test(events, refuse_a_head_that_ends_early)
{
    struct event_head head;
    struct slice bytes;
    uint8_t payload[EVENT_HEAD];

    event_encode(&(struct event_head){.peer = 9}, payload);
    for (size_t n = 0; n < EVENT_HEAD; n++)
        cr_assert_eq(event_decode(slice_of(payload, n), &head, &bytes), ERR_STORE_DAMAGED);
    CHECK_OK(event_decode(SLICE_ARRAY(payload), &head, &bytes));
    cr_assert(head.peer == 9 && bytes.len == 0);
}
