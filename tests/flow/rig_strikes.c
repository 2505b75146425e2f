/* What a hostile server does, one row each. A strike is as large as the wire allows, and it is
 * repeated for as long as the honest account is being watched. */
#include "proto/client/pb.h"
#include "proto/wire/node_tags.h"
#include "tests/flow/rig_door.h"
#include "tests/flow/rig_hostile.h"
#include "tools/sim/relay.h"

enum {
    MANY = 60000, /* children of one node, or of one frame what fits */
    DEEP = 100000,
    BOMB_BYTES = 64 << 20, /* of zeros, in one compressed stanza */
};

/* ---- frames ---- */

static void large_noise(struct sim_conn *c)
{
    AUTO(buf) out = {0};

    if (wa_frame_put_head(WA_FRAME_MAX, &out) != OK) door_failed("head", NULL);
    memset(buf_extend(&out, WA_FRAME_MAX), 'x', WA_FRAME_MAX);
    hostile_write(c, buf_slice(&out));
}

/* Almost all of a frame; its end never comes. */
static void unfinished(struct sim_conn *c)
{
    AUTO(buf) out = {0};

    if (wa_frame_put_head(WA_FRAME_MAX, &out) != OK) door_failed("head", NULL);
    memset(buf_extend(&out, WA_FRAME_MAX - 1), 'x', WA_FRAME_MAX - 1);
    hostile_write(c, buf_slice(&out));
}

static void empty_frames(struct sim_conn *c)
{
    static const uint8_t zeros[30000];
    hostile_write(c, SLICE_ARRAY(zeros));
}

static struct wa_node *begin(struct sim_conn *c, const char *tag)
{
    arena_reset(&c->relay->arena);
    struct wa_node *n = wa_node_new(&c->relay->arena, tag);
    wa_node_set_jid(n, &c->relay->arena, "from", wa_jid_server());
    return n;
}

static void send_node(struct sim_conn *c, const struct wa_node *n)
{
    AUTO(buf) stanza = {0};

    wa_node_encode(n, &stanza);
    hostile_seal(c, buf_slice(&stanza));
}

static void send_small(struct sim_conn *c, const struct wa_node *n)
{
    AUTO(buf) stanza = {0};

    wa_node_encode_compressed(n, &stanza);
    hostile_seal(c, buf_slice(&stanza));
}

/* A stanza of 16 MiB that is all right. */
static void large_stanza(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *ib = begin(c, "ib"), *edge = wa_node_add(ib, arena, "edge_routing");
    size_t n = WA_FRAME_MAX - 200;
    uint8_t *bytes = arena_alloc(arena, n);

    memset(bytes, 'r', n);
    wa_node_set_bytes(wa_node_add(edge, arena, "routing_info"), slice_of(bytes, n));
    send_node(c, ib);
}

/* Every byte in a WebSocket message of its own. */
static void dripping(struct sim_conn *c)
{
    AUTO(buf) stanza = {0}, frame = {0};

    wa_node_encode(begin(c, "ib"), &stanza);
    for (int i = 0; i < 20; i++)
        if (wa_transport_seal(&c->transport, buf_slice(&stanza), &frame) != OK)
            door_failed("seal", err_trail());
    for (size_t i = 0; i < frame.len; i++)
        hostile_write(c, slice_of(frame.data + i, 1));
}

/* ---- stanzas that are too much ---- */

static void bomb(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *ib = begin(c, "ib");

    wa_node_set_bytes(ib, slice_of(arena_alloc(arena, BOMB_BYTES), BOMB_BYTES));
    memset((uint8_t *)ib->bytes.data, 0, BOMB_BYTES);
    send_small(c, ib);
    arena_done(arena);
}

static void deep(struct sim_conn *c)
{
    AUTO(buf) stanza = {0};

    buf_put_u8(&stanza, 0);
    for (int i = 0; i < DEEP; i++)
        buf_put(&stanza, SLICE("\xf8\x02\x03")); /* a list of two: a tag, and the next one */
    buf_put(&stanza, SLICE("\xf8\x01\x03"));
    hostile_seal(c, buf_slice(&stanza));
}

static void many_attributes(struct sim_conn *c)
{
    AUTO(buf) stanza = {0};

    buf_put(&stanza, SLICE("\0\xf9\xff\xff\x03"));
    for (int i = 0; i < UINT16_MAX - 1; i++)
        buf_put_u8(&stanza, 5);
    hostile_seal(c, buf_slice(&stanza));
}

static unsigned person; /* a number that was not used before */

static struct wa_jid somebody(struct arena *arena, enum wa_server server)
{
    return wa_jid_of(server, arena_printf(arena, "%u", 900000000u + person++), 0);
}

static struct wa_node *notification(struct sim_conn *c, const char *type)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *n = begin(c, "notification");

    wa_node_set_text(n, arena, "type", type);
    wa_node_set(n, arena, "id", sim_new_id(c->relay));
    return n;
}

