/* Whether the link still lives: a ping every 20 to 30 s of silence, death when an owed answer does
 * not come. The dead timer starts at the first unanswered send since the last byte came, not at
 * the last one, so that a busy sender cannot put it off for ever. */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_PING_MIN_MS = 20 * 1000,
    WA_PING_MAX_MS = 30 * 1000,
    WA_PING_QUIET_MS = 15 * 1000, /* no ping when something came within this time */
    WA_DEAD_MS = 20 * 1000,
};

void wa_keepalive_start(struct wa_client *c);
/* A send that is owed an answer was released. */
void wa_keepalive_owed(struct wa_client *c, int64_t now);

/* Timers. */
err_t on_ping_due(struct wa_client *c);
err_t on_link_dead(struct wa_client *c);
