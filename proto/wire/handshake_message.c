#include "proto/wire/handshake_message.h"

void wa_handshake_message_free(Wa__HandshakeMessage **m)
{
    if (*m) wa__handshake_message__free_unpacked(*m, NULL);
    *m = NULL;
}

err_t wa_handshake_message_read(struct slice in, Wa__HandshakeMessage **out)
{
    ENSURE(in.len <= WA_HANDSHAKE_MAX, TOO_LARGE);
    *out = wa__handshake_message__unpack(NULL, in.len, in.data);
    ENSURE(*out, BAD_PROTOBUF);
    return OK;
}

void wa_handshake_message_put(const Wa__HandshakeMessage *m, struct buf *out)
{
    wa__handshake_message__pack(m, buf_extend(out, wa__handshake_message__get_packed_size(m)));
}

err_t wa_handshake_key(bool has, ProtobufCBinaryData field, struct crypto_key *out)
{
    ENSURE(has && field.len == CRYPTO_KEY, BAD_HANDSHAKE);
    memcpy(out->bytes, field.data, CRYPTO_KEY);
    return OK;
}

err_t wa_handshake_open_key(struct wa_noise *n, bool has, ProtobufCBinaryData field,
                            struct crypto_key *out)
{
    AUTO(buf) plain = {0};

    ENSURE(has && field.len == WA_SEALED_KEY, BAD_HANDSHAKE);
    TRY(wa_noise_decrypt(n, wa_pb_slice(field), &plain));
    memcpy(out->bytes, plain.data, CRYPTO_KEY);
    return OK;
}
