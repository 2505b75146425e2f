#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/client/account.h"
#include "proto/client/jobs.h"
#include "proto/client/pb.h"
#include "proto/signal/adv.h"
#include "tests/support/fake_server.h"
#include "tests/support/refusal.h"

#define FROM_888                                                                                   \
    "<message from=\"888:2@lid\" sender_pn=\"15550002222@s.whatsapp.net\" id=\"A1\" type=\"text\"" \
    " t=\"1700000001\" notify=\"Ann\"/>"
#define RECEIPT_888 "<receipt id=\"A1\" to=\"888:2@lid\" type=\"inactive\"/>"

static void start(struct world *w, struct party *peer)
{
    world_init_paired(w);
    world_login(w);
    party_init(peer, "888@lid", 2, 11);
    world_introduce(w, peer);
}

static void done(struct world *w, struct party *peer)
{
    party_done(peer);
    world_done(w);
}

static void serve(struct world *w, struct party *peer, const char *xml, struct slice message)
{
    struct wa_node *stanza = world_parse(w, xml);

    world_encrypt(w, peer, message, stanza);
    world_serve_node(w, stanza);
}

/* ---- small protobufs ---- */

static struct slice field(struct world *w, uint32_t number, struct slice bytes)
{
    AUTO(buf) b = {0};
    wa_pb_put_bytes(&b, number, bytes);
    return arena_dup(&w->arena, buf_slice(&b));
}

static struct slice protocol(struct world *w, unsigned type, uint32_t payload, struct slice bytes)
{
    AUTO(buf) b = {0};
    wa_pb_put_int(&b, 2, type);
    wa_pb_put_bytes(&b, payload, bytes);
    return field(w, 12, arena_dup(&w->arena, buf_slice(&b)));
}

static struct slice device_sent(struct world *w, const char *to, struct slice message)
{
    AUTO(buf) b = {0};
    wa_pb_put_bytes(&b, 1, slice_text(to));
    wa_pb_put_bytes(&b, 2, message);
    return field(w, 31, arena_dup(&w->arena, buf_slice(&b)));
}

static struct slice both(struct world *w, struct slice a, struct slice b)
{
    uint8_t *joined = arena_alloc(&w->arena, a.len + b.len);
    memcpy(joined, a.data, a.len);
    memcpy(joined + a.len, b.data, b.len);
    return slice_of(joined, a.len + b.len);
}

/* ---- tests ---- */

Test(message_in, decrypts_emits_and_sends_the_receipt_after_the_commit)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    w.hold = true;
    serve(&w, &peer, FROM_888, world_text(&w, "hello"));
    world_expect_quiet(&w);
    cr_assert_eq(w.h.undurable_sends, 1);
    w.hold = false;
    world_settle(&w);
    world_expect_event(&w, "mapping 15550002222@s.whatsapp.net 888@lid");
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id A1 \"hello\" by Ann");
    world_expect(&w, RECEIPT_888);
    world_expect_quiet(&w);
    done(&w, &peer);
}

Test(message_in, gives_a_held_message_its_receipt_and_nothing_else)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    struct wa_node *stanza = world_parse(&w, FROM_888);
    world_encrypt(&w, &peer, world_text(&w, "hello"), stanza);
    world_serve_node(&w, stanza);
    world_skip(&w);
    fake_events_skip(&w.h);
    size_t saves = w.h.saves;
    world_serve_node(&w, stanza);
    world_expect(&w, RECEIPT_888);
    world_expect_no_event(&w);
    cr_assert_eq(w.h.saves, saves, "nothing was written");
    done(&w, &peer);
}

/* The peer's session with us, to be put back: its next message then uses the same counter again. */
static struct buf *session_of(struct party *peer)
{
    char prefix[16];
    struct buf *value;
    struct slice key;
    size_t at = 0;

    snprintf(prefix, sizeof(prefix), "%d|", WA_SIGNAL_SESSION);
    while ((value = map_next(&peer->rows, &at, &key)))
        if (slice_starts_with(key, slice_text(prefix))) return value;
    return NULL;
}

