#include "proto/wire/cert.h"

#include <criterion/criterion.h>

#include "tests/support/vectors.h"

enum { FROM = 1700000000, NOW = 1800000000, TO = 1900000000 };

struct bench {
    struct crypto_pair root, intermediate, server, other;
    struct wa_trust trust;
    struct wa_cert_plan plan;
};

static struct bench set_up(void)
{
    struct bench b;

    crypto_pair_new(&b.root);
    crypto_pair_new(&b.intermediate);
    crypto_pair_new(&b.server);
    crypto_pair_new(&b.other);
    b.trust = (struct wa_trust){.root = b.root.public, .check_validity = true, .now_s = NOW};
    wa_cert_plan(&b.plan, &b.root, &b.intermediate, &b.server.public, FROM, TO);
    return b;
}

static err_t check(const struct bench *b)
{
    AUTO(buf) chain = {0};

    wa_cert_make(&b->plan, &chain);
    return wa_cert_check(buf_slice(&chain), &b->trust, &b->server.public);
}

Test(cert, a_good_chain_is_trusted)
{
    struct bench b = set_up();

    cr_assert_eq(check(&b), OK, "%s", err_trail());
    b.trust.now_s = FROM;
    cr_assert_eq(check(&b), OK);
    b.trust.now_s = TO;
    cr_assert_eq(check(&b), OK);
}

Test(cert, the_chain_of_the_vectors_is_trusted)
{
    AUTO(arena) a = {0};
    json_t *v = vectors_open("noise.json");
    struct wa_trust trust = {.check_validity = true, .now_s = NOW};
    struct crypto_key server;

    vector_bytes(v, "keys.test_root.pub", trust.root.bytes, CRYPTO_KEY);
    vector_bytes(v, "keys.server_static.pub", server.bytes, CRYPTO_KEY);
    cr_assert_eq(wa_cert_check(vector_hex(v, "cert_chain", &a), &trust, &server), OK);
    static const char *const details[] = {"cert_details.leaf", "cert_details.intermediate"};
    for (size_t i = 0; i < ARRAY_LEN(details); i++) {
        struct slice chain = vector_hex(v, "cert_chain", &a), part = vector_hex(v, details[i], &a);
        ((uint8_t *)memmem(chain.data, chain.len, part.data, part.len))[part.len - 1] ^= 1;
        cr_assert_eq(wa_cert_check(chain, &trust, &server), ERR_BAD_CERTIFICATE, "%s", details[i]);
    }
    trust.root = wa_root_key;
    cr_assert_eq(wa_cert_check(vector_hex(v, "cert_chain", &a), &trust, &server),
                 ERR_BAD_CERTIFICATE);
    json_decref(v);
}

/* Ways to spoil a chain. */
static void other_root(struct bench *b) { b->plan.root_secret = b->other.secret; }
static void other_intermediate(struct bench *b) { b->plan.intermediate_secret = b->other.secret; }
static void not_by_the_root(struct bench *b) { b->plan.intermediate.issuer_serial = 1; }
static void issuer_of_leaf(struct bench *b) { b->plan.leaf.issuer_serial = 7; }
static void serial_of_intermediate(struct bench *b) { b->plan.intermediate.serial = 7; }
static void key_of_leaf(struct bench *b) { b->plan.leaf.key = b->other.public; }
static void key_of_intermediate(struct bench *b) { b->plan.intermediate.key = b->other.public; }
static void leaf_expired(struct bench *b) { b->plan.leaf.not_after_s = NOW - 1; }
static void leaf_too_young(struct bench *b) { b->plan.leaf.not_before_s = NOW + 1; }
static void intermediate_expired(struct bench *b) { b->plan.intermediate.not_after_s = NOW - 1; }
static void intermediate_too_young(struct bench *b) { b->plan.intermediate.not_before_s = NOW + 1; }

Test(cert, a_spoiled_chain_is_not)
{
    static void (*const spoil[])(struct bench *) = {
        other_root,     other_intermediate,     not_by_the_root,        issuer_of_leaf,
        key_of_leaf,    serial_of_intermediate, key_of_intermediate,    leaf_expired,
        leaf_too_young, intermediate_expired,   intermediate_too_young,
    };

    for (size_t i = 0; i < ARRAY_LEN(spoil); i++) {
        struct bench b = set_up();

        spoil[i](&b);
        cr_assert_eq(check(&b), ERR_BAD_CERTIFICATE, "way %zu", i);
    }
}

Test(cert, dates_count_only_when_asked_for)
{
    struct bench b = set_up();

    leaf_expired(&b);
    b.trust.check_validity = false;
    cr_assert_eq(check(&b), OK);
    issuer_of_leaf(&b);
    cr_assert_eq(check(&b), ERR_BAD_CERTIFICATE);
}

Test(cert, cut_or_spoiled_anywhere_it_is_refused)
{
    struct bench b = set_up();
    AUTO(buf) chain = {0};

    wa_cert_make(&b.plan, &chain);
    for (size_t i = 0; i < chain.len; i++) {
        cr_assert_neq(wa_cert_check(slice_of(chain.data, i), &b.trust, &b.server.public), OK);
        for (unsigned bit = 0; bit < 8; bit++) {
            chain.data[i] ^= (uint8_t)(1 << bit);
            cr_assert_neq(wa_cert_check(buf_slice(&chain), &b.trust, &b.server.public), OK,
                          "byte %zu bit %u", i, bit);
            chain.data[i] ^= (uint8_t)(1 << bit);
        }
    }
}