static void add_people(struct wa_node *parent, struct arena *arena, const char *tag, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct wa_node *p = wa_node_add(parent, arena, tag);
        wa_node_set_jid(p, arena, "jid", somebody(arena, WA_SERVER_LID));
        wa_node_set_jid(p, arena, "phone_number", somebody(arena, WA_SERVER_USER));
    }
}

static void many_members(struct sim_conn *c)
{
    struct wa_node *n = notification(c, "w:gp2");

    add_people(wa_node_add(n, &c->relay->arena, "add"), &c->relay->arena, "participant", MANY);
    send_node(c, n);
}

/* The same members in a frame a hundredth as long. */
static void members_compressed(struct sim_conn *c)
{
    struct wa_node *n = notification(c, "w:gp2");

    add_people(wa_node_add(n, &c->relay->arena, "add"), &c->relay->arena, "participant", MANY);
    send_small(c, n);
}

static struct wa_node *receipt(struct sim_conn *c, const char *type)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *n = wa_node_new(arena, "receipt");

    wa_node_set(n, arena, "id", sim_new_id(c->relay));
    wa_node_set_text(n, arena, "type", type);
    wa_node_set_jid(n, arena, "from", somebody(arena, WA_SERVER_LID));
    return n;
}

static void many_ids(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;

    begin(c, "receipt");
    struct wa_node *n = receipt(c, "read"), *list = wa_node_add(n, arena, "list");
    for (unsigned i = 0; i < MANY; i++)
        wa_node_set(wa_node_add(list, arena, "item"), arena, "id",
                    arena_printf(arena, "3EB0%u", person++));
    send_small(c, n);
}

static void many_readers(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;

    begin(c, "receipt");
    struct wa_node *n = receipt(c, "read"), *users = wa_node_add(n, arena, "participants");
    wa_node_set(users, arena, "key", SLICE("3EB0AA"));
    add_people(users, arena, "user", MANY);
    send_small(c, n);
}

static void many_dirty_bits(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *ib = begin(c, "ib");

    for (unsigned i = 0; i < MANY; i++) {
        struct wa_node *dirty = wa_node_add(ib, arena, "dirty");
        wa_node_set_text(dirty, arena, "type", "groups");
        wa_node_set_text(dirty, arena, "timestamp", "1");
    }
    send_small(c, ib);
}

static void many_pings(struct sim_conn *c)
{
    for (int i = 0; i < 2000; i++) {
        struct wa_node *iq = begin(c, "iq");
        wa_node_set_text(iq, &c->relay->arena, "type", "get");
        wa_node_set_text(iq, &c->relay->arena, "xmlns", "urn:xmpp:ping");
        send_node(c, iq);
    }
}

/* ---- messages that cannot be read ---- */

static struct slice noise_of(struct arena *arena, size_t n)
{
    uint8_t *bytes = arena_alloc(arena, n);

    crypto_random(bytes, n);
    return slice_of(bytes, n);
}

static void put_key(struct buf *out, uint32_t field, struct arena *arena)
{
    AUTO(buf) typed = {0};

    buf_put_u8(&typed, 5);
    buf_put(&typed, noise_of(arena, CRYPTO_KEY));
    wa_pb_put_bytes(out, field, buf_slice(&typed));
}

/* A prekey message that costs the whole agreement of keys before it turns out to be noise. */
static struct slice false_prekey_message(struct arena *arena)
{
    AUTO(buf) inner = {0}, outer = {0};

    buf_put_u8(&inner, 0x33);
    put_key(&inner, 1, arena);
    wa_pb_put_int(&inner, 2, 0);
    wa_pb_put_int(&inner, 3, 0);
    wa_pb_put_bytes(&inner, 4, noise_of(arena, 16));
    buf_put(&inner, noise_of(arena, 8));
    buf_put_u8(&outer, 0x33);
    put_key(&outer, 2, arena);
    put_key(&outer, 3, arena);
    wa_pb_put_bytes(&outer, 4, buf_slice(&inner));
    wa_pb_put_int(&outer, 5, 7);
    wa_pb_put_int(&outer, 6, 1);
    return arena_dup(arena, buf_slice(&outer));
}

static void send_unreadable(struct sim_conn *c, unsigned encs, bool offline)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *n = begin(c, "message");

    n->attr_count = 0;
    wa_node_set(n, arena, "id", sim_new_id(c->relay));
    wa_node_set_text(n, arena, "type", "text");
    wa_node_set_jid(n, arena, "from", somebody(arena, WA_SERVER_LID));
    if (offline) wa_node_set_text(n, arena, "offline", "0");
    for (unsigned i = 0; i < encs; i++) {
        struct wa_node *enc = wa_node_add(n, arena, "enc");
        wa_node_set_text(enc, arena, "v", "2");
        wa_node_set_text(enc, arena, "type", "pkmsg");
        wa_node_set_bytes(enc, false_prekey_message(arena));
    }
    send_node(c, n);
}

static void many_encs(struct sim_conn *c) { send_unreadable(c, MANY, false); }