Test(message_in, asks_again_for_another_message_under_a_used_counter)
{
    struct world w;
    struct party peer;
    AUTO(buf) before = {0};

    start(&w, &peer);
    serve(&w, &peer, FROM_888, world_text(&w, "hello"));
    buf_put(&before, buf_slice(session_of(&peer)));
    serve(&w, &peer,
          "<message from=\"888:2@lid\" id=\"A2\" type=\"text\" t=\"1700000002\" notify=\"Ann\"/>",
          world_text(&w, "read"));
    buf_reset(session_of(&peer));
    buf_put(session_of(&peer), buf_slice(&before));
    world_skip(&w);
    fake_events_skip(&w.h);
    serve(&w, &peer,
          "<message from=\"888:2@lid\" id=\"A3\" type=\"text\" t=\"1700000003\" notify=\"Ann\"/>",
          world_text(&w, "lost"));
    world_expect_event(&w, "message unknown 888@lid from 888@lid:2 id A3 by Ann waiting");
    cr_assert(strstr(world_next(&w), "<receipt id=\"A3\" to=\"888:2@lid\" type=\"retry\"><retry "));
    done(&w, &peer);
}

Test(message_in, does_not_ask_for_a_message_that_held_keys_alone)
{
    struct world w;
    struct party peer;
    AUTO(buf) skdm = {0};
    struct slice distribution;

    start(&w, &peer);
    cr_assert_eq(
        wa_group_distribute(&peer.ks, &w.arena, SLICE("120363@g.us"), &peer.address, &distribution),
        OK);
    wa_pb_put_bytes(&skdm, 1, SLICE("120363@g.us"));
    wa_pb_put_bytes(&skdm, 2, distribution);
    struct wa_node *stanza = world_parse(&w, FROM_888);
    world_encrypt(&w, &peer, field(&w, 2, buf_slice(&skdm)), stanza);
    for (int times = 0; times < 3; times++) {
        world_serve_node(&w, stanza);
        world_expect(&w, RECEIPT_888);
        world_expect_quiet(&w);
    }
    fake_event(&w.h); /* the mapping */
    world_expect_no_event(&w);
    done(&w, &peer);
}

Test(message_in, loses_nothing_when_a_crash_comes_before_the_commit)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    struct wa_node *stanza = world_parse(&w, FROM_888);
    world_encrypt(&w, &peer, world_text(&w, "hello"), stanza);
    w.hold = true;
    world_serve_node(&w, stanza);
    world_restart(&w);
    world_login(&w);
    world_serve_node(&w, stanza);
    world_expect_event(&w, "mapping 15550002222@s.whatsapp.net 888@lid");
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id A1 \"hello\" by Ann");
    world_expect(&w, RECEIPT_888);
    done(&w, &peer);
}

Test(message_in, keeps_the_raw_message_and_reads_a_quote)
{
    struct world w;
    struct party peer;
    AUTO(buf) m = {0};

    start(&w, &peer);
    struct slice context = both(&w, field(&w, 1, SLICE("Q9")), field(&w, 15, SLICE("777@lid")));
    wa_pb_put_bytes(&m, 1, SLICE("look"));
    wa_pb_put_bytes(&m, 17, context);
    serve(&w, &peer, FROM_888, field(&w, 6, buf_slice(&m)));
    fake_event(&w.h);
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id A1 \"look\" by Ann quotes Q9 "
                           "mentions 1");
    done(&w, &peer);
}

Test(message_in, files_our_own_words_from_the_phone_under_their_chat)
{
    struct world w;
    struct party phone;

    world_init_paired(&w);
    world_login(&w);
    party_init(&phone, "777@lid", 0, 7); /* that paired us */
    world_introduce(&w, &phone);
    serve(&w, &phone,
          "<message from=\"777@lid\" recipient=\"888@lid\" id=\"O1\" type=\"text\" "
          "t=\"1700000001\"/>",
          device_sent(&w, "888@lid", world_text(&w, "mine")));
    world_expect_event(&w, "message text 888@lid from 777@lid:0 id O1 \"mine\" ours");
    world_expect(&w, "<receipt id=\"O1\" to=\"777@lid\" type=\"sender\" recipient=\"888@lid\"/>");
    world_expect_quiet(&w);
    done(&w, &phone);
}

Test(message_in, does_not_let_others_put_words_in_our_mouth)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    serve(&w, &peer, FROM_888, device_sent(&w, "999@lid", world_text(&w, "forged")));
    fake_event(&w.h); /* the mapping */
    world_expect_no_event(&w);
    world_expect(&w, RECEIPT_888);
    done(&w, &peer);
}

