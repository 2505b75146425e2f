/* A relay with phones and test companions in one process, on a clock that only tests move.
 *
 * A companion here is a client at the level of stanzas: it speaks the real handshake and Noise,
 * pairs with a phone, and sends and receives nodes. Its ciphertexts are whatever a test puts in;
 * the relay must not care. */
#pragma once
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"
#include "proto/schema/adv.pb-c.h"
#include "proto/schema/handshake.pb-c.h"
#include "proto/wire/handshake.h"
#include "tools/sim/faults.h"
#include "tools/sim/phone.h"
#include "tools/sim/rules.h"

enum { WORLD_NOW = 1800000000, COMPANION_INBOX = 4096 };

struct companion;
struct world {
    struct sim_relay relay;
    struct sim_phones phones;
    struct crypto_key root;
    int64_t now_ms;
    unsigned changes; /* how often the relay wanted its state kept */
};

struct companion {
    struct world *world;
    struct sim_conn *conn;
    struct crypto_pair identity, noise, signed_prekey;
    uint8_t secret[32], signature[64];
    struct arena arena; /* received nodes and nodes to send */
    struct buf in;      /* bytes from the relay, not read yet */
    unsigned writes;    /* how many messages they came in */
    struct wa_frames frames;
    struct wa_transport transport;
    bool is_open, closed, broken;
    struct wa_node *inbox[COMPANION_INBOX];
    size_t received, taken;
    char number[SIM_NUMBER_MAX];
    uint16_t device;
    struct slice device_identity;
    struct slice qr_ref;
    uint32_t last_id;
    /* What the next connect does differently; NULL: nothing. */
    void (*spoil)(Wa__ClientPayload *payload);
};

/* ---- the world ---- */

static inline void world_write(void *ctx, void *socket, struct slice bytes)
{
    struct companion *c = socket;

    buf_put(&c->in, bytes);
    c->writes++;
}

static inline void world_close(void *ctx, void *socket)
{
    ((struct companion *)socket)->closed = true;
}

static inline void world_deliver(void *ctx, struct sim_conn *local, struct slice stanza)
{
    sim_phones_deliver(&((struct world *)ctx)->phones, local, stanza);
}

static inline void world_changed(void *ctx) { ((struct world *)ctx)->changes++; }

static inline struct world *world_new(void)
{
    struct world *w = xcalloc(sizeof *w);
    struct sim_host host = {.ctx = w,
                            .write = world_write,
                            .close = world_close,
                            .deliver = world_deliver,
                            .changed = world_changed};
    struct sim_options options = {.seed = 7, .offline_grace_ms = 3000};
    struct sim_keys keys;

    crypto_start();
    crypto_pair_new(&keys.root);
    crypto_pair_new(&keys.intermediate);
    crypto_pair_new(&keys.server);
    w->root = keys.root.public;
    w->now_ms = (int64_t)WORLD_NOW * 1000;
    sim_relay_init(&w->relay, &host, &options, &keys, w->now_ms);
    sim_phones_init(&w->phones, &w->relay);
    return w;
}

static inline void world_free(struct world *w)
{
    sim_phones_done(&w->phones);
    sim_relay_done(&w->relay);
    free(w);
}

static inline void world_settle(struct world *w)
{
    do {
        sim_relay_tick(&w->relay, w->now_ms);
        sim_phones_pump(&w->phones);
    } while (sim_relay_due(&w->relay) <= w->now_ms || !list_empty(&w->phones.arrived));
}

static inline void world_advance(struct world *w, int64_t ms)
{
    int64_t until = w->now_ms + ms;

    world_settle(w);
    while (sim_relay_due(&w->relay) <= until) {
        w->now_ms = sim_relay_due(&w->relay);
        world_settle(w);
    }
    w->now_ms = until;
    world_settle(w);
}

static inline struct sim_phone *world_phone(struct world *w, const char *number)
{
    struct sim_phone *p;
    char lid[SIM_NUMBER_MAX];

    snprintf(lid, sizeof lid, "9%s", number);
    cr_assert_eq(
        sim_phone_new(&w->phones, slice_text(number), slice_text(lid), slice_text("Phone"), &p),
        OK);
    world_settle(w);
    return p;
}

