#include "proto/client/keepalive.h"

#include "proto/client/iq.h"

void wa_keepalive_start(struct wa_client *c)
{
    uint32_t spread = wa_random_u32(c) % (WA_PING_MAX_MS - WA_PING_MIN_MS + 1);
    wa_timer_set(c, WA_TIMER_PING, c->now + WA_PING_MIN_MS + spread);
}

void wa_keepalive_owed(struct wa_client *c, int64_t now)
{
    if (c->timers[WA_TIMER_DEAD] == WA_NEVER) wa_timer_set(c, WA_TIMER_DEAD, now + WA_DEAD_MS);
}

err_t on_ping_due(struct wa_client *c)
{
    bool quiet = c->now - c->received_at >= WA_PING_QUIET_MS && list_empty(&c->queries);

    wa_keepalive_start(c);
    if (!wa_is_online(c) || !quiet) return OK;
    return wa_iq_ask(c, wa_iq_new(c, "get", "w:p"), wa_iq_ignore, NULL);
}

err_t on_link_dead(struct wa_client *c)
{
    struct wa_end end = {.reason = WA_REASON_LINK};
    return wa_link_end(c, &end);
}