Test(message_in, keeps_history_as_a_job_with_both_receipts)
{
    struct world w;
    struct party phone;
    struct wa_job job;

    world_init_paired(&w);
    world_login(&w);
    party_init(&phone, "777@lid", 0, 7); /* that paired us */
    world_introduce(&w, &phone);
    serve(&w, &phone,
          "<message from=\"777@lid\" category=\"peer\" id=\"H1\" type=\"text\" t=\"1700000001\"/>",
          protocol(&w, 5, 6, SLICE("notification")));
    fake_events_skip(&w.h);
    const struct buf *row = fake_row(&w.h, WA_NS_JOB, "", "1.H1");
    cr_assert(row);
    cr_assert_eq(wa_job_decode(buf_slice(row), &job), OK);
    cr_assert(job.kind == WA_JOB_HISTORY && slice_is(job.raw, "notification"));
    world_expect(&w, "<receipt id=\"H1\" to=\"15550001111@s.whatsapp.net\" type=\"hist_sync\"/>");
    world_expect(&w, "<receipt id=\"H1\" to=\"777@lid\" type=\"peer_msg\"/>");
    world_expect_quiet(&w);

    serve(&w, &phone,
          "<message from=\"777@lid\" category=\"peer\" id=\"K1\" type=\"text\" t=\"1700000001\"/>",
          protocol(&w, 6, 7, SLICE("keys")));
    cr_assert(fake_row(&w.h, WA_NS_JOB, "", "2.K1"));
    world_expect(&w, "<receipt id=\"K1\" to=\"777@lid\" type=\"peer_msg\"/>");
    world_expect_no_event(&w);
    done(&w, &phone);
}

Test(message_in, takes_no_history_from_a_stranger)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    serve(&w, &peer, FROM_888, protocol(&w, 5, 6, SLICE("notification")));
    cr_assert_eq(fake_row_count(&w.h, WA_NS_JOB), 0);
    fake_event(&w.h);
    world_expect_no_event(&w);
    world_expect(&w, RECEIPT_888);
    done(&w, &peer);
}

Test(message_in, follows_the_phone_to_lids)
{
    struct world w;
    struct party phone;
    AUTO(wa_account) a = {0};

    world_init_paired(&w);
    world_login(&w);
    party_init(&phone, "777@lid", 0, 7); /* that paired us */
    world_introduce(&w, &phone);
    serve(&w, &phone,
          "<message from=\"777@lid\" category=\"peer\" id=\"L1\" type=\"text\" t=\"1700000001\"/>",
          protocol(&w, 22, 23, SLICE("mappings")));
    cr_assert_eq(wa_account_decode(buf_slice(fake_row(&w.h, WA_NS_ACCOUNT, "", "")), &a), OK);
    cr_assert(a.lid_migrated);
    done(&w, &phone);
}

#define GROUP_MESSAGE                                                                              \
    "<message from=\"120363@g.us\" participant=\"888:2@lid\" "                                     \
    "participant_pn=\"15550002222@s.whatsapp.net\" addressing_mode=\"lid\" id=\"G%u\" "            \
    "type=\"text\" t=\"1700000001\" notify=\"Ann\"/>"

static struct wa_node *group_stanza(struct world *w, struct party *peer, unsigned n, bool with_key,
                                    const char *text)
{
    struct slice xml = arena_printf(&w->arena, GROUP_MESSAGE, n), distribution, sealed;
    struct wa_node *stanza = world_parse(w, arena_text(&w->arena, xml));
    AUTO(buf) skdm = {0};

    cr_assert_eq(wa_group_distribute(&peer->ks, &w->arena, SLICE("120363@g.us"), &peer->address,
                                     &distribution),
                 OK);
    wa_pb_put_bytes(&skdm, 1, SLICE("120363@g.us"));
    wa_pb_put_bytes(&skdm, 2, distribution);
    if (with_key) world_encrypt(w, peer, field(w, 2, buf_slice(&skdm)), stanza);
    cr_assert_eq(wa_group_encrypt(&peer->ks, &w->arena, SLICE("120363@g.us"), &peer->address,
                                  wa_pad(&peer->ks, &w->arena, world_text(w, text)), &sealed),
                 OK);
    /* The group part first: the pairwise one must be read before it all the same. */
    struct wa_node enc = {.tag = SLICE("enc")};
    wa_node_set_text(&enc, &w->arena, "v", "2");
    wa_node_set_text(&enc, &w->arena, "type", "skmsg");
    wa_node_set_bytes(&enc, sealed);
    struct wa_node *turned = world_parse(w, arena_text(&w->arena, xml));
    wa_node_add_node(turned, &w->arena, &enc);
    for (size_t i = 0; i < stanza->child_count; i++)
        wa_node_add_node(turned, &w->arena, &stanza->children[i]);
    return turned;
}

