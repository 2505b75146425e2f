#include "proto/signal/identity.h"

#include "proto/base/reader.h"

enum { IDENTITY_VERSION = 1 };

static struct wa_row row_of(struct arena *arena, const struct wa_address *of)
{
    return (struct wa_row){WA_SIGNAL_IDENTITY, of->name, arena_printf(arena, "%u", of->device)};
}

err_t wa_identity_load(const struct wa_keystore *ks, struct arena *arena,
                       const struct wa_address *of, struct crypto_key *out, bool *out_found)
{
    struct slice value;

    TRY(ks->load(ks->ctx, row_of(arena, of), arena, &value));
    *out_found = !slice_is_none(value);
    if (!*out_found) return OK;
    ENSURE(value.len == 1 + CRYPTO_KEY && value.data[0] == IDENTITY_VERSION, STORE_DAMAGED);
    memcpy(out->bytes, value.data + 1, CRYPTO_KEY);
    return OK;
}

err_t wa_identity_trust(const struct wa_keystore *ks, struct arena *arena,
                        const struct wa_address *of, const struct crypto_key *key,
                        bool *out_changed)
{
    uint8_t value[1 + CRYPTO_KEY] = {IDENTITY_VERSION};
    struct crypto_key known;
    bool found;

    TRY(wa_identity_load(ks, arena, of, &known, &found));
    *out_changed = found && memcmp(known.bytes, key->bytes, CRYPTO_KEY) != 0;
    if (found && !*out_changed) return OK;
    memcpy(value + 1, key->bytes, CRYPTO_KEY);
    ks->save(ks->ctx, row_of(arena, of), SLICE_ARRAY(value));
    return OK;
}

void wa_identity_delete(const struct wa_keystore *ks, struct arena *arena,
                        const struct wa_address *of)
{
    ks->save(ks->ctx, row_of(arena, of), SLICE_NONE);
}
