/* Living contacts: a handful of people who write to newly paired accounts and answer. They are
 * ordinary phones; what they say and when follows from the relay's seed. One thread. */
#pragma once
#include "tools/sim/phone.h"

struct sim_alive {
    struct sim_phones *phones; /* NULL: nobody is alive */
    uint32_t told;             /* lines used so far, so that nobody repeats himself */
};

/* Creates the contacts that do not exist yet and starts to listen to what phones hear. */
void sim_alive_start(struct sim_alive *a, struct sim_phones *phones);