/* ---- a companion's connection ---- */

static inline void companion_read(struct companion *c)
{
    struct slice frame;
    AUTO(buf) bytes = buf_take(&c->in);

    if (wa_frames_feed(&c->frames, buf_slice(&bytes)) != OK) c->broken = true;
    while (c->is_open && !c->broken && wa_frames_next(&c->frames, &frame)) {
        AUTO(buf) plain = {0};
        struct wa_node *n;

        if (wa_transport_open(&c->transport, frame, &plain) != OK) {
            c->broken = true;
            return;
        }
        cr_assert_eq(wa_node_decode(arena_dup(&c->arena, buf_slice(&plain)), &c->arena, &n), OK);
        cr_assert_lt(c->received, (size_t)COMPANION_INBOX);
        c->inbox[c->received++] = n;
    }
}

static inline void companion_settle(struct companion *c)
{
    world_settle(c->world);
    companion_read(c);
}

/* The next stanza with the tag, those before it are passed over; NULL if none. */
static inline struct wa_node *companion_take(struct companion *c, const char *tag)
{
    companion_settle(c);
    while (c->taken < c->received) {
        struct wa_node *n = c->inbox[c->taken++];

        if (wa_node_is(n, tag)) return n;
    }
    return NULL;
}

static inline size_t companion_count(struct companion *c, const char *tag)
{
    size_t n = 0;

    companion_settle(c);
    for (size_t i = 0; i < c->received; i++)
        n += wa_node_is(c->inbox[i], tag);
    return n;
}

/* Forgets what came so far. */
static inline void companion_skip(struct companion *c)
{
    companion_settle(c);
    c->taken = c->received = 0;
}

static inline void companion_send(struct companion *c, const struct wa_node *n)
{
    AUTO(buf) stanza = {0};
    AUTO(buf) frame = {0};

    wa_node_encode(n, &stanza);
    cr_assert_eq(wa_transport_seal(&c->transport, buf_slice(&stanza), &frame), OK);
    sim_conn_bytes(c->conn, buf_slice(&frame), c->world->now_ms);
    companion_settle(c);
}

static inline ProtobufCBinaryData companion_pb(const void *data, size_t n)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)data, .len = n};
}

/* What a device says of itself that is not paired yet; `build` is 16 bytes of the caller's. */
static inline void companion_register(struct companion *c, uint8_t *build,
                                      Wa__ClientPayload__DevicePairingRegistrationData *data)
{
    static uint8_t regid[4] = {0, 0, 0x12, 0x34}, keytype[1] = {5}, skey_id[3] = {0, 0, 1};
    static uint8_t props[2] = {0x18, 0x01};

    crypto_md5(SLICE("2.3000.1045649367"), build);
    data->has_e_regid = data->has_e_keytype = data->has_e_ident = data->has_e_skey_id = 1;
    data->has_e_skey_val = data->has_e_skey_sig = data->has_build_hash = data->has_device_props = 1;
    data->e_regid = companion_pb(regid, 4);
    data->e_keytype = companion_pb(keytype, 1);
    data->e_ident = companion_pb(c->identity.public.bytes, 32);
    data->e_skey_id = companion_pb(skey_id, 3);
    data->e_skey_val = companion_pb(c->signed_prekey.public.bytes, 32);
    data->e_skey_sig = companion_pb(c->signature, 64);
    data->build_hash = companion_pb(build, 16);
    data->device_props = companion_pb(props, 2);
}

