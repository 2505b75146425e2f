#include "tools/sim/adv.h"

#include "proto/base/xalloc.h"
#include "proto/schema/adv.pb-c.h"

static struct slice of_pb(ProtobufCBinaryData b) { return slice_of(b.data, b.len); }

static void pack(const ProtobufCMessage *m, struct buf *out)
{
    uint8_t *to = buf_extend(out, protobuf_c_message_get_packed_size(m));

    protobuf_c_message_pack(m, to);
}

/* prefix ‖ details ‖ key ‖ account key */
static void signed_text(const char prefix[2], struct slice details, const uint8_t device[32],
                        const uint8_t *account_key, struct buf *out)
{
    buf_put(out, slice_of(prefix, 2));
    buf_put(out, details);
    buf_put(out, slice_of(device, 32));
    buf_put(out, slice_of(account_key, 32));
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

bool sim_adv_open_container(struct slice container, struct buf *out_details,
                            uint8_t account_key[32], uint32_t *out_key_index, bool *out_hosted)
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
