#include "proto/client/message_out.h"

#include "proto/client/devices.h"
#include "tests/support/sending.h"

Test(message_out, checks_a_strangers_number_finds_devices_and_encrypts_for_each)
{
    struct cast x;
    cast_init(&x);

    cast_first_message(&x, "hello");
    fake_event(&x.w.h);
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(wa_node_is(m, "message"));
    cr_assert(slice_is(wa_node_text(m, "to"), "15550002222@s.whatsapp.net"));
    cr_assert(slice_is(wa_node_text(m, "type"), "text"));
    cr_assert_eq(wa_node_child(m, "participants")->child_count, 3);
    cr_assert(wa_node_child_bytes(m, "device-identity").len > 100, "pkmsg needs it");
    cr_assert(slice_is(cast_read(&x, &x.peer, m, "15550002222@s.whatsapp.net"), "hello"));
    cr_assert(slice_is(cast_read(&x, &x.companion, m, "15550002222:2@s.whatsapp.net"), "hello"));
    cr_assert(slice_is(cast_read(&x, &x.phone, m, "15550001111@s.whatsapp.net"), "hello"));
    cr_assert(fake_row(&x.w.h, WA_NS_SESSION, "888@lid", "2"), "sessions stand under the LID");
    cast_done(&x);
}

Test(message_out, asks_for_exactly_what_it_needs)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "hello");
    const char *contact = world_next(&x.w);
    cr_assert(strstr(contact, "mode=\"query\"") && strstr(contact, "context=\"interactive\""));
    cr_assert(strstr(contact, "<query><contact/><lid/></query><list><user><contact>[12 B]"
                              "</contact></user></list>"),
              "%s", contact);
    struct slice id = wa_node_text(x.w.last->stanza, "id");
    world_serve(
        &x.w, arena_text(
                  &x.w.arena,
                  arena_printf(&x.w.arena,
                               "<iq type=\"result\" id=\"" SLICE_FMT "\"><usync><list><user "
                               "jid=\"15550002222@s.whatsapp.net\"><contact type=\"in\">x</contact>"
                               "<lid val=\"888@lid\"/></user></list></usync></iq>",
                               SLICE_ARG(id))));
    const char *devices = world_next(&x.w);
    cr_assert(strstr(devices, "context=\"message\"><query><devices version=\"2\"/><lid/></query>"
                              "<list><user jid=\"888@lid\"/><user jid=\"777@lid\"/></list>"),
              "%s", devices);
    cast_done(&x);
}

Test(message_out, emits_the_message_and_its_outbox_row_in_the_turn_of_the_ratchets)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "hello");
    cast_answer_contact(&x, true);
    cast_answer_devices(&x);
    fake_events_skip(&x.w.h);
    x.w.hold = true;
    cast_answer_bundles(&x);
    cr_assert_eq(fake_turns(&x.w.h), 1);
    cr_assert_eq(x.w.h.undurable_sends, 1);
    world_expect_quiet(&x.w);
    x.w.hold = false;
    world_settle(&x.w);
    const char *event = fake_event(&x.w.h);
    cr_assert(strstr(event, "message text 888@lid from 777@lid:5 id 3EB0"), "%s", event);
    cr_assert(strstr(event, "\"hello\" ours op 1"), "%s", event);
    cr_assert(strstr(fake_event(&x.w.h), "outbox 3EB0"));
    world_expect_no_event(&x.w);
    cast_done(&x);
}

Test(message_out, uses_cached_devices_and_sessions_the_second_time)
{
    struct cast x;
    cast_init(&x);

    cast_first_message(&x, "one");
    world_skip(&x.w);
    cast_send(&x, cast_peer_lid(), "two");
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(wa_node_is(m, "message"));
    /* The thread's family is not known yet, so the number we have is used. */
    cr_assert(slice_is(wa_node_text(m, "to"), "15550002222@s.whatsapp.net"));
    cr_assert(slice_is(cast_read(&x, &x.peer, m, "15550002222@s.whatsapp.net"), "two"));
    cast_done(&x);
}