static inline struct buf companion_payload(struct companion *c)
{
    Wa__ClientPayload p = WA__CLIENT_PAYLOAD__INIT;
    Wa__ClientPayload__UserAgent agent = WA__CLIENT_PAYLOAD__USER_AGENT__INIT;
    Wa__ClientPayload__UserAgent__AppVersion version =
        WA__CLIENT_PAYLOAD__USER_AGENT__APP_VERSION__INIT;
    Wa__ClientPayload__DevicePairingRegistrationData data =
        WA__CLIENT_PAYLOAD__DEVICE_PAIRING_REGISTRATION_DATA__INIT;
    uint8_t build[16];
    struct buf out = {0};

    version.has_primary = version.has_secondary = version.has_tertiary = 1;
    version.primary = 2;
    version.secondary = 3000;
    version.tertiary = 1045649367;
    agent.has_platform = 1;
    agent.platform = WA__CLIENT_PAYLOAD__USER_AGENT__PLATFORM__WEB;
    agent.app_version = &version;
    p.user_agent = &agent;
    p.has_connect_type = p.has_connect_reason = 1;
    p.connect_type = WA__CLIENT_PAYLOAD__CONNECT_TYPE__WIFI_UNKNOWN;
    p.connect_reason = WA__CLIENT_PAYLOAD__CONNECT_REASON__USER_ACTIVATED;
    if (c->device) {
        p.has_username = p.has_device = p.has_pull = 1;
        p.username = strtoull(c->number, NULL, 10);
        p.device = c->device;
        p.pull = 1;
    } else {
        companion_register(c, build, &data);
        p.device_pairing_data = &data;
    }
    if (c->spoil) c->spoil(&p);
    wa__client_payload__pack(&p, buf_extend(&out, wa__client_payload__get_packed_size(&p)));
    return out;
}

static inline struct companion *companion_new(struct world *w)
{
    struct companion *c = xcalloc(sizeof *c);
    uint8_t typed[33] = {0x05};

    c->world = w;
    crypto_pair_new(&c->identity);
    crypto_pair_new(&c->noise);
    crypto_pair_new(&c->signed_prekey);
    crypto_random(c->secret, sizeof c->secret);
    memcpy(typed + 1, c->signed_prekey.public.bytes, 32);
    crypto_sign(&c->identity.secret, SLICE_ARRAY(typed), c->signature);
    wa_frames_init(&c->frames);
    return c;
}

/* What the host does when a socket is gone. */
static inline void companion_hang_up(struct companion *c)
{
    if (c->conn) sim_conn_gone(c->conn, c->world->now_ms);
    c->conn = NULL;
    buf_done(&c->in);
    wa_frames_done(&c->frames);
    wa_frames_init(&c->frames);
    c->is_open = c->closed = c->broken = false;
    c->taken = c->received = 0;
}

static inline void companion_free(struct companion *c)
{
    companion_hang_up(c);
    wa_frames_done(&c->frames);
    arena_done(&c->arena);
    free(c);
}

/* The whole handshake; afterwards the first stanzas of the server wait in the inbox. */
static inline void companion_connect(struct companion *c)
{
    struct wa_handshake h = {0};
    struct wa_trust trust = {
        .root = c->world->root, .check_validity = true, .now_s = c->world->now_ms / 1000};
    struct crypto_pair ephemeral;
    struct slice hello;
    AUTO(buf) payload = companion_payload(c);
    AUTO(buf) message = {0};
    AUTO(buf) bytes = {0};

    companion_hang_up(c);
    c->conn = sim_conn_open(&c->world->relay, c, c->world->now_ms);
    crypto_pair_new(&ephemeral);
    wa_handshake_start(&h, &ephemeral, &message);
    wa_frame_put_intro(SLICE_NONE, &bytes);
    cr_assert_eq(wa_frame_put(buf_slice(&message), &bytes), OK);
    sim_conn_bytes(c->conn, buf_slice(&bytes), c->world->now_ms);
    companion_read(c);
    cr_assert(wa_frames_next(&c->frames, &hello));
    buf_reset(&message);
    buf_reset(&bytes);
    cr_assert_eq(wa_handshake_answer(&h, hello, &trust, &c->noise, buf_slice(&payload), &message,
                                     &c->transport),
                 OK, "%s", err_trail());
    cr_assert_eq(wa_frame_put(buf_slice(&message), &bytes), OK);
    c->is_open = true;
    sim_conn_bytes(c->conn, buf_slice(&bytes), c->world->now_ms);
    companion_settle(c);
}

/* ---- pairing ---- */

static inline const char *companion_qr(struct companion *c, struct slice ref)
{
    AUTO(buf) out = {0};

    buf_put(&out, ref);
    buf_put_text(&out, ",");
    text_base64(SLICE_ARRAY(c->noise.public.bytes), &out);
    buf_put_text(&out, ",");
    text_base64(SLICE_ARRAY(c->identity.public.bytes), &out);
    buf_put_text(&out, ",");
    text_base64(SLICE_ARRAY(c->secret), &out);
    buf_put_text(&out, ",1");
    return arena_text(&c->arena, buf_slice(&out));
}

