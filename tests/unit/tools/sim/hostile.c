/* A client that is logged in and says anything: the relay answers, refuses or ends the stream, but
 * it lives, and so do the phones. */
#include "tests/unit/tools/sim/world.h"

static uint64_t state;

static uint32_t dice(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

/* Half of the tags are those the relay looks for. */
static const char *const tags[] = {"iq",
                                   "message",
                                   "receipt",
                                   "ack",
                                   "presence",
                                   "chatstate",
                                   "call",
                                   "ib",
                                   "query",
                                   "participants",
                                   "to",
                                   "enc",
                                   "key",
                                   "user",
                                   "list",
                                   "usync",
                                   "devices",
                                   "lid",
                                   "contact",
                                   "skey",
                                   "rotate",
                                   "digest",
                                   "count",
                                   "registration",
                                   "identity",
                                   "id",
                                   "value",
                                   "signature",
                                   "tokens",
                                   "token",
                                   "sync",
                                   "collection",
                                   "patch",
                                   "item",
                                   "privacy",
                                   "retry",
                                   "keys",
                                   "offline_batch",
                                   "pair-device",
                                   "remove-companion-device",
                                   "device-identity",
                                   "tctoken",
                                   "x"};
static const char *const keys[] = {
    "id",     "type",        "to",        "from",     "xmlns", "jid",     "v",    "count",
    "t",      "participant", "recipient", "category", "class", "version", "name", "addressing_mode",
    "action", "pn_jid",      "code",      "error"};
static const char *const values[] = {"get",       "set",
                                     "result",    "error",
                                     "encrypt",   "usync",
                                     "w:g2",      "md",
                                     "privacy",   "w:p",
                                     "text",      "media",
                                     "retry",     "read",
                                     "peer",      "pkmsg",
                                     "msg",       "skmsg",
                                     "2",         "0",
                                     "-1",        "18446744073709551616",
                                     "lid",       "pn",
                                     "block",     "message",
                                     "receipt",   "w:sync:app:state",
                                     "blocklist", "subscribe",
                                     "available", "regular_low",
                                     "M1"};

static void put_random_jid(struct companion *c, struct wa_node *n, const char *key)
{
    static const char *const users[] = {"15550001111",
                                        "915550001111",
                                        "15550002222",
                                        "",
                                        "status",
                                        "120363000000000001",
                                        "99999999999999999999999999"};
    static const enum wa_server servers[] = {WA_SERVER_USER, WA_SERVER_LID, WA_SERVER_GROUP,
                                             WA_SERVER_BROADCAST, WA_SERVER_NEWSLETTER};

    wa_node_set_jid(n, &c->arena, key,
                    wa_jid_of(servers[dice(ARRAY_LEN(servers))],
                              slice_text(users[dice(ARRAY_LEN(users))]), dice(3)));
}

static void fill(struct companion *c, struct wa_node *n, int depth)
{
    static const uint8_t bytes[2500] = {5, 1, 2, 3};
    static const size_t lengths[] = {0, 1, 2, 3, 4, 31, 32, 33, 63, 64, 65, 2500};

    for (uint32_t i = dice(6); i > 0; i--) {
        const char *key = keys[dice(ARRAY_LEN(keys))];

        if (dice(3) == 0)
            put_random_jid(c, n, key);
        else
            wa_node_set_text(n, &c->arena, key, values[dice(ARRAY_LEN(values))]);
    }
    if (depth > 4 || dice(3) == 0) {
        if (dice(2)) wa_node_set_bytes(n, slice_of(bytes, lengths[dice(ARRAY_LEN(lengths))]));
        return;
    }
    for (uint32_t i = dice(4); i > 0; i--)
        fill(c, wa_node_add(n, &c->arena, tags[dice(ARRAY_LEN(tags))]), depth + 1);
}

static struct wa_node *random_stanza(struct companion *c)
{
    struct wa_node *n = wa_node_new(&c->arena, tags[dice(dice(8) ? 8 : ARRAY_LEN(tags))]);

    /* Often enough it gets past the first rules. */
    if (dice(2)) wa_node_set(n, &c->arena, "id", SLICE("M1"));
    if (wa_node_is(n, "iq") && dice(4)) {
        static const char *const spaces[] = {
            "encrypt", "usync", "w:g2", "md", "privacy", "blocklist", "w:sync:app:state", "w:mex"};

        wa_node_set_text(n, &c->arena, "type", dice(2) ? "get" : "set");
        wa_node_set_text(n, &c->arena, "xmlns", spaces[dice(ARRAY_LEN(spaces))]);
    }
    if (dice(2)) put_random_jid(c, n, "to");
    if (wa_node_is(n, "message")) wa_node_set(n, &c->arena, "type", SLICE("text"));
    fill(c, n, 0);
    return n;
}

static void say_anything(uint64_t seed)
{
    struct world *w = world_new();
    struct sim_phone *own = world_phone(w, "15550001111"), *other = world_phone(w, "15550002222");
    struct sim_group *g =
        sim_group_new(&w->relay.people, SLICE("120363000000000001"), SLICE("Group"));
    struct companion *c = companion_ready(w, own);
    char id[SIM_ID_MAX];

    state = seed;
    sim_member_add(g, own->account);
    sim_member_add(g, other->account);
    for (int i = 0; i < 1500; i++) {
        companion_send(c, random_stanza(c));
        companion_skip(c);
        arena_reset(&c->arena);
        world_advance(w, 300);
        if (c->closed) {
            if (!sim_device_find(own->account, c->device)) break; /* it removed itself */
            companion_connect(c);
            companion_skip(c);
        }
    }
    cr_assert_eq(sim_phone_write(
                     other,
                     &(struct sim_writing){.to = SLICE("15550001111"), .text = SLICE("still here")},
                     id),
                 OK);
    world_settle(w);
    cr_expect_not_null(sim_phone_letter(own, slice_text(id)));
    companion_free(c);
    world_free(w);
}

Test(hostile, says_anything, .timeout = 100)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        say_anything(seed);
}

/* Bytes that come out of Noise but are no stanza. */
Test(hostile, sends_what_does_not_decode)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *w = world_new();
        struct companion *c = companion_ready(w, world_phone(w, "15550001111"));
        AUTO(buf) frame = {0};
        uint8_t junk[40];

        state = seed;
        for (size_t i = 0; i < sizeof junk; i++)
            junk[i] = dice(256);
        junk[0] = dice(4);
        cr_assert_eq(wa_transport_seal(&c->transport, slice_of(junk, dice(40)), &frame), OK);
        sim_conn_bytes(c->conn, buf_slice(&frame), w->now_ms);
        companion_settle(c);
        companion_free(c);
        world_free(w);
    }
}
