#include "tools/sim/adv.h"

#include "proto/base/arena.h"
#include "proto/schema/adv.pb-c.h"
#include "proto/schema/unpack.h"

static const Wa__AdvSignedDeviceIdentity *open_identity(struct arena *arena, struct slice in)
{
    const Wa__AdvSignedDeviceIdentity *m;

    if (slice_is_none(in) || WA_UNPACK(wa__adv_signed_device_identity, in, arena, &m) != OK) {
        err_clear();
        return NULL;
    }
    return m->has_details && m->account_signature.len == CRYPTO_SIGNATURE ? m : NULL;
}

bool sim_adv_decodes(struct slice identity)
{
    AUTO(arena) arena = {0};
    const Wa__AdvSignedDeviceIdentity *m = open_identity(&arena, identity);

    return m && m->device_signature.len == CRYPTO_SIGNATURE;
}

static bool read_details(struct arena *arena, struct slice in, uint32_t *out_key_index)
{
    const Wa__AdvDeviceIdentity *d;

    if (WA_UNPACK(wa__adv_device_identity, in, arena, &d) != OK) {
        err_clear();
        return false;
    }
    *out_key_index = d->key_index;
    return true;
}

bool sim_adv_open_container(struct slice container, struct buf *out_details,
                            uint8_t account_key[32], uint32_t *out_key_index, bool *out_hosted)
{
    AUTO(arena) arena = {0};
    const Wa__AdvSignedDeviceIdentityHmac *outer;
    const Wa__AdvSignedDeviceIdentity *inner;

    if (WA_UNPACK(wa__adv_signed_device_identity_hmac, container, &arena, &outer) != OK) {
        err_clear();
        return false;
    }
    inner = open_identity(&arena, wa_field(&outer->details));
    if (!inner || inner->account_signature_key.len != CRYPTO_KEY ||
        !read_details(&arena, wa_field(&inner->details), out_key_index))
        return false;
    buf_put(out_details, wa_field(&inner->details));
    memcpy(account_key, inner->account_signature_key.data, CRYPTO_KEY);
    *out_hosted = outer->account_type == WA__ADV_ENCRYPTION_TYPE__HOSTED;
    return true;
}

bool sim_adv_has_details(struct slice identity, struct slice details)
{
    AUTO(arena) arena = {0};
    const Wa__AdvSignedDeviceIdentity *m = open_identity(&arena, identity);

    return m && slice_eq(wa_field(&m->details), details);
}

/* The device signs prefix, details, its own key and the account's. */
static bool verifies(const char prefix[2], const Wa__AdvSignedDeviceIdentity *m,
                     const uint8_t device[32], const uint8_t account_key[32])
{
    AUTO(buf) text = {0};
    struct crypto_key key;

    memcpy(key.bytes, device, sizeof key.bytes);
    buf_put(&text, slice_of(prefix, 2));
    buf_put(&text, wa_field(&m->details));
    buf_put(&text, slice_of(device, CRYPTO_KEY));
    buf_put(&text, slice_of(account_key, CRYPTO_KEY));
    return crypto_verify(&key, buf_slice(&text), wa_field(&m->device_signature));
}

bool sim_adv_signed_by_device(struct slice identity, const uint8_t device[32],
                              const uint8_t account_key[32], bool hosted)
{
    AUTO(arena) arena = {0};
    const Wa__AdvSignedDeviceIdentity *m = open_identity(&arena, identity);

    if (!m || m->device_signature.len != CRYPTO_SIGNATURE) return false;
    return verifies("\x06\x01", m, device, account_key) ||
           (hosted && verifies("\x06\x06", m, device, account_key));
}

void sim_adv_complete(struct slice identity, const uint8_t account_key[32], struct buf *out)
{
    AUTO(arena) arena = {0};
    const Wa__AdvSignedDeviceIdentity *m = open_identity(&arena, identity);
    Wa__AdvSignedDeviceIdentity whole;

    if (!m) return;
    whole = *m;
    whole.has_account_signature_key = 1;
    whole.account_signature_key = wa_binary(slice_of(account_key, CRYPTO_KEY));
    wa_pack(&whole.base, out);
}
