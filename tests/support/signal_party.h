/* One end of a Signal conversation for tests: a keystore in memory with repeatable randomness.
 *
 * Rows are kept in a hash map; saves are counted, so that a test can say that a failed call left
 * no trace. The next random secrets can be forced, to follow a vector. */
#pragma once
#include <stdlib.h>

#include "proto/base/map.h"
#include "proto/signal/group.h"
#include "proto/signal/identity.h"
#include "proto/signal/padding.h"
#include "proto/signal/prekey.h"
#include "proto/signal/session.h"

struct party {
    struct wa_keystore ks;
    struct crypto_pair identity;
    struct map rows;
    struct arena arena; /* results of calls live here until party_done */
    uint64_t seed;
    struct crypto_key forced[8]; /* handed out first when 32 bytes are asked for */
    size_t forced_count, forced_at;
    size_t saves; /* since the start */
    struct wa_address address;
    struct wa_signed_prekey signed_prekey;
    uint32_t next_prekey;
};

static inline struct slice party_key(struct party *p, struct wa_row row)
{
    return arena_printf(&p->arena, "%d|" SLICE_FMT "|" SLICE_FMT, row.kind, SLICE_ARG(row.owner),
                        SLICE_ARG(row.name));
}

static inline err_t party_load(void *ctx, struct wa_row row, struct arena *arena, struct slice *out)
{
    struct party *p = ctx;
    struct buf *value = map_find(&p->rows, party_key(p, row));

    *out = value ? arena_dup(arena, buf_slice(value)) : SLICE_NONE;
    return OK;
}

static inline void party_drop(struct buf *value)
{
    if (value) buf_done(value);
    free(value);
}

static inline void party_save(void *ctx, struct wa_row row, struct slice value)
{
    struct party *p = ctx;
    struct buf *copy;

    p->saves++;
    if (slice_is_none(value)) {
        party_drop(map_remove(&p->rows, party_key(p, row)));
        return;
    }
    copy = xcalloc(sizeof(*copy));
    buf_put(copy, value);
    party_drop(map_put(&p->rows, party_key(p, row), copy));
}

/* splitmix64 */
static inline uint64_t party_number(struct party *p)
{
    uint64_t z = p->seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void party_random(void *ctx, void *out, size_t n)
{
    struct party *p = ctx;
    uint8_t *at = out;

    if (n == CRYPTO_KEY && p->forced_at < p->forced_count) {
        memcpy(out, p->forced[p->forced_at++].bytes, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)party_number(p);
}

static inline void party_force(struct party *p, const uint8_t secret[CRYPTO_KEY])
{
    memcpy(p->forced[p->forced_count++].bytes, secret, CRYPTO_KEY);
}

/* Randomness is the seed's; `name` must outlive the party. Makes signed prekey 1. */
static inline void party_init(struct party *p, const char *name, uint32_t device, uint64_t seed)
{
    *p = (struct party){.seed = seed, .next_prekey = 1};
    p->ks = (struct wa_keystore){.load = party_load,
                                 .save = party_save,
                                 .random = party_random,
                                 .ctx = p,
                                 .identity = &p->identity,
                                 .registration_id = (uint32_t)(seed * 7919)};
    p->address = (struct wa_address){.name = slice_text(name), .device = device};
    wa_new_pair(&p->ks, &p->identity);
    wa_signed_prekey_make(&p->ks, &p->arena, 1, &p->signed_prekey);
}

static inline void party_forget_rows(struct party *p)
{
    size_t at = 0;
    struct buf *value;

    while ((value = map_next(&p->rows, &at, NULL)))
        party_drop(value);
    map_done(&p->rows);
    p->rows = (struct map){0};
}

static inline void party_done(struct party *p)
{
    party_forget_rows(p);
    arena_done(&p->arena);
}

/* What the server would hand out for this party; takes a new one-time key if asked to. */
static inline struct wa_bundle party_bundle(struct party *p, bool with_prekey)
{
    struct wa_prekey_public one = {0};
    struct wa_bundle b = {.registration_id = p->ks.registration_id,
                          .identity = p->identity.public,
                          .signed_prekey_id = p->signed_prekey.id,
                          .signed_prekey = p->signed_prekey.pair.public};

    memcpy(b.signature, p->signed_prekey.signature, sizeof(b.signature));
    if (with_prekey && wa_prekeys_make(&p->ks, &p->arena, &p->next_prekey, 1, &one) == OK) {
        b.has_prekey = true;
        b.prekey_id = one.id;
        b.prekey = one.key;
    }
    return b;
}

/* The two know each other: `us` has a session with `them`, opened by the message `first`, and their
 * sender key of `group`. Both are new. */
static inline err_t party_meet(struct party *us, struct party *them, bool with_prekey,
                               struct slice first, struct slice group)
{
    struct wa_bundle bundle;
    struct wa_encrypted e;
    struct wa_decrypted d;
    struct slice key;
    bool changed;

    party_init(us, "us@lid", 0, 1);
    party_init(them, "them@lid", 1, 2);
    bundle = party_bundle(us, with_prekey);
    TRY(wa_session_from_bundle(&them->ks, &them->arena, &us->address, &bundle, &changed));
    TRY(wa_session_encrypt(&them->ks, &them->arena, &us->address, first, &e));
    TRY(wa_session_decrypt(&us->ks, &us->arena, &them->address, true, e.bytes, &d));
    TRY(wa_group_distribute(&them->ks, &them->arena, group, &them->address, &key));
    return wa_group_process(&us->ks, &us->arena, group, &them->address, key);
}
