/* Fault loops: each flow of world_flows.c is lived through once more for each
 * point at which something of one kind may fail, with exactly that point failing. */
#pragma once
#include "tests/flow/world.h"

struct flow {
    const char *name;
    /* From its first input to what its user sees; false when it did not come to that. May be run
     * again in the same world. */
    bool (*run)(struct town *w);
};
extern const struct flow flows[];
extern const size_t flow_count;

/* tests/flow/run --faults all|sample …; the program's exit status. `start` once the arguments are
 * known to be right. */
int loops_main(int argc, char **argv, void (*start)(void));
