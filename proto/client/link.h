/* The link: handshake, frames, stanzas by table, and its end. wa_client_link_up, _recv,
 * _link_down and _release in client.h are its doors. */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_HANDSHAKE_TIMEOUT_MS = 20 * 1000,
    WA_ENTER_TIMEOUT_MS = 20 * 1000, /* from the end of the handshake to success or pair-device */
};

err_t wa_link_open(struct wa_client *c, uint32_t link) MUST_CHECK;
err_t wa_link_feed(struct wa_client *c, struct slice bytes) MUST_CHECK;
err_t wa_link_lost(struct wa_client *c) MUST_CHECK;
