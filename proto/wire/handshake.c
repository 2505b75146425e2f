/*   -> e                 start
 *   <- e, ee, s, es      read_hello; the payload is the certificate chain
 *   -> s, se             put_finish; the payload is who we are
 *
 * The server may answer only with XX, because that is all we offer. */
#include "proto/wire/handshake.h"

#include "proto/wire/handshake_message.h"

void wa_handshake_start(struct wa_handshake *h, const struct crypto_pair *ephemeral,
                        struct buf *out)
{
    Wa__HandshakeMessage message = WA__HANDSHAKE_MESSAGE__INIT;
    Wa__HandshakeMessage__ClientHello hello = WA__HANDSHAKE_MESSAGE__CLIENT_HELLO__INIT;

    *h = (struct wa_handshake){.state = WA_HANDSHAKE_STARTED, .ephemeral = *ephemeral};
    wa_noise_init(&h->noise, WA_NOISE_XX, SLICE_ARRAY(wa_intro));
    wa_noise_mix_hash(&h->noise, SLICE_ARRAY(ephemeral->public.bytes));

    hello.has_ephemeral = true;
    hello.ephemeral = wa_pb_bytes(SLICE_ARRAY(ephemeral->public.bytes));
    message.client_hello = &hello;
    wa_handshake_message_put(&message, out);
}

/* Gives the server's ephemeral key, which the last message still needs. */
static err_t read_hello(struct wa_handshake *h, struct slice in, const struct wa_trust *trust,
                        struct crypto_key *out_ephemeral)
{
    AUTO_MESSAGE *message = NULL;
    AUTO(buf) chain = {0};
    struct crypto_key server_static;

    TRY(wa_handshake_message_read(in, &message));
    const Wa__HandshakeMessage__ServerHello *hello = message->server_hello;
    ENSURE(hello && hello->has_payload, BAD_HANDSHAKE);

    TRY(wa_handshake_key(hello->has_ephemeral, hello->ephemeral, out_ephemeral));
    wa_noise_mix_hash(&h->noise, SLICE_ARRAY(out_ephemeral->bytes));
    TRY(wa_noise_mix_key(&h->noise, &h->ephemeral.secret, out_ephemeral));

    TRY(wa_handshake_open_key(&h->noise, hello->has_static_key, hello->static_key, &server_static));
    TRY(wa_noise_mix_key(&h->noise, &h->ephemeral.secret, &server_static));
    TRY(wa_noise_decrypt(&h->noise, wa_pb_slice(hello->payload), &chain));
    return wa_cert_check(buf_slice(&chain), trust, &server_static);
}

static err_t put_finish(struct wa_handshake *h, const struct crypto_key *server_ephemeral,
                        const struct crypto_pair *noise_pair, struct slice payload, struct buf *out)
{
    Wa__HandshakeMessage message = WA__HANDSHAKE_MESSAGE__INIT;
    Wa__HandshakeMessage__ClientFinish finish = WA__HANDSHAKE_MESSAGE__CLIENT_FINISH__INIT;
    AUTO(buf) sealed_key = {0};
    AUTO(buf) sealed_payload = {0};

    wa_noise_encrypt(&h->noise, SLICE_ARRAY(noise_pair->public.bytes), &sealed_key);
    TRY(wa_noise_mix_key(&h->noise, &noise_pair->secret, server_ephemeral));
    wa_noise_encrypt(&h->noise, payload, &sealed_payload);

    finish.has_static_key = finish.has_payload = true;
    finish.static_key = wa_pb_bytes(buf_slice(&sealed_key));
    finish.payload = wa_pb_bytes(buf_slice(&sealed_payload));
    message.client_finish = &finish;
    wa_handshake_message_put(&message, out);
    return OK;
}

err_t wa_handshake_answer(struct wa_handshake *h, struct slice server_hello,
                          const struct wa_trust *trust, const struct crypto_pair *noise_pair,
                          struct slice payload, struct buf *out, struct wa_transport *transport)
{
    struct crypto_key server_ephemeral;

    ENSURE(h->state == WA_HANDSHAKE_STARTED, BAD_HANDSHAKE);
    h->state = WA_HANDSHAKE_OVER;
    TRY(read_hello(h, server_hello, trust, &server_ephemeral));
    TRY(put_finish(h, &server_ephemeral, noise_pair, payload, out));
    wa_noise_split(&h->noise, true, transport);
    wa_handshake_wipe(h);
    return OK;
}

void wa_handshake_wipe(struct wa_handshake *h)
{
    crypto_wipe(h, sizeof(*h));
    h->state = WA_HANDSHAKE_OVER;
}