/* Connects unpaired and gives the first reference. */
static inline struct slice companion_ask_refs(struct companion *c)
{
    struct wa_node *iq;

    companion_connect(c);
    iq = companion_take(c, "iq");
    cr_assert_not_null(iq);
    c->qr_ref = wa_node_child_bytes(wa_node_child(iq, "pair-device"), "ref");
    return c->qr_ref;
}

/* Opens the container and signs: what a client does with pair-success. */
static inline struct slice companion_sign(struct companion *c, const struct wa_node *success,
                                          uint32_t *out_index)
{
    struct slice box = wa_node_child_bytes(success, "device-identity"), out;
    Wa__AdvSignedDeviceIdentityHmac *outer =
        wa__adv_signed_device_identity_hmac__unpack(NULL, box.len, box.data);
    Wa__AdvSignedDeviceIdentity *id;
    Wa__AdvDeviceIdentity *details;
    AUTO(buf) text = {0};
    uint8_t mac[32], signature[64], *to;
    struct crypto_key account;

    cr_assert_not_null(outer);
    crypto_hmac(SLICE_ARRAY(c->secret), slice_of(outer->details.data, outer->details.len), mac);
    cr_assert(slice_eq(slice_of(outer->hmac.data, outer->hmac.len), SLICE_ARRAY(mac)));
    id = wa__adv_signed_device_identity__unpack(NULL, outer->details.len, outer->details.data);
    memcpy(account.bytes, id->account_signature_key.data, 32);
    buf_put(&text, SLICE("\x06\x00"));
    buf_put(&text, slice_of(id->details.data, id->details.len));
    buf_put(&text, SLICE_ARRAY(c->identity.public.bytes));
    cr_assert(crypto_verify(&account, buf_slice(&text),
                            slice_of(id->account_signature.data, id->account_signature.len)));
    text.data[1] = 0x01;
    buf_put(&text, SLICE_ARRAY(account.bytes));
    crypto_sign(&c->identity.secret, buf_slice(&text), signature);
    details = wa__adv_device_identity__unpack(NULL, id->details.len, id->details.data);
    *out_index = details->key_index;
    id->has_device_signature = 1;
    free(id->device_signature.data);
    id->device_signature.len = 64;
    id->device_signature.data = malloc(64);
    memcpy(id->device_signature.data, signature, 64);
    to = arena_alloc(&c->arena, wa__adv_signed_device_identity__get_packed_size(id));
    out = slice_of(to, wa__adv_signed_device_identity__pack(id, to));
    wa__adv_device_identity__free_unpacked(details, NULL);
    wa__adv_signed_device_identity__free_unpacked(id, NULL);
    wa__adv_signed_device_identity_hmac__free_unpacked(outer, NULL);
    return out;
}

static inline void companion_send_sign(struct companion *c, const struct wa_node *iq,
                                       struct slice identity, uint32_t index)
{
    struct wa_node *answer = wa_node_new(&c->arena, "iq"), *sign, *child;

    wa_node_set_jid(answer, &c->arena, "to", wa_jid_server());
    wa_node_set(answer, &c->arena, "type", SLICE("result"));
    wa_node_set(answer, &c->arena, "id", wa_node_text(iq, "id"));
    sign = wa_node_add(answer, &c->arena, "pair-device-sign");
    child = wa_node_add(sign, &c->arena, "device-identity");
    wa_node_set_int(child, &c->arena, "key-index", index);
    wa_node_set_bytes(child, identity);
    companion_send(c, answer);
}

