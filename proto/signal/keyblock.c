#include "proto/signal/keyblock.h"

#include "proto/base/reader.h"

enum { KEYBLOCK_VERSION = 1 };

static uint32_t first_of(uint32_t number) { return number & ~(uint32_t)(WA_BLOCK_KEYS - 1); }
static uint32_t bit_of(uint32_t number) { return 1u << (number % WA_BLOCK_KEYS); }

static err_t parse(struct slice in, struct wa_keyblock *out)
{
    struct reader r = reader_of(in);
    uint8_t version = reader_u8(&r);

    out->first = reader_be32(&r);
    out->present = reader_be32(&r);
    for (uint32_t i = 0; i < WA_BLOCK_KEYS && !r.error; i++) {
        if (!(out->present & bit_of(i))) continue;
        struct slice key = reader_bytes(&r, CRYPTO_KEY);
        if (key.len) memcpy(out->keys[i].bytes, key.data, CRYPTO_KEY);
    }
    if (version != KEYBLOCK_VERSION || reader_end(&r) != OK || out->first != first_of(out->first))
        return fail(STORE_DAMAGED, "a block of %zu bytes", in.len);
    return OK;
}

err_t wa_keyblock_load(const struct wa_keystore *ks, struct arena *arena, struct wa_row row,
                       struct wa_keyblock *out)
{
    struct slice value;

    *out = (struct wa_keyblock){0};
    TRY(ks->load(ks->ctx, row, arena, &value));
    if (!slice_is_none(value)) TRY(parse(value, out));
    return OK;
}

void wa_keyblock_save(const struct wa_keystore *ks, struct wa_row row,
                      const struct wa_keyblock *block)
{
    uint8_t space[1 + 4 + 4 + sizeof(block->keys)];
    struct buf b = {.data = space, .cap = sizeof(space)}; /* never grows */

    if (!block->present) {
        ks->save(ks->ctx, row, SLICE_NONE);
        return;
    }
    buf_put_u8(&b, KEYBLOCK_VERSION);
    buf_put_be32(&b, block->first);
    buf_put_be32(&b, block->present);
    for (uint32_t i = 0; i < WA_BLOCK_KEYS; i++)
        if (block->present & bit_of(i)) buf_put(&b, SLICE_ARRAY(block->keys[i].bytes));
    ks->save(ks->ctx, row, buf_slice(&b));
    crypto_wipe(space, sizeof(space));
}

const struct crypto_key *wa_keyblock_find(const struct wa_keyblock *block, uint32_t number)
{
    if (block->first != first_of(number) || !(block->present & bit_of(number))) return NULL;
    return &block->keys[number % WA_BLOCK_KEYS];
}

/* A block that holds other numbers is emptied first: that is how the ring forgets. */
void wa_keyblock_put(struct wa_keyblock *block, uint32_t number, const struct crypto_key *key)
{
    if (block->first != first_of(number)) *block = (struct wa_keyblock){.first = first_of(number)};
    block->present |= bit_of(number);
    block->keys[number % WA_BLOCK_KEYS] = *key;
}

void wa_keyblock_punch(struct wa_keyblock *block, uint32_t number)
{
    if (wa_keyblock_find(block, number)) block->present &= ~bit_of(number);
}

/* ---- the ring of a chain ---- */

static unsigned slot_of(uint32_t index) { return index / WA_BLOCK_KEYS % WA_SKIPPED_SLOTS; }

static struct wa_row row_of_slot(struct arena *arena, struct wa_row row, unsigned slot)
{
    row.name = arena_printf(arena, SLICE_FMT ".%u", SLICE_ARG(row.name), slot);
    return row;
}

static struct wa_row slot_row(const struct wa_skipped *s, unsigned slot)
{
    return row_of_slot(s->arena, s->row, slot);
}

static err_t load_slot(const struct wa_skipped *s, unsigned slot, struct wa_keyblock *out)
{
    *out = (struct wa_keyblock){0};
    if (!(*s->slots >> slot & 1)) return OK;
    return wa_keyblock_load(s->ks, s->arena, slot_row(s, slot), out);
}

static void save_slot(const struct wa_skipped *s, unsigned slot, const struct wa_keyblock *block)
{
    uint64_t bit = (uint64_t)1 << slot;

    *s->slots = block->present ? *s->slots | bit : *s->slots & ~bit;
    wa_keyblock_save(s->ks, slot_row(s, slot), block);
}

err_t wa_skipped_add(const struct wa_skipped *s, uint32_t from, const struct crypto_key *seeds,
                     size_t n)
{
    size_t at = n > WA_SKIPPED_MAX ? n - WA_SKIPPED_MAX : 0;

    while (at < n) {
        uint32_t index = from + (uint32_t)at;
        struct wa_keyblock block;

        TRY(load_slot(s, slot_of(index), &block));
        do {
            wa_keyblock_put(&block, from + (uint32_t)at, &seeds[at]);
            at++;
        } while (at < n && first_of(from + (uint32_t)at) == first_of(index));
        save_slot(s, slot_of(index), &block);
        crypto_wipe(&block, sizeof(block));
    }
    return OK;
}

err_t wa_skipped_find(const struct wa_skipped *s, uint32_t index, struct crypto_key *out)
{
    struct wa_keyblock block;
    const struct crypto_key *key;

    TRY(load_slot(s, slot_of(index), &block));
    key = wa_keyblock_find(&block, index);
    if (!key) return fail(OLD_COUNTER, "message %u", index);
    *out = *key;
    crypto_wipe(&block, sizeof(block));
    return OK;
}

err_t wa_skipped_remove(const struct wa_skipped *s, uint32_t index)
{
    struct wa_keyblock block;

    TRY(load_slot(s, slot_of(index), &block));
    wa_keyblock_punch(&block, index);
    save_slot(s, slot_of(index), &block);
    crypto_wipe(&block, sizeof(block));
    return OK;
}

err_t wa_skipped_move(const struct wa_skipped *s, struct wa_row to)
{
    for (unsigned slot = 0; slot < WA_SKIPPED_SLOTS; slot++) {
        struct slice value;

        if (!(*s->slots >> slot & 1)) continue;
        TRY(s->ks->load(s->ks->ctx, slot_row(s, slot), s->arena, &value));
        s->ks->save(s->ks->ctx, row_of_slot(s->arena, to, slot), value);
        s->ks->save(s->ks->ctx, slot_row(s, slot), SLICE_NONE);
    }
    return OK;
}

void wa_skipped_clear(const struct wa_skipped *s)
{
    for (unsigned slot = 0; slot < WA_SKIPPED_SLOTS; slot++)
        if (*s->slots >> slot & 1) s->ks->save(s->ks->ctx, slot_row(s, slot), SLICE_NONE);
    *s->slots = 0;
}
