#include "proto/wire/handshake.h"

#include <criterion/criterion.h>

#include "proto/wire/frame.h"
#include "proto/wire/handshake_server.h"
#include "tests/support/vectors.h"

enum { NOW = 1800000000 };

/* Both ends with the keys of noise.json. */
struct bench {
    struct arena arena;
    json_t *vectors;
    struct crypto_pair client_ephemeral, client_static, server_ephemeral, intermediate, root;
    struct wa_server_keys server;
    struct wa_trust trust;
    struct slice payload;
};

static struct crypto_pair pair(json_t *vectors, const char *name)
{
    struct crypto_pair pair;
    char path[64];
    uint8_t secret[32], public[32];

    snprintf(path, sizeof(path), "keys.%s.priv", name);
    vector_bytes(vectors, path, secret, 32);
    snprintf(path, sizeof(path), "keys.%s.pub", name);
    vector_bytes(vectors, path, public, 32);
    crypto_pair_from(secret, &pair);
    cr_assert_eq(memcmp(pair.public.bytes, public, 32), 0);
    return pair;
}

static struct bench set_up(void)
{
    struct bench b = {.vectors = vectors_open("noise.json")};

    b.client_ephemeral = pair(b.vectors, "client_ephemeral");
    b.client_static = pair(b.vectors, "client_static");
    b.server_ephemeral = pair(b.vectors, "server_ephemeral");
    b.server.static_pair = pair(b.vectors, "server_static");
    b.root = pair(b.vectors, "test_root");
    b.intermediate = pair(b.vectors, "test_intermediate");
    b.server.chain = vector_hex(b.vectors, "cert_chain", &b.arena);
    b.payload = vector_hex(b.vectors, "client_payload", &b.arena);
    b.trust = (struct wa_trust){.root = b.root.public, .check_validity = true, .now_s = NOW};
    return b;
}

static void tear_down(struct bench *b)
{
    json_decref(b->vectors);
    arena_done(&b->arena);
}

static void assert_bytes(struct slice got, json_t *vectors, const char *path)
{
    AUTO(arena) a = {0};

    cr_assert(slice_eq(got, vector_hex(vectors, path, &a)), "%s", path);
}

/* Seals the plaintexts of a vector list with `c` and compares whole frames. */
static void assert_frames(json_t *list, struct wa_transport *sender, struct wa_transport *receiver)
{
    size_t i;
    json_t *row;

    json_array_foreach(list, i, row)
    {
        AUTO(arena) a = {0};
        AUTO(buf) frame = {0};
        AUTO(buf) plain = {0};
        struct slice expected = vector_hex(row, "plaintext", &a);

        cr_assert_eq(wa_transport_seal(sender, expected, &frame), OK);
        assert_bytes(buf_slice(&frame), row, "frame");
        cr_assert_eq(
            wa_transport_open(receiver, slice_from(buf_slice(&frame), WA_FRAME_HEAD), &plain), OK);
        cr_assert(slice_eq(buf_slice(&plain), expected));
    }
}

static void assert_transport(json_t *in, const char *path, struct wa_transport *client,
                             struct wa_transport *server)
{
    json_t *t = vector_at(in, path);

    assert_bytes(SLICE_ARRAY(client->out.key.bytes), t, "client_to_server_key");
    assert_bytes(SLICE_ARRAY(client->in.key.bytes), t, "server_to_client_key");
    cr_assert(crypto_equal(SLICE_ARRAY(client->out.key.bytes), SLICE_ARRAY(server->in.key.bytes)));
    cr_assert(crypto_equal(SLICE_ARRAY(client->in.key.bytes), SLICE_ARRAY(server->out.key.bytes)));
    assert_frames(vector_at(t, "client_frames"), client, server);
    assert_frames(vector_at(t, "server_frames"), server, client);
}

