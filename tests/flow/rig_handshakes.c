/* What a hostile server does before anybody is logged in. */
#include "proto/wire/handshake_message.h"
#include "tests/flow/rig_door.h"
#include "tests/flow/rig_hostile.h"
#include "tools/sim/relay.h"

/* ---- at the handshake ---- */

static void put_frame(const Wa__HandshakeMessage *m, struct buf *out)
{
    AUTO(buf) payload = {0};

    wa_handshake_message_put(m, &payload);
    if (wa_frame_put(buf_slice(&payload), out) != OK) door_failed("frame", err_trail());
}

/* The server's hello with its fields replaced. */
static void change_hello(struct slice hello, struct buf *out,
                         void (*change)(const struct sim_relay *r,
                                        Wa__HandshakeMessage__ServerHello *h),
                         const struct sim_relay *r)
{
    AUTO_MESSAGE *m = NULL;

    if (wa_handshake_message_read(hello, &m) != OK) door_failed("hello", err_trail());
    Wa__HandshakeMessage__ServerHello kept = *m->server_hello;
    change(r, m->server_hello);
    put_frame(m, out);
    *m->server_hello = kept; /* what was borrowed is not freed with it */
}

static void in_clear(const struct sim_relay *r, Wa__HandshakeMessage__ServerHello *h)
{
    h->static_key = wa_pb_bytes(SLICE_ARRAY(r->keys.server.public.bytes));
    h->payload = wa_pb_bytes(buf_slice(&r->chain));
}

static void without_static(const struct sim_relay *r, Wa__HandshakeMessage__ServerHello *h)
{
    h->has_static_key = false;
    h->static_key.len = 0;
}

static void without_certificate(const struct sim_relay *r, Wa__HandshakeMessage__ServerHello *h)
{
    h->has_payload = false;
    h->payload.len = 0;
}

static void low_order(const struct sim_relay *r, Wa__HandshakeMessage__ServerHello *h)
{
    static const uint8_t zero[CRYPTO_KEY];
    h->ephemeral = wa_pb_bytes(SLICE_ARRAY(zero));
}

#define MANGLE(name, change)                                                                       \
    void name(const struct sim_relay *r, struct slice hello, struct buf *out)                      \
    {                                                                                              \
        change_hello(hello, out, change, r);                                                       \
    }
MANGLE(mangle_in_clear, in_clear)
MANGLE(mangle_without_static, without_static)
MANGLE(mangle_without_certificate, without_certificate)
MANGLE(mangle_low_order, low_order)

/* 16 MiB announced, while a handshake needs a few hundred bytes. */
void mangle_huge(const struct sim_relay *r, struct slice hello, struct buf *out)
{
    if (wa_frame_put_head(WA_FRAME_MAX, out) != OK) door_failed("head", NULL);
    memset(buf_extend(out, 1 << 20), 'x', 1 << 20);
}

void mangle_client_hello(const struct sim_relay *r, struct slice hello, struct buf *out)
{
    Wa__HandshakeMessage m = WA__HANDSHAKE_MESSAGE__INIT;
    Wa__HandshakeMessage__ClientHello back = WA__HANDSHAKE_MESSAGE__CLIENT_HELLO__INIT;

    back.has_ephemeral = true;
    back.ephemeral = wa_pb_bytes(SLICE_ARRAY(r->keys.server.public.bytes));
    m.client_hello = &back;
    put_frame(&m, out);
}

/* ---- certificates: what the chain is when the next client comes ---- */

static void chain_of(struct sim_relay *r, const struct crypto_pair *root,
                     const struct crypto_key *leaf, int64_t from_s, int64_t to_s)
{
    struct wa_cert_plan plan;

    wa_cert_plan(&plan, root, &r->keys.intermediate, leaf, sim_seconds(r) + from_s,
                 sim_seconds(r) + to_s);
    buf_reset(&r->chain);
    wa_cert_make(&plan, &r->chain);
}

enum { DAY = 86400, YEAR = 365 * DAY };

void chain_of_stranger(struct sim_relay *r)
{
    struct crypto_pair stranger;

    crypto_pair_new(&stranger);
    chain_of(r, &stranger, &r->keys.server.public, -DAY, YEAR);
}

void chain_for_another(struct sim_relay *r)
{
    chain_of(r, &r->keys.root, &r->keys.root.public, -DAY, YEAR);
}

void chain_expired(struct sim_relay *r)
{
    chain_of(r, &r->keys.root, &r->keys.server.public, -2 * YEAR, -YEAR);
}

void chain_of_noise(struct sim_relay *r)
{
    buf_reset(&r->chain);
    memset(buf_extend(&r->chain, 60000), 0x0a, 60000);
}

void chain_of_nothing(struct sim_relay *r) { buf_reset(&r->chain); }
