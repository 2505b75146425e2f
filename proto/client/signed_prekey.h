/* The signed prekey is replaced every 27 days, as official clients do: who steals it can read only
 * the first messages that were written to it. Older generations stay for those who fetched them. */
#pragma once
#include "proto/client/inside.h"

#define WA_ROTATE_EVERY_MS ((int64_t)27 * 24 * 60 * 60 * 1000)
#define WA_ROTATE_RETRY_MS ((int64_t)24 * 60 * 60 * 1000)
enum { WA_SIGNED_PREKEYS_KEPT = 3 };

/* After a login: sets the timer. */
void wa_rotation_plan(struct wa_client *c);
err_t on_rotation_due(struct wa_client *c);