Test(handshake, xx_gives_the_bytes_of_the_vector_on_both_sides)
{
    struct bench b = set_up();
    struct wa_handshake client;
    struct wa_server_handshake server = {0};
    struct wa_server_result result = {0};
    struct wa_transport transport;
    AUTO(buf) hello = {0};
    AUTO(buf) answer = {0};
    AUTO(buf) finish = {0};
    AUTO(buf) wire = {0};
    bool over;

    wa_handshake_start(&client, &b.client_ephemeral, &hello);
    assert_bytes(buf_slice(&hello), b.vectors, "xx.client_hello");
    wa_frame_put_intro(SLICE_NONE, &wire);
    cr_assert_eq(wa_frame_put(buf_slice(&hello), &wire), OK);
    assert_bytes(buf_slice(&wire), b.vectors, "xx.first_wire_bytes");

    cr_assert_eq(wa_server_hello(&server, &b.server, &b.server_ephemeral, buf_slice(&hello),
                                 &answer, &over, &result),
                 OK);
    cr_assert(!over);
    cr_assert_eq(server.pattern, WA_PATTERN_XX);
    assert_bytes(buf_slice(&answer), b.vectors, "xx.server_hello");

    cr_assert_eq(wa_handshake_answer(&client, buf_slice(&answer), &b.trust, &b.client_static,
                                     b.payload, &finish, &transport),
                 OK, "%s", err_trail());
    assert_bytes(buf_slice(&finish), b.vectors, "xx.client_finish");

    cr_assert_eq(wa_server_finish(&server, buf_slice(&finish), &result), OK);
    cr_assert(slice_eq(buf_slice(&result.payload), b.payload));
    cr_assert(crypto_equal(SLICE_ARRAY(result.client_static.bytes),
                           SLICE_ARRAY(b.client_static.public.bytes)));
    assert_transport(b.vectors, "xx.transport", &transport, &result.transport);
    wa_server_result_done(&result);
    tear_down(&b);
}

/* The client's half of IK, which our own client never plays, from the operations of noise.h. */
static void finish_ik_client(struct bench *b, struct wa_transport *out)
{
    struct wa_noise n;
    AUTO(buf) sink = {0};
    struct slice sealed_empty;
    json_t *steps = vector_at(b->vectors, "ik.steps");

    wa_noise_init(&n, "Noise_IK_25519_AESGCM_SHA256", SLICE_ARRAY(wa_intro));
    wa_noise_mix_hash(&n, SLICE_ARRAY(b->server.static_pair.public.bytes));
    wa_noise_mix_hash(&n, SLICE_ARRAY(b->client_ephemeral.public.bytes));
    cr_assert_eq(wa_noise_mix_key(&n, &b->client_ephemeral.secret, &b->server.static_pair.public),
                 OK);
    wa_noise_encrypt(&n, SLICE_ARRAY(b->client_static.public.bytes), &sink);
    assert_bytes(buf_slice(&sink), steps, "5.ciphertext");
    cr_assert_eq(wa_noise_mix_key(&n, &b->client_static.secret, &b->server.static_pair.public), OK);
    buf_reset(&sink);
    wa_noise_encrypt(&n, b->payload, &sink);
    assert_bytes(buf_slice(&sink), steps, "7.ciphertext");
    wa_noise_mix_hash(&n, SLICE_ARRAY(b->server_ephemeral.public.bytes));
    cr_assert_eq(wa_noise_mix_key(&n, &b->client_ephemeral.secret, &b->server_ephemeral.public),
                 OK);
    cr_assert_eq(wa_noise_mix_key(&n, &b->client_static.secret, &b->server_ephemeral.public), OK);
    assert_bytes(SLICE_ARRAY(n.hash), steps, "10.h");
    assert_bytes(SLICE_ARRAY(n.chain.bytes), steps, "10.ck");
    assert_bytes(SLICE_ARRAY(n.key.bytes), steps, "10.k");
    sealed_empty = vector_hex(steps, "11.ciphertext", &b->arena);
    buf_reset(&sink);
    cr_assert_eq(wa_noise_decrypt(&n, sealed_empty, &sink), OK);
    cr_assert_eq(sink.len, 0);
    wa_noise_split(&n, true, out);
}

Test(handshake, ik_is_accepted_as_in_the_vector)
{
    struct bench b = set_up();
    struct wa_server_handshake server = {0};
    struct wa_server_result result = {0};
    struct wa_transport transport;
    AUTO(buf) answer = {0};
    bool over;

    cr_assert_eq(wa_server_hello(&server, &b.server, &b.server_ephemeral,
                                 vector_hex(b.vectors, "ik.client_hello", &b.arena), &answer, &over,
                                 &result),
                 OK);
    cr_assert(over);
    cr_assert_eq(server.pattern, WA_PATTERN_IK);
    assert_bytes(buf_slice(&answer), b.vectors, "ik.server_hello");
    cr_assert(slice_eq(buf_slice(&result.payload), b.payload));
    cr_assert(crypto_equal(SLICE_ARRAY(result.client_static.bytes),
                           SLICE_ARRAY(b.client_static.public.bytes)));
    finish_ik_client(&b, &transport);
    assert_transport(b.vectors, "ik.transport", &transport, &result.transport);
    wa_server_result_done(&result);
    tear_down(&b);
}

