#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/base/map.h"

Test(map, keeps_a_thousand_keys_through_removal)
{
    struct map m = {0};
    int values[1000];
    char key[16];

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            map_put(&m, slice_text(key), &values[i]);
        }
        for (int i = 0; i < 1000; i += 2) {
            snprintf(key, sizeof(key), "k%d", i);
            cr_assert_eq(map_remove(&m, slice_text(key)), &values[i]);
        }
        for (int i = 0; i < 1000; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            cr_assert_eq(map_find(&m, slice_text(key)), i % 2 ? &values[i] : NULL);
        }
    }
    cr_assert_eq(m.count, 500);
    size_t at = 0, seen = 0;
    while (map_next(&m, &at, NULL))
        seen++;
    cr_assert_eq(seen, 500);
    map_done(&m);
}
