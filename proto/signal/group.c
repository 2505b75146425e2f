/* Reading order: the record, finding a key in it, then the public functions. */
#include "proto/signal/group.h"

#include "proto/base/reader.h"
#include "proto/schema/signal.pb-c.h"
#include "proto/schema/unpack.h"
#include "proto/signal/keyblock.h"
#include "proto/signal/ratchet.h"

enum { RECORD_VERSION = 1, FLAG_OURS = 1 };

struct state {
    uint32_t id;
    struct wa_chain chain;
    struct crypto_key signing; /* public */
    bool ours;
    struct crypto_key secret; /* of `signing`, when it is ours */
    uint64_t slots;
};

struct record {
    unsigned count;
    struct state states[WA_SENDER_STATES_MAX]; /* newest first */
};

struct call {
    const struct wa_keystore *ks;
    struct arena *arena;
    struct slice group;
    const struct wa_address *author;
};

/* ---- the record ---- */

static struct wa_row record_row(const struct call *c)
{
    return (struct wa_row){
        WA_SIGNAL_SENDER_KEY, c->group,
        arena_printf(c->arena, SLICE_FMT ".%u", SLICE_ARG(c->author->name), c->author->device)};
}

static struct wa_skipped skipped_of(const struct call *c, struct state *s)
{
    struct slice name = arena_printf(c->arena, SLICE_FMT ".%u.%08x", SLICE_ARG(c->author->name),
                                     c->author->device, s->id);
    return (struct wa_skipped){
        .ks = c->ks,
        .arena = c->arena,
        .row = {WA_SIGNAL_SENDER_SKIPPED, c->group, name},
        .slots = &s->slots,
    };
}

static void forget_skipped(const struct call *c, struct state *s)
{
    if (!s->slots) return;
    struct wa_skipped skipped = skipped_of(c, s);
    wa_skipped_clear(&skipped);
}

static void read_key(struct reader *r, struct crypto_key *out)
{
    struct slice key = reader_bytes(r, CRYPTO_KEY);
    if (key.len) memcpy(out->bytes, key.data, CRYPTO_KEY);
}

static void read_state(struct reader *r, struct state *out)
{
    uint8_t flags = reader_u8(r);

    *out = (struct state){.ours = flags & FLAG_OURS};
    if (flags & ~FLAG_OURS && !r->error) r->error = ERR_STORE_DAMAGED;
    out->id = reader_be32(r);
    read_key(r, &out->chain.key);
    out->chain.index = reader_be32(r);
    read_key(r, &out->signing);
    if (out->ours) read_key(r, &out->secret);
    out->slots = reader_be64(r);
}

static err_t parse_record(struct slice in, struct record *out)
{
    struct reader r = reader_of(in);
    uint8_t version = reader_u8(&r);

    if (version > RECORD_VERSION) return fail(STORE_VERSION, "a sender key of version %u", version);
    out->count = reader_u8(&r);
    ENSURE(version == RECORD_VERSION && out->count <= WA_SENDER_STATES_MAX, STORE_DAMAGED);
    for (unsigned i = 0; i < out->count; i++)
        read_state(&r, &out->states[i]);
    if (reader_end(&r) != OK) return fail(STORE_DAMAGED, "a sender key of %zu bytes", in.len);
    return OK;
}

static err_t load_record(const struct call *c, struct record *out)
{
    struct slice value;

    out->count = 0;
    TRY(c->ks->load(c->ks->ctx, record_row(c), c->arena, &value));
    return slice_is_none(value) ? OK : parse_record(value, out);
}

static void save_record(const struct call *c, const struct record *r)
{
    AUTO(buf) value = {0};

    if (!r->count) {
        c->ks->save(c->ks->ctx, record_row(c), SLICE_NONE);
        return;
    }
    buf_reserve(&value, 1024); /* growing would leave copies behind */
    buf_put_u8(&value, RECORD_VERSION);
    buf_put_u8(&value, (uint8_t)r->count);
    for (unsigned i = 0; i < r->count; i++) {
        const struct state *s = &r->states[i];

        buf_put_u8(&value, s->ours ? FLAG_OURS : 0);
        buf_put_be32(&value, s->id);
        buf_put(&value, SLICE_ARRAY(s->chain.key.bytes));
        buf_put_be32(&value, s->chain.index);
        buf_put(&value, SLICE_ARRAY(s->signing.bytes));
        if (s->ours) buf_put(&value, SLICE_ARRAY(s->secret.bytes));
        buf_put_be64(&value, s->slots);
    }
    c->ks->save(c->ks->ctx, record_row(c), buf_slice(&value));
    crypto_wipe(value.data, value.len);
}

