/* Operations live in the batch's arena and are linked in order. From SLOTS_FROM on a hash table
 * finds the newest operation of a key; before, the list is short enough to walk. */
#include "storage/batch.h"

#include <stdlib.h>

#include "proto/base/map.h"
#include "storage/events.h"

enum { SLOTS_FROM = 16 };

void batch_init(struct batch *b)
{
    *b = (struct batch){0};
    list_init(&b->pending);
    list_init(&b->queued);
}

void batch_done(struct batch *b)
{
    arena_done(&b->arena);
    free(b->slots);
    b->slots = NULL;
    b->first = b->last = NULL;
    b->op_count = b->slot_count = b->bytes = b->event_count = b->notice_count = 0;
}

void batch_reset(struct batch *b)
{
    arena_reset(&b->arena);
    free(b->slots);
    b->slots = NULL;
    b->first = b->last = NULL;
    b->op_count = b->slot_count = b->bytes = b->event_count = b->notice_count = 0;
    b->overfull = false;
    b->result = OK;
    b->first_seq = 0;
}

/* Keyed by chance: parts of keys are chosen by strangers, who could make thousands of them meet. */
static uint32_t hash_of(enum db db, struct slice key)
{
    return (uint32_t)map_hash(key) ^ (uint32_t)db * 0x9e3779b1u;
}

static bool is_write_of(const struct batch_op *op, enum db db, struct slice key, uint32_t hash)
{
    return op->hash == hash && op->type <= BATCH_DELETE && op->db == db && !op->replaced &&
           slice_eq(batch_op_key(op), key);
}

/* Into the place of `before`, the older write of the same key: a row that is written thousands of
 * times in one batch (a counter) must not leave a trail of as many slots to walk. NULL: a free
 * one. */
static void slot_place(struct batch *b, struct batch_op *op, const struct batch_op *before)
{
    size_t i = op->hash & (b->slot_count - 1);
    while (b->slots[i] != before)
        i = (i + 1) & (b->slot_count - 1);
    b->slots[i] = op;
}

static void slots_grow(struct batch *b)
{
    if (b->op_count < SLOTS_FROM || b->op_count * 2 < b->slot_count) return;

    free(b->slots);
    b->slot_count = 64;
    while (b->slot_count <= b->op_count * 2)
        b->slot_count *= 2;
    b->slots = xcalloc(b->slot_count * sizeof(struct batch_op *));
    for (struct batch_op *op = b->first; op; op = op->next)
        if (op->type <= BATCH_DELETE && !op->replaced) slot_place(b, op, NULL);
}

static struct batch_op *find(const struct batch *b, enum db db, struct slice key, uint32_t hash)
{
    if (!b->slots) {
        for (struct batch_op *op = b->first; op; op = op->next)
            if (is_write_of(op, db, key, hash)) return op;
        return NULL;
    }
    for (size_t i = hash & (b->slot_count - 1); b->slots[i]; i = (i + 1) & (b->slot_count - 1))
        if (is_write_of(b->slots[i], db, key, hash)) return b->slots[i];
    return NULL;
}

static struct batch_op *append(struct batch *b, enum batch_op_type type, size_t size)
{
    struct batch_op *op = arena_alloc(&b->arena, sizeof(*op) + size);

    /* What was replaced is no longer counted, but its memory is still there. */
    if (b->bytes + size > BATCH_MAX || b->arena.total > 2 * (size_t)BATCH_MAX) b->overfull = true;
    *op = (struct batch_op){.type = (uint8_t)type};
    if (b->last)
        b->last->next = op;
    else
        b->first = op;
    b->last = op;
    b->op_count++;
    b->bytes += size;
    return op;
}

static void write(struct batch *b, enum batch_op_type type, enum db db, struct slice key,
                  struct slice value)
{
    assert(key.len > 0 && key.len <= KEY_MAX);
    uint32_t hash = hash_of(db, key);
    struct batch_op *before = find(b, db, key, hash);
    struct batch_op *op = append(b, type, key.len + value.len);

    op->hash = hash;
    op->db = (uint8_t)db;
    op->key_len = (uint16_t)key.len;
    op->value_len = (uint32_t)value.len;
    memcpy(op->data, key.data, key.len);
    if (value.len) memcpy(op->data + key.len, value.data, value.len);
    if (before) { /* its bytes stay: somebody may have borrowed them */
        before->replaced = true;
        b->bytes -= (size_t)before->key_len + before->value_len;
    }
    if (b->slots) slot_place(b, op, before);
    slots_grow(b);
}

void batch_put(struct batch *b, enum db db, struct slice key, struct slice payload)
{
    write(b, BATCH_PUT, db, key, payload);
}

void batch_delete(struct batch *b, enum db db, struct slice key)
{
    write(b, BATCH_DELETE, db, key, SLICE_NONE);
}

static void append_told(struct batch *b, enum batch_op_type type, uint32_t tenant,
                        const struct event_head *head, struct slice bytes)
{
    struct batch_op *op = append(b, type, EVENT_HEAD + bytes.len);

    if (bytes.len > EVENT_MAX) b->overfull = true;
    op->db = DB_events;
    op->tenant = tenant;
    op->value_len = (uint32_t)(EVENT_HEAD + bytes.len);
    event_encode(head, op->data);
    if (bytes.len) memcpy(op->data + EVENT_HEAD, bytes.data, bytes.len);
}

void batch_event(struct batch *b, uint32_t tenant, const struct event_head *head,
                 struct slice bytes)
{
    append_told(b, BATCH_EVENT, tenant, head, bytes);
    b->event_count++;
}

void batch_notice(struct batch *b, uint32_t tenant, const struct event_head *head,
                  struct slice bytes)
{
    append_told(b, BATCH_NOTICE, tenant, head, bytes);
    b->notice_count++;
}

void batch_trim(struct batch *b, uint32_t tenant, uint64_t through)
{
    struct batch_op *op = append(b, BATCH_TRIM, 0);
    op->db = DB_events;
    op->tenant = tenant;
    op->through = through;
}

enum batch_found batch_find(const struct batch *b, enum db db, struct slice key, struct slice *out)
{
    if (!b->first) return BATCH_NOTHING;
    const struct batch_op *op = find(b, db, key, hash_of(db, key));
    if (!op) return BATCH_NOTHING;
    if (op->type == BATCH_DELETE) return BATCH_DELETED;
    *out = batch_op_value(op);
    return BATCH_VALUE;
}

static const struct batch_op *skip_replaced(const struct batch_op *op)
{
    while (op && op->replaced)
        op = op->next;
    return op;
}

const struct batch_op *batch_first(const struct batch *b) { return skip_replaced(b->first); }
const struct batch_op *batch_next(const struct batch_op *op) { return skip_replaced(op->next); }
