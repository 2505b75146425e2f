#include "proto/signal/adv.h"

#include "proto/schema/adv.pb-c.h"
#include "proto/schema/unpack.h"

/* What stands before a signed text, so that a signature means one thing only. */
#define ACCOUNT SLICE("\x06\x00")
#define ACCOUNT_HOSTED SLICE("\x06\x05")
#define DEVICE SLICE("\x06\x01")
#define DEVICE_HOSTED SLICE("\x06\x06")
#define KEY_INDEXES SLICE("\x06\x02")
#define MAC_HOSTED ACCOUNT_HOSTED

static struct slice key_slice(const struct crypto_key *key)
{
    return slice_of(key->bytes, CRYPTO_KEY);
}

static struct slice join(struct arena *arena, const struct slice *pieces, size_t n)
{
    size_t len = 0, at = 0;
    uint8_t *out;

    for (size_t i = 0; i < n; i++)
        len += pieces[i].len;
    out = arena_alloc(arena, len);
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].len) memcpy(out + at, pieces[i].data, pieces[i].len);
        at += pieces[i].len;
    }
    return slice_of(out, len);
}

/* What the phone signs, and with its key behind, what the companion signs. */
static struct slice account_text(struct arena *arena, struct slice prefix, struct slice details,
                                 const struct crypto_key *companion)
{
    return join(arena, (struct slice[]){prefix, details, key_slice(companion)}, 3);
}

static struct slice device_text(struct arena *arena, struct slice prefix, struct slice details,
                                const struct crypto_key *companion,
                                const struct crypto_key *account)
{
    return join(arena, (struct slice[]){prefix, details, key_slice(companion), key_slice(account)},
                4);
}

static void mac_of(const uint8_t secret[WA_ADV_SECRET], bool hosted, struct slice details,
                   uint8_t out[CRYPTO_SHA256])
{
    struct slice pieces[] = {hosted ? MAC_HOSTED : SLICE(""), details};
    crypto_hmac_v(slice_of(secret, WA_ADV_SECRET), pieces, 2, out);
}

static err_t read_key(const ProtobufCBinaryData *field, struct crypto_key *out)
{
    ENSURE(field->len == CRYPTO_KEY, BAD_KEY);
    memcpy(out->bytes, field->data, CRYPTO_KEY);
    return OK;
}

static struct slice put_signed(struct arena *arena, struct slice details,
                               const struct crypto_key *account_key, struct slice account_signature,
                               struct slice device_signature)
{
    Wa__AdvSignedDeviceIdentity m = WA__ADV_SIGNED_DEVICE_IDENTITY__INIT;

    m.has_details = m.has_account_signature = true;
    m.details = wa_binary(details);
    m.account_signature = wa_binary(account_signature);
    m.has_account_signature_key = account_key != NULL;
    if (account_key) m.account_signature_key = wa_binary(key_slice(account_key));
    m.has_device_signature = device_signature.len > 0;
    m.device_signature = wa_binary(device_signature);
    return wa_pack_in(&m.base, arena);
}

static err_t read_details(struct arena *arena, struct slice details,
                          const Wa__AdvDeviceIdentity **out)
{
    TRY(WA_UNPACK(wa__adv_device_identity, details, arena, out));
    ENSURE((*out)->has_key_index, BAD_PROTOBUF);
    return OK;
}

/* ---- the companion ---- */

static err_t check_container(struct arena *arena, const uint8_t secret[WA_ADV_SECRET],
                             struct slice container, bool *out_hosted, struct slice *out_signed)
{
    const Wa__AdvSignedDeviceIdentityHmac *m;
    uint8_t mac[CRYPTO_SHA256];

    TRY(WA_UNPACK(wa__adv_signed_device_identity_hmac, container, arena, &m));
    ENSURE(m->has_details && m->has_hmac, BAD_PROTOBUF);
    *out_hosted = m->has_account_type && m->account_type == WA__ADV_ENCRYPTION_TYPE__HOSTED;
    *out_signed = wa_field(&m->details);
    mac_of(secret, *out_hosted, *out_signed, mac);
    ENSURE(crypto_equal(SLICE_ARRAY(mac), wa_field(&m->hmac)), BAD_MAC);
    return OK;
}

err_t wa_adv_accept(const struct wa_keystore *ks, struct arena *arena,
                    const uint8_t secret[WA_ADV_SECRET], struct slice container,
                    struct wa_adv_pairing *out)
{
    const Wa__AdvSignedDeviceIdentity *m;
    const Wa__AdvDeviceIdentity *details;
    const struct crypto_key *self = &ks->identity->public;
    struct wa_adv_pairing p = {0};
    struct slice signed_identity, text;
    uint8_t signature[CRYPTO_SIGNATURE];

