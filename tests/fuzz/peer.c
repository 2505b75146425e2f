/* What a paired person, a device of ours, or a member of a group can write: the input is sealed by
 * a real Signal session, so all of it is read as content. Byte 0 says who writes, the rest is the
 * message without its padding; blocks of a length byte pair (big endian) are messages one after
 * another in the same session. If byte 0 says so, messages without content came before them (id
 * W0 of a person, W1 in the group, W2 of a companion of ours), which our phone was asked for: so
 * what it writes can be an answer. Or somebody writes whom we know by his number alone, with keys
 * in between that never came, and from the second message on tells his LID: what we have of him
 * moves. */
#include "proto/base/reader.h"
#include "proto/client/ask_phone.h"
#include "proto/client/link.h"
#include "proto/client/pb.h"
#include "proto/client/stanzas.h"
#include "proto/signal/padding.h"
#include "tests/fuzz/online.h"
#include "tests/support/signal_party.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGES_MAX = 8, PHONE = 2, LOST = 20 /* of a world: their keys are kept and moved */ };
/* Byte 0: the two lowest bits are one of the first four writers. */
enum { GROUP = 4, STATUS = 8, PEER = 16, WAITING = 32, NUMBER = 64, NAMED = 128 };

static const struct writer {
    const char *name, *from;
    uint32_t device;
    bool own;
} writers[] = {
    {"888@lid", "888@lid", 0, false},
    {"888@lid", "888:2@lid", 2, false},
    {"777@lid", "777@lid", 0, true},   /* our phone */
    {"777@lid", "777:3@lid", 3, true}, /* a companion of ours */
    {"15550004444@s.whatsapp.net", "15550004444@s.whatsapp.net", 0, false},
};
static const struct slice group = {(const uint8_t *)"120363@g.us", 11};

static size_t writer_of(uint8_t how) { return how & NUMBER ? ARRAY_LEN(writers) - 1 : how & 3; }

static struct wa_address us(void)
{
    return (struct wa_address){.name = SLICE("777@lid"), .device = 5};
}

/* The writer has our bundle, as the server would give it. */
static void meet(struct party *p, struct wa_client *c, struct arena *arena)
{
    struct wa_address to = us();
    struct wa_signed_prekey skey;
    bool changed;

    must(wa_signed_prekey_load(&c->keystore, arena, 1, &skey));
    struct wa_bundle bundle = {.registration_id = c->account.registration_id,
                               .identity = c->account.identity.public,
                               .signed_prekey_id = 1,
                               .signed_prekey = skey.pair.public};
    memcpy(bundle.signature, skey.signature, sizeof(bundle.signature));
    must(wa_session_from_bundle(&p->ks, arena, &to, &bundle, &changed));
}

static void add_enc(struct wa_node *stanza, struct arena *arena, const char *type,
                    struct slice bytes)
{
    struct wa_node *enc = wa_node_add(stanza, arena, "enc");

    wa_node_set_text(enc, arena, "v", "2");
    wa_node_set_text(enc, arena, "type", type);
    wa_node_set_bytes(enc, bytes);
}

static struct wa_node *envelope(uint8_t how, struct arena *arena, struct slice id)
{
    struct wa_node *n = wa_node_new(arena, how & STATUS ? "status" : "message");
    const struct writer *w = &writers[writer_of(how)];
    struct slice from = slice_text(w->from);
    struct wa_jid author = {0}, lid = wa_jid_of(WA_SERVER_LID, SLICE("444"), 0);

    must(wa_jid_parse(from, &author));
    wa_node_set(n, arena, "id", id);
    wa_node_set_text(n, arena, "t", "1700000000");
    wa_node_set_text(n, arena, "type", "text");
    if (how & PEER) wa_node_set_text(n, arena, "category", "peer");
    if (how & GROUP) {
        wa_node_set_jid(n, arena, "from", wa_jid_of(WA_SERVER_GROUP, SLICE("120363"), 0));
        wa_node_set_jid(n, arena, "participant", author);
    } else {
        wa_node_set_jid(n, arena, "from", author);
        if (w->own)
            wa_node_set_jid(n, arena, "recipient", wa_jid_of(WA_SERVER_LID, SLICE("888"), 0));
    }
    if (how & NUMBER && how & NAMED)
        wa_node_set_jid(n, arena, how & GROUP ? "participant_lid" : "sender_lid", lid);
    return n;
}

static unsigned lost_count;

/* Content with the group's key behind it; a message and a key of the group are lost on the way. */
static struct slice with_key(struct party *p, struct slice plain, struct arena *arena)
{
    AUTO(buf) out = {0};
    AUTO(buf) inside = {0};
    struct wa_address to = us();
    struct slice key, lost;
    struct wa_encrypted e;

    if (lost_count++ < LOST) {
        must(wa_session_encrypt(&p->ks, arena, &to, SLICE("lost"), &e));
        must(wa_group_encrypt(&p->ks, arena, group, &p->address, SLICE("lost"), &lost));
    }
    must(wa_group_distribute(&p->ks, arena, group, &p->address, &key));
    wa_pb_put_bytes(&inside, 1, group);
    wa_pb_put_bytes(&inside, 2, key);
    buf_put(&out, plain);
    wa_pb_put_bytes(&out, 2, buf_slice(&inside));
    return arena_dup(arena, buf_slice(&out));
}

