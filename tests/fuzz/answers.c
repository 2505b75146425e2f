/* What a hostile server answers to what we ask. Byte 0 chooses what is under way: a message to
 * somebody whose devices and keys we do not know yet, a pairing, an upload of keys, the end, a
 * message that was sent and may be asked for again (3EB01 to 888, whose device 0 has a session and
 * device 2 an identity, the bytes IDENTITY), one that only a phone without a session has, a new
 * signed key. Then blocks of a length byte pair (big endian) and one encoded node each; an iq that
 * answers and has no id gets that of the oldest question, which a fuzzer could not know. Signatures
 * are right by decree. */
#include "proto/base/reader.h"
#include "proto/client/ask_phone.h"
#include "proto/client/bundles.h"
#include "proto/client/iq.h"
#include "proto/client/link.h"
#include "proto/client/mapping.h"
#include "proto/client/pair_qr.h"
#include "proto/client/prekeys.h"
#include "proto/client/signed_prekey.h"
#include "proto/client/stanzas.h"
#include "tests/fuzz/decree.h"
#include "tests/fuzz/online.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what is under way ---- */

static struct wa_text text_to(struct wa_jid pn, uint64_t operation, struct slice id)
{
    return (struct wa_text){
        .operation = operation, .id = id, .to.pn = pn, .text = SLICE("how are you")};
}

static void send_texts(struct wa_client *c)
{
    struct wa_jid known = wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0),
                  quoted = wa_jid_of(WA_SERVER_LID, SLICE("888"), 0);
    struct wa_text first = text_to(known, 1, SLICE("3EB01")),
                   second = text_to(wa_jid_of(WA_SERVER_USER, SLICE("15550003333"), 0), 2,
                                    SLICE("3EB02"));

    second.quoted_id = SLICE("3EB00");
    second.quoted_author = quoted;
    second.mentions = &quoted;
    second.mention_count = 1;
    if (wa_client_send_text(c, &first, c->now) != OK) err_clear();
    if (wa_client_send_text(c, &second, c->now) != OK) err_clear();
}

static void pair(struct wa_client *c)
{
    c->account.paired = false;
    c->state = WA_CLIENT_PAIRING;
    c->phase = WA_PHASE_ENTERING;
}

static void upload(struct wa_client *c)
{
    AUTO(arena) arena = {0};

    wa_arena_set(c, &arena);
    if (wa_prekeys_check(c) != OK) err_clear();
    wa_arena_set(c, NULL);
}

static void log_out(struct wa_client *c)
{
    if (wa_client_logout(c, c->now) != OK) err_clear();
}

static void read_one(struct wa_client *c)
{
    struct slice id = SLICE("3EB0AA");
    struct wa_read read = {
        .chat.lid = wa_jid_of(WA_SERVER_LID, SLICE("888"), 0), .ids = &id, .id_count = 1};

    read.author = read.chat;
    if (wa_client_mark_read(c, &read, c->now) != OK) err_clear();
}

static const struct wa_jid us = {.server = WA_SERVER_LID, .user = SLICE("777")},
                           peer = {.server = WA_SERVER_LID, .user = SLICE("888")};

/* The peer's device, its identity the bytes IDENTITY; what it signed is right by decree. */
static void meet(struct wa_client *c, uint16_t device)
{
    struct wa_jid jid = wa_jid_of(WA_SERVER_LID, peer.user, device);
    struct wa_bundle bundle = {.registration_id = 0x01020304};

    memset(bundle.signed_prekey.bytes, 'S', CRYPTO_KEY);
    memcpy(bundle.identity.bytes, "IDENTITYIDENTITYIDENTITYIDENTITY", CRYPTO_KEY);
    must(wa_bundle_install(c, &jid, &bundle));
}

/* The host holds a message of this author in the chat with the peer. */
static void hold(struct wa_client *c, const struct wa_jid *author, struct wa_message *m)
{
    struct wa_event e = {.kind = WA_EVENT_MESSAGE};

    m->time_s = c->now / 1000;
    must(wa_party_of(c, &peer, &m->chat));
    must(wa_party_of(c, author, &m->author));
    e.message = *m;
    wa_emit(c, &e);
}