Test(message_in, reads_groups_with_the_key_that_comes_along)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    world_serve_node(&w, group_stanza(&w, &peer, 1, true, "all of you"));
    fake_event(&w.h);
    world_expect_event(&w, "message text 120363@g.us from 888@lid:2 id G1 \"all of you\" by Ann "
                           "group");
    world_expect(&w, "<receipt id=\"G1\" to=\"120363@g.us\" type=\"inactive\" "
                     "participant=\"888:2@lid\"/>");
    world_serve_node(&w, group_stanza(&w, &peer, 2, false, "again"));
    world_expect_event(&w, "message text 120363@g.us from 888@lid:2 id G2 \"again\" by Ann group");
    done(&w, &peer);
}

Test(message_in, waits_for_a_missing_sender_key_and_completes)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    world_serve_node(&w, group_stanza(&w, &peer, 1, false, "lost"));
    fake_event(&w.h);
    world_expect_event(&w, "message unknown 120363@g.us from 888@lid:2 id G1 by Ann group waiting");
    const char *retry = world_next(&w);
    cr_assert(strstr(retry, "<receipt id=\"G1\" to=\"120363@g.us\" type=\"retry\" "
                            "participant=\"888:2@lid\"><retry v=\"1\" count=\"1\" id=\"G1\" "
                            "t=\"1700000001\" error=\"11\"/><registration>[4 B]</registration>"
                            "</receipt>"),
              "%s", retry);
    world_expect(&w, "<ack class=\"message\" id=\"G1\" to=\"120363@g.us\" "
                     "participant=\"888:2@lid\" from=\"15550001111:5@s.whatsapp.net\"/>");
    cr_assert_eq(fake_row_count(&w.h, WA_NS_RETRY), 1);

    /* The answer: key and text in one pairwise message. */
    struct slice xml = arena_printf(&w.arena, GROUP_MESSAGE, 1), distribution;
    struct wa_node *stanza = world_parse(&w, arena_text(&w.arena, xml));
    AUTO(buf) skdm = {0};
    cr_assert_eq(
        wa_group_distribute(&peer.ks, &w.arena, SLICE("120363@g.us"), &peer.address, &distribution),
        OK);
    wa_pb_put_bytes(&skdm, 1, SLICE("120363@g.us"));
    wa_pb_put_bytes(&skdm, 2, distribution);
    world_encrypt(&w, &peer, both(&w, field(&w, 2, buf_slice(&skdm)), world_text(&w, "lost")),
                  stanza);
    world_serve_node(&w, stanza);
    world_expect_event(&w, "message text 120363@g.us from 888@lid:2 id G1 \"lost\" by Ann group "
                           "completes");
    world_expect(&w, "<receipt id=\"G1\" to=\"120363@g.us\" type=\"inactive\" "
                     "participant=\"888:2@lid\"/>");
    cr_assert_eq(fake_row_count(&w.h, WA_NS_RETRY), 0);
    world_serve_node(&w, group_stanza(&w, &peer, 2, false, "next"));
    world_expect_event(&w, "message text 120363@g.us from 888@lid:2 id G2 \"next\" by Ann group");
    done(&w, &peer);
}

Test(message_in, reports_a_new_identity)
{
    struct world w;
    struct party peer, reinstalled;

    start(&w, &peer);
    serve(&w, &peer, FROM_888, world_text(&w, "before"));
    fake_events_skip(&w.h);
    party_init(&reinstalled, "888@lid", 2, 99);
    world_introduce(&w, &reinstalled);
    serve(&w, &reinstalled,
          "<message from=\"888:2@lid\" id=\"A2\" type=\"text\" t=\"1700000002\"/>",
          world_text(&w, "after"));
    world_expect_event(&w, "identity 888@lid");
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id A2 \"after\"");
    party_done(&reinstalled);
    done(&w, &peer);
}