Test(message_out, answers_in_the_family_of_the_thread)
{
    struct cast x;
    cast_init(&x);

    world_introduce(&x.w, &x.companion);
    struct wa_node *in = world_parse(&x.w, "<message from=\"888:2@lid\" id=\"A\" t=\"1\" "
                                           "sender_pn=\"15550002222@s.whatsapp.net\"/>");
    world_encrypt(&x.w, &x.companion, world_text(&x.w, "hi"), in);
    world_serve_node(&x.w, in);
    world_skip(&x.w);
    cast_send(&x, cast_peer_pn(), "back"); /* no number check: they wrote to us */
    cast_answer_devices(&x);
    cast_answer_bundles(&x);
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(slice_is(wa_node_text(m, "to"), "888@lid"));
    cr_assert(cast_enc_for(m, "888:2@lid") && cast_enc_for(m, "777@lid"));
    cr_assert(slice_is(wa_node_text(cast_enc_for(m, "888:2@lid"), "type"), "msg"));
    cr_assert(slice_is(cast_read(&x, &x.companion, m, "888:2@lid"), "back"));
    cast_done(&x);
}

Test(message_out, refuses_a_number_that_is_not_on_whatsapp)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "hello");
    cast_answer_contact(&x, false);
    world_expect_event(&x.w, "send_failed 1 NOT_ON_WHATSAPP");
    world_expect_quiet(&x.w);
    cast_done(&x);
}

static void cast_cancel(struct cast *x, uint64_t operation)
{
    fake_turn_open(&x->w.h);
    cr_assert_eq(wa_client_send_cancel(x->w.client, operation, x->w.now), OK);
    fake_turn_close(&x->w.h);
    world_settle(&x->w);
}

Test(message_out, one_that_is_given_up_leaves_nothing_and_lets_the_next_begin)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "given up");
    cast_send(&x, cast_peer_pn(), "the next");
    world_skip(&x.w); /* the query of the first */
    cast_cancel(&x, 1);
    world_expect_event(&x.w, "send_failed 1 QUERY_TIMEOUT");
    cast_answer_contact(&x, true); /* the query of the second */
    cast_answer_devices(&x);
    cast_answer_bundles(&x);
    fake_events_skip(&x.w.h);
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(slice_is(cast_read(&x, &x.peer, m, "15550002222@s.whatsapp.net"), "the next"));
    world_expect_quiet(&x.w);
    cast_cancel(&x, 2); /* encrypted: it goes on */
    world_expect_no_event(&x.w);
    cast_done(&x);
}

Test(message_out, keeps_the_order_of_thirty_sends_to_one_chat)
{
    struct cast x;
    char text[16];
    cast_init(&x);

    for (int i = 0; i < 30; i++) {
        snprintf(text, sizeof(text), "n%d", i);
        cr_assert_eq(cast_send(&x, cast_peer_pn(), text), OK);
    }
    cast_answer_contact(&x, true);
    cast_answer_devices(&x);
    cast_answer_bundles(&x);
    for (int i = 0; i < 30; i++) {
        const struct wa_node *m = world_next_node(&x.w);
        cr_assert(m && wa_node_is(m, "message"), "message %d", i);
        snprintf(text, sizeof(text), "n%d", i);
        cr_assert(slice_is(cast_read(&x, &x.companion, m, "15550002222:2@s.whatsapp.net"), text));
    }
    world_expect_quiet(&x.w);
    cast_done(&x);
}

Test(message_out, sends_to_different_chats_overlap)
{
    struct cast x;
    struct wa_party other = {.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550003333"), 0)};
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "one");
    cast_send(&x, other, "two");
    cr_assert(strstr(world_next(&x.w), "usync"));
    cr_assert(strstr(world_next(&x.w), "usync"), "the second does not wait for the first");
    cast_done(&x);
}

