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
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)(v >> 8 * (n - 1 - i));
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
    key_be32(&k, tenant);
    return k;
}

struct key key_of_scope(struct scope scope)
{
    struct key k = key_of_tenant(scope.tenant);
    key_be32(&k, scope.account);
    return k;
}

struct key key_of_kind(struct scope scope, uint32_t peer, enum kind kind)
{
    struct key k = key_of_scope(scope);
    key_be32(&k, peer);
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
