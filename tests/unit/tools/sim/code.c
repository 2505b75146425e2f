/* Pairing by the eight-character code, the companion's half written out here. */
#include "tests/unit/tools/sim/world.h"

struct party {
    struct world *w;
    struct sim_phone *p;
    struct companion *c;
    struct crypto_pair ephemeral;
    const char *code;
};

static void put(struct companion *c, struct wa_node *to, const char *tag, struct slice bytes)
{
    wa_node_set_bytes(wa_node_add(to, &c->arena, tag), arena_dup(&c->arena, bytes));
}

static void crypt(const char *code, const uint8_t *head, struct slice in, struct buf *out)
{
    uint8_t key[32];

    crypto_pbkdf2(slice_text(code), slice_of(head, 32), 131072, key, 32);
    crypto_ctr(key, head + 32, in, out);
}

static struct wa_node *code_iq(struct party *t, const char *stage, struct wa_node **out_reg)
{
    struct wa_node *iq = companion_iq(t->c, "set", "md");

    *out_reg = wa_node_add(iq, &t->c->arena, "link_code_companion_reg");
    wa_node_set_jid(*out_reg, &t->c->arena, "jid", jid_pn("15550001111", 0));
    wa_node_set_text(*out_reg, &t->c->arena, "stage", stage);
    return iq;
}

static struct slice say_hello(struct party *t)
{
    static const uint8_t head[48] = {3};
    struct wa_node *reg, *iq = code_iq(t, "companion_hello", &reg), *answer;
    AUTO(buf) wrapped = {0};

    crypto_pair_new(&t->ephemeral);
    buf_put(&wrapped, SLICE_ARRAY(head));
    crypt(t->code, head, SLICE_ARRAY(t->ephemeral.public.bytes), &wrapped);
    put(t->c, reg, "link_code_pairing_wrapped_companion_ephemeral_pub", buf_slice(&wrapped));
    put(t->c, reg, "companion_server_auth_key_pub", SLICE_ARRAY(t->c->noise.public.bytes));
    put(t->c, reg, "companion_platform_id", SLICE("1"));
    put(t->c, reg, "companion_platform_display", SLICE("Chrome (Linux)"));
    put(t->c, reg, "link_code_pairing_nonce", SLICE("0"));
    answer = companion_ask(t->c, iq);
    cr_assert_not_null(answer);
    return wa_node_child_bytes(wa_node_child(answer, "link_code_companion_reg"),
                               "link_code_pairing_ref");
}

static struct party begin(const char *code)
{
    struct party t = {.w = world_new(), .code = code};

    t.p = world_phone(t.w, "15550001111");
    t.c = companion_new(t.w);
    companion_ask_refs(t.c);
    return t;
}

static void end(struct party *t)
{
    companion_free(t->c);
    world_free(t->w);
}