/* Pairs with the phone, up to the 515. */
static inline void companion_pair(struct companion *c, struct sim_phone *p)
{
    struct slice ref = companion_ask_refs(c);
    const struct wa_node *iq, *success;
    struct wa_jid jid;
    uint32_t index;

    cr_assert_eq(sim_phone_scan(p, slice_text(companion_qr(c, ref))), OK, "%s", err_trail());
    iq = companion_take(c, "iq");
    cr_assert_not_null(iq);
    success = wa_node_child(iq, "pair-success");
    cr_assert_not_null(success);
    jid = wa_node_jid(wa_node_child(success, "device"), "jid");
    c->device_identity = companion_sign(c, success, &index);
    companion_send_sign(c, iq, c->device_identity, index);
    cr_assert_not_null(companion_take(c, "stream:error"));
    snprintf(c->number, sizeof c->number, SLICE_FMT, SLICE_ARG(jid.user));
    c->device = jid.device;
}

static inline void companion_ack_all(struct companion *c)
{
    companion_settle(c);
    for (size_t i = 0; i < c->received; i++) {
        struct wa_node *n = c->inbox[i], *answer;
        bool message = wa_node_is(n, "message");

        if (!message && !wa_node_is(n, "notification") && !wa_node_is(n, "receipt")) continue;
        answer = wa_node_new(&c->arena, message ? "receipt" : "ack");
        wa_node_set(answer, &c->arena, "id", wa_node_text(n, "id"));
        wa_node_set_jid(answer, &c->arena, "to", wa_node_jid(n, "from"));
        wa_node_set_jid(answer, &c->arena, "participant", wa_node_jid(n, "participant"));
        if (!message) wa_node_set(answer, &c->arena, "class", n->tag);
        companion_send(c, answer);
    }
}

/* A companion that is paired, logged in, and has answered for everything the phone sent it. */
static inline struct companion *companion_ready(struct world *w, struct sim_phone *p)
{
    struct companion *c = companion_new(w);

    companion_pair(c, p);
    companion_connect(c);
    cr_assert_not_null(companion_take(c, "success"));
    companion_ack_all(c);
    companion_skip(c);
    return c;
}

/* ---- stanzas ---- */

static inline struct wa_node *companion_iq(struct companion *c, const char *type, const char *xmlns)
{
    struct wa_node *iq = wa_node_new(&c->arena, "iq");

    wa_node_set_int(iq, &c->arena, "id", ++c->last_id);
    wa_node_set_jid(iq, &c->arena, "to", wa_jid_server());
    wa_node_set_text(iq, &c->arena, "type", type);
    wa_node_set_text(iq, &c->arena, "xmlns", xmlns);
    return iq;
}

/* Sends and gives the answer. */
static inline struct wa_node *companion_ask(struct companion *c, const struct wa_node *iq)
{
    struct wa_node *n;

    companion_send(c, iq);
    while ((n = companion_take(c, "iq")))
        if (slice_eq(wa_node_text(n, "id"), wa_node_text(iq, "id"))) return n;
    return NULL;
}

static inline struct wa_jid jid_pn(const char *user, uint16_t device)
{
    return wa_jid_of(WA_SERVER_USER, slice_text(user), device);
}

static inline struct wa_jid jid_lid(const char *user, uint16_t device)
{
    return wa_jid_of(WA_SERVER_LID, slice_text(user), device);
}

static inline struct wa_node *companion_message(struct companion *c, struct wa_jid to,
                                                const char *id)
{
    struct wa_node *n = wa_node_new(&c->arena, "message");

    wa_node_set_jid(n, &c->arena, "to", to);
    wa_node_set_text(n, &c->arena, "id", id);
    wa_node_set(n, &c->arena, "type", SLICE("text"));
    return n;
}

static inline struct wa_node *add_enc(struct companion *c, struct wa_node *parent, const char *type,
                                      const char *bytes)
{
    struct wa_node *enc = wa_node_add(parent, &c->arena, "enc");

    wa_node_set(enc, &c->arena, "v", SLICE("2"));
    wa_node_set_text(enc, &c->arena, "type", type);
    wa_node_set_bytes(enc, slice_text(bytes));
    return enc;
}

static inline void add_to(struct companion *c, struct wa_node *participants, struct wa_jid jid,
                          const char *bytes)
{
    struct wa_node *to = wa_node_add(participants, &c->arena, "to");

    wa_node_set_jid(to, &c->arena, "jid", jid);
    add_enc(c, to, "msg", bytes);
}

static inline bool has_text(const struct wa_node *n, const char *key, const char *value)
{
    return slice_is(wa_node_text(n, key), value);
}