static struct state *find_state(struct record *r, uint32_t id)
{
    for (unsigned i = 0; i < r->count; i++)
        if (r->states[i].id == id) return &r->states[i];
    return NULL;
}

static void remove_state(const struct call *c, struct record *r, struct state *s)
{
    forget_skipped(c, s);
    r->count--;
    memmove(s, s + 1, (size_t)(r->states + r->count - s) * sizeof(*s));
}

static void push_state(const struct call *c, struct record *r, const struct state *s)
{
    if (r->count == WA_SENDER_STATES_MAX) remove_state(c, r, &r->states[r->count - 1]);
    memmove(r->states + 1, r->states, r->count * sizeof(*s));
    r->states[0] = *s;
    r->count++;
}

/* ---- distribution ---- */

static void make_key(const struct call *c, struct state *out)
{
    struct crypto_pair signing;

    *out = (struct state){.ours = true};
    c->ks->random(c->ks->ctx, &out->id, sizeof(out->id));
    out->id &= 0x7fffffff;
    c->ks->random(c->ks->ctx, out->chain.key.bytes, CRYPTO_KEY);
    wa_new_pair(c->ks, &signing);
    out->signing = signing.public;
    out->secret = signing.secret;
    crypto_wipe(&signing, sizeof(signing));
}

static bool is_ours(const struct record *r) { return r->count && r->states[0].ours; }

err_t wa_group_distribute(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                          const struct wa_address *self, struct slice *out)
{
    struct call c = {ks, arena, group, self};
    struct record r;
    struct state made;
    Wa__SenderKeyDistribution m = WA__SENDER_KEY_DISTRIBUTION__INIT;
    uint8_t signing[WA_TYPED_KEY];
    AUTO(buf) bytes = {0};

    TRY(load_record(&c, &r));
    if (!is_ours(&r)) {
        make_key(&c, &made);
        push_state(&c, &r, &made);
        save_record(&c, &r);
    }
    wa_key_typed(&r.states[0].signing, signing);
    m.has_id = m.has_iteration = m.has_chain_key = m.has_signing_key = true;
    m.id = r.states[0].id;
    m.iteration = r.states[0].chain.index;
    m.chain_key = wa_binary(SLICE_ARRAY(r.states[0].chain.key.bytes));
    m.signing_key = wa_binary(SLICE_ARRAY(signing));
    buf_put_u8(&bytes, WA_VERSION);
    wa_pack(&m.base, &bytes);
    *out = arena_dup(arena, buf_slice(&bytes));
    return OK;
}

static err_t parse_distribution(struct arena *arena, struct slice bytes, struct state *out)
{
    const Wa__SenderKeyDistribution *m;
    err_t e;

    ENSURE(bytes.len > 1 && bytes.data[0] >> 4 == WA_VERSION >> 4, BAD_MESSAGE);
    e = WA_UNPACK(wa__sender_key_distribution, slice_from(bytes, 1), arena, &m);
    if (e != OK) return wa_bad_message(e, "a distribution", bytes.len);
    ENSURE(m->has_id && m->has_iteration && m->has_signing_key, BAD_MESSAGE);
    ENSURE(m->has_chain_key && m->chain_key.len == CRYPTO_KEY, BAD_MESSAGE);
    *out = (struct state){.id = m->id, .chain.index = m->iteration};
    memcpy(out->chain.key.bytes, m->chain_key.data, CRYPTO_KEY);
    return wa_key_untyped(wa_field(&m->signing_key), &out->signing);
}

