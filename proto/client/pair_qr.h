/* Pairing by QR code (protocol.md 4.1, 4.2): codes on show, the phone's answer, the restart.
 *
 * The credentials are saved in the turn that answers the phone, so the answer cannot leave before
 * they are durable. One thread. */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_REFS_MAX = 32,
    WA_REF_MAX = 256,
    WA_FIRST_CODE_MS = 60 * 1000,
    WA_NEXT_CODE_MS = 20 * 1000,
    WA_RESTART_TIMEOUT_MS = 20 * 1000, /* from our answer to 515 */
};

/* Fresh keys, saved; wishes for a link. Nothing happens when the account is paired. */
err_t wa_pair_start(struct wa_client *c) MUST_CHECK;
/* An iq of the server with <pair-device> or <pair-success>. */
err_t wa_on_pair_device(struct wa_client *c, const struct wa_node *iq) MUST_CHECK;
err_t wa_on_pair_success(struct wa_client *c, const struct wa_node *iq) MUST_CHECK;
/* <notification type="companion_reg_refresh">: a new secret, the code is shown anew. */
err_t wa_pair_refresh(struct wa_client *c) MUST_CHECK;
void wa_pairing_free(struct wa_client *c);
size_t wa_pairing_memory(const struct wa_client *c);

/* Timers. */
err_t on_code_expired(struct wa_client *c);
err_t on_restart_missing(struct wa_client *c);
