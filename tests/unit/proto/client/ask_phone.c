#include "proto/client/ask_phone.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/client/pb.h"
#include "proto/schema/message.pb-c.h"
#include "proto/schema/unpack.h"
#include "tests/support/fake_server.h"

/* Our phone has a session with us, as it has after pairing. */
static void start(struct world *w, struct party *phone, bool introduced)
{
    world_init_paired(w);
    world_login(w);
    party_init(phone, "777@lid", 0, 7); /* the phone that world_init_paired() paired with */
    if (!introduced) return;
    world_introduce(w, phone);
    struct wa_node *in = world_parse(
        w, "<message from=\"777@lid\" category=\"peer\" id=\"P\" type=\"text\" t=\"1\"/>");
    world_encrypt(w, phone, world_text(w, "x"), in);
    world_serve_node(w, in);
    world_skip(w);
    fake_events_skip(&w->h);
}

static void stop(struct world *w, struct party *phone)
{
    party_done(phone);
    world_done(w);
}

static void serve_spoilt(struct world *w, const char *id)
{
    struct slice xml =
        arena_printf(&w->arena,
                     "<message from=\"888:9@lid\" id=\"%s\" type=\"text\" "
                     "t=\"1700000000\"><enc v=\"2\" type=\"msg\">[33]</enc></message>",
                     id);
    world_serve(w, arena_text(&w->arena, xml));
}

/* The question, opened by the phone: the key of the message asked for. */
static const Wa__MessageKey *expect_question(struct world *w, struct party *phone)
{
    const Wa__Message *m;
    const struct wa_node *message = world_next_node(w);

    cr_assert(message && wa_node_is(message, "message"), "no question");
    cr_expect(slice_is(wa_node_text(message, "category"), "peer"));
    cr_expect(slice_is(wa_node_text(message, "to"), "15550001111@s.whatsapp.net"));
    cr_expect(slice_is(wa_node_text(message, "push_priority"), "high_force"));
    cr_expect(wa_node_child(message, "meta"));
    struct slice plain = world_decrypt(w, phone, wa_node_child(message, "enc"));
    cr_assert(plain.len, "the phone cannot read it");
    cr_assert_eq(WA_UNPACK(wa__message, plain, &w->arena, &m), OK);
    const Wa__PeerDataOperationRequestMessage *q =
        m->protocol_message->peer_data_operation_request_message;
    cr_assert_eq(m->protocol_message->type,
                 WA__PROTOCOL_MESSAGE__TYPE__PEER_DATA_OPERATION_REQUEST_MESSAGE);
    cr_assert_eq(q->n_placeholder_message_resend_request, 1u);
    return q->placeholder_message_resend_request[0]->message_key;
}

/* How many come within `ms` on a link that lives. */
static unsigned questions(struct world *w, int64_t ms)
{
    enum { STEP_MS = 10 * 1000 };
    unsigned n = 0;

    for (; ms > STEP_MS; ms -= STEP_MS) {
        world_sleep(w, STEP_MS);
        world_serve(w, "<ib/>");
    }
    world_sleep(w, ms);
    for (const struct wa_node *node; (node = world_next_node(w));)
        n += wa_node_is(node, "message");
    return n;
}

struct web {
    const char *chat, *id, *participant;
    bool from_me;
    const char *text; /* NULL: the phone has nothing */
};

static void put_web(struct world *w, const struct web *web, struct buf *response)
{
    AUTO(buf) key = {0};
    AUTO(buf) info = {0};
    AUTO(buf) placeholder = {0};
    AUTO(buf) result = {0};

    wa_pb_put_bytes(&key, 1, slice_text(web->chat));
    wa_pb_put_int(&key, 2, web->from_me);
    wa_pb_put_bytes(&key, 3, slice_text(web->id));
    if (web->participant) wa_pb_put_bytes(&key, 4, slice_text(web->participant));
    wa_pb_put_bytes(&info, 1, buf_slice(&key));
    if (web->text) wa_pb_put_bytes(&info, 2, world_text(w, web->text));
    wa_pb_put_int(&info, 3, 1700000000);
    wa_pb_put_bytes(&placeholder, 1, buf_slice(&info));
    wa_pb_put_bytes(&result, 4, buf_slice(&placeholder));
    wa_pb_put_bytes(response, 3, buf_slice(&result));
}

