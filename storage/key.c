#include "storage/key.h"

static uint8_t *extend(struct key *k, size_t n)
{
    assert(k->len + n <= KEY_MAX);
    uint8_t *at = k->data + k->len;
    k->len = (uint16_t)(k->len + n);
    return at;
}

static void put_be(struct key *k, uint64_t v, size_t n)
{
    uint8_t *at = extend(k, n);
    for (; n; v >>= 8)
        at[--n] = (uint8_t)v;
}

void key_int(struct key *k, uint32_t v)
{
    if (v < 0x80) return put_be(k, v, 1);
    if (v < 0x4000) return put_be(k, v | 0x8000, 2);
    if (v < 0x200000) return put_be(k, v | 0xc00000, 3);
    if (v < 0x10000000) return put_be(k, v | 0xe0000000, 4);
    put_be(k, 0xf0, 1);
    put_be(k, v, 4);
}

uint32_t key_read_int(struct reader *r)
{
    uint8_t first = reader_u8(r);
    if (first < 0x80) return first;
    if (first < 0xc0) return (uint32_t)(first & 0x3f) << 8 | reader_u8(r);
    if (first < 0xe0) return (uint32_t)(first & 0x1f) << 16 | reader_be16(r);
    if (first < 0xf0) return (uint32_t)(first & 0x0f) << 24 | reader_be24(r);
    return reader_be32(r);
}

struct reader key_read_peer(struct slice key, uint32_t *out_peer, uint8_t *out_kind)
{
    struct reader r = reader_of(key);
    key_read_int(&r);
    key_read_int(&r);
    *out_peer = key_read_int(&r);
    *out_kind = reader_u8(&r);
    return r;
}

struct reader key_read_rest(struct slice key)
{
    uint32_t peer;
    uint8_t kind;
    return key_read_peer(key, &peer, &kind);
}

void key_u8(struct key *k, uint8_t v) { put_be(k, v, 1); }
void key_be16(struct key *k, uint16_t v) { put_be(k, v, 2); }
void key_be32(struct key *k, uint32_t v) { put_be(k, v, 4); }
void key_be64(struct key *k, uint64_t v) { put_be(k, v, 8); }

void key_bytes(struct key *k, struct slice s)
{
    if (s.len) memcpy(extend(k, s.len), s.data, s.len);
}

struct key key_of_tenant(uint32_t tenant)
{
    struct key k;
    k.len = 0;
    key_int(&k, tenant);
    return k;
}

struct key key_of_scope(struct scope scope)
{
    struct key k = key_of_tenant(scope.tenant);
    key_int(&k, scope.account);
    return k;
}

struct key key_of_kind(struct scope scope, uint32_t peer, enum kind kind)
{
    struct key k = key_of_scope(scope);
    key_int(&k, peer);
    key_u8(&k, (uint8_t)kind);
    return k;
}

struct key key_behind(struct slice prefix)
{
    struct key k;
    k.len = 0;
    while (prefix.len && prefix.data[prefix.len - 1] == 0xff)
        prefix.len--;
    key_bytes(&k, prefix);
    if (k.len) k.data[k.len - 1]++;
    return k;
}