/* Authors repeat their key with every message (whatsmeow does); taking it again would rewind or
 * skip, and lose the keys of messages still under way. */
static bool is_same_key(const struct state *known, const struct state *told)
{
    return memcmp(known->signing.bytes, told->signing.bytes, CRYPTO_KEY) == 0 &&
           told->chain.index <= (uint64_t)known->chain.index + WA_SENDER_JUMP_MAX;
}

err_t wa_group_process(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                       const struct wa_address *author, struct slice distribution)
{
    struct call c = {ks, arena, group, author};
    struct record r;
    struct state told, *known;

    TRY(parse_distribution(arena, distribution, &told));
    TRY(load_record(&c, &r));
    known = find_state(&r, told.id);
    if (known && (known->ours || is_same_key(known, &told))) return OK;
    if (known) remove_state(&c, &r, known);
    push_state(&c, &r, &told);
    save_record(&c, &r);
    return OK;
}

/* ---- messages ---- */

struct sender_keys {
    uint8_t iv[16], cipher[32];
};

static void sender_keys(const struct crypto_key *seed, struct sender_keys *out)
{
    uint8_t all[sizeof(*out)];

    crypto_hkdf(SLICE_ARRAY(seed->bytes), SLICE_NONE, SLICE("WhisperGroup"), all, sizeof(all));
    memcpy(out->iv, all, sizeof(out->iv));
    memcpy(out->cipher, all + sizeof(out->iv), sizeof(out->cipher));
    crypto_wipe(all, sizeof(all));
}

err_t wa_group_encrypt(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                       const struct wa_address *self, struct slice padded, struct slice *out)
{
    struct call c = {ks, arena, group, self};
    struct record r;
    struct crypto_key seed;
    struct sender_keys keys;
    Wa__SenderKeyMessage m = WA__SENDER_KEY_MESSAGE__INIT;
    uint8_t signature[CRYPTO_SIGNATURE];
    AUTO(buf) cipher = {0};
    AUTO(buf) bytes = {0};

    TRY(load_record(&c, &r));
    ENSURE(is_ours(&r), NO_SENDER_KEY);
    m.iteration = r.states[0].chain.index;
    wa_chain_step(&r.states[0].chain, &seed);
    sender_keys(&seed, &keys);
    crypto_cbc_encrypt(keys.cipher, keys.iv, padded, &cipher);

    m.has_id = m.has_iteration = m.has_ciphertext = true;
    m.id = r.states[0].id;
    m.ciphertext = wa_binary(buf_slice(&cipher));
    buf_put_u8(&bytes, WA_VERSION);
    wa_pack(&m.base, &bytes);
    wa_sign(ks, &r.states[0].secret, buf_slice(&bytes), signature);
    buf_put(&bytes, SLICE_ARRAY(signature));

    save_record(&c, &r);
    *out = arena_dup(arena, buf_slice(&bytes));
    crypto_wipe(&keys, sizeof(keys));
    crypto_wipe(&r, sizeof(r));
    return OK;
}

struct message {
    struct slice signed_part, signature, cipher;
    uint32_t id, iteration;
};

static err_t parse_message(struct arena *arena, struct slice bytes, struct message *out)
{
    const Wa__SenderKeyMessage *m;
    err_t e;

    ENSURE(bytes.len > 1 + CRYPTO_SIGNATURE, BAD_MESSAGE);
    ENSURE(bytes.data[0] >> 4 == WA_VERSION >> 4, BAD_MESSAGE);
    out->signed_part = slice_sub(bytes, 0, bytes.len - CRYPTO_SIGNATURE);
    out->signature = slice_from(bytes, out->signed_part.len);
    e = WA_UNPACK(wa__sender_key_message, slice_from(out->signed_part, 1), arena, &m);
    if (e != OK) return wa_bad_message(e, "a skmsg", bytes.len);
    ENSURE(m->has_id && m->has_iteration && m->has_ciphertext, BAD_MESSAGE);
    out->id = m->id;
    out->iteration = m->iteration;
    out->cipher = wa_field(&m->ciphertext);
    return OK;
}

