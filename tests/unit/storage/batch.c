#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/batch.h"

Test(batch, finds_the_newest_write_of_a_key)
{
    struct batch b;
    struct slice first, out;
    char key[16];

    batch_init(&b);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i % 500);
        batch_put(&b, DB_data, slice_text(key), slice_of(&i, sizeof(i)));
        if (i == 3) cr_assert_eq(batch_find(&b, DB_data, SLICE("k3"), &first), BATCH_VALUE);
    }
    batch_delete(&b, DB_data, SLICE("k7"));
    cr_assert_eq(batch_find(&b, DB_data, SLICE("k3"), &out), BATCH_VALUE);
    cr_assert_eq(*(const int *)(const void *)memcpy(&(int){0}, out.data, 4), 503);
    cr_assert_eq(*(const int *)(const void *)memcpy(&(int){0}, first.data, 4), 3);
    cr_assert_eq(batch_find(&b, DB_data, SLICE("k7"), &out), BATCH_DELETED);
    cr_assert_eq(batch_find(&b, DB_events, SLICE("k3"), &out), BATCH_NOTHING);
    cr_assert_eq(batch_find(&b, DB_data, SLICE("k500"), &out), BATCH_NOTHING);

    size_t count = 0, bytes = 0;
    for (const struct batch_op *op = batch_first(&b); op; op = batch_next(op)) {
        count++;
        bytes += (size_t)op->key_len + op->value_len;
    }
    cr_assert_eq(count, 500);
    cr_assert_eq(bytes, b.bytes);
    batch_reset(&b);
    cr_assert(batch_is_empty(&b));
    cr_assert_eq(batch_find(&b, DB_data, SLICE("k3"), &out), BATCH_NOTHING);
    batch_done(&b);
}

/* A counter that is written for each of many rows: every look-up stays short. */
Test(batch, a_row_written_many_times_leaves_no_trail)
{
    struct batch b;
    struct slice out;
    size_t taken = 0;
    char key[16];

    batch_init(&b);
    for (int i = 0; i < 50000; i++) {
        snprintf(key, sizeof(key), "k%d", i % 100);
        batch_put(&b, DB_data, SLICE("counter"), slice_of(&i, sizeof(i)));
        batch_put(&b, DB_data, slice_text(key), SLICE("x"));
    }
    for (size_t i = 0; i < b.slot_count; i++)
        taken += b.slots[i] != NULL;
    cr_assert_eq(taken, 101, "one slot a key");
    cr_assert_eq(batch_find(&b, DB_data, SLICE("counter"), &out), BATCH_VALUE);
    cr_assert_eq(*(const int *)(const void *)memcpy(&(int){0}, out.data, 4), 49999);
    batch_done(&b);
}

Test(batch, that_is_too_much_says_so_and_goes_on)
{
    static uint8_t megabyte[1 << 20];
    struct batch b;
    struct slice out;
    char key[16];

    batch_init(&b);
    for (int i = 0; i < BATCH_MAX >> 20; i++) { /* the last one with its key is too much */
        cr_assert(!b.overfull, "%d", i);
        snprintf(key, sizeof(key), "k%d", i);
        batch_put(&b, DB_data, slice_text(key), SLICE_ARRAY(megabyte));
    }
    cr_assert(b.overfull);
    cr_assert_eq(batch_find(&b, DB_data, slice_text(key), &out), BATCH_VALUE);
    batch_done(&b);
    batch_init(&b);
    for (int i = 0; !b.overfull && i < 1000; i++) /* the same row: memory counts too */
        batch_put(&b, DB_data, SLICE("k"), SLICE_ARRAY(megabyte));
    cr_assert(b.overfull);
    batch_done(&b);
}

Test(batch, an_event_that_is_too_long_fails_the_turn)
{
    static uint8_t bytes[EVENT_MAX + 1];
    struct event_head head = {.type = 1};
    struct batch b;

    batch_init(&b);
    batch_event(&b, 1, &head, slice_of(bytes, EVENT_MAX));
    cr_assert(!b.overfull);
    batch_event(&b, 1, &head, SLICE_ARRAY(bytes));
    cr_assert(b.overfull);
    batch_done(&b);
    batch_init(&b);
    batch_notice(&b, 1, &head, SLICE_ARRAY(bytes));
    cr_assert(b.overfull);
    batch_done(&b);
}

Test(batch, a_notice_counts_as_what_it_holds_and_is_no_row)
{
    struct batch b;
    struct slice out;

    batch_init(&b);
    batch_notice(&b, 1, &(struct event_head){.type = 1}, SLICE("x"));
    cr_assert(!batch_is_empty(&b), "its commit is waited for");
    cr_assert_gt(b.bytes, 1);
    cr_assert_eq(b.event_count, 0);
    for (int i = 0; i < 100; i++) /* with slots and without */
        batch_put(&b, DB_events, slice_of(&i, sizeof(i)), SLICE("y"));
    cr_assert_eq(batch_find(&b, DB_events, SLICE("x"), &out), BATCH_NOTHING);
    batch_reset(&b);
    cr_assert(batch_is_empty(&b) && b.notice_count == 0);
    batch_done(&b);
}
