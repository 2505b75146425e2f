/* Getting in: the payload that ends the handshake, what follows success, and every way the server
 * says no (failures.def). */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_OUTDATED_CHECK_MS = 60 * 1000,      /* look for a newer version this often */
    WA_OUTDATED_RETRY_MS = 60 * 60 * 1000, /* and try the same one again this often */
    WA_BAN_DEFAULT_S = 60 * 60,            /* a ban without an end */
    WA_LOGOUT_TIMEOUT_MS = 10 * 1000,
};

/* ClientPayload: registration while unpaired, login afterwards. The version is read now. */
err_t wa_login_payload(struct wa_client *c, struct buf *out) MUST_CHECK;
err_t wa_logout_start(struct wa_client *c) MUST_CHECK;
/* <ib><unified_session>: what the official client says after pairing and login. */
void wa_unified_session(struct wa_client *c);
/* The server takes us again: what held us off is forgotten, in the account row too. */
void wa_held_off_end(struct wa_client *c);

/* Timers. */
err_t on_logout_silent(struct wa_client *c);
err_t on_version_check(struct wa_client *c);
err_t on_link_stable(struct wa_client *c);
