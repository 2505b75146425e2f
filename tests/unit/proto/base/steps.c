#include "proto/base/steps.h"

#include <criterion/criterion.h>

struct op {
    int ran[3], waits; /* how often the second step still waits */
    bool fails;
    char left[64];
    int64_t took;
};

static enum step_result one(void *op)
{
    ((struct op *)op)->ran[0]++;
    return STEP_NEXT;
}

static enum step_result two(void *op)
{
    struct op *o = op;

    o->ran[1]++;
    return o->waits-- > 0 ? STEP_WAIT : o->fails ? STEP_FAILED : STEP_NEXT;
}

static enum step_result three(void *op)
{
    ((struct op *)op)->ran[2]++;
    return STEP_NEXT;
}

static void on_left(void *op, const char *name, int64_t took_ms)
{
    struct op *o = op;

    strcat(o->left, name);
    o->took += took_ms;
}

static const struct step rows[] = {{"1", one}, {"2", two}, {"3", three}, {NULL, NULL}};

Test(steps, a_step_that_waited_is_run_again_and_timed)
{
    struct op op = {.waits = 2};
    struct steps s;

    steps_init(&s, rows, 1000);
    s.on_left = on_left;
    cr_expect_eq(steps_run(&s, &op, 1000), STEP_WAIT);
    cr_expect_str_eq(steps_name(&s), "2");
    cr_expect_eq(steps_run(&s, &op, 1400), STEP_WAIT);
    cr_expect_str_eq(op.left, "1");
    cr_expect_eq(steps_run(&s, &op, 1500), STEP_DONE);
    cr_expect_str_eq(op.left, "123");
    cr_expect_eq(op.took, 500);
    cr_expect_eq(op.ran[0], 1);
    cr_expect_eq(op.ran[1], 3);
    cr_expect_eq(op.ran[2], 1);
    cr_expect_str_eq(steps_name(&s), "done");
    cr_expect_eq(steps_run(&s, &op, 1600), STEP_DONE, "nothing is left to do");
    cr_expect_eq(op.ran[2], 1);
}

Test(steps, a_failure_ends_the_flow)
{
    struct op op = {.fails = true};
    struct steps s;

    steps_init(&s, rows, 0);
    cr_expect_eq(steps_run(&s, &op, 0), STEP_FAILED);
    cr_expect_str_eq(steps_name(&s), "2");
    cr_expect_eq(op.ran[2], 0);
}