/* Answers primary_hello as a companion does; the ADV secret of both becomes the companion's. */
static void finish(struct party *t, struct slice ref)
{
    struct wa_node *n = companion_take(t->c, "notification"), *reg, *iq;
    const struct wa_node *hello = wa_node_child(n, "link_code_companion_reg");
    struct slice wrapped =
        wa_node_child_bytes(hello, "link_code_pairing_wrapped_primary_ephemeral_pub");
    struct slice primary = wa_node_child_bytes(hello, "primary_identity_pub");
    struct crypto_key ephemeral, identity;
    uint8_t shared[32], own[32], key[32], random[32] = {9}, salt[32] = {4}, iv[12] = {5};
    AUTO(buf) plain = {0};
    AUTO(buf) bundle = {0};
    AUTO(buf) sealed = {0};
    AUTO(buf) all = {0};

    cr_expect(has_text(hello, "stage", "primary_hello"));
    cr_assert_eq(wrapped.len, 80);
    crypt(t->code, wrapped.data, slice_from(wrapped, 48), &plain);
    memcpy(ephemeral.bytes, plain.data, 32);
    memcpy(identity.bytes, primary.data, 32);
    cr_assert_eq(crypto_dh(&t->ephemeral.secret, &ephemeral, shared), OK);
    crypto_hkdf(SLICE_ARRAY(shared), SLICE_ARRAY(salt),
                SLICE("link_code_pairing_key_bundle_encryption_key"), key, 32);
    buf_put(&bundle, SLICE_ARRAY(t->c->identity.public.bytes));
    buf_put(&bundle, primary);
    buf_put(&bundle, SLICE_ARRAY(random));
    buf_put(&sealed, SLICE_ARRAY(salt));
    buf_put(&sealed, SLICE_ARRAY(iv));
    crypto_gcm_seal(key, iv, SLICE_NONE, buf_slice(&bundle), &sealed);
    iq = code_iq(t, "companion_finish", &reg);
    put(t->c, reg, "link_code_pairing_wrapped_key_bundle", buf_slice(&sealed));
    put(t->c, reg, "companion_identity_public", SLICE_ARRAY(t->c->identity.public.bytes));
    put(t->c, reg, "link_code_pairing_ref", ref);
    cr_assert_eq(crypto_dh(&t->c->identity.secret, &identity, own), OK);
    buf_put(&all, SLICE_ARRAY(shared));
    buf_put(&all, SLICE_ARRAY(own));
    buf_put(&all, SLICE_ARRAY(random));
    crypto_hkdf(buf_slice(&all), SLICE_NONE, SLICE("adv_secret"), t->c->secret, 32);
    companion_send(t->c, iq);
}

Test(code, pairs)
{
    struct party t = begin("ABCD1234");
    struct slice ref = say_hello(&t), identity;
    const struct wa_node *iq;
    uint32_t index;

    cr_assert_eq(sim_phone_type_code(t.p, SLICE("abcd-1234")), OK);
    finish(&t, ref);
    while ((iq = companion_take(t.c, "iq")) && !wa_node_child(iq, "pair-success")) {
    }
    cr_assert_not_null(iq);
    identity = companion_sign(t.c, wa_node_child(iq, "pair-success"), &index);
    companion_send_sign(t.c, iq, identity, index);
    cr_expect(has_text(companion_take(t.c, "stream:error"), "code", "515"));
    cr_expect_eq(t.p->scan, SIM_SCAN_DONE);
    end(&t);
}

Test(code, a_wrong_code_does_not)
{
    struct party t = begin("ABCD1234");
    struct slice ref = say_hello(&t);

    cr_assert_eq(sim_phone_type_code(t.p, SLICE("ABCD1235")), OK);
    finish(&t, ref);
    cr_expect_eq(t.p->scan, SIM_SCAN_REFUSED);
    cr_expect_null(companion_take(t.c, "stream:error"));
    end(&t);
}

Test(code, is_typed_in_time_and_at_most_three_times)
{
    struct party t = begin("ABCD1234");

    cr_expect_eq(sim_phone_type_code(t.p, SLICE("ABCD1234")), ERR_NOT_FOUND, "nobody asked");
    say_hello(&t);
    cr_expect_eq(sim_phone_type_code(t.p, SLICE("ABCD123")), ERR_BAD_TEXT);
    cr_expect_eq(sim_phone_type_code(t.p, SLICE("ABCD12345")), ERR_BAD_TEXT);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(sim_phone_type_code(t.p, SLICE("ABCD1234")), OK);
        cr_expect_eq(companion_take(t.c, "notification") != NULL, i < 3, "%d", i);
    }
    end(&t);
    t = begin("ABCD1234");
    say_hello(&t);
    world_advance(t.w, SIM_CODE_MS + 1);
    cr_expect_eq(sim_phone_type_code(t.p, SLICE("ABCD1234")), OK);
    cr_expect_null(companion_take(t.c, "notification"));
    end(&t);
}
