#include "proto/client/bundles.h"

#include "proto/base/reader.h"
#include "proto/client/devices.h"
#include "proto/client/keys.h"
#include "proto/client/mapping.h"
#include "proto/signal/adv.h"
#include "proto/signal/identity.h"

err_t wa_bundles_ask(struct wa_client *c, const struct wa_jid *devices, size_t n,
                     const char *reason, wa_answer_fn *answer, void *op, bool take_op)
{
    struct wa_node *iq = wa_iq_new(c, "get", "encrypt");
    struct wa_node *key = wa_node_add(iq, c->arena, "key");

    for (size_t i = 0; i < n; i++) {
        struct wa_node *user = wa_node_add(key, c->arena, "user");
        wa_node_set_jid(user, c->arena, "jid", devices[i]);
        wa_node_set_text(user, c->arena, "reason", reason);
    }
    return take_op ? wa_iq_ask_with(c, iq, answer, op) : wa_iq_ask(c, iq, answer, op);
}

err_t wa_session_jid(struct wa_client *c, const struct wa_jid *device, struct wa_jid *out)
{
    struct wa_party party;

    *out = *device;
    if (device->server != WA_SERVER_USER) return OK;
    TRY(wa_party_of(c, device, &party));
    if (!wa_jid_is_none(&party.lid))
        *out = wa_jid_of(WA_SERVER_LID, party.lid.user, device->device);
    return OK;
}

/* ---- reading: lengths are exact, as the strictest peer demands ---- */

static err_t read_key(struct slice bytes, struct crypto_key *out)
{
    ENSURE(bytes.len == CRYPTO_KEY, BAD_STANZA);
    memcpy(out->bytes, bytes.data, CRYPTO_KEY);
    return OK;
}

static err_t read_number(struct slice bytes, size_t n, uint32_t *out)
{
    ENSURE(bytes.len == n, BAD_STANZA);
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out = *out << 8 | bytes.data[i];
    return OK;
}

static err_t read_signed(const struct wa_node *skey, struct wa_bundle *out)
{
    struct slice signature = wa_node_child_bytes(skey, "signature");

    TRY(read_number(wa_node_child_bytes(skey, "id"), 3, &out->signed_prekey_id));
    TRY(read_key(wa_node_child_bytes(skey, "value"), &out->signed_prekey));
    ENSURE(signature.len == sizeof(out->signature), BAD_STANZA);
    memcpy(out->signature, signature.data, signature.len);
    return OK;
}

err_t wa_bundle_read(const struct wa_node *node, struct slice registration, struct wa_bundle *out)
{
    const struct wa_node *key = wa_node_child(node, "key"), *skey = wa_node_child(node, "skey");

    *out = (struct wa_bundle){0};
    if (slice_is_none(registration)) registration = wa_node_child_bytes(node, "registration");
    TRY(read_number(registration, 4, &out->registration_id));
    TRY(read_key(wa_node_child_bytes(node, "identity"), &out->identity));
    ENSURE(skey, BAD_STANZA);
    TRY(read_signed(skey, out));
    if (!key) return OK;
    out->has_prekey = true;
    TRY(read_number(wa_node_child_bytes(key, "id"), 3, &out->prekey_id));
    return read_key(wa_node_child_bytes(key, "value"), &out->prekey);
}

/* ---- sessions ---- */

err_t wa_identity_changed(struct wa_client *c, const struct wa_jid *who)
{
    struct wa_event e = {.kind = WA_EVENT_IDENTITY};

    TRY(wa_party_of(c, who, &e.identity));
    wa_emit(c, &e);
    return OK;
}

err_t wa_bundle_install(struct wa_client *c, const struct wa_jid *device,
                        const struct wa_bundle *bundle)
{
    struct wa_address address;
    bool changed;

    TRY(wa_address_of(c, device, &address));
    TRY(wa_session_from_bundle(&c->keystore, c->arena, &address, bundle, &changed));
    TRY(wa_mapping_note(c, device, SLICE("")));
    return changed ? wa_identity_changed(c, device) : OK;
}

err_t wa_has_session(struct wa_client *c, const struct wa_jid *device, bool *out)
{
    struct wa_address address;
    struct wa_session_info info;

    TRY(wa_address_of(c, device, &address));
    err_t e = wa_session_info(&c->keystore, c->arena, &address, &info);
    if (wa_is_fatal(e)) return e;
    *out = e == OK;
    return OK;
}

/* Of our own devices the pairing told us the phone's key, and the phone vouches for the others: a
 * proof that comes along must be its. Companions' bundles may come without one and are believed
 * then, so a server that leaves it out can still add a device that reads what we send: whoever
 * refused those might send to companions of real people no more. */
static err_t check_own_device(struct wa_client *c, const struct wa_jid *jid,
                              const struct wa_node *user, const struct wa_bundle *bundle)
{
    struct slice proof = wa_node_child_bytes(user, "device-identity");
    struct wa_address address;
    struct wa_adv_device device = {.account_key = bundle->identity};
    struct crypto_key phone;
    bool is_known;

    if (!wa_account_is_self(&c->account, jid)) return OK;
    TRY(wa_address_of(c, jid, &address));
    bool is_companion = address.device != 0;
    address.device = 0;
    TRY(wa_identity_load(&c->keystore, c->arena, &address, &phone, &is_known));
    if (!is_known || (is_companion && proof.len == 0)) return OK;
    if (is_companion) TRY(wa_adv_verify(c->arena, proof, &bundle->identity, &phone, &device));
    ENSURE(memcmp(&device.account_key, &phone, sizeof(phone)) == 0, BAD_SIGNATURE);
    return OK;
}

static err_t take_user(struct wa_client *c, const struct wa_node *user, bool replace)
{
    struct wa_jid jid = wa_node_jid(user, "jid");
    struct wa_bundle bundle;
    bool has = false;

    ENSURE(wa_jid_is_person(&jid), BAD_STANZA);
    if (wa_node_child(user, "error"))
        return wa_iq_error(user) == 406 ? wa_devices_expire(c, &jid) : OK;
    /* A message may have brought a session while we waited: that one has the newer ratchet. */
    TRY(wa_has_session(c, &jid, &has));
    if (has && !replace) return OK;
    TRY(wa_bundle_read(user, SLICE_NONE, &bundle));
    TRY(check_own_device(c, &jid, user, &bundle));
    return wa_bundle_install(c, &jid, &bundle);
}

err_t wa_bundles_take(struct wa_client *c, const struct wa_node *iq, bool replace)
{
    const struct wa_node *list = wa_node_child(iq, "list"), *user;
    size_t n = 0;

    for (size_t i = 0; list && (user = wa_node_next(list, "user", &i));) {
        if (n++ == WA_BUNDLES_MAX) break;
        err_t e = take_user(c, user, replace);
        if (wa_is_fatal(e)) return e;
    }
    return OK;
}
