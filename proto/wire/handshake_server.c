/* XX and XXfallback differ in the name that is hashed first, and nothing else:
 *
 *   -> e                 e alone enters the hash, also when it came in an IK hello
 *   <- e, ee, s, es
 *   -> s, se
 *
 * IK, where the client knows our static key s before:
 *
 *   <- s
 *   -> e, es, s, ss      with the login payload
 *   <- e, ee, se         payload empty
 */
#include "proto/wire/handshake_server.h"

#include "proto/wire/handshake_message.h"

typedef Wa__HandshakeMessage__ClientHello client_hello_t;

void wa_server_result_done(struct wa_server_result *r)
{
    buf_done(&r->payload);
    crypto_wipe(r, sizeof(*r));
}

static void put_hello(Wa__HandshakeMessage__ServerHello *hello, const struct crypto_pair *ephemeral,
                      struct slice sealed_static, struct slice sealed_payload, struct buf *out)
{
    Wa__HandshakeMessage message = WA__HANDSHAKE_MESSAGE__INIT;

    hello->has_ephemeral = hello->has_payload = true;
    hello->ephemeral = wa_pb_bytes(SLICE_ARRAY(ephemeral->public.bytes));
    hello->has_static_key = !slice_is_none(sealed_static);
    hello->static_key = wa_pb_bytes(sealed_static);
    hello->payload = wa_pb_bytes(sealed_payload);
    message.server_hello = hello;
    wa_handshake_message_put(&message, out);
}

/* ---- XX and XXfallback ---- */

static err_t answer_xx(struct wa_server_handshake *h, const struct wa_server_keys *keys,
                       const struct crypto_key *client_ephemeral, struct buf *out)
{
    Wa__HandshakeMessage__ServerHello hello = WA__HANDSHAKE_MESSAGE__SERVER_HELLO__INIT;
    bool fallback = h->pattern == WA_PATTERN_XXFALLBACK;
    AUTO(buf) sealed_static = {0};
    AUTO(buf) sealed_chain = {0};

    wa_noise_init(&h->noise, fallback ? WA_NOISE_XXFALLBACK : WA_NOISE_XX, SLICE_ARRAY(wa_intro));
    wa_noise_mix_hash(&h->noise, SLICE_ARRAY(client_ephemeral->bytes));
    wa_noise_mix_hash(&h->noise, SLICE_ARRAY(h->ephemeral.public.bytes));
    TRY(wa_noise_mix_key(&h->noise, &h->ephemeral.secret, client_ephemeral));
    wa_noise_encrypt(&h->noise, SLICE_ARRAY(keys->static_pair.public.bytes), &sealed_static);
    TRY(wa_noise_mix_key(&h->noise, &keys->static_pair.secret, client_ephemeral));
    wa_noise_encrypt(&h->noise, keys->chain, &sealed_chain);
    put_hello(&hello, &h->ephemeral, buf_slice(&sealed_static), buf_slice(&sealed_chain), out);
    h->state = WA_HANDSHAKE_STARTED;
    return OK;
}

err_t wa_server_finish(struct wa_server_handshake *h, struct slice client_finish,
                       struct wa_server_result *result)
{
    AUTO_MESSAGE *message = NULL;
    AUTO(buf) payload = {0};

    ENSURE(h->state == WA_HANDSHAKE_STARTED, BAD_HANDSHAKE);
    h->state = WA_HANDSHAKE_OVER;
    TRY(wa_handshake_message_read(client_finish, &message));
    const Wa__HandshakeMessage__ClientFinish *finish = message->client_finish;
    ENSURE(finish && finish->has_payload, BAD_HANDSHAKE);

    struct crypto_key client_static;
    TRY(wa_handshake_open_key(&h->noise, finish->has_static_key, finish->static_key,
                              &client_static));
    TRY(wa_noise_mix_key(&h->noise, &h->ephemeral.secret, &client_static));
    TRY(wa_noise_decrypt(&h->noise, wa_pb_slice(finish->payload), &payload));
    result->client_static = client_static;
    result->payload = buf_take(&payload);
    wa_noise_split(&h->noise, false, &result->transport);
    return OK;
}

