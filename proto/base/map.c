/* Open addressing with linear probing; a removed slot keeps a mark until the next growth. */
#include "proto/base/map.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "proto/base/xalloc.h"

struct map_slot {
    uint64_t hash;
    uint8_t *key; /* NULL: never used, GONE: removed */
    size_t len;
    void *value;
};

static uint8_t gone_mark;
#define GONE (&gone_mark)

static uint64_t rotl(uint64_t x, int b) { return x << b | x >> (64 - b); }

struct sip {
    uint64_t v0, v1, v2, v3;
};

static void sip_round(struct sip *s)
{
    s->v0 += s->v1, s->v1 = rotl(s->v1, 13) ^ s->v0, s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3, s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3, s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1, s->v1 = rotl(s->v1, 17) ^ s->v2, s->v2 = rotl(s->v2, 32);
}

/* Two random words, drawn once; the first thread to publish wins. */
static void seed(uint64_t out[2])
{
    static _Atomic uint64_t words[2];
    for (int i = 0; i < 2; i++) {
        uint64_t have = atomic_load(&words[i]), fresh = 0;
        if (!have) {
            if (getrandom(&fresh, sizeof(fresh), 0) != sizeof(fresh)) abort();
            fresh |= 1;
            have = 0;
            if (atomic_compare_exchange_strong(&words[i], &have, fresh)) have = fresh;
        }
        out[i] = have;
    }
}

/* SipHash-1-3. */
uint64_t map_hash(struct slice key)
{
    uint64_t k[2];
    seed(k);
    struct sip s = {k[0] ^ 0x736f6d6570736575ULL, k[1] ^ 0x646f72616e646f6dULL,
                    k[0] ^ 0x6c7967656e657261ULL, k[1] ^ 0x7465646279746573ULL};
    uint64_t last = (uint64_t)key.len << 56, word;
    size_t at = 0;

    for (; at + 8 <= key.len; at += 8) {
        memcpy(&word, key.data + at, 8);
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    for (size_t i = 0; at + i < key.len; i++)
        last |= (uint64_t)key.data[at + i] << 8 * i;
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void map_done(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key != GONE) free(m->slots[i].key);
    free(m->slots);
    *m = (struct map){0};
}

/* The slot of the key, or NULL. */
static struct map_slot *find(const struct map *m, struct slice key, uint64_t hash)
{
    for (size_t i = m->cap ? hash & (m->cap - 1) : 0; m->cap; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *s = &m->slots[i];
        if (!s->key) return NULL;
        if (s->key != GONE && s->hash == hash && slice_eq(slice_of(s->key, s->len), key)) return s;
    }
    return NULL;
}

static void place(struct map *m, struct map_slot slot)
{
    size_t i = slot.hash & (m->cap - 1);
    while (m->slots[i].key)
        i = (i + 1) & (m->cap - 1);
    m->slots[i] = slot;
    m->used++;
}

static void grow(struct map *m)
{
    struct map old = *m;

    if (m->cap && (m->used + 1) * 4 <= m->cap * 3) return;
    m->cap = 8;
    while (m->cap < (m->count + 1) * 2)
        m->cap *= 2;
    m->slots = xcalloc(m->cap * sizeof(*m->slots));
    m->used = 0;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].key && old.slots[i].key != GONE) place(m, old.slots[i]);
    free(old.slots);
}

void *map_put(struct map *m, struct slice key, void *value)
{
    uint64_t hash = map_hash(key);
    struct map_slot *s = find(m, key, hash);

    if (s) {
        void *before = s->value;
        s->value = value;
        return before;
    }
    grow(m);
    uint8_t *copy = xalloc(key.len);
    if (key.len) memcpy(copy, key.data, key.len);
    place(m, (struct map_slot){hash, copy, key.len, value});
    m->count++;
    return NULL;
}

void *map_find(const struct map *m, struct slice key)
{
    struct map_slot *s = m->count ? find(m, key, map_hash(key)) : NULL;
    return s ? s->value : NULL;
}

void *map_remove(struct map *m, struct slice key)
{
    struct map_slot *s = m->count ? find(m, key, map_hash(key)) : NULL;
    if (!s) return NULL;

    void *value = s->value;
    free(s->key);
    *s = (struct map_slot){.key = GONE};
    m->count--;
    return value;
}

void *map_next(const struct map *m, size_t *at, struct slice *out_key)
{
    for (; *at < m->cap; ++*at) {
        struct map_slot *s = &m->slots[*at];
        if (!s->key || s->key == GONE) continue;
        if (out_key) *out_key = slice_of(s->key, s->len);
        ++*at;
        return s->value;
    }
    return NULL;
}