/* `from` answers; the answer holds all of `webs`. */
static void answer(struct world *w, struct party *from, const char *jid, const struct web *webs,
                   size_t n)
{
    AUTO(buf) response = {0};
    AUTO(buf) protocol = {0};
    AUTO(buf) message = {0};
    struct slice xml = arena_printf(
        &w->arena, "<message from=\"%s\" category=\"peer\" id=\"R\" type=\"text\" t=\"1\"/>", jid);

    wa_pb_put_int(&response, 1, 4);
    for (size_t i = 0; i < n; i++)
        put_web(w, &webs[i], &response);
    wa_pb_put_int(&protocol, 2, 17);
    wa_pb_put_bytes(&protocol, 17, buf_slice(&response));
    wa_pb_put_bytes(&message, 12, buf_slice(&protocol));
    struct wa_node *in = world_parse(w, arena_text(&w->arena, xml));
    world_encrypt(w, from, buf_slice(&message), in);
    world_serve_node(w, in);
}

Test(ask_phone, what_no_retry_brings_is_asked_for_and_stored)
{
    struct world w;
    struct party phone;

    start(&w, &phone, true);
    serve_spoilt(&w, "M");
    world_skip(&w); /* retry receipt and ack */
    fake_events_skip(&w.h);
    world_sleep(&w, WA_ASK_AFTER_MS - 1);
    world_expect_quiet(&w);
    world_sleep(&w, 1);
    const Wa__MessageKey *key = expect_question(&w, &phone);
    cr_expect_str_eq(key->remote_jid, "888@lid");
    cr_expect_str_eq(key->id, "M");
    cr_expect(!key->from_me && !key->participant);
    answer(&w, &phone, "777@lid", (struct web[]){{"888@lid", "M", NULL, false, "recovered"}}, 1);
    const char *event = fake_event(&w.h);
    cr_assert(event && strstr(event, "recovered") && strstr(event, "completes"), "%s", event);
    world_skip(&w);
    serve_spoilt(&w, "M"); /* it comes again: held, and told to nobody twice */
    world_expect(&w, "<receipt id=\"M\" to=\"888:9@lid\" type=\"inactive\"/>");
    world_expect_no_event(&w);
    stop(&w, &phone);
}

Test(ask_phone, a_clock_that_is_set_back_keeps_no_question_waiting)
{
    struct world w;
    struct party phone;

    start(&w, &phone, true);
    serve_spoilt(&w, "M");
    world_skip(&w);
    w.now -= 7200 * 1000;
    wa_client_clock(w.client, w.now);
    world_sleep(&w, WA_ASK_AFTER_MS);
    cr_expect_str_eq(expect_question(&w, &phone)->id, "M");
    stop(&w, &phone);
}