/* ---- IK ---- */

static err_t read_ik(struct wa_server_handshake *h, const struct wa_server_keys *keys,
                     const struct crypto_key *client_ephemeral, const client_hello_t *hello,
                     struct crypto_key *client_static, struct buf *payload)
{
    const struct crypto_pair *own = &keys->static_pair;

    wa_noise_init(&h->noise, WA_NOISE_IK, SLICE_ARRAY(wa_intro));
    wa_noise_mix_hash(&h->noise, SLICE_ARRAY(own->public.bytes));
    wa_noise_mix_hash(&h->noise, SLICE_ARRAY(client_ephemeral->bytes));
    TRY(wa_noise_mix_key(&h->noise, &own->secret, client_ephemeral));
    TRY(wa_handshake_open_key(&h->noise, true, hello->static_key, client_static));
    TRY(wa_noise_mix_key(&h->noise, &own->secret, client_static));
    return wa_noise_decrypt(&h->noise, wa_pb_slice(hello->payload), payload);
}

static err_t answer_ik(struct wa_server_handshake *h, const struct crypto_key *client_ephemeral,
                       struct wa_server_result *result, struct buf *out)
{
    Wa__HandshakeMessage__ServerHello hello = WA__HANDSHAKE_MESSAGE__SERVER_HELLO__INIT;
    AUTO(buf) sealed = {0};

    wa_noise_mix_hash(&h->noise, SLICE_ARRAY(h->ephemeral.public.bytes));
    TRY(wa_noise_mix_key(&h->noise, &h->ephemeral.secret, client_ephemeral));
    TRY(wa_noise_mix_key(&h->noise, &h->ephemeral.secret, &result->client_static));
    wa_noise_encrypt(&h->noise, SLICE(""), &sealed); /* clients want the field, if only its tag */
    put_hello(&hello, &h->ephemeral, SLICE_NONE, buf_slice(&sealed), out);
    wa_noise_split(&h->noise, false, &result->transport);
    return OK;
}

/* ---- which one it is ---- */

static err_t answer(struct wa_server_handshake *h, const struct wa_server_keys *keys,
                    const client_hello_t *hello, struct buf *out, bool *over,
                    struct wa_server_result *result)
{
    struct crypto_key client_ephemeral, client_static;
    AUTO(buf) payload = {0};

    TRY(wa_handshake_key(hello->has_ephemeral, hello->ephemeral, &client_ephemeral));
    *over = false;
    if (!hello->has_static_key && !hello->has_payload) {
        h->pattern = WA_PATTERN_XX;
        return answer_xx(h, keys, &client_ephemeral, out);
    }
    ENSURE(hello->has_static_key && hello->has_payload, BAD_HANDSHAKE);
    ENSURE(hello->static_key.len == WA_SEALED_KEY, BAD_HANDSHAKE);
    if (keys->decline_ik ||
        read_ik(h, keys, &client_ephemeral, hello, &client_static, &payload) != OK) {
        h->pattern = WA_PATTERN_XXFALLBACK;
        return answer_xx(h, keys, &client_ephemeral, out);
    }
    h->pattern = WA_PATTERN_IK;
    result->client_static = client_static;
    TRY(answer_ik(h, &client_ephemeral, result, out));
    result->payload = buf_take(&payload);
    *over = true;
    return OK;
}

err_t wa_server_hello(struct wa_server_handshake *h, const struct wa_server_keys *keys,
                      const struct crypto_pair *ephemeral, struct slice client_hello,
                      struct buf *out, bool *over, struct wa_server_result *result)
{
    AUTO_MESSAGE *message = NULL;

    ENSURE(h->state == WA_HANDSHAKE_NEW, BAD_HANDSHAKE);
    h->state = WA_HANDSHAKE_OVER;
    h->ephemeral = *ephemeral;
    TRY(wa_handshake_message_read(client_hello, &message));
    ENSURE(message->client_hello, BAD_HANDSHAKE);
    return answer(h, keys, message->client_hello, out, over, result);
}