Test(handshake, ik_is_declined_with_xxfallback_as_in_the_vector)
{
    struct bench b = set_up();
    struct wa_server_handshake server = {0};
    struct wa_server_result result = {0};
    AUTO(buf) answer = {0};
    bool over;

    b.server.decline_ik = true;
    cr_assert_eq(wa_server_hello(&server, &b.server, &b.server_ephemeral,
                                 vector_hex(b.vectors, "ik.client_hello", &b.arena), &answer, &over,
                                 &result),
                 OK);
    cr_assert(!over);
    cr_assert_eq(server.pattern, WA_PATTERN_XXFALLBACK);
    assert_bytes(buf_slice(&answer), b.vectors, "xxfallback.server_hello");
    cr_assert_eq(wa_server_finish(
                     &server, vector_hex(b.vectors, "xxfallback.client_finish", &b.arena), &result),
                 OK, "%s", err_trail());
    cr_assert(slice_eq(buf_slice(&result.payload), b.payload));
    assert_bytes(SLICE_ARRAY(result.transport.in.key.bytes), b.vectors,
                 "xxfallback.transport.client_to_server_key");
    assert_bytes(SLICE_ARRAY(result.transport.out.key.bytes), b.vectors,
                 "xxfallback.transport.server_to_client_key");
    wa_server_result_done(&result);
    tear_down(&b);
}

/* ---- hostile messages ---- */

static const struct wa_transport untouched = {.out.counter = 77};

/* A client that has said hello gets `answer`; nothing may come of a failure. */
static err_t client_gets(struct bench *b, struct slice answer)
{
    struct wa_handshake client;
    struct wa_transport transport = untouched;
    AUTO(buf) hello = {0};
    AUTO(buf) finish = {0};

    wa_handshake_start(&client, &b->client_ephemeral, &hello);
    err_t e = wa_handshake_answer(&client, answer, &b->trust, &b->client_static, b->payload,
                                  &finish, &transport);
    if (e == OK) return OK;
    cr_assert_eq(finish.len, 0);
    cr_assert_eq(memcmp(&transport, &untouched, sizeof(transport)), 0);
    cr_assert_eq(err_class(e), ERR_CLASS_PEER);
    cr_assert_eq(wa_handshake_answer(&client, answer, &b->trust, &b->client_static, b->payload,
                                     &finish, &transport),
                 ERR_BAD_HANDSHAKE, "a failure is final");
    return e;
}

static err_t server_gets_hello(struct bench *b, struct slice hello, struct wa_server_result *result,
                               enum wa_pattern *pattern)
{
    struct wa_server_handshake server = {0};
    AUTO(buf) answer = {0};
    bool over;

    err_t e =
        wa_server_hello(&server, &b->server, &b->server_ephemeral, hello, &answer, &over, result);
    *pattern = server.pattern;
    if (e != OK) cr_assert_eq(answer.len, 0);
    return e;
}

static err_t server_gets_finish(struct bench *b, struct slice finish)
{
    struct wa_server_handshake server = {0};
    struct wa_server_result result = {0};
    AUTO(buf) answer = {0};
    bool over;

    cr_assert_eq(wa_server_hello(&server, &b->server, &b->server_ephemeral,
                                 vector_hex(b->vectors, "xx.client_hello", &b->arena), &answer,
                                 &over, &result),
                 OK);
    err_t e = wa_server_finish(&server, finish, &result);
    if (e != OK) cr_assert_eq(err_class(e), ERR_CLASS_PEER);
    wa_server_result_done(&result);
    return e;
}

static struct slice spoiled(struct slice good, size_t at, struct buf *into)
{
    buf_reset(into);
    buf_put(into, good);
    into->data[at] ^= 1;
    return buf_slice(into);
}

static void expect_whole_alone(const char *vector, err_t (*gets)(struct bench *b, struct slice s))
{
    struct bench b = set_up();
    struct slice good = vector_hex(b.vectors, vector, &b.arena);
    AUTO(buf) bad = {0};

    cr_assert_eq(gets(&b, good), OK);
    for (size_t i = 0; i < good.len; i++) {
        cr_assert_neq(gets(&b, slice_of(good.data, i)), OK, "cut at %zu", i);
        cr_assert_neq(gets(&b, spoiled(good, i, &bad)), OK, "byte %zu", i);
    }
    tear_down(&b);
}

Test(handshake, a_server_hello_cut_or_spoiled_anywhere_is_refused)
{
    expect_whole_alone("xx.server_hello", client_gets);
}

