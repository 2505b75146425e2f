/* One-time prekeys on the server: counted after each login and when the server says that they run
 * low, uploaded when fewer than WA_LOW_PREKEYS are left.
 *
 * Keys of an upload are remembered in the account row until the server has accepted them, so that
 * an upload cut off is repeated with the same keys and no id is burnt. */
#pragma once
#include "proto/client/inside.h"
#include "proto/signal/prekey.h"

enum {
    WA_UPLOAD_RETRY_MS = 60 * 1000,
    WA_UPLOADS_MAX = 10, /* within WA_UPLOAD_RETRY_MS; a server that wants more waits */
};

/* Asks the server how many it has. */
err_t wa_prekeys_check(struct wa_client *c) MUST_CHECK;
/* Uploads now, without counting. */
err_t wa_prekeys_upload(struct wa_client *c) MUST_CHECK;
/* Fills <keys>, as a retry receipt carries them: identity, a fresh one-time key that is never
 * uploaded, the signed prekey, and our device identity. */
err_t wa_prekeys_put_bundle(struct wa_client *c, struct wa_node *keys) MUST_CHECK;
/* <skey> with the signed prekey of this number. */
err_t wa_put_signed_prekey(struct wa_client *c, struct wa_node *parent, uint32_t id) MUST_CHECK;
/* n bytes of a big-endian number, in the arena. */
struct slice wa_be_bytes(struct wa_client *c, uint32_t v, unsigned n);

/* Timer. */
err_t on_upload_retry(struct wa_client *c);
