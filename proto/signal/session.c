/* Reading order: parsing, then one state tried on one message, then all states of an address, then
 * what the public functions make of it. */
#include "proto/signal/session.h"

#include "proto/schema/signal.pb-c.h"
#include "proto/schema/unpack.h"
#include "proto/signal/identity.h"
#include "proto/signal/prekey.h"
#include "proto/signal/record.h"

struct call {
    const struct wa_keystore *ks;
    struct arena *arena;
    const struct wa_address *peer;
};

/* ---- what came over the wire ---- */

struct message {
    struct slice versioned; /* what the MAC covers */
    struct slice mac, cipher;
    struct crypto_key ratchet;
    uint32_t counter;
};

struct first_message {
    bool has_prekey;
    uint32_t prekey_id, signed_prekey_id, registration_id;
    struct crypto_key base, identity;
    struct slice inner;
};

static err_t check_version(struct slice bytes)
{
    ENSURE(bytes.len > 1 && bytes.data[0] >> 4 == WA_VERSION >> 4, BAD_MESSAGE);
    return OK;
}

static err_t parse_message(struct arena *arena, struct slice bytes, struct message *out)
{
    const Wa__SignalMessage *m;
    err_t e;

    TRY(check_version(bytes));
    ENSURE(bytes.len > 1 + WA_MESSAGE_MAC, BAD_MESSAGE);
    out->versioned = slice_sub(bytes, 0, bytes.len - WA_MESSAGE_MAC);
    out->mac = slice_from(bytes, out->versioned.len);
    e = WA_UNPACK(wa__signal_message, slice_from(out->versioned, 1), arena, &m);
    if (e != OK) return wa_bad_message(e, "a msg", bytes.len);
    ENSURE(m->has_ratchet_key && m->has_counter && m->has_ciphertext, BAD_MESSAGE);
    TRY(wa_key_untyped(wa_field(&m->ratchet_key), &out->ratchet));
    out->counter = m->counter;
    out->cipher = wa_field(&m->ciphertext);
    return OK;
}

static err_t parse_first(struct arena *arena, struct slice bytes, struct first_message *out)
{
    const Wa__SignalPrekeyMessage *m;
    err_t e;

    TRY(check_version(bytes));
    e = WA_UNPACK(wa__signal_prekey_message, slice_from(bytes, 1), arena, &m);
    if (e != OK) return wa_bad_message(e, "a pkmsg", bytes.len);
    ENSURE(m->has_base_key && m->has_identity_key && m->has_message, BAD_MESSAGE);
    ENSURE(m->has_registration_id && m->has_signed_prekey_id, BAD_MESSAGE);
    TRY(wa_key_untyped(wa_field(&m->base_key), &out->base));
    TRY(wa_key_untyped(wa_field(&m->identity_key), &out->identity));
    out->has_prekey = m->has_prekey_id;
    out->prekey_id = m->prekey_id;
    out->signed_prekey_id = m->signed_prekey_id;
    out->registration_id = m->registration_id;
    out->inner = wa_field(&m->message);
    return OK;
}

/* ---- one state, one message ---- */

/* A copy of a state that has read the message, and what has to happen to rows if it is kept. */
struct trial {
    struct wa_session next;
    struct wa_receiving *chain;  /* in next */
    bool stepped;                /* the message brought a new ratchet key */
    struct wa_receiving dropped; /* the chain that had to go for it, if it has slots */
    bool was_skipped;
    uint32_t counter, gap_from;
    struct crypto_key *gap; /* seeds of the messages jumped over */
    size_t gap_count;
    struct slice padded;
};

static bool key_eq(const struct crypto_key *a, const struct crypto_key *b)
{
    return memcmp(a->bytes, b->bytes, CRYPTO_KEY) == 0;
}

