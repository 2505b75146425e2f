/* Living contacts: a handful of people who write to newly paired accounts and answer. They are
 * ordinary phones; what they say and when follows from the relay's seed. One thread. */
#pragma once
#include "tools/sim/phone.h"

struct sim_alive {
    struct sim_phones *phones; /* NULL: nobody is alive */
    uint32_t told;             /* lines used so far, so that nobody repeats himself */
};

/* A companion came (back): somebody writes to it now and then while it stays. */
void sim_alive_on_login(struct sim_alive *a, struct sim_device *device);
/* Creates the contacts that do not exist yet and starts to listen to what phones hear. */
void sim_alive_start(struct sim_alive *a, struct sim_phones *phones);
