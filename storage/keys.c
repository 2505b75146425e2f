#include "storage/keys.h"

#include "storage/typed.h"

static struct key key_of_ns(struct scope scope, uint32_t peer, uint8_t ns)
{
    struct key k = key_of_kind(scope, peer, KIND_keys);
    key_u8(&k, ns);
    return k;
}

static struct key key_of_name(struct scope scope, uint32_t peer, uint8_t ns, struct slice name)
{
    struct key k = key_of_ns(scope, peer, ns);
    assert(name.len <= KEY_NAME_MAX);
    key_bytes(&k, name);
    return k;
}

void db_key_put(struct batch *b, struct scope scope, uint32_t peer, uint8_t ns, struct slice name,
                struct slice value)
{
    struct key k = key_of_name(scope, peer, ns, name);
    batch_put(b, DB_data, key_slice(&k), value);
}

void db_key_delete(struct batch *b, struct scope scope, uint32_t peer, uint8_t ns,
                   struct slice name)
{
    struct key k = key_of_name(scope, peer, ns, name);
    batch_delete(b, DB_data, key_slice(&k));
}

err_t db_key_find(struct view *v, struct scope scope, uint32_t peer, uint8_t ns, struct slice name,
                  struct slice *out)
{
    *out = SLICE_NONE;
    if (name.len > KEY_NAME_MAX) return OK;
    struct key k = key_of_name(scope, peer, ns, name);
    return view_find(v, DB_data, key_slice(&k), out);
}

void db_keys(struct range *r, struct view *v, struct scope scope, uint32_t peer, uint8_t ns,
             struct slice prefix)
{
    struct key k = key_of_name(scope, peer, ns, prefix);
    range_prefix(r, v, DB_data, key_slice(&k), RANGE_FORWARDS);
}

struct slice db_key_name(const struct range *r)
{
    struct reader key = key_read_rest(r->key);
    reader_u8(&key);
    return reader_rest(&key);
}

/* A row of packed keys: (number (4), value as block) …, by number. */

static struct key key_of_pack(struct scope scope, uint8_t ns, uint32_t number)
{
    struct key k = key_of_kind(scope, 0, KIND_packs);
    key_u8(&k, ns);
    key_int(&k, number / PACK_KEYS);
    return k;
}

static bool pack_next(struct reader *r, uint32_t *number, struct slice *value)
{
    if (r->error != OK || reader_left(r) == 0) return false;
    *number = reader_be32(r);
    *value = reader_block(r);
    return r->error == OK;
}

static void pack_add(struct buf *row, uint32_t number, struct slice value)
{
    if (value.len == 0) return;
    buf_put_be32(row, number);
    buf_put_block(row, value);
}

err_t db_pack_put(struct batch *b, struct view *v, struct scope scope, uint8_t ns, uint32_t number,
                  struct slice value)
{
    AUTO(buf) row = {0};
    struct key k = key_of_pack(scope, ns, number);
    struct slice before, other_value;
    uint32_t other;
    bool placed = false;

    TRY(typed_current(b, v, DB_data, &k, &before));
    struct reader r = reader_of(before);
    while (pack_next(&r, &other, &other_value)) {
        if (!placed && other >= number) {
            pack_add(&row, number, value);
            placed = true;
        }
        if (other != number) pack_add(&row, other, other_value);
    }
    if (r.error != OK) return fail(STORE_DAMAGED, "pack %u of namespace %u", number, ns);
    if (!placed) pack_add(&row, number, value);

    if (row.len)
        batch_put(b, DB_data, key_slice(&k), buf_slice(&row));
    else
        batch_delete(b, DB_data, key_slice(&k));
    return OK;
}

err_t db_pack_find(struct view *v, struct scope scope, uint8_t ns, uint32_t number,
                   struct slice *out)
{
    struct key k = key_of_pack(scope, ns, number);
    struct slice row, value;
    uint32_t other;

    TRY(view_find(v, DB_data, key_slice(&k), &row));
    *out = SLICE_NONE;
    struct reader r = reader_of(row);
    while (pack_next(&r, &other, &value))
        if (other == number) *out = value;
    return r.error == OK ? OK : fail(STORE_DAMAGED, "pack %u of namespace %u", number, ns);
}

err_t db_pack_count(struct view *v, struct scope scope, uint8_t ns, size_t *out_count,
                    uint32_t *out_last)
{
    AUTO(range) rows = {0};
    struct key prefix = key_of_kind(scope, 0, KIND_packs);
    struct slice value;
    size_t count = 0;
    uint32_t last = 0;

    key_u8(&prefix, ns);
    range_prefix(&rows, v, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    while (range_next(&rows)) {
        struct reader r = reader_of(rows.value);
        while (pack_next(&r, &last, &value))
            count++;
        if (r.error != OK) return fail(STORE_DAMAGED, "pack of namespace %u", ns);
    }
    TRY(range_error(&rows));
    *out_count = count;
    *out_last = last;
    return OK;
}

/* ---- all of them ---- */

/* Where the walk goes on behind a row that is no key: peer 0 has two places with keys, a peer one.
 */
static struct key next_keys(struct scope scope, uint32_t peer, uint8_t kind)
{
    if (kind < KIND_keys) return key_of_kind(scope, peer, KIND_keys);
    if (peer == 0 && kind < KIND_packs) return key_of_kind(scope, peer, KIND_packs);
    return key_of_kind(scope, peer + 1, KIND_keys);
}

err_t db_keys_forget(struct batch *b, struct view *v, struct scope scope, struct buf *position,
                     bool *out_more)
{
    struct key prefix = key_of_scope(scope);
    unsigned looked = 0;
    AUTO(range) r = {0};

    *out_more = false;
    range_prefix(&r, v, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    if (position->len) range_skip_to(&r, buf_slice(position));
    /* What a damaged row holds does not matter here. */
    while (range_next(&r) || range_pass_damage(&r)) {
        if (b->bytes >= BATCH_SLICE || ++looked > KEYS_LOOK_MAX) {
            buf_reset(position);
            buf_put(position, r.key);
            *out_more = true;
            return OK;
        }
        uint32_t peer;
        uint8_t kind;
        struct reader rest = key_read_peer(r.key, &peer, &kind);

        if (rest.error != OK) return fail(STORE_DAMAGED, "a key of account %u", scope.account);
        if (kind == KIND_keys || kind == KIND_packs) {
            batch_delete(b, DB_data, r.key);
            continue;
        }
        struct key next = next_keys(scope, peer, kind);
        range_skip_to(&r, key_slice(&next));
    }
    return range_error(&r);
}