Test(ask_phone, what_came_meanwhile_is_not_asked_for)
{
    struct world w;
    struct party phone, peer;

    start(&w, &phone, true);
    party_init(&peer, "888@lid", 9, 11);
    world_introduce(&w, &peer);
    serve_spoilt(&w, "M");
    struct wa_node *in =
        world_parse(&w, "<message from=\"888:9@lid\" id=\"M\" type=\"text\" t=\"1700000000\"/>");
    world_encrypt(&w, &peer, world_text(&w, "by retry"), in);
    world_serve_node(&w, in);
    world_skip(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    world_expect_quiet(&w);
    party_done(&peer);
    stop(&w, &phone);
}

Test(ask_phone, the_unavailable_is_asked_for_at_once_if_it_may_be_had)
{
    struct world w;
    struct party phone;

    start(&w, &phone, true);
    world_serve(&w, "<message from=\"120363@g.us\" participant=\"888:2@lid\" id=\"U\" "
                    "type=\"media\" t=\"1700000000\"><unavailable/></message>");
    world_next(&w); /* the ack */
    world_sleep(&w, 1);
    const Wa__MessageKey *key = expect_question(&w, &phone);
    cr_expect_str_eq(key->remote_jid, "120363@g.us");
    cr_expect_str_eq(key->participant, "888@lid");
    fake_events_skip(&w.h);
    answer(&w, &phone, "777@lid",
           (struct web[]){{"120363@g.us", "U", "888@lid", false, "in the group"}}, 1);
    cr_expect(strstr(fake_event(&w.h), "in the group"));
    world_skip(&w);
    world_serve(&w, "<message from=\"888:2@lid\" id=\"V\" type=\"media\" t=\"1700000000\">"
                    "<unavailable type=\"view_once_unavailable_fanout\"/></message>");
    world_next(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    world_expect_quiet(&w);
    stop(&w, &phone);
}

/* The stanza was acknowledged, so the server will not send it again: what still must be asked for
 * is durable with it. */
Test(ask_phone, a_question_outlives_link_and_process)
{
    struct world w;
    struct party phone;

    start(&w, &phone, true);
    w.hold = true; /* the link ends before the question is asked */
    world_serve(&w, "<message from=\"888:2@lid\" id=\"U\" type=\"media\" t=\"1700000000\">"
                    "<unavailable/></message>");
    cr_assert(world_commit_one(&w));
    w.hold = false;
    world_cut(&w);
    world_login(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    cr_expect_str_eq(expect_question(&w, &phone)->id, "U");

    serve_spoilt(&w, "M");
    world_skip(&w);
    world_restart(&w);
    world_login(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    cr_expect_str_eq(expect_question(&w, &phone)->id, "U"); /* no answer came */
    cr_expect_str_eq(expect_question(&w, &phone)->id, "M");
    fake_events_skip(&w.h);
    answer(
        &w, &phone, "777@lid",
        (struct web[]){{"888@lid", "M", NULL, false, "one"}, {"888@lid", "U", NULL, false, "two"}},
        2);
    cr_expect(strstr(fake_event(&w.h), "one") && strstr(fake_event(&w.h), "two"));
    world_restart(&w);
    world_login(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    world_expect_quiet(&w);
    cr_expect_null(fake_row(&w.h, WA_NS_ASKS, "", ""), "nothing is left to ask");
    stop(&w, &phone);
}

Test(ask_phone, a_phone_that_never_answers_is_asked_three_times)
{
    struct world w;
    struct party phone;
    unsigned asked = 0;

    start(&w, &phone, true);
    serve_spoilt(&w, "M");
    world_skip(&w);
    for (int i = 0; i < 2 * WA_ASK_TRIES; i++) {
        asked += questions(&w, WA_ASK_AFTER_MS);
        asked += questions(&w, WA_ASK_ANSWER_MS);
        world_restart(&w);
        world_login(&w);
    }
    cr_expect_eq(asked, (unsigned)WA_ASK_TRIES, "%u times", asked);
    cr_expect_null(fake_row(&w.h, WA_NS_ASKS, "", ""));
    stop(&w, &phone);
}

/* Many logins within half a minute say nothing about the phone. */
Test(ask_phone, links_that_end_before_an_answer_can_come_are_no_tries)
{
    struct world w;
    struct party phone;

    start(&w, &phone, true);
    serve_spoilt(&w, "M");
    world_skip(&w);
    for (int i = 0; i < 2 * WA_ASK_TRIES; i++) {
        cr_expect_eq(questions(&w, WA_ASK_AFTER_MS), 1u, "link %d", i);
        cr_expect_eq(questions(&w, WA_ASK_ANSWER_MS - 1), 0u);
        world_restart(&w);
        world_login(&w);
        fake_events_skip(&w.h);
    }
    world_sleep(&w, WA_ASK_AFTER_MS);
    cr_expect_str_eq(expect_question(&w, &phone)->id, "M");
    answer(&w, &phone, "777@lid", &(struct web){"888@lid", "M", NULL, false, "at last"}, 1);
    cr_expect(strstr(fake_event(&w.h), "at last"));
    world_skip(&w);
    cr_expect_eq(questions(&w, WA_ASK_ANSWER_MS), 0u);
    cr_expect_null(fake_row(&w.h, WA_NS_ASKS, "", ""), "nothing is left to ask");
    stop(&w, &phone);
}

Test(ask_phone, however_short_the_links_are_the_questions_end)
{
    struct world w;
    struct party phone;
    unsigned asked = 0;

    start(&w, &phone, true);
    serve_spoilt(&w, "M");
    world_skip(&w);
    for (int i = 0; i < 2 * WA_ASK_LINKS; i++) {
        asked += questions(&w, WA_ASK_AFTER_MS);
        world_restart(&w);
        world_login(&w);
    }
    cr_expect_eq(asked, (unsigned)WA_ASK_LINKS, "%u times", asked);
    cr_expect_null(fake_row(&w.h, WA_NS_ASKS, "", ""));
    stop(&w, &phone);
}

Test(ask_phone, only_the_phone_may_answer_and_only_what_waits)
{
    struct world w;
    struct party phone, peer;
    struct web forged = {"888@lid", "M", NULL, false, "forged"};

    start(&w, &phone, true);
    party_init(&peer, "888@lid", 2, 11);
    world_introduce(&w, &peer);
    serve_spoilt(&w, "M");
    fake_events_skip(&w.h);
    answer(&w, &peer, "888:2@lid", &forged, 1);
    world_expect_no_event(&w);
    answer(&w, &phone, "777@lid",
           (struct web[]){{"888@lid", "never seen", NULL, false, "x"},
                          {"888@lid", "NEVER", NULL, false, "x"},
                          {"nonsense", "M", NULL, false, "x"},
                          {"888@lid", "M", NULL, false, NULL}},
           4);
    world_expect_no_event(&w);
    party_done(&peer);
    stop(&w, &phone);
}

Test(ask_phone, a_flood_of_rubbish_is_asked_for_within_limits)
{
    struct world w;
    struct party phone;
    unsigned asked = 0;
    char id[16];

    start(&w, &phone, true);
    for (int i = 0; i < 3 * WA_ASKS_WAITING; i++) {
        snprintf(id, sizeof id, "F%d", i);
        serve_spoilt(&w, id);
        world_serve(&w, "<ib/>");
    }
    cr_expect_leq(wa_client_memory(w.client), 200u * 1024);
    world_skip(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    while (world_next(&w))
        asked++;
    cr_expect_eq(asked, (unsigned)WA_ASKS_WAITING, "%u at once", asked);
    for (int i = 0; i < WA_ASKS_WAITING; i++) {
        snprintf(id, sizeof id, "G%d", i);
        serve_spoilt(&w, id);
    }
    world_skip(&w);
    world_serve(&w, "<ib/>");
    world_sleep(&w, WA_ASK_AFTER_MS);
    while (world_next(&w))
        asked++;
    cr_expect_eq(asked, (unsigned)WA_ASKS_HOUR, "%u in an hour", asked);
    stop(&w, &phone);
}

static void expect_asked_with_bundle(struct world *w, struct party *phone)
{
    struct slice list = arena_printf(&w->arena, "<list>" SLICE_FMT "</list>",
                                     SLICE_ARG(world_bundle_xml(w, phone, "777@lid")));

    world_answer(w, "get", "encrypt", arena_text(&w->arena, list));
    const struct wa_node *message = world_next_node(w);
    cr_assert(message, "nothing is asked for");
    cr_assert(wa_node_child(message, "device-identity"), "a pkmsg needs it");
}

Test(ask_phone, without_a_session_the_phones_bundle_is_fetched_first)
{
    struct world w;
    struct party phone;

    start(&w, &phone, false);
    serve_spoilt(&w, "M");
    world_skip(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    expect_asked_with_bundle(&w, &phone);
    stop(&w, &phone);
}

Test(ask_phone, a_bundle_that_was_refused_is_asked_for_again_though_many_wait)
{
    struct world w;
    struct party phone;
    char id[16];

    start(&w, &phone, false);
    for (int i = 0; i < WA_ASKS_WAITING; i++) {
        snprintf(id, sizeof id, "F%d", i);
        serve_spoilt(&w, id);
        world_serve(&w, "<ib/>");
    }
    world_skip(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    world_answer(&w, "get", "encrypt", "503");
    world_skip(&w);
    serve_spoilt(&w, "G");
    world_skip(&w);
    world_sleep(&w, WA_ASK_AFTER_MS);
    expect_asked_with_bundle(&w, &phone);
    stop(&w, &phone);
}

/* What links before this one left open is planned with the login, just when what waited offline
 * comes: it must not take the places of the new ones for good. */
Test(ask_phone, what_comes_while_many_old_ones_wait_is_asked_for_by_a_later_link)
{
    struct world w;
    struct party phone;
    bool is_asked = false;
    char id[16];

    start(&w, &phone, true);
    for (int i = 0; i < WA_ASKS_WAITING; i++) {
        snprintf(id, sizeof id, "F%d", i);
        serve_spoilt(&w, id);
        world_serve(&w, "<ib/>");
    }
    world_skip(&w);
    world_restart(&w);
    world_login(&w);
    serve_spoilt(&w, "NEW");
    world_skip(&w);
    for (int i = 0; i < WA_ASK_TRIES; i++) {
        world_sleep(&w, WA_ASK_AFTER_MS);
        while (!list_empty(&w.received)) {
            const Wa__MessageKey *key = expect_question(&w, &phone);
            is_asked |= strcmp(key->id, "NEW") == 0;
        }
        world_restart(&w);
        world_login(&w);
        fake_events_skip(&w.h);
    }
    cr_expect(is_asked);
    stop(&w, &phone);
}