/* Runs the chain up to the message; what it jumps over is kept once the text has opened. */
struct jump {
    uint32_t from;
    size_t count;
    struct crypto_key *seeds;
};

static err_t find_seed(const struct call *c, struct state *s, uint32_t iteration, struct jump *jump,
                       struct crypto_key *out)
{
    if (iteration < s->chain.index) {
        struct wa_skipped skipped = skipped_of(c, s);
        return wa_skipped_find(&skipped, iteration, out);
    }
    uint32_t ahead = iteration - s->chain.index;
    if (ahead > WA_SENDER_JUMP_MAX)
        return fail(FUTURE_MESSAGE, "message %u after %u", iteration, s->chain.index);
    *jump = (struct jump){.from = s->chain.index, .count = ahead};
    if (ahead) jump->seeds = arena_array(c->arena, struct crypto_key, ahead);
    for (uint32_t i = 0; i < ahead; i++)
        wa_chain_step(&s->chain, &jump->seeds[i]);
    wa_chain_step(&s->chain, out);
    return OK;
}

err_t wa_group_decrypt(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                       const struct wa_address *author, struct slice bytes,
                       struct slice *out_padded)
{
    struct call c = {ks, arena, group, author};
    struct record r;
    struct message m;
    struct jump jump = {0};
    struct crypto_key seed;
    struct sender_keys keys;
    AUTO(buf) plain = {0};

    TRY(parse_message(arena, bytes, &m));
    TRY(load_record(&c, &r));
    struct state *s = find_state(&r, m.id);
    ENSURE(s, NO_SENDER_KEY);
    ENSURE(crypto_verify(&s->signing, m.signed_part, m.signature), BAD_SIGNATURE);

    bool was_skipped = m.iteration < s->chain.index;
    TRY(find_seed(&c, s, m.iteration, &jump, &seed));
    sender_keys(&seed, &keys);
    err_t e = crypto_cbc_decrypt(keys.cipher, keys.iv, m.cipher, &plain);
    if (e != OK) return wa_bad_message(e, "a good signature with bad blocks", m.cipher.len);

    struct wa_skipped skipped = skipped_of(&c, s);
    if (was_skipped) TRY(wa_skipped_remove(&skipped, m.iteration));
    if (jump.count) TRY(wa_skipped_add(&skipped, jump.from, jump.seeds, jump.count));
    save_record(&c, &r);
    *out_padded = arena_dup(arena, buf_slice(&plain));
    crypto_wipe(&seed, sizeof(seed));
    crypto_wipe(&keys, sizeof(keys));
    return OK;
}

/* ---- the rest ---- */

err_t wa_group_delete(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                      const struct wa_address *author)
{
    struct call c = {ks, arena, group, author};
    struct record r;

    TRY(load_record(&c, &r));
    for (unsigned i = 0; i < r.count; i++)
        forget_skipped(&c, &r.states[i]);
    if (r.count) ks->save(ks->ctx, record_row(&c), SLICE_NONE);
    return OK;
}

err_t wa_group_has_key(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                       const struct wa_address *author, bool *out)
{
    struct call c = {ks, arena, group, author};
    struct record r;

    TRY(load_record(&c, &r));
    *out = is_ours(&r);
    return OK;
}

err_t wa_group_move(const struct wa_keystore *ks, struct arena *arena, struct slice group,
                    const struct wa_address *from, const struct wa_address *to)
{
    struct call source = {ks, arena, group, from}, target = {ks, arena, group, to};
    struct record coming, there;

    TRY(load_record(&source, &coming));
    if (!coming.count) return OK;
    TRY(load_record(&target, &there));
    for (unsigned i = 0; i < coming.count; i++) {
        struct state *s = &coming.states[i];
        struct wa_skipped skipped = skipped_of(&source, s);

        if (there.count == WA_SENDER_STATES_MAX || find_state(&there, s->id)) {
            forget_skipped(&source, s);
            continue;
        }
        TRY(wa_skipped_move(&skipped, skipped_of(&target, s).row));
        there.states[there.count++] = *s;
    }
    save_record(&target, &there);
    ks->save(ks->ctx, record_row(&source), SLICE_NONE);
    return OK;
}