Test(message_in, refuses_a_companion_its_phone_does_not_vouch_for)
{
    struct world w;
    struct party peer, phone;
    struct slice answer, whole;
    uint8_t secret[32] = {1};
    struct wa_adv_grant grant = {.raw_id = 1, .key_index = 1, .timestamp = 1};
    struct wa_adv_pairing pairing;

    start(&w, &peer);
    party_init(&phone, "888@lid", 0, 50);
    answer = wa_adv_issue(&phone.ks, &w.arena, secret, &peer.identity.public, &grant);
    cr_assert_eq(wa_adv_accept(&peer.ks, &w.arena, secret, answer, &pairing), OK);
    whole = arena_dup(&w.arena, pairing.identity);
    ((uint8_t *)(uintptr_t)whole.data)[whole.len - 10] ^= 1;

    struct wa_node *forged = world_parse(&w, FROM_888), *good = world_parse(&w, FROM_888);
    world_encrypt(&w, &peer, world_text(&w, "hi"), forged);
    wa_node_add_node(good, &w.arena, &forged->children[0]);
    wa_node_set_bytes(wa_node_add(forged, &w.arena, "device-identity"), whole);
    wa_node_set_bytes(wa_node_add(good, &w.arena, "device-identity"), pairing.identity);
    world_serve_node(&w, forged);
    cr_assert(strstr(world_next(&w), "error=\"12\""));
    cr_assert(!fake_row(&w.h, WA_NS_SESSION, "888@lid", "2"));
    fake_events_skip(&w.h);
    world_serve_node(&w, good);
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id A1 \"hi\" by Ann completes");
    party_done(&phone);
    done(&w, &peer);
}

Test(message_in, nacks_only_what_decrypts_to_nothing_readable)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    serve(&w, &peer, FROM_888, SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
    world_expect(&w, "<ack class=\"message\" id=\"A1\" to=\"888:2@lid\" "
                     "from=\"15550001111:5@s.whatsapp.net\" error=\"491\"/>");
    done(&w, &peer);
}

Test(message_in, survives_stanzas_without_what_they_need)
{
    static const char *const xml[] = {
        "<message/>",
        "<message id=\"A\"/>",
        "<message from=\"888@lid\"/>",
        "<message from=\"120363@g.us\" id=\"A\" t=\"1\"><enc v=\"2\" type=\"skmsg\">[00]</enc>"
        "</message>",
        "<message from=\"120363@g.us\" participant=\"999@g.us\" id=\"A\" t=\"1\"/>",
        "<message from=\"888@lid\" id=\"A\" t=\"x\"><enc/></message>",
        "<message from=\"888@lid\" id=\"A\" t=\"1\"><enc v=\"2\" type=\"msg\"/></message>",
        "<message from=\"888@lid\" id=\"A\" t=\"1\"><enc v=\"2\" "
        "type=\"pkmsg\">[33]</enc></message>",
        "<message from=\"888@lid\" id=\"A\" t=\"1\"><enc v=\"2\" "
        "type=\"msmsg\">[00]</enc></message>",
        "<receipt/>",
        "<notification/>",
        "<ack/>",
        "<iq/>",
        "<ib/>",
        "<call/>",
        "<status/>",
        "<success/>",
        "<presence from=\"888@lid\"/>",
        "<receipt type=\"retry\" id=\"A\" "
        "from=\"888@lid\"/>",
        "<notification type=\"encrypt\" id=\"A\" from=\"@s.whatsapp.net\"/>",
        "<notification type=\"privacy_token\" id=\"A\" from=\"888@lid\"/>",
        "<ack class=\"message\" from=\"888@lid\"/>",
        "<ack class=\"message\" id=\"X\"/>",
    };
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    for (size_t i = 0; i < ARRAY_LEN(xml); i++)
        world_serve(&w, xml[i]);
    cr_assert(w.is_up);
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_ONLINE);
    world_done(&w);
}

/* ---- no memory ---- */

/* Serves `stanza` while the n-th piece of memory is refused; whether it came to that. The client
 * is then opened again from disk, and the server has the stanza still. */
