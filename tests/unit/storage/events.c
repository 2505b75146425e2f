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

/* ---- the walk that nothing stops ---- */

enum { ODD_TENANT = 'z' }; /* its keys stand nowhere else in the file */

/* Flips a bit of the key of this event, wherever the file holds it. */
static void flip_key(uint64_t seq, size_t byte, uint8_t bit)
{
    struct key key = event_key(ODD_TENANT, seq);
    char path[300];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", f.path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t *end = file + st.st_size, *at = file;
    size_t found = 0;
    while ((at = memmem(at, (size_t)(end - at), key.data, key.len))) {
        at[byte] ^= bit;
        found++;
    }
    cr_assert_gt(found, 0u);
    munmap(file, (size_t)st.st_size);
    close(fd);
}

/* The numbers of a walk as "2 3 -4 5": those with a minus are told as lost. */
static const char *walk_all(uint64_t after)
{
    static char text[512];
    struct db_log log;
    struct db_event e;
    enum log_step step;
    size_t n = 0;
    AUTO(log_walk) w = {0};

    text[0] = '\0';
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_log_find(f.view, ODD_TENANT, &log));
    log_walk_init(&w, f.view, ODD_TENANT, after, log.next_seq - 1);
    for (uint64_t before = after; (step = log_walk_next(&w, &e)) != LOG_END; before = w.seq) {
        cr_assert_gt(w.seq, before);
        cr_assert(step == LOG_EVENT ? e.seq == before + 1 && e.seq == w.seq
                                    : strlen(err_words()) > 0);
        for (uint64_t seq = before + 1; seq <= w.seq; seq++)
            n += (size_t)sprintf(text + n, "%s%s%llu", n ? " " : "", step == LOG_LOST ? "-" : "",
                                 (unsigned long long)seq);
    }
    CHECK_OK(w.error);
    log_walk_done(&w);
    view_end(f.view);
    return text;
}

static void eight_events(void)
{
    static const char *const texts[] = {"one",  "two...2", "three", "four...",
                                        "five", "six...6", "seven", "eight..8"};
    struct batch b;

    batch_init(&b);
    for (size_t i = 0; i < 8; i++)
        batch_event(&b, ODD_TENANT, &(struct event_head){.account = 7}, slice_text(texts[i]));
    batch_event(&b, ODD_TENANT - 1, &(struct event_head){.account = 7}, SLICE("before"));
    batch_event(&b, ODD_TENANT + 1, &(struct event_head){.account = 7}, SLICE("behind"));
    fixture_commit(&f, &b);
    batch_done(&b);
}

Test(events, a_sound_log_is_walked_to_its_end)
{
    eight_events();
    cr_expect_str_eq(walk_all(0), "1 2 3 4 5 6 7 8");
    cr_expect_str_eq(walk_all(5), "6 7 8");
    cr_expect_str_eq(walk_all(8), "");
    cr_expect_str_eq(walk_all(9), "");
}

Test(events, damaged_ones_are_told_as_lost_and_passed_over)
{
    eight_events();
    fixture_flip(&f, "two...2");
    fixture_flip(&f, "eight..8");
    cr_expect_str_eq(walk_all(0), "1 -2 3 4 5 6 7 -8");
    cr_expect_str_eq(walk_all(1), "-2 3 4 5 6 7 -8");
    cr_expect_str_eq(walk_all(7), "-8");
    cr_expect_eq(store_damaged(f.store), 5u);
}

Test(events, those_that_damage_hides_are_told_as_lost)
{
    struct key keys[] = {event_key(ODD_TENANT, 1), event_key(ODD_TENANT, 4),
                         event_key(ODD_TENANT, 5), event_key(ODD_TENANT, 8)};
    struct batch b;

    eight_events();
    batch_init(&b);
    for (size_t i = 0; i < 4; i++)
        batch_delete(&b, DB_events, key_slice(&keys[i]));
    fixture_commit(&f, &b);
    batch_done(&b);
    cr_expect_str_eq(walk_all(0), "-1 2 3 -4 -5 6 7 -8");
}

/* The first bit keeps the row in the log, the second makes it another tenant's. */
Test(events, a_damaged_key_costs_its_own_event)
{
    eight_events();
    flip_key(3, 2, 0x10);
    cr_expect_str_eq(walk_all(0), "1 2 -3 4 5 6 7 8");
    flip_key(6, 0, 0x01);
    cr_expect_str_eq(walk_all(0), "1 2 -3 4 5 -6 7 8");
    flip_key(7, 0, 0x04);
    cr_expect_str_eq(walk_all(0), "1 2 -3 4 5 -6 -7 8");
}

/* One that looks smaller than it is sends the look-up for the first ones astray. */
Test(events, a_damaged_key_hides_no_number)
{
    eight_events();
    flip_key(5, 0, 0x08);
    cr_expect(strstr(walk_all(0), "-5 6 7 8"), "%s", walk_all(0));
}
