/* A phone links a companion by the code its owner typed: both ends derive a key from it, exchange
 * ephemeral keys under that, and agree on the secret that vouches for the pairing. */
#include "tools/sim/phone.h"

#include <ctype.h>

#include "tools/sim/content.h"

enum {
    SALT = 32,
    IV = CRYPTO_AES_BLOCK,
    PAIR_OF_KEYS = 2 * CRYPTO_KEY,
    WRAPPED = SALT + IV + CRYPTO_KEY,
    ROUNDS = 131072,
    BUNDLE = 3 * CRYPTO_KEY,
    WRAPPED_BUNDLE = SALT + CRYPTO_GCM_IV + BUNDLE + CRYPTO_GCM_TAG,
    CODE = 8
};

/* "abcd-1234" as the eight symbols; false when there are others or too many. */
static bool read_code(struct slice text, char out[CODE])
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '-' || text.data[i] == ' ') continue;
        if (n == CODE || !isalnum(text.data[i])) return false;
        out[n++] = (char)toupper(text.data[i]);
    }
    return n == CODE;
}

/* salt, iv, AES-CTR of an ephemeral public key under the code */
static void crypt_key(const char code[CODE], struct slice salt, struct slice iv, struct slice in,
                      struct buf *out)
{
    uint8_t key[32];

    crypto_pbkdf2(slice_of(code, CODE), salt, ROUNDS, key, sizeof key);
    crypto_ctr(key, iv.data, in, out);
    crypto_wipe(key, sizeof key);
}

static void wrap(const char code[CODE], const struct crypto_key *public, struct buf *out)
{
    uint8_t head[SALT + IV];

    crypto_random(head, sizeof head);
    buf_put(out, SLICE_ARRAY(head));
    crypt_key(code, slice_of(head, SALT), slice_of(head + SALT, IV), SLICE_ARRAY(public->bytes),
              out);
}

static void unwrap(const char code[CODE], struct slice wrapped, struct crypto_key *out)
{
    AUTO(buf) plain = {0};

    crypt_key(code, slice_sub(wrapped, 0, SALT), slice_sub(wrapped, SALT, SALT + IV),
              slice_from(wrapped, SALT + IV), &plain);
    memcpy(out->bytes, plain.data, CRYPTO_KEY);
}

static void put(struct wa_node *to, struct arena *arena, const char *tag, struct slice bytes)
{
    wa_node_set_bytes(wa_node_add(to, arena, tag), arena_dup(arena, bytes));
}

err_t sim_phone_type_code(struct sim_phone *p, struct slice text)
{
    AUTO(arena) arena = {0};
    AUTO(buf) wrapped = {0};
    struct sim_code *code = &p->code;
    struct wa_node *iq, *reg;
    char id[16], symbols[CODE];

    ENSURE(p->conn != NULL, NOT_CONNECTED);
    if (!read_code(text, symbols)) return fail(BAD_TEXT, "a code has eight letters and digits");
    if (code->wrapped.len != WRAPPED) return fail(NOT_FOUND, "nobody asks to be linked by a code");
    unwrap(symbols, buf_slice(&code->wrapped), &code->companion);
    crypto_pair_new(&code->ephemeral);
    wrap(symbols, &code->ephemeral.public, &wrapped);
    iq = sim_phone_iq(p, &arena, "set", "md", id);
    reg = wa_node_add(iq, &arena, "link_code_companion_reg");
    wa_node_set(reg, &arena, "stage", SLICE("primary_hello"));
    put(reg, &arena, "link_code_pairing_wrapped_primary_ephemeral_pub", buf_slice(&wrapped));
    put(reg, &arena, "primary_identity_pub", SLICE_ARRAY(p->identity.public.bytes));
    put(reg, &arena, "link_code_pairing_ref", buf_slice(&code->ref));
    p->scan = SIM_SCAN_WAITS;
    sim_phone_send_node(p, iq);
    return OK;
}