static err_t find_chain(struct trial *t, const struct message *m)
{
    struct wa_session *s = &t->next;
    struct wa_receiving fresh = {.ratchet = m->ratchet};

    for (unsigned i = 0; i < s->receiving_count; i++)
        if (key_eq(&s->receiving[i].ratchet, &m->ratchet)) {
            t->chain = &s->receiving[i];
            return OK;
        }
    /* A new key of theirs answers a new one of ours, and none has left since their last. */
    ENSURE(s->can_send || !s->receiving_count, BAD_MAC);
    TRY(wa_root_step(&s->root, &s->ratchet.secret, &m->ratchet, &fresh.chain));
    if (s->receiving_count == WA_CHAINS_MAX) t->dropped = s->receiving[--s->receiving_count];
    memmove(s->receiving + 1, s->receiving, s->receiving_count * sizeof(fresh));
    s->receiving[0] = fresh;
    s->receiving_count++;
    t->chain = &s->receiving[0];
    t->stepped = true;
    return OK;
}

/* Runs the chain up to the message and keeps the seeds in between. */
static err_t jump(const struct call *c, struct trial *t, struct crypto_key *out_seed)
{
    struct wa_chain *chain = &t->chain->chain;
    uint32_t ahead = t->counter - chain->index;

    if (ahead > (c->peer->own ? WA_JUMP_OWN_MAX : WA_JUMP_MAX))
        return fail(FUTURE_MESSAGE, "message %u after %u", t->counter, chain->index);
    t->gap_from = chain->index;
    t->gap_count = ahead;
    if (ahead) t->gap = arena_array(c->arena, struct crypto_key, ahead);
    for (uint32_t i = 0; i < ahead; i++)
        wa_chain_step(chain, &t->gap[i]);
    wa_chain_step(chain, out_seed);
    return OK;
}

static err_t find_seed(const struct call *c, struct trial *t, struct crypto_key *out_seed)
{
    if (t->counter >= t->chain->chain.index) return jump(c, t, out_seed);

    struct wa_skipped skipped = wa_receiving_skipped(c->ks, c->arena, c->peer, t->chain);
    t->was_skipped = true;
    return wa_skipped_find(&skipped, t->counter, out_seed);
}

static err_t open_message(const struct call *c, struct trial *t, const struct message *m,
                          const struct crypto_key *seed)
{
    struct wa_message_keys keys;
    uint8_t mac[WA_MESSAGE_MAC];
    AUTO(buf) plain = {0};
    err_t e;

    wa_message_keys(seed, &keys);
    wa_message_mac(keys.mac, &t->next.their_identity, &c->ks->identity->public, m->versioned, mac);
    if (!crypto_equal(SLICE_ARRAY(mac), m->mac)) return fail(BAD_MAC, "message %u", m->counter);
    e = crypto_cbc_decrypt(keys.cipher, keys.iv, m->cipher, &plain);
    crypto_wipe(&keys, sizeof(keys));
    if (e != OK) return wa_bad_message(e, "a good MAC with bad blocks", m->cipher.len);
    t->padded = arena_dup(c->arena, buf_slice(&plain));
    return OK;
}

static err_t try_state(const struct call *c, const struct wa_session *s, const struct message *m,
                       struct trial *t)
{
    struct crypto_key seed;

    *t = (struct trial){.next = *s, .counter = m->counter};
    TRY(find_chain(t, m));
    TRY(find_seed(c, t, &seed));
    err_t e = open_message(c, t, m, &seed);
    crypto_wipe(&seed, sizeof(seed));
    return e;
}

/* Our half of a turn of the ratchet waits for something to send: what comes in costs one agreement
 * of keys where it would cost another one and a new pair, and until then no secret that our next
 * message will depend on lies on the disk. */
static void stop_sending(struct wa_session *s)
{
    s->can_send = false;
    crypto_wipe(&s->ratchet, sizeof(s->ratchet));
    crypto_wipe(&s->sending.key, sizeof(s->sending.key));
}