    TRY(check_container(arena, secret, container, &p.hosted, &signed_identity));
    TRY(WA_UNPACK(wa__adv_signed_device_identity, signed_identity, arena, &m));
    TRY(read_key(&m->account_signature_key, &p.account_key));
    text = account_text(arena, p.hosted ? ACCOUNT_HOSTED : ACCOUNT, wa_field(&m->details), self);
    ENSURE(crypto_verify(&p.account_key, text, wa_field(&m->account_signature)), BAD_SIGNATURE);
    TRY(read_details(arena, wa_field(&m->details), &details));

    text = device_text(arena, p.hosted ? DEVICE_HOSTED : DEVICE, wa_field(&m->details), self,
                       &p.account_key);
    wa_sign(ks, &ks->identity->secret, text, signature);
    p.key_index = details->key_index;
    p.identity = put_signed(arena, wa_field(&m->details), &p.account_key,
                            wa_field(&m->account_signature), SLICE_ARRAY(signature));
    p.answer = put_signed(arena, wa_field(&m->details), NULL, wa_field(&m->account_signature),
                          SLICE_ARRAY(signature));
    *out = p;
    return OK;
}

/* ---- readers ---- */

/* Companions of hosted accounts sign their own half under either prefix. */
static bool check_device(struct arena *arena, const Wa__AdvSignedDeviceIdentity *m,
                         const struct crypto_key *device, const struct crypto_key *account)
{
    struct slice details = wa_field(&m->details), signature = wa_field(&m->device_signature);

    return crypto_verify(device, device_text(arena, DEVICE, details, device, account), signature) ||
           crypto_verify(device, device_text(arena, DEVICE_HOSTED, details, device, account),
                         signature);
}

static bool check_account(struct arena *arena, const Wa__AdvSignedDeviceIdentity *m,
                          const struct crypto_key *device, const struct crypto_key *account,
                          bool *out_hosted)
{
    struct slice details = wa_field(&m->details), signature = wa_field(&m->account_signature);

    *out_hosted = false;
    if (crypto_verify(account, account_text(arena, ACCOUNT, details, device), signature))
        return true;
    *out_hosted = true;
    return crypto_verify(account, account_text(arena, ACCOUNT_HOSTED, details, device), signature);
}

err_t wa_adv_verify(struct arena *arena, struct slice identity, const struct crypto_key *device_key,
                    const struct crypto_key *account_key, struct wa_adv_device *out)
{
    const Wa__AdvSignedDeviceIdentity *m;
    const Wa__AdvDeviceIdentity *details;
    struct wa_adv_device d = {0};

    TRY(WA_UNPACK(wa__adv_signed_device_identity, identity, arena, &m));
    if (m->has_account_signature_key && m->account_signature_key.len) {
        TRY(read_key(&m->account_signature_key, &d.account_key));
    } else {
        ENSURE(account_key, BAD_KEY);
        d.account_key = *account_key;
    }
    ENSURE(check_account(arena, m, device_key, &d.account_key, &d.hosted), BAD_SIGNATURE);
    ENSURE(check_device(arena, m, device_key, &d.account_key), BAD_SIGNATURE);
    TRY(read_details(arena, wa_field(&m->details), &details));
    d.raw_id = details->raw_id;
    d.key_index = details->key_index;
    d.timestamp = details->timestamp;
    *out = d;
    return OK;
}

/* ---- the phone ---- */

/* Clients differ in where they read the account's kind: it is in every place there is. */
static struct slice put_details(struct arena *arena, const struct wa_adv_grant *grant)
{
    Wa__AdvDeviceIdentity m = WA__ADV_DEVICE_IDENTITY__INIT;

    m.has_raw_id = m.has_timestamp = m.has_key_index = true;
    m.raw_id = grant->raw_id;
    m.timestamp = grant->timestamp;
    m.key_index = grant->key_index;
    if (grant->hosted) {
        m.has_account_type = m.has_device_type = true;
        m.account_type = m.device_type = WA__ADV_ENCRYPTION_TYPE__HOSTED;
    }
    return wa_pack_in(&m.base, arena);
}

