#include "tools/sim/adv.h"

#include "proto/base/xalloc.h"
#include "proto/schema/adv.pb-c.h"

static ProtobufCBinaryData pb(struct slice s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)s.data};
}

static struct slice of_pb(ProtobufCBinaryData b) { return slice_of(b.data, b.len); }

static void pack(const ProtobufCMessage *m, struct buf *out)
{
    uint8_t *to = buf_extend(out, protobuf_c_message_get_packed_size(m));

    protobuf_c_message_pack(m, to);
}

/* prefix ‖ details ‖ key [‖ account key] */
static void signed_text(const char prefix[2], struct slice details, const uint8_t device[32],
                        const uint8_t *account_key, struct buf *out)
{
    buf_put(out, slice_of(prefix, 2));
    buf_put(out, details);
    buf_put(out, slice_of(device, 32));
    if (account_key) buf_put(out, slice_of(account_key, 32));
}

static void make_details(const struct sim_adv *adv, struct buf *out)
{
    Wa__AdvDeviceIdentity d = WA__ADV_DEVICE_IDENTITY__INIT;

    d.has_raw_id = d.has_timestamp = d.has_key_index = 1;
    d.raw_id = adv->raw_id;
    d.timestamp = adv->timestamp;
    d.key_index = adv->key_index;
    d.has_account_type = d.has_device_type = adv->hosted;
    d.account_type = d.device_type = adv->hosted ? WA__ADV_ENCRYPTION_TYPE__HOSTED
                                                 : WA__ADV_ENCRYPTION_TYPE__E2EE;
    pack(&d.base, out);
}

void sim_adv_make(const struct sim_adv *adv, const struct crypto_pair *phone,
                  const uint8_t companion[32], struct slice secret, struct buf *out)
{
    Wa__AdvSignedDeviceIdentity identity = WA__ADV_SIGNED_DEVICE_IDENTITY__INIT;
    Wa__AdvSignedDeviceIdentityHmac container = WA__ADV_SIGNED_DEVICE_IDENTITY_HMAC__INIT;
    AUTO(buf) details = {0};
    AUTO(buf) text = {0};
    AUTO(buf) inner = {0};
    uint8_t signature[CRYPTO_SIGNATURE], mac[32];

    make_details(adv, &details);
    signed_text(adv->hosted ? "\x06\x05" : "\x06\x00", buf_slice(&details), companion, NULL, &text);
    crypto_sign(&phone->secret, buf_slice(&text), signature);
    identity.has_details = identity.has_account_signature_key = identity.has_account_signature = 1;
    identity.details = pb(buf_slice(&details));
    identity.account_signature_key = pb(SLICE_ARRAY(phone->public.bytes));
    identity.account_signature = pb(SLICE_ARRAY(signature));
    pack(&identity.base, &inner);

    const struct slice pieces[] = {adv->hosted ? SLICE("\x06\x05") : SLICE(""), buf_slice(&inner)};
    crypto_hmac_v(secret, pieces, 2, mac);
    container.has_details = container.has_hmac = 1;
    container.details = pb(buf_slice(&inner));
    container.hmac = pb(SLICE_ARRAY(mac));
    container.has_account_type = adv->hosted;
    container.account_type = WA__ADV_ENCRYPTION_TYPE__HOSTED;
    pack(&container.base, out);
}

void sim_adv_indexes(const struct sim_adv *adv, const struct crypto_pair *phone,
                     const uint32_t *valid, size_t n, struct buf *out)
{
    Wa__AdvKeyIndexList list = WA__ADV_KEY_INDEX_LIST__INIT;
    Wa__AdvSignedKeyIndexList sealed = WA__ADV_SIGNED_KEY_INDEX_LIST__INIT;
    AUTO(buf) details = {0};
    AUTO(buf) text = {0};
    uint8_t signature[CRYPTO_SIGNATURE];

    list.has_raw_id = list.has_timestamp = list.has_current_index = 1;
    list.raw_id = adv->raw_id;
    list.timestamp = adv->timestamp;
    list.current_index = adv->key_index;
    list.n_valid_indexes = n;
    list.valid_indexes = (uint32_t *)valid;
    pack(&list.base, &details);
    buf_put(&text, SLICE("\x06\x02"));
    buf_put(&text, buf_slice(&details));
    crypto_sign(&phone->secret, buf_slice(&text), signature);
    sealed.has_details = sealed.has_account_signature = sealed.has_account_signature_key = 1;
    sealed.details = pb(buf_slice(&details));
    sealed.account_signature = pb(SLICE_ARRAY(signature));
    sealed.account_signature_key = pb(SLICE_ARRAY(phone->public.bytes));
    pack(&sealed.base, out);
}