Test(handshake, a_client_finish_cut_or_spoiled_anywhere_is_refused)
{
    expect_whole_alone("xx.client_finish", server_gets_finish);
}

Test(handshake, a_spoiled_ik_hello_is_never_resumed)
{
    struct bench b = set_up();
    struct slice good = vector_hex(b.vectors, "ik.client_hello", &b.arena);
    AUTO(buf) bad = {0};

    for (size_t i = 0; i < good.len; i++) {
        struct wa_server_result result = {0};
        enum wa_pattern pattern;

        if (server_gets_hello(&b, spoiled(good, i, &bad), &result, &pattern) == OK)
            cr_assert_eq(pattern, WA_PATTERN_XXFALLBACK, "byte %zu", i);
        cr_assert_eq(result.payload.len, 0);
        cr_assert_neq(server_gets_hello(&b, slice_of(good.data, i), &result, &pattern), OK);
        wa_server_result_done(&result);
    }
    tear_down(&b);
}

Test(handshake, an_ik_hello_for_another_server_key_falls_back)
{
    struct bench b = set_up();
    struct wa_server_result result = {0};
    enum wa_pattern pattern;

    crypto_pair_new(&b.server.static_pair);
    cr_assert_eq(server_gets_hello(&b, vector_hex(b.vectors, "ik.client_hello", &b.arena), &result,
                                   &pattern),
                 OK);
    cr_assert_eq(pattern, WA_PATTERN_XXFALLBACK);
    wa_server_result_done(&result);
    tear_down(&b);
}

/* Messages of the other side, an accepted IK and an answer under XXfallback, which only a client
 * that sent an IK hello may get. */
Test(handshake, a_client_takes_nothing_but_an_xx_answer)
{
    static const char *const others[] = {"xx.client_hello", "xx.client_finish", "ik.client_hello",
                                         "ik.server_hello", "xxfallback.server_hello"};
    struct bench b = set_up();

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        err_t e = client_gets(&b, vector_hex(b.vectors, others[i], &b.arena));
        cr_assert(e == ERR_BAD_HANDSHAKE || e == ERR_BAD_MAC, "%s: %s", others[i], err_name(e));
    }
    cr_assert_eq(client_gets(&b, SLICE_NONE), ERR_BAD_HANDSHAKE);
    tear_down(&b);
}

Test(handshake, a_low_order_key_is_refused)
{
    struct bench b = set_up();
    struct slice good = vector_hex(b.vectors, "xx.server_hello", &b.arena);
    AUTO(buf) bad = {0};

    buf_put(&bad, good);
    memset(bad.data + 5, 0, 32); /* the ephemeral key */
    cr_assert_eq(client_gets(&b, buf_slice(&bad)), ERR_BAD_KEY);
    tear_down(&b);
}

Test(handshake, messages_have_a_limit)
{
    struct bench b = set_up();
    AUTO(buf) large = {0};
    struct wa_server_result result = {0};
    enum wa_pattern pattern;

    memset(buf_extend(&large, WA_HANDSHAKE_MAX + 1), 0, WA_HANDSHAKE_MAX + 1);
    cr_assert_eq(client_gets(&b, buf_slice(&large)), ERR_TOO_LARGE);
    cr_assert_eq(server_gets_finish(&b, buf_slice(&large)), ERR_TOO_LARGE);
    cr_assert_eq(server_gets_hello(&b, buf_slice(&large), &result, &pattern), ERR_TOO_LARGE);
    tear_down(&b);
}

Test(handshake, runs_once)
{
    struct bench b = set_up();
    struct wa_handshake client;
    struct wa_server_handshake server = {0};
    struct wa_server_result result = {0};
    struct wa_transport transport;
    AUTO(buf) out = {0};
    bool over;

    wa_handshake_wipe(&client);
    cr_assert_eq(wa_handshake_answer(&client, SLICE("x"), &b.trust, &b.client_static, b.payload,
                                     &out, &transport),
                 ERR_BAD_HANDSHAKE);
    cr_assert_eq(wa_server_finish(&server, SLICE("x"), &result), ERR_BAD_HANDSHAKE);
    struct slice hello = vector_hex(b.vectors, "xx.client_hello", &b.arena);
    cr_assert_eq(
        wa_server_hello(&server, &b.server, &b.server_ephemeral, hello, &out, &over, &result), OK);
    cr_assert_eq(
        wa_server_hello(&server, &b.server, &b.server_ephemeral, hello, &out, &over, &result),
        ERR_BAD_HANDSHAKE);
    tear_down(&b);
}