static bool serve_refused(struct world *w, const struct wa_node *stanza, unsigned nth)
{
    AUTO(buf) plain = {0};
    AUTO(buf) frame = {0};

    wa_node_encode(stanza, &plain);
    cr_assert_eq(wa_transport_seal(&w->result.transport, buf_slice(&plain), &frame), OK);
    fake_turn_open(&w->h);
    refuse_memory(nth);
    err_t e = wa_client_recv(w->client, buf_slice(&frame), w->now);
    bool refused = refused_memory();
    cr_assert_eq(e, refused ? ERR_NO_MEMORY : OK, "%s at refusal %u", err_name(e), nth);
    fake_turn_close(&w->h);
    if (!refused) {
        world_settle(w);
        return false;
    }
    world_restart(w);
    world_login(w);
    world_serve_node(w, stanza);
    return true;
}

Test(message_in, is_not_asked_for_again_because_there_was_no_memory)
{
    static char text[3000];
    bool refused = true;
    unsigned nth;

    memset(text, 'x', sizeof(text) - 1);
    for (nth = 1; refused; nth++) {
        struct world w;
        struct party peer;

        start(&w, &peer);
        struct wa_node *stanza = world_parse(&w, FROM_888);
        world_encrypt(&w, &peer, world_text(&w, text), stanza);
        refused = serve_refused(&w, stanza, nth);
        world_expect_event(&w, "mapping 15550002222@s.whatsapp.net 888@lid");
        const char *told = fake_event(&w.h);
        cr_assert(told && strstr(told, "id A1 \"xxxx"), "%u: %s", nth, told);
        world_expect(&w, RECEIPT_888);
        world_expect_quiet(&w);
        done(&w, &peer);
    }
    cr_assert_gt(nth, 5, "%u: socket, link, stanza, message and text ask for memory", nth);
}

/* What the forger may show for itself, vouched for by `signer`. */
static struct slice vouch(struct world *w, struct party *signer, struct party *forger)
{
    struct wa_adv_grant grant = {.raw_id = 1, .key_index = 1, .timestamp = 1};
    struct wa_adv_pairing pairing;
    uint8_t secret[32] = {1};
    struct slice issued =
        wa_adv_issue(&signer->ks, &w->arena, secret, &forger->identity.public, &grant);

    cr_assert_eq(wa_adv_accept(&forger->ks, &w->arena, secret, issued, &pairing), OK);
    return pairing.identity;
}

/* Words to a friend as if one of our own devices had sent them. */
static void forge_words(struct world *w, struct party *forger, const char *from, const char *id,
                        struct slice identity)
{
    struct slice xml = arena_printf(&w->arena,
                                    "<message from=\"%s@lid\" recipient=\"888@lid\" "
                                    "id=\"%s\" type=\"text\" t=\"1700000001\"/>",
                                    from, id);
    struct wa_node *in = world_parse(w, arena_text(&w->arena, xml));

    world_introduce(w, forger);
    world_encrypt(w, forger, device_sent(w, "888@lid", world_text(w, "words")), in);
    if (!slice_is_none(identity))
        wa_node_set_bytes(wa_node_add(in, &w->arena, "device-identity"), identity);
    world_serve_node(w, in);
}

static void expect_words(struct world *w, bool are_heard, const char *from)
{
    const char *event = fake_event(&w->h);

    cr_expect(event && !strstr(event, "words") == !are_heard, "%s: %s", from, event);
    fake_events_skip(&w->h);
}

/* A server that speaks as one of our own devices, with keys of its own: it is neither our phone nor
 * vouched for by it. */
Test(message_in, takes_nobody_for_our_own_device_whom_our_phone_does_not_know)
{
    static const char *const from[] = {"777", "777:3"};
    struct world w;
    struct party phone, forger;

    for (uint32_t i = 0; i < 2; i++) {
        world_init_paired(&w);
        world_login(&w);
        party_init(&phone, "777@lid", 0, 7);
        party_init(&forger, "777@lid", 3 * i, 66);
        struct slice own = vouch(&w, &forger, &forger), by_phone = vouch(&w, &phone, &forger);
        forge_words(&w, &forger, from[i], "F0", i ? own : SLICE_NONE);
        expect_words(&w, false, from[i]);
        forge_words(&w, &forger, from[i], "F1", i ? by_phone : SLICE_NONE);
        expect_words(&w, i == 1, from[i]);
        world_serve(&w, "<notification type=\"encrypt\" from=\"777@lid\" id=\"N\"><identity/>"
                        "</notification>");
        cr_expect(fake_row(&w.h, WA_NS_IDENTITY, "777@lid", "0"), "the phone's key is for good");
        party_done(&phone);
        party_done(&forger);
        world_done(&w);
    }
}