static void endless_backlog(struct sim_conn *c)
{
    struct wa_node *ib = begin(c, "ib");

    wa_node_set_text(wa_node_add(ib, &c->relay->arena, "offline_preview"), &c->relay->arena,
                     "count", "4000000000");
    send_node(c, ib);
    for (int i = 0; i < 100; i++)
        send_unreadable(c, 1, true);
}

/* ---- prekeys, codes ---- */

static void endless_prekeys(struct sim_conn *c)
{
    for (int i = 0; i < 20; i++) {
        struct wa_node *n = notification(c, "encrypt");
        wa_node_set_text(wa_node_add(n, &c->relay->arena, "count"), &c->relay->arena, "value", "0");
        send_node(c, n);
    }
}

static void endless_refs(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *iq = begin(c, "iq");

    wa_node_set_text(iq, arena, "type", "set");
    wa_node_set_text(iq, arena, "xmlns", "md");
    wa_node_set(iq, arena, "id", sim_new_id(c->relay));
    struct wa_node *pair = wa_node_add(iq, arena, "pair-device");
    for (unsigned i = 0; i < MANY; i++)
        wa_node_set_bytes(wa_node_add(pair, arena, "ref"), noise_of(arena, i % 100 ? 24 : 10000));
    send_node(c, iq);
}

/* ---- in the name of others: accounts of this server that the link is not for ---- */

static void forged(struct sim_conn *c)
{
    static const char *const kinds[] = {"account_sync", "devices", "encrypt", "contacts",
                                        "privacy_token"};
    struct arena *arena = &c->relay->arena;
    struct wa_jid honest = wa_jid_of(WA_SERVER_USER, SLICE(HOSTILE_HONEST), 0),
                  friend = wa_jid_of(WA_SERVER_USER, SLICE(HOSTILE_FRIEND), 0);

    begin(c, "receipt");
    struct wa_node *n = receipt(c, "read");
    n->attr_count = 0;
    wa_node_set_text(n, arena, "id", hostile_message_id);
    wa_node_set_text(n, arena, "type", "read");
    wa_node_set_jid(n, arena, "from", friend);
    wa_node_set_jid(n, arena, "to", honest);
    wa_node_set_jid(n, arena, "recipient", honest);
    send_node(c, n);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        n = notification(c, kinds[i]);
        n->attr_count = 0;
        wa_node_set_text(n, arena, "type", kinds[i]);
        wa_node_set(n, arena, "id", sim_new_id(c->relay));
        wa_node_set_jid(n, arena, "from", i % 2 ? friend : honest);
        wa_node_set_jid(n, arena, "to", honest);
        wa_node_add(n, arena, i == 2 ? "identity" : "devices");
        send_node(c, n);
    }
}

const struct strike strikes[] = {
    {"handshake: a chain signed by a stranger", .chain = chain_of_stranger,
     .reason = "certificate"},
    {"handshake: a chain for another key", .chain = chain_for_another, .reason = "certificate"},
    {"handshake: an expired chain", .chain = chain_expired, .reason = "certificate"},
    {"handshake: no chain", .chain = chain_of_nothing, .reason = "certificate"},
    {"handshake: 60 KB of noise as chain", .chain = chain_of_noise, .reason = "protocol"},
    {"handshake: keys in clear", mangle_in_clear, .reason = "protocol"},
    {"handshake: no static key", mangle_without_static, .reason = "protocol"},
    {"handshake: no certificate", mangle_without_certificate, .reason = "protocol"},
    {"handshake: a key of low order", mangle_low_order, .reason = "protocol"},
    {"handshake: our own kind of hello", mangle_client_hello, .reason = "protocol"},
    {"handshake: 16 MiB announced", mangle_huge, .reason = "protocol"},
    {"16 MiB of noise", .strike = large_noise, .reason = "protocol"},
    {"empty frames", .strike = empty_frames, .reason = "protocol"},
    {"64 MiB of zeros, deflated", .strike = bomb, .reason = "protocol"},
    {"100,000 nodes deep", .strike = deep, .reason = "protocol"},
    {"32,767 attributes", .strike = many_attributes, .reason = "protocol"},
    {"a frame of 16 MiB without end", .strike = unfinished, .times = 1, .is_silent = true},
    {"stanzas of 16 MiB", .strike = large_stanza},
    {"a byte a message", .strike = dripping},
    {"60,000 members", .strike = many_members},
    {"60,000 members, deflated", .strike = members_compressed},
    {"60,000 ids in a receipt", .strike = many_ids},
    {"60,000 readers in a receipt", .strike = many_readers},
    {"60,000 dirty bits", .strike = many_dirty_bits},
    {"2,000 pings at once", .strike = many_pings},
    {"60,000 prekey messages in one", .strike = many_encs},
    {"a backlog without end", .strike = endless_backlog},
    {"prekeys asked for without end", .strike = endless_prekeys},
    {"in the name of other accounts", .strike = forged},
    {"60,000 codes", .strike = endless_refs, .phase = SIM_PAIRING},
};
const size_t strike_count = ARRAY_LEN(strikes);