static void on_companion_hello(struct sim_phone *p, const struct wa_node *reg)
{
    struct sim_code *code = &p->code;
    struct slice key = wa_node_child_bytes(reg, "companion_server_auth_key_pub");

    if (key.len != CRYPTO_KEY) return;
    memcpy(code->noise.bytes, key.data, CRYPTO_KEY);
    buf_reset(&code->wrapped);
    buf_put(&code->wrapped,
            wa_node_child_bytes(reg, "link_code_pairing_wrapped_companion_ephemeral_pub"));
    buf_reset(&code->ref);
    buf_put(&code->ref, wa_node_child_bytes(reg, "link_code_pairing_ref"));
}

/* own identity, our identity, 32 random bytes; sealed under the ephemeral secret */
static err_t open_bundle(struct sim_phone *p, struct slice wrapped, struct slice secret,
                         struct buf *out)
{
    uint8_t key[32];

    ENSURE(wrapped.len == WRAPPED_BUNDLE, BAD_STANZA);
    crypto_hkdf(secret, slice_sub(wrapped, 0, SALT),
                SLICE("link_code_pairing_key_bundle_encryption_key"), key, sizeof key);
    TRY(crypto_gcm_open(key, wrapped.data + SALT, SLICE_NONE,
                        slice_from(wrapped, SALT + CRYPTO_GCM_IV), out));
    ENSURE(slice_eq(slice_sub(buf_slice(out), CRYPTO_KEY, PAIR_OF_KEYS),
                    SLICE_ARRAY(p->identity.public.bytes)),
           BAD_KEY);
    return OK;
}

static err_t agree(struct sim_phone *p, const struct wa_node *reg, struct crypto_key *out_companion,
                   uint8_t out_secret[32])
{
    struct slice identity = wa_node_child_bytes(reg, "companion_identity_public");
    uint8_t shared[32], own[32];
    AUTO(buf) bundle = {0};
    AUTO(buf) all = {0};

    ENSURE(identity.len == CRYPTO_KEY, BAD_STANZA);
    TRY(crypto_dh(&p->code.ephemeral.secret, &p->code.companion, shared));
    TRY(open_bundle(p, wa_node_child_bytes(reg, "link_code_pairing_wrapped_key_bundle"),
                    SLICE_ARRAY(shared), &bundle));
    ENSURE(slice_eq(slice_sub(buf_slice(&bundle), 0, CRYPTO_KEY), identity), BAD_KEY);
    memcpy(out_companion->bytes, identity.data, CRYPTO_KEY);
    TRY(crypto_dh(&p->identity.secret, out_companion, own));
    buf_put(&all, SLICE_ARRAY(shared));
    buf_put(&all, SLICE_ARRAY(own));
    buf_put(&all, slice_from(buf_slice(&bundle), PAIR_OF_KEYS));
    crypto_hkdf(buf_slice(&all), SLICE_NONE, SLICE("adv_secret"), out_secret, 32);
    return OK;
}

/* A wrong code shows here: the companion's bundle does not open. */
static void on_companion_finish(struct sim_phone *p, const struct wa_node *reg)
{
    struct crypto_key companion;
    uint8_t secret[32];

    if (agree(p, reg, &companion, secret) != OK) {
        err_clear();
        p->scan = SIM_SCAN_REFUSED;
        return;
    }
    sim_phone_grant(p, buf_slice(&p->code.ref), &p->code.noise, &companion, secret);
    buf_reset(&p->code.wrapped);
}

void sim_phone_on_code(struct sim_phone *p, const struct wa_node *notification)
{
    const struct wa_node *reg = wa_node_child(notification, "link_code_companion_reg");
    struct slice stage = reg ? wa_node_text(reg, "stage") : SLICE_NONE;

    if (slice_is(stage, "companion_hello")) on_companion_hello(p, reg);
    if (slice_is(stage, "companion_finish")) on_companion_finish(p, reg);
}
