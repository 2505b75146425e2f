/* Signatures cover the bytes of `details` as they came, never a copy encoded again. */
#include "proto/wire/cert.h"

#include "proto/schema/handshake.pb-c.h"

typedef Wa__CertChain__NoiseCertificate certificate;
typedef Wa__CertChain__NoiseCertificate__Details details;

static const ProtobufCMessageDescriptor *const details_type =
    &wa__cert_chain__noise_certificate__details__descriptor;

enum { ROOT_SERIAL = 0, INTERMEDIATE_SERIAL = 1, LEAF_SERIAL = 2 };

const struct crypto_key wa_root_key = {{0x14, 0x23, 0x75, 0x57, 0x4d, 0x0a, 0x58, 0x71,
                                        0x66, 0xaa, 0xe7, 0x1e, 0xbe, 0x51, 0x64, 0x37,
                                        0xc4, 0xa2, 0x8b, 0x73, 0xe3, 0x69, 0x5c, 0x6c,
                                        0xe1, 0xf7, 0xf9, 0x54, 0x5d, 0xa8, 0xee, 0x6b}};

static struct slice bytes_of(ProtobufCBinaryData b) { return slice_of(b.data, b.len); }

/* ---- checking ---- */

/* A certificate with its details decoded into values. */
static err_t read_certificate(const certificate *c, const struct crypto_key *issuer,
                              struct wa_cert *out)
{
    ENSURE(c && c->has_details && c->has_signature, BAD_CERTIFICATE);
    ENSURE(crypto_verify(issuer, bytes_of(c->details), bytes_of(c->signature)), BAD_CERTIFICATE);

    ProtobufCMessage *message =
        protobuf_c_message_unpack(details_type, NULL, c->details.len, c->details.data);
    ENSURE(message, BAD_PROTOBUF);
    const details *d = (const details *)message;
    bool usable = d->has_serial && d->has_issuer_serial && d->key.len == CRYPTO_KEY &&
                  d->not_before <= INT64_MAX && d->not_after <= INT64_MAX;
    if (usable) {
        *out = (struct wa_cert){.serial = d->serial,
                                .issuer_serial = d->issuer_serial,
                                .not_before_s = (int64_t)d->not_before,
                                .not_after_s = (int64_t)d->not_after};
        memcpy(out->key.bytes, d->key.data, CRYPTO_KEY);
    }
    protobuf_c_message_free_unpacked(message, NULL);
    ENSURE(usable, BAD_CERTIFICATE);
    return OK;
}

static err_t check_dates(const struct wa_cert *c, const struct wa_trust *trust)
{
    if (!trust->check_validity) return OK;
    if (trust->now_s >= c->not_before_s && trust->now_s <= c->not_after_s) return OK;
    return fail(BAD_CERTIFICATE, "certificate %u is out of date", c->serial);
}

static err_t check_chain(const Wa__CertChain *chain, const struct wa_trust *trust,
                         const struct crypto_key *server_static)
{
    struct wa_cert intermediate, leaf;

    TRY(read_certificate(chain->intermediate, &trust->root, &intermediate));
    ENSURE(intermediate.issuer_serial == ROOT_SERIAL, BAD_CERTIFICATE);
    TRY(read_certificate(chain->leaf, &intermediate.key, &leaf));
    ENSURE(leaf.issuer_serial == intermediate.serial, BAD_CERTIFICATE);
    ENSURE(crypto_equal(SLICE_ARRAY(leaf.key.bytes), SLICE_ARRAY(server_static->bytes)),
           BAD_CERTIFICATE);
    TRY(check_dates(&intermediate, trust));
    return check_dates(&leaf, trust);
}

err_t wa_cert_check(struct slice chain, const struct wa_trust *trust,
                    const struct crypto_key *server_static)
{
    Wa__CertChain *message = wa__cert_chain__unpack(NULL, chain.len, chain.data);

    ENSURE(message, BAD_PROTOBUF);
    err_t e = check_chain(message, trust, server_static);
    wa__cert_chain__free_unpacked(message, NULL);
    return e;
}

/* ---- making ---- */

void wa_cert_plan(struct wa_cert_plan *plan, const struct crypto_pair *root,
                  const struct crypto_pair *intermediate, const struct crypto_key *server_static,
                  int64_t not_before_s, int64_t not_after_s)
{
    *plan = (struct wa_cert_plan){
        .intermediate = {.serial = INTERMEDIATE_SERIAL,
                         .issuer_serial = ROOT_SERIAL,
                         .key = intermediate->public,
                         .not_before_s = not_before_s,
                         .not_after_s = not_after_s},
        .leaf = {.serial = LEAF_SERIAL,
                 .issuer_serial = INTERMEDIATE_SERIAL,
                 .key = *server_static,
                 .not_before_s = not_before_s,
                 .not_after_s = not_after_s},
        .root_secret = root->secret,
        .intermediate_secret = intermediate->secret,
    };
}

static void put_details(const struct wa_cert *cert, struct buf *out)
{
    details d = WA__CERT_CHAIN__NOISE_CERTIFICATE__DETAILS__INIT;

    d.has_serial = d.has_issuer_serial = d.has_key = d.has_not_before = d.has_not_after = true;
    d.serial = cert->serial;
    d.issuer_serial = cert->issuer_serial;
    d.key = (ProtobufCBinaryData){CRYPTO_KEY, (uint8_t *)cert->key.bytes};
    d.not_before = (uint64_t)cert->not_before_s;
    d.not_after = (uint64_t)cert->not_after_s;
    protobuf_c_message_pack(&d.base, buf_extend(out, protobuf_c_message_get_packed_size(&d.base)));
}

static certificate sign(const struct crypto_key *secret, const struct buf *encoded,
                        uint8_t signature[CRYPTO_SIGNATURE])
{
    certificate c = WA__CERT_CHAIN__NOISE_CERTIFICATE__INIT;

    crypto_sign(secret, buf_slice(encoded), signature);
    c.has_details = c.has_signature = true;
    c.details = (ProtobufCBinaryData){encoded->len, encoded->data};
    c.signature = (ProtobufCBinaryData){CRYPTO_SIGNATURE, signature};
    return c;
}

void wa_cert_make(const struct wa_cert_plan *plan, struct buf *out)
{
    AUTO(buf) intermediate = {0};
    AUTO(buf) leaf = {0};
    uint8_t by_root[CRYPTO_SIGNATURE], by_intermediate[CRYPTO_SIGNATURE];

    put_details(&plan->intermediate, &intermediate);
    put_details(&plan->leaf, &leaf);
    certificate upper = sign(&plan->root_secret, &intermediate, by_root);
    certificate lower = sign(&plan->intermediate_secret, &leaf, by_intermediate);

    Wa__CertChain chain = WA__CERT_CHAIN__INIT;
    chain.intermediate = &upper;
    chain.leaf = &lower;
    wa__cert_chain__pack(&chain, buf_extend(out, wa__cert_chain__get_packed_size(&chain)));
}
