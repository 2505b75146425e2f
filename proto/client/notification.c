/* <notification> by table. The ack leaves whatever a handler thinks of its content: a notification
 * that is not acknowledged comes again at every login. */
#include "proto/base/text.h"
#include "proto/client/acks.h"
#include "proto/client/bundles.h"
#include "proto/client/devices.h"
#include "proto/client/keys.h"
#include "proto/client/mapping.h"
#include "proto/client/offline.h"
#include "proto/client/pair_qr.h"
#include "proto/client/prekeys.h"
#include "proto/client/privacy.h"
#include "proto/client/stanzas.h"
#include "proto/client/tokens.h"
#include "proto/signal/identity.h"

/* ---- encrypt ---- */

/* The contact installed WhatsApp anew: what we knew of the phone is worth nothing. Companions were
 * unlinked with it and go with the device list. */
static err_t forget_identity(struct wa_client *c, const struct wa_jid *who)
{
    struct wa_jid phone = wa_jid_bare(who);
    struct wa_address address;
    struct wa_party party;

    TRY(wa_address_of(c, &phone, &address));
    TRY(wa_session_delete(&c->keystore, c->arena, &address));
    wa_identity_delete(&c->keystore, c->arena, &address);
    TRY(wa_devices_expire(c, &phone));
    TRY(wa_identity_changed(c, &phone));
    TRY(wa_party_of(c, &phone, &party));
    return wa_token_reissue(c, &party, &phone);
}

static err_t on_encrypt(struct wa_client *c, const struct wa_node *n)
{
    struct wa_jid from = wa_node_jid(n, "from");

    /* Our own phone's came with the pairing; another phone would be another pairing. */
    if (wa_account_is_self(&c->account, &from)) return OK;
    if (wa_node_child(n, "identity") && wa_jid_is_person(&from)) return forget_identity(c, &from);
    if (wa_node_child(n, "count")) return wa_prekeys_upload(c);
    return OK;
}

/* ---- people ---- */

static err_t on_devices(struct wa_client *c, const struct wa_node *n)
{
    struct wa_jid from = wa_node_jid(n, "from"), lid = wa_node_jid(n, "lid");

    TRY(wa_mapping_learn(c, &from, &lid));
    return wa_devices_expire(c, &from);
}

static err_t on_account_sync(struct wa_client *c, const struct wa_node *n)
{
    const struct wa_node *privacy = wa_node_child(n, "privacy");
    struct wa_jid self = wa_self_pn(c);

    if (privacy) wa_privacy_take(c, privacy);
    return wa_node_child(n, "devices") ? wa_devices_expire(c, &self) : OK;
}

static err_t on_contacts(struct wa_client *c, const struct wa_node *n)
{
    const struct wa_node *modify = wa_node_child(n, "modify");

    if (!modify) return OK;
    struct wa_jid new_pn = wa_node_jid(modify, "new"), new_lid = wa_node_jid(modify, "new_lid");
    return wa_mapping_learn(c, &new_pn, &new_lid);
}

static err_t learn_participants(struct wa_client *c, const struct wa_node *change, size_t *count)
{
    const struct wa_node *participant;

    for (size_t i = 0; *count < WA_MEMBERS_MAX; ++*count) {
        participant = wa_node_next(change, "participant", &i);
        if (!participant) return OK;
        struct wa_jid jid = wa_node_jid(participant, "jid"),
                      pn = wa_node_jid(participant, "phone_number"),
                      lid = wa_node_jid(participant, "lid");
        TRY(wa_mapping_learn(c, &jid, &pn));
        TRY(wa_mapping_learn(c, &jid, &lid));
    }
    return OK;
}

static err_t on_group(struct wa_client *c, const struct wa_node *n)
{
    struct wa_jid author = wa_node_jid(n, "participant"), pn = wa_node_jid(n, "participant_pn");

    size_t count = 0;

    TRY(wa_mapping_learn(c, &author, &pn));
    for (size_t i = 0; i < n->child_count; i++)
        TRY(learn_participants(c, &n->children[i], &count));
    return OK;
}

static err_t on_reg_refresh(struct wa_client *c, const struct wa_node *n)
{
    if (wa_node_child(n, "companion_reg_refresh") || wa_node_child(n, "pair-device-rotate-qr"))
        return wa_pair_refresh(c);
    return OK;
}

/* ---- the table ---- */

static const struct {
    const char *type;
    wa_stanza_fn *handler;
} notifications[] = {
#define NOTIFICATION(type, handler) {type, handler},
#include "proto/client/notifications.def"
#undef NOTIFICATION
};

static err_t handle(struct wa_client *c, const struct wa_node *n)
{
    struct slice type = wa_node_text(n, "type");

    for (size_t i = 0; i < ARRAY_LEN(notifications); i++)
        if (slice_is(type, notifications[i].type)) return notifications[i].handler(c, n);
    return OK;
}

err_t wa_on_notification(struct wa_client *c, const struct wa_node *n)
{
    wa_offline_count(c, n);
    err_t e = handle(c, n);

    if (wa_is_fatal(e)) return e;
    if (slice_is(wa_node_text(n, "type"), "encrypt") && wa_node_child(n, "identity"))
        wa_ack_untyped(c, n);
    else
        wa_ack(c, n);
    return OK;
}

err_t wa_on_call(struct wa_client *c, const struct wa_node *call)
{
    wa_offline_count(c, call);
    wa_ack(c, call);
    return OK;
}