static void have_sent(struct wa_client *c)
{
    AUTO(arena) arena = {0};
    struct wa_address companion = {.name = SLICE("888@lid"), .device = 2};
    struct wa_message m = {
        .from_me = true, .id = SLICE("3EB01"), .kind = WA_KIND_TEXT, .raw = SLICE("\x0a\x03hey")};

    wa_arena_set(c, &arena);
    meet(c, 0);
    meet(c, companion.device);
    must(wa_session_delete(&c->keystore, c->arena, &companion));
    hold(c, &us, &m);
    wa_arena_set(c, NULL);
}

static void ask_phone(struct wa_client *c)
{
    AUTO(arena) arena = {0};
    struct wa_message m = {.id = SLICE("3EB0BB"), .waiting = true};
    struct wa_info info = {.id = m.id, .author_jid = peer, .time_s = c->now / 1000};

    wa_arena_set(c, &arena);
    hold(c, &peer, &m);
    info.chat = m.chat;
    info.author = m.author;
    must(wa_ask_phone(c, &info, 0));
    must(on_ask_due(c));
    wa_arena_set(c, NULL);
}

static void rotate(struct wa_client *c)
{
    AUTO(arena) arena = {0};

    wa_arena_set(c, &arena);
    c->account.signed_prekey_id = WA_SIGNED_PREKEYS_KEPT;
    must(on_rotation_due(c));
    wa_arena_set(c, NULL);
}

static void (*const beginnings[])(struct wa_client *c) = {send_texts, pair,      upload,    log_out,
                                                          read_one,   have_sent, ask_phone, rotate};

/* ---- answers ---- */

static bool answers(const struct wa_node *node)
{
    struct slice type = wa_node_text(node, "type");

    return slice_is(node->tag, "iq") && (slice_is(type, "result") || slice_is(type, "error"));
}

static void address(struct wa_client *c, struct wa_node *node)
{
    if (!answers(node) || list_empty(&c->queries) || wa_node_text(node, "id").len) return;

    const struct wa_query *q = LIST_ENTRY(c->queries.next, struct wa_query, node);
    wa_node_set(node, c->arena, "id", arena_printf(c->arena, "%u-%u", c->iq_prefix, q->number));
}

static void stanza(struct wa_client *c, struct fake_host *h, struct slice bytes)
{
    AUTO(arena) arena = {0};
    struct wa_node *node;

    fake_turn_open(h);
    wa_arena_set(c, &arena);
    if (wa_node_decode(bytes, &arena, &node) == OK) {
        wa_stanza_fn *handler = wa_stanza_handler(node->tag);
        address(c, node);
        if (handler && wa_is_fatal(handler(c, node))) abort();
    }
    wa_arena_set(c, NULL);
    err_clear();
    fake_turn_close(h);
    fake_commit_all(h);
}

static void wait_a_second(struct wa_client *c, struct fake_host *h)
{
    fake_turn_open(h);
    must(wa_client_tick(c, c->now + 1000));
    fake_turn_close(h);
    fake_commit_all(h);
}

static void run(struct reader *r)
{
    AUTO(arena) arena = {0};
    struct fake_host h;

    fake_host_init(&h, 1);
    h.on_send = take;
    fake_turn_open(&h);
    struct wa_client *c = online(&h, &arena);
    fake_turn_close(&h);
    fake_turn_open(&h);
    beginnings[reader_u8(r) % ARRAY_LEN(beginnings)](c);
    fake_turn_close(&h);
    fake_commit_all(&h);
    while (reader_left(r) > 2) {
        size_t n = reader_be16(r);
        stanza(c, &h, reader_bytes(r, n < reader_left(r) ? n : reader_left(r)));
        wait_a_second(c, &h);
    }
    wa_client_free(c);
    fake_host_done(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    struct reader r = reader_of(slice_of(data, size));

    if (!started) crypto_start();
    started = true;
    if (size > 2) run(&r);
    return 0;
}
