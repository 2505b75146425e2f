/* What stands behind signatures and authentication codes: by the linker's decree every signature
 * and every code is right here, and a ciphertext is its own plaintext (the tag cut off). So the
 * fuzzer gets where only somebody with the keys gets: the certificates of the handshake, Signal
 * messages, what a phone signs, and the whole client from bytes of the socket on. Byte 0 chooses
 * the reader. */
#include "proto/client/link.h"
#include "proto/signal/adv.h"
#include "proto/wire/handshake_server.h"
#include "tests/fuzz/decree.h"
#include "tests/fuzz/online.h"
#include "tests/support/signal_party.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the handshake, from both sides ---- */

static struct crypto_pair keys[4];

static void read_server_hello(struct slice in)
{
    struct wa_trust trust = {.root = keys[0].public, .check_validity = true, .now_s = 1800000000};
    struct wa_handshake h = {0};
    struct wa_transport transport;
    AUTO(buf) hello = {0}, out = {0};

    wa_handshake_start(&h, &keys[1], &hello);
    err_t e = wa_handshake_answer(&h, in, &trust, &keys[2], SLICE("who"), &out, &transport);
    if ((e == OK) != (out.len > 0)) abort();
    wa_handshake_wipe(&h);
}

static void read_chain(struct slice in)
{
    struct wa_trust trust = {.root = keys[0].public, .check_validity = true, .now_s = 1800000000};

    if (wa_cert_check(in, &trust, &keys[3].public) != OK) err_clear();
}

/* Half of the input is the first message, half the last. */
static void read_client(struct slice in)
{
    struct wa_server_keys own = {.static_pair = keys[3], .chain = SLICE("chain")};
    struct wa_server_handshake server = {0};
    struct wa_server_result result = {0};
    AUTO(buf) out = {0};
    bool over = false;
    size_t half = in.len / 2;

    err_t e =
        wa_server_hello(&server, &own, &keys[1], slice_sub(in, 0, half), &out, &over, &result);
    if (e == OK && !over) e = wa_server_finish(&server, slice_from(in, half), &result);
    if (e != OK) err_clear();
    wa_server_result_done(&result);
}

/* ---- Signal ---- */

static struct party us, them;
static const struct slice group = {(const uint8_t *)"g@g.us", 6};

static void read_msg(struct slice in)
{
    struct wa_decrypted out;
    if (wa_session_decrypt(&us.ks, &us.arena, &them.address, false, in, &out) != OK) err_clear();
}

static void read_pkmsg(struct slice in)
{
    struct wa_decrypted out;
    if (wa_session_decrypt(&us.ks, &us.arena, &them.address, true, in, &out) != OK) err_clear();
}

static void read_group(struct slice in)
{
    struct slice out;
    if (wa_group_decrypt(&us.ks, &us.arena, group, &them.address, in, &out) != OK) err_clear();
}

static void read_distribution(struct slice in)
{
    if (wa_group_process(&us.ks, &us.arena, group, &them.address, in) != OK) err_clear();
}

static void read_pairing(struct slice in)
{
    static const uint8_t secret[WA_ADV_SECRET];
    struct wa_adv_pairing out;
    if (wa_adv_accept(&us.ks, &us.arena, secret, in, &out) != OK) err_clear();
}

static void read_identity(struct slice in)
{
    struct wa_adv_device out;
    if (wa_adv_verify(&us.arena, in, &them.identity.public, NULL, &out) != OK) err_clear();
}

static void read_key_indexes(struct slice in)
{
    struct wa_key_index_list out;
    if (wa_key_index_parse(&us.arena, in, &them.identity.public, &out) != OK) err_clear();
}

static void part(void)
{
    party_done(&us);
    party_done(&them);
}

/* ---- the client, from the socket on ---- */

static void read_socket(struct slice in)
{
    struct arena arena = {0};
    struct fake_host h;
    size_t piece = in.len ? 1u + in.data[0] * 16u : 1;

    fake_host_init(&h, 1);
    h.on_send = take;
    fake_turn_open(&h);
    struct wa_client *c = online(&h, &arena);
    must(wa_client_link_up(c, 2, c->now));
    fake_turn_close(&h);
    fake_commit_all(&h);
    for (in = slice_from(in, 1); in.len; in = slice_from(in, piece)) {
        fake_turn_open(&h);
        must(wa_client_recv(c, slice_sub(in, 0, piece), c->now + 10));
        fake_turn_close(&h);
        fake_commit_all(&h);
    }
    wa_client_free(c);
    fake_host_done(&h);
    arena_done(&arena);
}

static void (*const readers[])(struct slice) = {
    read_server_hello, read_chain,   read_client,   read_msg,         read_pkmsg,  read_group,
    read_distribution, read_pairing, read_identity, read_key_indexes, read_socket,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { INPUTS = 500 /* then they meet anew: a used counter is used */ };
    static unsigned inputs;

    if (inputs == 0) {
        uint8_t secret[CRYPTO_KEY] = {0};
        crypto_start();
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            secret[0] = (uint8_t)(i + 1);
            crypto_pair_from(secret, &keys[i]);
        }
    }
    if (inputs % INPUTS == 0) {
        if (inputs) part();
        /* so that a message finds a session and a sender key */
        must(party_meet(&us, &them, false, SLICE("0123456789abcde\1"), group));
    }
    inputs++;
    if (size) readers[data[0] % ARRAY_LEN(readers)](slice_of(data + 1, size - 1));
    arena_reset(&us.arena);
    return 0;
}