static err_t start_sending(const struct wa_keystore *ks, struct wa_session *s)
{
    ENSURE(s->receiving_count, NO_SESSION);
    wa_new_pair(ks, &s->ratchet);
    s->previous_counter = s->sending.index ? s->sending.index - 1 : 0;
    TRY(wa_root_step(&s->root, &s->ratchet.secret, &s->receiving[0].ratchet, &s->sending));
    s->can_send = true;
    return OK;
}

/* The message was right: the rows of skipped keys. The state itself is saved by the caller, who
 * knows where it belongs. */
static err_t keep_trial(const struct call *c, struct trial *t)
{
    struct wa_session *s = &t->next;
    struct wa_skipped skipped = wa_receiving_skipped(c->ks, c->arena, c->peer, t->chain);

    if (t->stepped) stop_sending(s);
    s->pending = s->has_prekey = false;
    if (t->was_skipped) TRY(wa_skipped_remove(&skipped, t->counter));
    if (t->gap_count) TRY(wa_skipped_add(&skipped, t->gap_from, t->gap, t->gap_count));
    wa_receiving_forget(c->ks, c->arena, c->peer, &t->dropped);
    return OK;
}

/* ---- all states of an address ---- */

/* Which failure tells most: a state that knows the message's chain speaks with authority. */
static err_t worse(err_t before, err_t now)
{
    if (before == ERR_OLD_COUNTER || now == ERR_OLD_COUNTER) return ERR_OLD_COUNTER;
    if (before == ERR_FUTURE_MESSAGE || now == ERR_FUTURE_MESSAGE) return ERR_FUTURE_MESSAGE;
    return before;
}

static err_t try_archived(const struct call *c, const struct wa_session *current,
                          const struct message *m, err_t verdict, struct trial *t)
{
    struct wa_archive archive;

    TRY(wa_archive_load(c->ks, c->arena, c->peer, &archive));
    for (unsigned i = 0; i < archive.count; i++) {
        err_t e = try_state(c, &archive.states[i], m, t);
        if (e != OK) {
            if (err_class(e) == ERR_CLASS_BROKEN) return e;
            verdict = worse(verdict, e);
            continue;
        }
        TRY(keep_trial(c, t));
        wa_archive_take(&archive, i);
        wa_archive_push(c->ks, c->arena, c->peer, &archive, current);
        wa_archive_save(c->ks, c->arena, c->peer, &archive);
        return OK;
    }
    return err_fail(verdict, __FILE__, __LINE__, "no state of %u fits", archive.count + 1);
}

static err_t decrypt_message(const struct call *c, struct slice bytes, struct wa_decrypted *out)
{
    struct message m;
    struct wa_session current;
    struct trial t;
    bool found;

    TRY(parse_message(c->arena, bytes, &m));
    TRY(wa_session_load(c->ks, c->arena, c->peer, &current, &found));
    ENSURE(found, NO_SESSION);

    err_t e = try_state(c, &current, &m, &t);
    if (e == OK)
        TRY(keep_trial(c, &t));
    else if (err_class(e) == ERR_CLASS_BROKEN)
        return e;
    else
        TRY(try_archived(c, &current, &m, e, &t));

    wa_session_save(c->ks, c->arena, c->peer, &t.next);
    *out = (struct wa_decrypted){.padded = t.padded};
    crypto_wipe(&t, sizeof(t));
    crypto_wipe(&current, sizeof(current));
    return OK;
}

static err_t is_known(const struct call *c, const struct crypto_key *base, bool *out)
{
    struct wa_session current;
    struct wa_archive archive;

    *out = false;
    TRY(wa_session_load(c->ks, c->arena, c->peer, &current, out));
    if (!*out || key_eq(&current.base, base)) return OK;
    *out = false;
    TRY(wa_archive_load(c->ks, c->arena, c->peer, &archive));
    for (unsigned i = 0; i < archive.count; i++)
        *out = *out || key_eq(&archive.states[i].base, base);
    return OK;
}

