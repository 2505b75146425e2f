#include "proto/signal/prekey.h"

#include "proto/base/reader.h"

enum { SIGNED_PREKEY_VERSION = 1, MAKE_MAX = 65536 };

uint32_t wa_prekey_next(uint32_t id) { return id >= WA_PREKEY_ID_MAX ? 1 : id + 1; }

static struct wa_row block_row(struct arena *arena, uint32_t id)
{
    return (struct wa_row){WA_SIGNAL_PREKEYS, SLICE(""),
                           arena_printf(arena, "%u", id / WA_BLOCK_KEYS)};
}

/* The block under the cursor of a walk over ids; saved when the walk leaves it. */
struct cursor {
    const struct wa_keystore *ks;
    struct arena *arena;
    struct wa_keyblock block;
    uint32_t number; /* of the block, when `open` */
    bool open, dirty;
};

static void leave_block(struct cursor *c)
{
    if (c->open && c->dirty)
        wa_keyblock_save(c->ks, block_row(c->arena, c->number * WA_BLOCK_KEYS), &c->block);
    crypto_wipe(&c->block, sizeof(c->block));
    c->open = c->dirty = false;
}

static err_t enter_block(struct cursor *c, uint32_t id)
{
    if (c->open && c->number == id / WA_BLOCK_KEYS) return OK;
    leave_block(c);
    TRY(wa_keyblock_load(c->ks, c->arena, block_row(c->arena, id), &c->block));
    c->number = id / WA_BLOCK_KEYS;
    c->open = true;
    return OK;
}

/* The server hands keys out in the order they came, so one this old was given to nobody, or to
 * somebody who never wrote. */
static void forget_block(const struct cursor *c, uint32_t id)
{
    uint32_t old =
        id >= WA_PREKEYS_KEPT ? id - WA_PREKEYS_KEPT : id + WA_PREKEY_ID_MAX + 1 - WA_PREKEYS_KEPT;

    c->ks->save(c->ks->ctx, block_row(c->arena, old), SLICE_NONE);
}

static err_t make_one(struct cursor *c, uint32_t *next, struct wa_prekey_public *out)
{
    struct crypto_pair pair;

    if (*next == 0 || *next > WA_PREKEY_ID_MAX) *next = 1;
    TRY(enter_block(c, *next));
    if (*next % WA_BLOCK_KEYS == 0) forget_block(c, *next);
    while (wa_keyblock_find(&c->block, *next)) {
        *next = wa_prekey_next(*next);
        TRY(enter_block(c, *next));
    }
    wa_new_pair(c->ks, &pair);
    wa_keyblock_put(&c->block, *next, &pair.secret);
    c->dirty = true;
    *out = (struct wa_prekey_public){*next, pair.public};
    *next = wa_prekey_next(*next);
    crypto_wipe(&pair, sizeof(pair));
    return OK;
}

err_t wa_prekeys_make(const struct wa_keystore *ks, struct arena *arena, uint32_t *next, size_t n,
                      struct wa_prekey_public *out)
{
    struct cursor c = {.ks = ks, .arena = arena};

    ENSURE(n <= MAKE_MAX, BAD_ARGUMENT);
    for (size_t i = 0; i < n; i++)
        TRY(make_one(&c, next, &out[i]));
    leave_block(&c);
    return OK;
}

err_t wa_prekeys_read(const struct wa_keystore *ks, struct arena *arena, uint32_t from, size_t n,
                      struct wa_prekey_public *out, size_t *out_count)
{
    struct cursor c = {.ks = ks, .arena = arena};
    size_t count = 0;

    for (uint32_t id = from; n; n--, id = wa_prekey_next(id)) {
        const struct crypto_key *secret;
        struct crypto_pair pair;

        TRY(enter_block(&c, id));
        secret = wa_keyblock_find(&c.block, id);
        if (!secret) continue;
        crypto_pair_from(secret->bytes, &pair);
        out[count++] = (struct wa_prekey_public){id, pair.public};
        crypto_wipe(&pair, sizeof(pair));
    }
    leave_block(&c);
    *out_count = count;
    return OK;
}