Test(message_out, never_overwrites_the_ratchet_of_a_message_that_came_meanwhile)
{
    struct cast x;
    cast_init(&x);

    /* While the bundles are on their way, the companion writes: its session is the newer one. */
    cast_send(&x, cast_peer_pn(), "mine");
    cast_answer_contact(&x, true);
    cast_answer_devices(&x);
    const struct wa_node *asked = world_next_node(&x.w);
    struct slice id = arena_dup(&x.w.arena, wa_node_text(asked, "id"));
    world_introduce(&x.w, &x.companion);
    struct wa_node *in = world_parse(&x.w, "<message from=\"888:2@lid\" id=\"A\" t=\"1\"/>");
    world_encrypt(&x.w, &x.companion, world_text(&x.w, "theirs"), in);
    world_serve_node(&x.w, in);
    world_skip(&x.w);

    struct slice xml =
        arena_printf(&x.w.arena,
                     "<iq type=\"result\" id=\"" SLICE_FMT "\"><list>" SLICE_FMT SLICE_FMT SLICE_FMT
                     "</list></iq>",
                     SLICE_ARG(id), SLICE_ARG(world_bundle_xml(&x.w, &x.peer, "888@lid")),
                     SLICE_ARG(world_bundle_xml(&x.w, &x.companion, "888:2@lid")),
                     SLICE_ARG(world_bundle_xml(&x.w, &x.phone, "777@lid")));
    world_serve(&x.w, arena_text(&x.w.arena, xml));
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(wa_node_is(m, "message"));
    cr_assert(slice_is(wa_node_text(cast_enc_for(m, "888:2@lid"), "type"), "msg"),
              "the session that came with their message");
    cr_assert(slice_is(cast_read(&x, &x.companion, m, "888:2@lid"), "mine"));

    struct wa_node *more = world_parse(&x.w, "<message from=\"888:2@lid\" id=\"B\" t=\"1\"/>");
    world_encrypt(&x.w, &x.companion, world_text(&x.w, "and on"), more);
    fake_events_skip(&x.w.h);
    world_serve_node(&x.w, more);
    world_expect_event(&x.w, "message text 888@lid from 888@lid:2 id B \"and on\"");
    cast_done(&x);
}

Test(message_out, reads_a_message_that_comes_during_the_device_query)
{
    struct cast x;
    cast_init(&x);

    cast_first_message(&x, "one");
    const struct wa_node *m = world_next_node(&x.w);
    cast_read(&x, &x.companion, m, "15550002222:2@s.whatsapp.net");
    world_serve(&x.w, "<notification type=\"devices\" from=\"888@lid\" id=\"N\"><update/>"
                      "</notification>");
    world_skip(&x.w);
    fake_events_skip(&x.w.h);
    cast_send(&x, cast_peer_pn(), "two"); /* waits for usync */
    struct wa_node *in = world_parse(&x.w, "<message from=\"888:2@lid\" id=\"A\" t=\"1\"/>");
    world_encrypt(&x.w, &x.companion, world_text(&x.w, "between"), in);
    world_serve_node(&x.w, in);
    world_expect_event(&x.w, "message text 888@lid from 888@lid:2 id A \"between\"");
    cast_answer_usync(&x, cast_devices(&x, "888@lid", "888@lid", &x.peer, 2));
    world_next(&x.w); /* the receipt */
    m = world_next_node(&x.w);
    cr_assert(slice_is(wa_node_text(cast_enc_for(m, "888:2@lid"), "type"), "msg"));
    cr_assert(slice_is(cast_read(&x, &x.companion, m, "888:2@lid"), "two"));
    cast_done(&x);
}

Test(message_out, fails_what_waits_when_the_link_goes)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "one");
    cast_send(&x, cast_peer_pn(), "two");
    world_cut(&x.w);
    world_expect_event(&x.w, "send_failed 1 NOT_CONNECTED");
    world_expect_event(&x.w, "send_failed 2 NOT_CONNECTED");
    world_expect_event(&x.w, "disconnected link retries");
    cr_assert_eq(cast_send(&x, cast_peer_pn(), "three"), ERR_NOT_CONNECTED);
    world_expect_no_event(&x.w);
    cast_done(&x);
}

Test(message_out, fails_after_75_seconds_without_an_answer)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "one");
    for (int s = 0; s < 74; s++) {
        world_sleep(&x.w, 1000);
        world_serve(&x.w, "<ib/>"); /* the link lives, the answer does not come */
    }
    world_expect_no_event(&x.w);
    world_sleep(&x.w, 1000);
    world_expect_event(&x.w, "send_failed 1 QUERY_TIMEOUT");
    cast_done(&x);
}

