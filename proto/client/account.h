/* The account row: who this device is. One per client, held in memory while the client lives.
 *
 * Written at pairing, at logout, when the server refuses us, when it tells a new edge-routing blob
 * when a privacy setting changes and when the signed prekey is replaced, not per message. One
 * thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/crypto/crypto.h"
#include "proto/wire/jid.h"

enum {
    WA_USER_MAX = 40,             /* digits of a phone number or LID */
    WA_ROUTING_KEPT_MAX = 4096,   /* edge-routing blob; a longer one is not stored */
    WA_DEVICE_IDENTITY_MAX = 4096 /* ADVSignedDeviceIdentity */
};

/* Why the server does not want us, when that outlives the process: a ban, or a refusal after which
 * we do not come back by ourselves. Until the next login that succeeds. */
struct wa_held_off {
    uint8_t reason;  /* enum wa_reason; 0: it does not */
    uint32_t code;   /* of the failure, or a ban's cause */
    int64_t until_s; /* end of a ban, 0 */
};

/* Whether others may see what the owner reads; unknown until the server has told once. */
enum wa_reads { WA_READS_UNKNOWN, WA_READS_SHOWN, WA_READS_HIDDEN };

struct wa_account {
    struct crypto_pair noise, identity;
    struct crypto_key adv_secret; /* in the QR code; the phone proves that it scanned it */
    uint32_t registration_id;
    bool paired;
    bool lid_migrated; /* the phone keeps its chats by LID: new stanzas go there */
    enum wa_reads reads;
    uint32_t signed_prekey_id;  /* the current one, … */
    int64_t signed_prekey_at_s; /* … and since when; 0: not noted */
    uint32_t next_prekey;       /* id of the next one-time key to be made */
    uint32_t upload_from;       /* keys made for an upload that was not accepted yet … */
    uint16_t upload_count;      /* … and how many; 0: none */
    char pn_user[WA_USER_MAX + 1], lid_user[WA_USER_MAX + 1];
    uint16_t device;
    struct buf device_identity; /* ours, signed by the phone and by us */
    struct buf routing;         /* edge routing, sent before the intro; may be empty */
    struct wa_held_off held_off;
};

void wa_account_done(struct wa_account *a);
/* Fresh keys of an unpaired device; `random` fills n bytes. */
void wa_account_make(struct wa_account *a, void (*random)(void *ctx, void *out, size_t n),
                     void *ctx);
void wa_account_encode(const struct wa_account *a, struct buf *out);
/* STORE_DAMAGED or STORE_VERSION; `out` is empty ({0}) before. */
err_t wa_account_decode(struct slice row, struct wa_account *out) MUST_CHECK;

/* Own addresses with device; WA_SERVER_NONE while unpaired. Borrowed from the account. */
struct wa_jid wa_account_pn(const struct wa_account *a);
struct wa_jid wa_account_lid(const struct wa_account *a);
/* Either of our addresses, whatever the device. */
bool wa_account_is_self(const struct wa_account *a, const struct wa_jid *jid);
