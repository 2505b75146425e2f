/* The Noise handshake, from both sides. The first byte chooses what the rest is:
 *   0  the server's answer as it came from the wire
 *   1  a client's first message, and 2 its last one
 *   3  the certificate chain inside a sound answer, which a fuzzer could not seal itself
 * Nothing may be accepted but what was made with the keys. */
#include <stdlib.h>

#include "proto/wire/handshake_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct crypto_pair pair_of(uint8_t byte)
{
    struct crypto_pair pair;
    uint8_t secret[32];

    memset(secret, byte, sizeof(secret));
    crypto_pair_from(secret, &pair);
    return pair;
}

static struct crypto_pair client_ephemeral, client_static, server_ephemeral, server_static, root;
static struct wa_trust trust;

static void start(void)
{
    crypto_start();
    client_ephemeral = pair_of(1);
    client_static = pair_of(2);
    server_ephemeral = pair_of(3);
    server_static = pair_of(4);
    root = pair_of(5);
    trust = (struct wa_trust){.root = root.public, .check_validity = true, .now_s = 1800000000};
}

static err_t answer(struct slice server_hello, struct slice payload, struct buf *out)
{
    struct wa_handshake h = {0};
    struct wa_transport transport;
    AUTO(buf) hello = {0};

    wa_handshake_start(&h, &client_ephemeral, &hello);
    err_t e =
        wa_handshake_answer(&h, server_hello, &trust, &client_static, payload, out, &transport);
    wa_handshake_wipe(&h);
    return e;
}

static err_t greet(struct wa_server_handshake *h, struct slice client_hello, struct slice chain,
                   struct buf *out, struct wa_server_result *result)
{
    struct wa_server_keys keys = {.static_pair = server_static, .chain = chain};
    bool over;

    return wa_server_hello(h, &keys, &server_ephemeral, client_hello, out, &over, result);
}

static err_t greet_soundly(struct wa_server_handshake *h, struct slice chain, struct buf *out,
                           struct wa_server_result *result)
{
    struct wa_handshake client = {0};
    AUTO(buf) hello = {0};

    wa_handshake_start(&client, &client_ephemeral, &hello);
    err_t e = greet(h, buf_slice(&hello), chain, out, result);
    wa_handshake_wipe(&client);
    return e;
}

static void run(uint8_t what, struct slice in)
{
    struct wa_server_handshake server = {0};
    struct wa_server_result result = {0};
    AUTO(buf) out = {0}, finish = {0};

    switch (what % 4) {
    case 0:
        if (answer(in, SLICE("payload"), &out) == OK || out.len) abort();
        break;
    case 1:
        if (greet(&server, in, SLICE("chain"), &out, &result) != OK && out.len) abort();
        break;
    case 2:
        if (greet_soundly(&server, SLICE("chain"), &out, &result) != OK) abort();
        if (wa_server_finish(&server, in, &result) == OK) abort();
        break;
    case 3:
        if (in.len > 60000) break;
        if (greet_soundly(&server, in, &out, &result) != OK) abort();
        if (answer(buf_slice(&out), SLICE("payload"), &finish) == OK || finish.len) abort();
        break;
    }
    wa_server_result_done(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;

    if (!started) start();
    started = true;
    if (size) run(data[0], slice_of(data + 1, size - 1));
    return 0;
}