Test(message_out, asks_for_the_lists_again_when_the_server_refuses_the_bundles)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "one");
    cast_answer_contact(&x, true);
    cast_answer_devices(&x);
    world_answer(&x.w, "get", "encrypt", "406");
    cast_answer_devices(&x);
    cast_answer_bundles(&x);
    cr_assert(wa_node_is(world_next_node(&x.w), "message"));

    cast_done(&x);
}

Test(message_out, leaves_out_a_device_with_a_forged_bundle)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "one");
    cast_answer_contact(&x, true);
    cast_answer_devices(&x);
    x.companion.signed_prekey.signature[3] ^= 1;
    cast_answer_bundles(&x);
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(cast_enc_for(m, "15550002222@s.whatsapp.net"));
    cr_assert(!cast_enc_for(m, "15550002222:2@s.whatsapp.net"));
    cast_done(&x);
}

Test(message_out, writes_a_note_to_oneself_to_the_phone)
{
    struct cast x;
    struct wa_party self = {.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550001111"), 0)};
    cast_init(&x);

    cast_send(&x, self, "note");
    cast_answer_usync(&x, cast_devices(&x, "777@lid", "777@lid", &x.phone, 5));
    world_answer(&x.w, "get", "encrypt",
                 arena_text(&x.w.arena,
                            arena_printf(&x.w.arena, "<list>" SLICE_FMT "</list>",
                                         SLICE_ARG(world_bundle_xml(&x.w, &x.phone, "777@lid")))));
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert_eq(wa_node_child(m, "participants")->child_count, 1);
    cr_assert(slice_is(cast_read(&x, &x.phone, m, "15550001111@s.whatsapp.net"), "note"));
    cast_done(&x);
}

Test(message_out, refuses_bad_arguments_at_once)
{
    struct cast x;
    cast_init(&x);

    struct wa_text t = {.id = SLICE("X"), .to = cast_peer_pn(), .text = SLICE("")};
    fake_turn_open(&x.w.h);
    cr_assert_eq(wa_client_send_text(x.w.client, &t, x.w.now), ERR_BAD_ARGUMENT);
    t.text = SLICE("\xff");
    cr_assert_eq(wa_client_send_text(x.w.client, &t, x.w.now), ERR_BAD_TEXT);
    t.text = SLICE("a");
    t.to = (struct wa_party){.pn = wa_jid_of(WA_SERVER_GROUP, SLICE("120363"), 0)};
    cr_assert_eq(wa_client_send_text(x.w.client, &t, x.w.now), ERR_BAD_JID);
    fake_turn_close(&x.w.h);
    cast_done(&x);
}

Test(message_out, resends_the_same_bytes)
{
    struct cast x;
    AUTO(buf) first = {0};
    cast_init(&x);

    cast_first_message(&x, "one");
    wa_node_encode(world_next_node(&x.w), &first);
    struct slice id = arena_dup(&x.w.arena, wa_node_text(x.w.last->stanza, "id"));
    world_cut(&x.w);
    world_login(&x.w);
    WORLD_TURN(&x.w, wa_client_resend(x.w.client, id, buf_slice(&first), x.w.now));
    AUTO(buf) second = {0};
    wa_node_encode(world_next_node(&x.w), &second);
    cr_assert(slice_eq(buf_slice(&first), buf_slice(&second)));
    cast_done(&x);
}

Test(message_out, leaves_nothing_behind_when_a_crash_comes_before_the_commit)
{
    struct cast x;
    cast_init(&x);

    cast_send(&x, cast_peer_pn(), "one");
    cast_answer_contact(&x, true);
    cast_answer_devices(&x);
    x.w.hold = true;
    cast_answer_bundles(&x);
    world_restart(&x.w);
    cr_assert(!fake_row(&x.w.h, WA_NS_SESSION, "888@lid", "2"));
    world_login(&x.w);
    cast_send(&x, cast_peer_pn(), "again");
    cast_answer_bundles(&x);
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(slice_is(cast_read(&x, &x.companion, m, "15550002222:2@s.whatsapp.net"), "again"));
    cast_done(&x);
}

/* The contact has as many devices as a list may hold, each with a session. */
static void answer_many(struct cast *x, struct party *parties)
{
    AUTO(buf) devices = {0}, bundles = {0};
    const char *self = cast_devices(x, "777@lid", "777@lid", &x->phone, 5);
    uint32_t valid[] = {1};
    struct wa_key_index_list list = {
        .raw_id = 1, .timestamp = 1, .current_index = 1, .valid = valid, .valid_count = 1};
    struct slice indexes = wa_key_index_sign(&x->peer.ks, &x->w.arena, &list);

    for (unsigned i = 0; i < WA_DEVICES_MAX; i++) {
        char jid[32];
        party_init(&parties[i], "888@lid", i, 100 + i);
        snprintf(jid, sizeof(jid), i ? "888:%u@lid" : "888@lid", i);
        struct slice xml = world_bundle_xml(&x->w, &parties[i], jid);
        buf_put(&bundles, xml);
        buf_printf(&devices, "<device id=\"%u\" key-index=\"1\"/>", i);
    }
    buf_put(&bundles, world_bundle_xml(&x->w, &x->phone, "777@lid"));
    struct slice user = arena_printf(
        &x->w.arena,
        "<user jid=\"888@lid\"><devices><device-list hash=\"x\">%s</device-list><key-index-list "
        "ts=\"1\">[" SLICE_FMT "]</key-index-list></devices><lid val=\"888@lid\"/></user>%s",
        buf_text(&devices), SLICE_ARG(cast_hex(x, indexes)), self);
    cast_answer_usync(x, arena_text(&x->w.arena, user));
    struct slice all = arena_printf(&x->w.arena, "<list>%s</list>", buf_text(&bundles));
    world_answer(&x->w, "get", "encrypt", arena_text(&x->w.arena, all));
}

/* Sent for every device it is more than a frame can carry: the outbox would try for a day. */
Test(message_out, what_no_frame_can_carry_fails_at_once, .timeout = 60)
{
    struct cast x;
    struct party *parties = xcalloc(WA_DEVICES_MAX * sizeof(*parties));
    char *text = xcalloc(WA_TEXT_MAX + 1);
    AUTO(buf) quoted = {0};

    cast_init(&x);
    memset(text, 'a', WA_TEXT_MAX);
    wa_pb_put_bytes(&quoted, 1, slice_of(text, WA_TEXT_MAX - 16));
    struct wa_text t = {.operation = 9,
                        .to = cast_peer_lid(),
                        .text = slice_text(text),
                        .quoted_id = SLICE("Q"),
                        .quoted_author = wa_jid_of(WA_SERVER_LID, SLICE("888"), 0),
                        .quoted_raw = buf_slice(&quoted)};
    t.id = wa_client_message_id(x.w.client, x.w.now, &x.w.arena);
    fake_turn_open(&x.w.h);
    cr_assert_eq(wa_client_send_text(x.w.client, &t, x.w.now), OK);
    fake_turn_close(&x.w.h);
    world_settle(&x.w);
    answer_many(&x, parties);
    world_expect_event(&x.w, "send_failed 9 TOO_LARGE");
    world_expect_no_event(&x.w);
    world_expect_quiet(&x.w);
    for (unsigned i = 0; i < WA_DEVICES_MAX; i++)
        party_done(&parties[i]);
    free(parties);
    free(text);
    cast_done(&x);
}

/* An answer of the server's that is an error says nothing of the number. */
Test(message_out, a_refused_part_of_a_query_is_no_unregistered_number)
{
    struct cast x;

    cast_init(&x);
    cr_assert_eq(cast_send(&x, cast_peer_pn(), "hi"), OK);
    cast_answer_usync(&x, "<user jid=\"15550002222@s.whatsapp.net\"><contact><error code=\"429\" "
                          "text=\"rate-overlimit\"/></contact></user>");
    world_expect_event(&x.w, "send_failed 1 QUERY_REFUSED");
    cr_assert_eq(cast_send(&x, cast_peer_lid(), "hi"), OK);
    cast_answer_usync(&x, "<user jid=\"888@lid\"><devices><error code=\"503\" backoff=\"60\"/>"
                          "</devices></user>");
    world_expect_event(&x.w, "send_failed 2 QUERY_REFUSED");
    world_expect_quiet(&x.w);
    cast_done(&x);
}