struct slice wa_adv_issue(const struct wa_keystore *phone, struct arena *arena,
                          const uint8_t secret[WA_ADV_SECRET], const struct crypto_key *companion,
                          const struct wa_adv_grant *grant)
{
    Wa__AdvSignedDeviceIdentityHmac m = WA__ADV_SIGNED_DEVICE_IDENTITY_HMAC__INIT;
    struct slice details = put_details(arena, grant), identity;
    uint8_t signature[CRYPTO_SIGNATURE], mac[CRYPTO_SHA256];

    wa_sign(phone, &phone->identity->secret,
            account_text(arena, grant->hosted ? ACCOUNT_HOSTED : ACCOUNT, details, companion),
            signature);
    identity =
        put_signed(arena, details, &phone->identity->public, SLICE_ARRAY(signature), SLICE_NONE);
    mac_of(secret, grant->hosted, identity, mac);

    m.has_details = m.has_hmac = true;
    m.details = wa_binary(identity);
    m.hmac = wa_binary(SLICE_ARRAY(mac));
    m.has_account_type = grant->hosted;
    m.account_type = WA__ADV_ENCRYPTION_TYPE__HOSTED;
    return wa_pack_in(&m.base, arena);
}

err_t wa_adv_finish(const struct wa_keystore *phone, struct arena *arena, struct slice answer,
                    const struct crypto_key *companion, struct slice *out_identity)
{
    const struct crypto_key *account = &phone->identity->public;
    const Wa__AdvSignedDeviceIdentity *m;
    bool hosted;

    TRY(WA_UNPACK(wa__adv_signed_device_identity, answer, arena, &m));
    ENSURE(check_account(arena, m, companion, account, &hosted), BAD_SIGNATURE);
    ENSURE(check_device(arena, m, companion, account), BAD_SIGNATURE);
    *out_identity = put_signed(arena, wa_field(&m->details), account,
                               wa_field(&m->account_signature), wa_field(&m->device_signature));
    return OK;
}

/* ---- the list of valid companions ---- */

struct slice wa_key_index_sign(const struct wa_keystore *phone, struct arena *arena,
                               const struct wa_key_index_list *list)
{
    Wa__AdvKeyIndexList details = WA__ADV_KEY_INDEX_LIST__INIT;
    Wa__AdvSignedKeyIndexList m = WA__ADV_SIGNED_KEY_INDEX_LIST__INIT;
    uint8_t signature[CRYPTO_SIGNATURE];
    struct slice bytes;

    details.has_raw_id = details.has_timestamp = details.has_current_index = true;
    details.raw_id = list->raw_id;
    details.timestamp = list->timestamp;
    details.current_index = list->current_index;
    details.n_valid_indexes = list->valid_count;
    details.valid_indexes = (uint32_t *)(uintptr_t)list->valid;
    bytes = wa_pack_in(&details.base, arena);

    wa_sign(phone, &phone->identity->secret, join(arena, (struct slice[]){KEY_INDEXES, bytes}, 2),
            signature);
    m.has_details = m.has_account_signature = m.has_account_signature_key = true;
    m.details = wa_binary(bytes);
    m.account_signature = wa_binary(SLICE_ARRAY(signature));
    m.account_signature_key = wa_binary(key_slice(&phone->identity->public));
    return wa_pack_in(&m.base, arena);
}

err_t wa_key_index_parse(struct arena *arena, struct slice bytes,
                         const struct crypto_key *account_key, struct wa_key_index_list *out)
{
    const Wa__AdvSignedKeyIndexList *m;
    const Wa__AdvKeyIndexList *details;

    TRY(WA_UNPACK(wa__adv_signed_key_index_list, bytes, arena, &m));
    if (account_key) {
        struct slice text = join(arena, (struct slice[]){KEY_INDEXES, wa_field(&m->details)}, 2);
        ENSURE(crypto_verify(account_key, text, wa_field(&m->account_signature)), BAD_SIGNATURE);
    }
    TRY(WA_UNPACK(wa__adv_key_index_list, wa_field(&m->details), arena, &details));
    ENSURE(details->has_raw_id && details->has_timestamp, BAD_PROTOBUF);
    *out = (struct wa_key_index_list){
        .raw_id = details->raw_id,
        .timestamp = details->timestamp,
        .current_index = details->current_index,
        .valid = details->valid_indexes,
        .valid_count = details->n_valid_indexes,
    };
    return OK;
}

bool wa_key_index_allows(const struct wa_key_index_list *list, uint32_t device, bool has_index,
                         uint32_t key_index)
{
    if (device == 0) return true;
    if (!list || !has_index) return false;
    if (key_index > list->current_index) return true;
    for (size_t i = 0; i < list->valid_count; i++)
        if (list->valid[i] == key_index) return true;
    return false;
}
