#include <criterion/criterion.h>

#include "storage/monitor.h"

Test(monitor, says_no_to_what_is_not_durable_and_counts_it)
{
    monitor_reset();
    cr_assert(monitor_is_durable(7, 0));
    cr_assert(!monitor_is_durable(7, 1));
    monitor_note(7, 5);
    monitor_note(7, 3); /* never falls back */
    monitor_note(7, 0);
    cr_assert_eq(monitor_durable(7), 5);
    cr_assert(monitor_is_durable(7, 5));
    cr_assert(!monitor_is_durable(7, 6));
    cr_assert(!monitor_is_durable(8, 5));
    cr_assert_eq(monitor_violations(), 3);
    monitor_reset();
    cr_assert_eq(monitor_violations(), 0);
    cr_assert_eq(monitor_durable(7), 0);
}