/* Makes `s` the current state. With another identity the peer is a new installation, and what
 * speaks for the old one is deleted. */
static err_t install(const struct call *c, const struct wa_session *s, bool *out_identity_changed)
{
    struct wa_session before;
    struct wa_archive archive;
    bool found;

    TRY(wa_identity_trust(c->ks, c->arena, c->peer, &s->their_identity, out_identity_changed));
    TRY(wa_session_load(c->ks, c->arena, c->peer, &before, &found));
    if (found && !key_eq(&before.their_identity, &s->their_identity)) {
        TRY(wa_session_delete(c->ks, c->arena, c->peer));
    } else if (found) {
        TRY(wa_archive_load(c->ks, c->arena, c->peer, &archive));
        wa_archive_push(c->ks, c->arena, c->peer, &archive, &before);
        wa_archive_save(c->ks, c->arena, c->peer, &archive);
    }
    wa_session_save(c->ks, c->arena, c->peer, s);
    return OK;
}

static err_t respond(const struct call *c, const struct first_message *first,
                     struct wa_session *out)
{
    struct wa_signed_prekey ours;
    struct crypto_key one_time;

    TRY(wa_signed_prekey_load(c->ks, c->arena, first->signed_prekey_id, &ours));
    if (first->has_prekey) TRY(wa_prekey_load(c->ks, c->arena, first->prekey_id, &one_time));
    *out = (struct wa_session){
        .their_identity = first->identity,
        .base = first->base,
        .their_registration_id = first->registration_id,
        .ratchet = ours.pair, /* until our first turn of the ratchet */
    };
    return wa_x3dh_respond(c->ks->identity, &ours.pair.secret, first->has_prekey ? &one_time : NULL,
                           &first->identity, &first->base, &out->root);
}

static err_t decrypt_first(const struct call *c, struct slice bytes, struct wa_decrypted *out)
{
    struct first_message first;
    struct message m;
    struct wa_session fresh;
    struct trial t;
    bool known, changed;

    TRY(parse_first(c->arena, bytes, &first));
    TRY(is_known(c, &first.base, &known));
    if (known) return decrypt_message(c, first.inner, out); /* a later pkmsg of the same session */

    TRY(parse_message(c->arena, first.inner, &m));
    TRY(respond(c, &first, &fresh));
    TRY(try_state(c, &fresh, &m, &t));
    TRY(install(c, &fresh, &changed)); /* before the trial's rows: it may delete older ones */
    TRY(keep_trial(c, &t));
    wa_session_save(c->ks, c->arena, c->peer, &t.next);
    if (first.has_prekey) TRY(wa_prekey_remove(c->ks, c->arena, first.prekey_id));
    *out =
        (struct wa_decrypted){.padded = t.padded, .new_session = true, .identity_changed = changed};
    return OK;
}

/* ---- public ---- */

err_t wa_session_decrypt(const struct wa_keystore *ks, struct arena *arena,
                         const struct wa_address *from, bool is_prekey, struct slice bytes,
                         struct wa_decrypted *out)
{
    struct call c = {ks, arena, from};
    return is_prekey ? decrypt_first(&c, bytes, out) : decrypt_message(&c, bytes, out);
}

static err_t check_bundle(const struct wa_bundle *bundle)
{
    uint8_t typed[WA_TYPED_KEY];

    wa_key_typed(&bundle->signed_prekey, typed);
    ENSURE(crypto_verify(&bundle->identity, SLICE_ARRAY(typed), SLICE_ARRAY(bundle->signature)),
           BAD_SIGNATURE);
    return OK;
}