static Wa__AdvSignedDeviceIdentity *open_identity(struct slice in)
{
    Wa__AdvSignedDeviceIdentity *m;

    if (slice_is_none(in)) return NULL;
    m = wa__adv_signed_device_identity__unpack(NULL, in.len, in.data);
    if (m && (!m->has_details || m->account_signature.len != 64)) {
        wa__adv_signed_device_identity__free_unpacked(m, NULL);
        return NULL;
    }
    return m;
}

bool sim_adv_decodes(struct slice identity)
{
    Wa__AdvSignedDeviceIdentity *m = open_identity(identity);
    bool ok = m && m->device_signature.len == 64;

    if (m) wa__adv_signed_device_identity__free_unpacked(m, NULL);
    return ok;
}

static bool read_details(struct slice in, uint32_t *out_key_index)
{
    Wa__AdvDeviceIdentity *d = wa__adv_device_identity__unpack(NULL, in.len, in.data);

    if (!d) return false;
    *out_key_index = d->key_index;
    wa__adv_device_identity__free_unpacked(d, NULL);
    return true;
}

bool sim_adv_open_container(struct slice container, struct buf *out_details, uint8_t account_key[32],
                            uint32_t *out_key_index, bool *out_hosted)
{
    Wa__AdvSignedDeviceIdentityHmac *outer =
        wa__adv_signed_device_identity_hmac__unpack(NULL, container.len, container.data);
    Wa__AdvSignedDeviceIdentity *inner = outer ? open_identity(of_pb(outer->details)) : NULL;
    bool ok = inner && inner->account_signature_key.len == 32 &&
              read_details(of_pb(inner->details), out_key_index);

    if (ok) {
        buf_put(out_details, of_pb(inner->details));
        memcpy(account_key, inner->account_signature_key.data, 32);
        *out_hosted = outer->account_type == WA__ADV_ENCRYPTION_TYPE__HOSTED;
    }
    if (inner) wa__adv_signed_device_identity__free_unpacked(inner, NULL);
    if (outer) wa__adv_signed_device_identity_hmac__free_unpacked(outer, NULL);
    return ok;
}

bool sim_adv_has_details(struct slice identity, struct slice details)
{
    Wa__AdvSignedDeviceIdentity *m = open_identity(identity);
    bool same = m && slice_eq(of_pb(m->details), details);

    if (m) wa__adv_signed_device_identity__free_unpacked(m, NULL);
    return same;
}

static bool verifies(const char prefix[2], const Wa__AdvSignedDeviceIdentity *m,
                     const uint8_t device[32], const uint8_t account_key[32])
{
    AUTO(buf) text = {0};
    struct crypto_key key;

    memcpy(key.bytes, device, 32);
    signed_text(prefix, of_pb(m->details), device, account_key, &text);
    return crypto_verify(&key, buf_slice(&text), of_pb(m->device_signature));
}

bool sim_adv_signed_by_device(struct slice identity, const uint8_t device[32],
                              const uint8_t account_key[32], bool hosted)
{
    Wa__AdvSignedDeviceIdentity *m = open_identity(identity);
    bool ok = m && m->device_signature.len == 64 &&
              (verifies("\x06\x01", m, device, account_key) ||
               (hosted && verifies("\x06\x06", m, device, account_key)));

    if (m) wa__adv_signed_device_identity__free_unpacked(m, NULL);
    return ok;
}

void sim_adv_complete(struct slice identity, const uint8_t account_key[32], struct buf *out)
{
    Wa__AdvSignedDeviceIdentity *m = open_identity(identity);
    ProtobufCBinaryData key;

    if (!m) return;
    key = m->account_signature_key;
    m->has_account_signature_key = 1;
    m->account_signature_key = (ProtobufCBinaryData){.len = 32, .data = (uint8_t *)account_key};
    pack(&m->base, out);
    m->account_signature_key = key;
    wa__adv_signed_device_identity__free_unpacked(m, NULL);
}
