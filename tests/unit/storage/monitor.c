#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/events.h"
#include "storage/monitor.h"
#include "storage/record.h"

Test(monitor, says_no_to_what_is_not_durable_and_counts_it)
{
    monitor_reset();
    cr_assert(monitor_is_durable(7, 0, "1 sends"));
    cr_assert(!monitor_is_durable(7, 1, "1 sends"));
    monitor_note(7, 5);
    monitor_note(7, 3); /* never falls back */
    monitor_note(7, 0);
    cr_assert_eq(monitor_durable(7), 5);
    cr_assert(monitor_is_durable(7, 5, "1 sends"));
    cr_assert(!monitor_is_durable(7, 6, "1 sends"));
    cr_assert(!monitor_is_durable(8, 5, "1 sends"));
    cr_assert_eq(monitor_violations(), 3);
    monitor_reset();
    cr_assert_eq(monitor_violations(), 0);
    cr_assert_eq(monitor_durable(7), 0);
}

/* Of a tenant whose log this process has not written, all is older. */
Test(monitor, says_no_to_an_event_that_is_not_durable)
{
    struct event_head head = {.account = 3};
    struct batch b;

    monitor_reset();
    batch_init(&b);
    batch_event(&b, 1, &head, SLICE("{}"));
    b.last->through = 9;
    cr_expect(monitor_is_shown(1, 9));
    monitor_note_batch(&b);
    cr_expect(monitor_is_shown(1, 9));
    cr_expect_not(monitor_is_shown(1, 10));
    cr_expect(monitor_is_shown(2, 10));
    cr_assert_eq(monitor_violations(), 1);
    batch_done(&b);
}

/* ---- the journal ---- */

static uint8_t bytes[4096];

static struct reader read_back(const char *path)
{
    FILE *f = fopen(path, "r");
    size_t n = fread(bytes, 1, sizeof(bytes), f);

    fclose(f);
    return reader_of(slice_of(bytes, n));
}

static struct monitor_record next(struct reader *r)
{
    struct monitor_record head = {0};
    struct slice s = reader_bytes(r, sizeof(head));

    if (s.len) memcpy(&head, s.data, s.len);
    return head;
}

static void expect_row(struct reader *r, unsigned type, unsigned db, struct slice key,
                       struct slice payload)
{
    uint8_t head[RECORD_HEAD];
    uint16_t key_len = (uint16_t)key.len;

    record_head(head, db, key, payload);
    cr_expect_eq(reader_u8(r), type);
    cr_expect_eq(reader_u8(r), db);
    cr_expect(slice_eq(reader_bytes(r, 2), slice_of(&key_len, 2)));
    cr_expect(slice_eq(reader_bytes(r, 4), slice_of(head + 1, 4)));
    cr_expect(slice_eq(reader_bytes(r, key.len), key));
}

/* The second turn of account 7, with a row and the event 9. */
static void make_turn(struct batch *b)
{
    struct event_head head = {.account = 3};

    batch_init(b);
    b->owner = 7;
    b->turn = 2;
    batch_put(b, DB_meta, SLICE("a"), SLICE("old"));
    batch_put(b, DB_meta, SLICE("a"), SLICE("new")); /* replaces the first */
    batch_notice(b, 1, &head, SLICE("is no row"));
    batch_event(b, 1, &head, SLICE("{}"));
    b->last->through = 9; /* as the writer numbers it */
}

static void expect_turn(struct reader *r, const struct batch *b)
{
    struct monitor_record turn = next(r);
    struct key event = event_key(1, 9);

    cr_expect_eq(turn.type, MONITOR_TURN);
    cr_expect_eq(turn.a, 7);
    cr_expect_eq(turn.b, 2);
    expect_row(r, BATCH_PUT, DB_meta, SLICE("a"), SLICE("new"));
    expect_row(r, BATCH_EVENT, DB_events, key_slice(&event), batch_op_value(b->last));
}

Test(monitor, the_journal_tells_turns_and_releases_in_order)
{
    char path[] = "/tmp/parley-monitor-XXXXXX";
    struct batch b;

    close(mkstemp(path));
    make_turn(&b);
    monitor_note_batch(&b); /* nobody listens yet */
    cr_assert_eq(monitor_journal(path), OK);
    cr_expect(monitor_is_durable(7, 0, "1 sends")); /* left nothing that needs a commit */
    monitor_note_batch(&b);
    cr_expect_not(monitor_is_durable(7, 3, "1 sends"));
    cr_expect(monitor_is_shown(1, 9));
    cr_expect_not(monitor_is_shown(1, 10));
    monitor_reads(4);
    monitor_reads(4); /* once is enough */
    monitor_reset();

    struct reader r = read_back(path);
    expect_turn(&r, &b);
    struct monitor_record release = next(&r);
    cr_expect_eq(release.type, MONITOR_RELEASE);
    cr_expect_eq(release.b, 3);
    cr_expect(slice_is(reader_bytes(&r, release.len), "1 sends"));
    struct monitor_record shown = next(&r);
    cr_expect(shown.type == MONITOR_SHOWN && shown.a == 1 && shown.b == 9);
    shown = next(&r);
    cr_expect(shown.type == MONITOR_SHOWN && shown.b == 10);
    struct monitor_record read = next(&r);
    cr_expect(read.type == MONITOR_READ && read.a == 4 && read.len == 0);
    cr_expect_eq(reader_end(&r), OK);
    batch_done(&b);
    unlink(path);
}