err_t wa_session_from_bundle(const struct wa_keystore *ks, struct arena *arena,
                             const struct wa_address *to, const struct wa_bundle *bundle,
                             bool *out_identity_changed)
{
    struct call c = {ks, arena, to};
    struct crypto_pair base;
    struct wa_session s = {
        .their_identity = bundle->identity,
        .their_registration_id = bundle->registration_id,
        .can_send = true,
        .pending = true,
        .has_prekey = bundle->has_prekey,
        .prekey_id = bundle->has_prekey ? bundle->prekey_id : 0,
        .signed_prekey_id = bundle->signed_prekey_id,
    };

    TRY(check_bundle(bundle));
    wa_new_pair(ks, &base);
    s.base = base.public;
    TRY(wa_x3dh_initiate(ks->identity, &base, &bundle->identity, &bundle->signed_prekey,
                         bundle->has_prekey ? &bundle->prekey : NULL, &s.root));
    wa_new_pair(ks, &s.ratchet);
    TRY(wa_root_step(&s.root, &s.ratchet.secret, &bundle->signed_prekey, &s.sending));
    crypto_wipe(&base, sizeof(base));
    return install(&c, &s, out_identity_changed);
}

/* Version byte, message, MAC. */
static void seal_message(const struct call *c, const struct wa_session *s, uint32_t counter,
                         const struct crypto_key *seed, struct slice padded, struct buf *out)
{
    Wa__SignalMessage m = WA__SIGNAL_MESSAGE__INIT;
    struct wa_message_keys keys;
    uint8_t ratchet[WA_TYPED_KEY], mac[WA_MESSAGE_MAC];
    AUTO(buf) cipher = {0};

    wa_message_keys(seed, &keys);
    crypto_cbc_encrypt(keys.cipher, keys.iv, padded, &cipher);
    wa_key_typed(&s->ratchet.public, ratchet);
    m.has_ratchet_key = m.has_counter = m.has_previous_counter = m.has_ciphertext = true;
    m.ratchet_key = wa_binary(SLICE_ARRAY(ratchet));
    m.counter = counter;
    m.previous_counter = s->previous_counter;
    m.ciphertext = wa_binary(buf_slice(&cipher));

    buf_put_u8(out, WA_VERSION);
    wa_pack(&m.base, out);
    wa_message_mac(keys.mac, &c->ks->identity->public, &s->their_identity, buf_slice(out), mac);
    buf_put(out, SLICE_ARRAY(mac));
    crypto_wipe(&keys, sizeof(keys));
}

static void seal_first(const struct call *c, const struct wa_session *s, struct slice inner,
                       struct buf *out)
{
    Wa__SignalPrekeyMessage m = WA__SIGNAL_PREKEY_MESSAGE__INIT;
    uint8_t base[WA_TYPED_KEY], identity[WA_TYPED_KEY];

    wa_key_typed(&s->base, base);
    wa_key_typed(&c->ks->identity->public, identity);
    m.has_base_key = m.has_identity_key = m.has_message = true;
    m.has_registration_id = m.has_signed_prekey_id = true;
    m.has_prekey_id = s->has_prekey;
    m.prekey_id = s->prekey_id;
    m.base_key = wa_binary(SLICE_ARRAY(base));
    m.identity_key = wa_binary(SLICE_ARRAY(identity));
    m.message = wa_binary(inner);
    m.registration_id = c->ks->registration_id;
    m.signed_prekey_id = s->signed_prekey_id;
    buf_put_u8(out, WA_VERSION);
    wa_pack(&m.base, out);
}

err_t wa_session_encrypt(const struct wa_keystore *ks, struct arena *arena,
                         const struct wa_address *to, struct slice padded, struct wa_encrypted *out)
{
    struct call c = {ks, arena, to};
    struct wa_session s;
    struct crypto_key seed;
    bool found;
    AUTO(buf) inner = {0};
    AUTO(buf) outer = {0};

    TRY(wa_session_load(ks, arena, to, &s, &found));
    ENSURE(found, NO_SESSION);
    if (!s.can_send) TRY(start_sending(ks, &s));
    uint32_t counter = s.sending.index;
    wa_chain_step(&s.sending, &seed);
    seal_message(&c, &s, counter, &seed, padded, &inner);
    if (s.pending) seal_first(&c, &s, buf_slice(&inner), &outer);
    wa_session_save(ks, arena, to, &s);

    out->is_prekey = s.pending;
    out->bytes = arena_dup(arena, buf_slice(s.pending ? &outer : &inner));
    crypto_wipe(&seed, sizeof(seed));
    crypto_wipe(&s, sizeof(s));
    return OK;
}

