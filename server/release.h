/* The rule that nothing leaves before its commit, checked where something leaves. Under the monitor
 * the process ends at the first byte that is too early, and the journal of tests/crash is told what
 * left; else nothing. Any thread. */
#pragma once
#include <stdint.h>

/* `what` of an account's turn leaves; of owner 0, the reply that waited for a batch. */
void release_check(uint64_t owner, uint64_t turn, const char *subject, const char *what);
/* A stream is shown an event of the log. */
void release_check_event(uint32_t tenant, uint64_t seq);
