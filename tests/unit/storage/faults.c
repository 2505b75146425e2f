#include <criterion/criterion.h>

#include "storage/faults.h"

Test(faults, are_set_by_name)
{
    struct faults f = {0};
    cr_assert_eq(faults_parse(&f, SLICE("commit_delay_ms=50  full=1 ")), OK);
    cr_assert_eq(f.commit_delay_ms, 50);
    cr_assert_eq(f.full, 1);
    cr_assert_eq(faults_parse(&f, SLICE("full=0")), OK);
    cr_assert_eq(f.full, 0);
    cr_assert_eq(faults_parse(&f, SLICE("")), OK);
    cr_assert_eq(faults_parse(&f, SLICE("unknown=1")), ERR_BAD_ARGUMENT);
    cr_assert_neq(faults_parse(&f, SLICE("full")), OK);
    cr_assert_neq(faults_parse(&f, SLICE("full=-1")), OK);
}

Test(faults, fire_once_when_they_are_due)
{
    struct faults f = {.fail_put = 3};
    cr_assert(!fault_due(&f.fail_put));
    cr_assert(!fault_due(&f.fail_put));
    cr_assert(fault_due(&f.fail_put));
    for (int i = 0; i < 5; i++)
        cr_assert(!fault_due(&f.fail_put));
    fault_count("fail_put");
    fault_count("fail_put");
    cr_assert_eq(faults_fired("fail_put"), 2);
    cr_assert_eq(faults_fired("no such"), 0);
}
