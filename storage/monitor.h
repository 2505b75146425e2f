/* The release-after-commit monitor of test builds (PARLEY_MONITOR): which turn of each owner is
 * durable, as the writer itself knows it, independent of the turn's own bookkeeping.
 *
 * Who lets bytes out (a link, a response) asks monitor_is_durable() with the number of the turn
 * that made them. Turn numbers rise within an owner for the life of the process, also when the
 * account is reopened. Any thread; behind a lock of its own, which production builds never take. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* The newest durable turn of the owner, 0 when none is. */
uint64_t monitor_durable(uint64_t owner);
/* Called by the writer after the commit. */
void monitor_note(uint64_t owner, uint64_t turn);
/* False, and counted, when `turn` is above the durable one. Turn 0 wrote nothing. */
bool monitor_is_durable(uint64_t owner, uint64_t turn);
/* How often monitor_is_durable() said no. */
uint64_t monitor_violations(void);
void monitor_reset(void);
