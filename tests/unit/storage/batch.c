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
