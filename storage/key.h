/* Keys: bytes that sort as their parts do. Numbers are big-endian, or as short as they are small
 * (key_int); a text is followed by 00 unless it is last. Layouts stand in schema.def and kinds.def.
 * Pure functions, any thread.
 *
 *     struct key k = key_of_kind(scope, peer, KIND_message);
 *     key_be32(&k, sec);
 *     view_find(view, DB_data, key_slice(&k), &value);
 */
#pragma once
#include <assert.h>

#include "proto/base/reader.h"

enum { KEY_MAX = 320 }; /* LMDB takes 511 */

/* Whose rows: the first two parts of every key of an account. */
struct scope {
    uint32_t tenant, account; /* account 0: rows of the tenant itself (its jobs) */
};

enum kind {
#define KIND(name, number, rest, value, why) KIND_##name = number,
#include "storage/kinds.def"
#undef KIND
};

struct key {
    uint16_t len;
    uint8_t data[KEY_MAX];
};

static inline struct slice key_slice(const struct key *k) { return slice_of(k->data, k->len); }
/* One byte below 128, two below 16,384 … five: most tenants, accounts and peers have small numbers,
 * and short keys mean more rows to a page, above all in the pages that lead to others. */
void key_int(struct key *k, uint32_t v);
void key_u8(struct key *k, uint8_t v);
void key_be16(struct key *k, uint16_t v);
void key_be32(struct key *k, uint32_t v);
void key_be64(struct key *k, uint64_t v);
/* The bytes alone. What comes from outside was checked against a limit before: a key that does
 * not fit is a programming mistake. */
void key_bytes(struct key *k, struct slice s);

/* What key_int() wrote; sticky like the other readers. */
uint32_t key_read_int(struct reader *r);
/* The key of a row of `data` behind tenant and account: peer, kind, rest. */
struct reader key_read_peer(struct slice key, uint32_t *out_peer, uint8_t *out_kind);
/* The rest alone. */
struct reader key_read_rest(struct slice key);

struct key key_of_tenant(uint32_t tenant);
struct key key_of_scope(struct scope scope);
struct key key_of_kind(struct scope scope, uint32_t peer, enum kind kind);
/* The smallest key above every key with this prefix; empty when there is none (all FF). */
struct key key_behind(struct slice prefix);