err_t wa_session_info(const struct wa_keystore *ks, struct arena *arena,
                      const struct wa_address *of, struct wa_session_info *out)
{
    struct wa_session s;
    bool found;

    TRY(wa_session_load(ks, arena, of, &s, &found));
    ENSURE(found, NO_SESSION);
    *out = (struct wa_session_info){
        .pending = s.pending,
        .registration_id = s.their_registration_id,
        .identity = s.their_identity,
        .base = s.base,
    };
    return OK;
}

err_t wa_session_delete(const struct wa_keystore *ks, struct arena *arena,
                        const struct wa_address *of)
{
    struct wa_session s;
    struct wa_archive archive;
    bool found;

    TRY(wa_session_load(ks, arena, of, &s, &found));
    if (!found) return OK;
    TRY(wa_archive_load(ks, arena, of, &archive));
    wa_session_forget(ks, arena, of, &s);
    for (unsigned i = 0; i < archive.count; i++)
        wa_session_forget(ks, arena, of, &archive.states[i]);
    archive.count = 0;
    wa_archive_save(ks, arena, of, &archive);
    ks->save(ks->ctx, wa_session_row(arena, of), SLICE_NONE);
    return OK;
}

/* Behind what is there, oldest last: so nothing that is there is pushed out by what comes. */
static err_t append(const struct call *from, const struct call *to, struct wa_archive *archive,
                    const struct wa_session *s)
{
    if (archive->count == WA_ARCHIVED_MAX) {
        struct wa_session lost = *s;
        wa_session_forget(from->ks, from->arena, from->peer, &lost);
        return OK;
    }
    archive->states[archive->count] = *s;
    return wa_session_rehome(from->ks, from->arena, from->peer, to->peer,
                             &archive->states[archive->count++]);
}

static err_t move_identity(const struct call *from, const struct call *to)
{
    struct crypto_key key, there;
    bool found, occupied, changed;

    TRY(wa_identity_load(from->ks, from->arena, from->peer, &key, &found));
    TRY(wa_identity_load(to->ks, to->arena, to->peer, &there, &occupied));
    if (found && !occupied) TRY(wa_identity_trust(to->ks, to->arena, to->peer, &key, &changed));
    if (found) wa_identity_delete(from->ks, from->arena, from->peer);
    return OK;
}

err_t wa_session_move(const struct wa_keystore *ks, struct arena *arena,
                      const struct wa_address *from, const struct wa_address *to)
{
    struct call source = {ks, arena, from}, target = {ks, arena, to};
    struct wa_session coming, there;
    struct wa_archive archive, coming_archive;
    bool found, occupied;

    TRY(move_identity(&source, &target));
    TRY(wa_session_load(ks, arena, from, &coming, &found));
    if (!found) return OK;
    TRY(wa_archive_load(ks, arena, from, &coming_archive));
    TRY(wa_session_load(ks, arena, to, &there, &occupied));
    TRY(wa_archive_load(ks, arena, to, &archive));
    if (occupied) {
        TRY(append(&source, &target, &archive, &coming));
    } else {
        TRY(wa_session_rehome(ks, arena, from, to, &coming));
        wa_session_save(ks, arena, to, &coming);
    }
    for (unsigned i = 0; i < coming_archive.count; i++)
        TRY(append(&source, &target, &archive, &coming_archive.states[i]));
    wa_archive_save(ks, arena, to, &archive);
    coming_archive.count = 0;
    wa_archive_save(ks, arena, from, &coming_archive);
    ks->save(ks->ctx, wa_session_row(arena, from), SLICE_NONE);
    return OK;
}