err_t wa_prekey_load(const struct wa_keystore *ks, struct arena *arena, uint32_t id,
                     struct crypto_key *out_secret)
{
    struct wa_keyblock block;
    const struct crypto_key *secret;

    TRY(wa_keyblock_load(ks, arena, block_row(arena, id), &block));
    secret = wa_keyblock_find(&block, id);
    if (!secret) return fail(NO_PREKEY, "one-time prekey %u", id);
    *out_secret = *secret;
    crypto_wipe(&block, sizeof(block));
    return OK;
}

err_t wa_prekey_remove(const struct wa_keystore *ks, struct arena *arena, uint32_t id)
{
    struct cursor c = {.ks = ks, .arena = arena};

    TRY(enter_block(&c, id));
    wa_keyblock_punch(&c.block, id);
    c.dirty = true;
    leave_block(&c);
    return OK;
}

/* ---- signed prekeys ---- */

static struct wa_row signed_row(struct arena *arena, uint32_t id)
{
    return (struct wa_row){WA_SIGNAL_SIGNED_PREKEY, SLICE(""), arena_printf(arena, "%u", id)};
}

void wa_signed_prekey_make(const struct wa_keystore *ks, struct arena *arena, uint32_t id,
                           struct wa_signed_prekey *out)
{
    uint8_t typed[WA_TYPED_KEY];
    AUTO(buf) value = {0};

    out->id = id;
    wa_new_pair(ks, &out->pair);
    wa_key_typed(&out->pair.public, typed);
    wa_sign(ks, &ks->identity->secret, SLICE_ARRAY(typed), out->signature);

    buf_reserve(&value, 256); /* growing would leave copies behind */
    buf_put_u8(&value, SIGNED_PREKEY_VERSION);
    buf_put(&value, SLICE_ARRAY(out->pair.secret.bytes));
    buf_put(&value, SLICE_ARRAY(out->pair.public.bytes));
    buf_put(&value, SLICE_ARRAY(out->signature));
    ks->save(ks->ctx, signed_row(arena, id), buf_slice(&value));
    crypto_wipe(value.data, value.len);
}

err_t wa_signed_prekey_load(const struct wa_keystore *ks, struct arena *arena, uint32_t id,
                            struct wa_signed_prekey *out)
{
    struct slice value, secret, public, signature;

    TRY(ks->load(ks->ctx, signed_row(arena, id), arena, &value));
    if (slice_is_none(value)) return fail(NO_PREKEY, "signed prekey %u", id);
    struct reader r = reader_of(value);
    uint8_t version = reader_u8(&r);
    secret = reader_bytes(&r, CRYPTO_KEY);
    public = reader_bytes(&r, CRYPTO_KEY);
    signature = reader_bytes(&r, CRYPTO_SIGNATURE);
    if (version != SIGNED_PREKEY_VERSION || reader_end(&r) != OK)
        return fail(STORE_DAMAGED, "a signed prekey of %zu bytes", value.len);

    out->id = id;
    memcpy(out->pair.secret.bytes, secret.data, CRYPTO_KEY);
    memcpy(out->pair.public.bytes, public.data, CRYPTO_KEY);
    memcpy(out->signature, signature.data, CRYPTO_SIGNATURE);
    return OK;
}

void wa_signed_prekey_remove(const struct wa_keystore *ks, struct arena *arena, uint32_t id)
{
    ks->save(ks->ctx, signed_row(arena, id), SLICE_NONE);
}

void wa_prekey_digest(const struct crypto_key *identity, const struct crypto_key *signed_prekey,
                      const uint8_t signature[CRYPTO_SIGNATURE], const struct crypto_key *one_time,
                      size_t n, struct arena *arena, uint8_t out[20])
{
    struct slice *pieces = arena_array(arena, struct slice, n + 3);

    pieces[0] = SLICE_ARRAY(identity->bytes);
    pieces[1] = SLICE_ARRAY(signed_prekey->bytes);
    pieces[2] = slice_of(signature, CRYPTO_SIGNATURE);
    for (size_t i = 0; i < n; i++)
        pieces[i + 3] = SLICE_ARRAY(one_time[i].bytes);
    crypto_sha1_v(pieces, n + 3, out);
}