/* A group's message brings its sender key along; the plaintext is the same in both parts. */
static struct wa_node *letter(struct party *p, uint8_t how, struct slice plain, unsigned number,
                              struct arena *arena)
{
    struct wa_node *n = envelope(how, arena, arena_printf(arena, "M%u", number));
    if (how & NUMBER) plain = with_key(p, plain, arena);
    struct slice padded = wa_pad(&p->ks, arena, plain), cipher;
    struct wa_address to = us();
    struct wa_encrypted e;

    must(wa_session_encrypt(&p->ks, arena, &to, padded, &e));
    add_enc(n, arena, e.is_prekey ? "pkmsg" : "msg", e.bytes);
    if (how & GROUP && wa_group_encrypt(&p->ks, arena, group, &p->address, padded, &cipher) == OK)
        add_enc(n, arena, "skmsg", cipher);
    return n;
}

/* So that a group's message can be opened at all. */
static void introduce_group(struct party *p, struct wa_client *c, struct arena *arena)
{
    struct slice key;

    must(wa_group_distribute(&p->ks, arena, group, &p->address, &key));
    must(wa_group_process(&c->keystore, arena, group, &p->address, key));
}

static void deliver(struct wa_client *c, struct fake_host *h, const struct wa_node *n)
{
    struct arena arena = {0};

    wa_arena_set(c, &arena);
    fake_turn_open(h);
    wa_stanza_fn *handler = wa_stanza_handler(n->tag);
    if (wa_is_fatal(handler(c, n))) abort();
    fake_turn_close(h);
    fake_commit_all(h);
    wa_arena_set(c, NULL);
    arena_done(&arena);
}

/* ---- the world: made anew now and then, for agreeing on keys takes longer than most inputs ----
 */

enum { INPUTS = 500 };

static struct fake_host host;
static struct wa_client *client;
static struct party parties[ARRAY_LEN(writers)];
static unsigned letters;

static void open_world(void)
{
    struct arena arena = {0};

    fake_host_init(&host, 1);
    lost_count = 0;
    host.on_send = take;
    fake_turn_open(&host);
    client = online(&host, &arena);
    for (size_t i = 0; i < ARRAY_LEN(writers); i++) {
        party_init(&parties[i], writers[i].name, writers[i].device, 11 + i);
        parties[i].address.own = writers[i].own;
        meet(&parties[i], client, &arena);
        introduce_group(&parties[i], client, &arena);
    }
    wa_arena_set(client, NULL);
    fake_turn_close(&host);
    fake_commit_all(&host);
    /* Our phone has written, as it has after pairing: we can ask it. */
    deliver(client, &host, letter(&parties[PHONE], PHONE | PEER, SLICE("\x0a"), letters++, &arena));
    arena_done(&arena);
}

static void close_world(void)
{
    for (size_t i = 0; i < ARRAY_LEN(writers); i++)
        party_done(&parties[i]);
    wa_client_free(client);
    fake_host_done(&host);
}

static void drop(struct wa_key key)
{
    fake_turn_open(&host);
    host.host.save(host.host.ctx, key, SLICE_NONE);
    fake_turn_close(&host);
    fake_commit_all(&host);
}

/* ---- what our phone alone can still give us ---- */

static const struct unread {
    uint8_t how;
    const char *id, *chat, *author;
} unread[] = {
    {0, "W0", "888@lid", "888@lid"},
    {GROUP, "W1", "120363@g.us", "888@lid"},
    {3, "W2", "888@lid", "777@lid"},
};

/* As if it had never come: an earlier input may have answered it. */
static void forget(const struct unread *u, struct arena *arena)
{
    struct slice name = arena_printf(arena, "%s%c%s", u->author, 0, u->id);

    drop((struct wa_key){WA_NS_MESSAGE, slice_text(u->chat), name});
}

static void ask_phone(struct arena *arena)
{
    for (size_t i = 0; i < ARRAY_LEN(unread); i++) {
        struct wa_node *n = envelope(unread[i].how, arena, slice_text(unread[i].id));
        wa_node_add(n, arena, "unavailable");
        forget(&unread[i], arena);
        deliver(client, &host, n);
    }
    client->now += 2 * 60 * 1000; /* there are so many questions an hour */
    wa_arena_set(client, arena);
    fake_turn_open(&host);
    must(on_ask_due(client));
    fake_turn_close(&host);
    fake_commit_all(&host);
    wa_arena_set(client, NULL);
}

/* We know the number alone again. */
static void forget_lid(void)
{
    drop((struct wa_key){WA_NS_LID, SLICE("15550004444@s.whatsapp.net"), SLICE("")});
    drop((struct wa_key){WA_NS_PN, SLICE("444@lid"), SLICE("")});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned inputs;
    struct arena arena = {0};

    if (inputs == 0) crypto_start();
    if (inputs % INPUTS == 0) {
        if (inputs) close_world();
        open_world();
    }
    inputs++;
    if (size == 0) return 0;
    if (data[0] & WAITING) ask_phone(&arena);
    if (data[0] & NAMED) forget_lid();
    struct party *p = &parties[writer_of(data[0])];
    struct reader r = reader_of(slice_of(data + 1, size - 1));
    for (unsigned i = 0; i < MESSAGES_MAX && reader_left(&r) > 2; i++) {
        size_t n = reader_be16(&r);
        struct slice plain = reader_bytes(&r, n < reader_left(&r) ? n : reader_left(&r));
        uint8_t how = i ? data[0] : data[0] & (uint8_t)~NAMED;
        deliver(client, &host, letter(p, how, plain, letters++, &arena));
        arena_reset(&arena);
        arena_reset(&p->arena);
    }
    arena_done(&arena);
    return 0;
}
