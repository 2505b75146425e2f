#include "server/release.h"

#include <stdlib.h>

#include "server/log.h"
#include "server/metrics.h"
#include "storage/monitor.h"

static _Noreturn void too_early(const char *subject, const char *what, uint64_t number)
{
    metric_add(METRIC_early_releases, 1);
    LOG(ERROR, subject, "%s %llu is released before its commit", what, (unsigned long long)number);
    abort();
}

void release_check(uint64_t owner, uint64_t turn, const char *subject, const char *what)
{
    if (turn && monitor_is_on() && !monitor_is_durable(owner, turn, what))
        too_early(subject, "turn", turn);
}

void release_check_event(uint32_t tenant, uint64_t seq)
{
    if (seq && monitor_is_on() && !monitor_is_shown(tenant, seq)) too_early(NULL, "event", seq);
}
