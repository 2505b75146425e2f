#include "proto/client/link.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/support/fake_server.h"

Test(link, refuses_another_root_key_and_backs_off)
{
    struct world w;
    struct crypto_pair other;
    int64_t at;

    world_init_paired(&w);
    crypto_pair_new(&other);
    w.config.root_key = other.public;
    world_connect(&w);
    world_expect_event(&w, "disconnected certificate retries");
    cr_assert(!w.is_up && !w.is_transport, "our static key was never shown");
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    cr_assert_gt(at, w.now);
    world_done(&w);
}

Test(link, refuses_a_chain_out_of_date_by_the_time_it_is_given)
{
    struct world w;

    world_init_paired(&w);
    w.now = ((int64_t)INT32_MAX + 10) * 1000; /* the fake chain ends there */
    world_connect(&w);
    world_expect_event(&w, "disconnected certificate retries");
    w.config.check_validity = false;
    world_connect(&w);
    cr_assert(w.is_transport);
    world_done(&w);
}

Test(link, gives_up_a_silent_handshake_after_twenty_seconds)
{
    struct world w;

    world_init_paired(&w);
    w.hold = true; /* the hello is never released */
    int64_t at;
    wa_client_wish(w.client, &at);
    w.link++;
    w.is_up = true;
    WORLD_TURN(&w, wa_client_link_up(w.client, w.link, w.now));
    world_sleep(&w, 19999);
    cr_assert_neq(wa_client_deadline(w.client), INT64_MAX);
    w.now += 1;
    WORLD_TURN(&w, wa_client_tick(w.client, w.now));
    w.hold = false;
    world_settle(&w);
    world_expect_event(&w, "disconnected link retries");
    cr_assert(!w.is_up);
    world_done(&w);
}

Test(link, gives_up_a_server_that_never_says_success)
{
    struct world w;

    world_init_paired(&w);
    world_connect(&w);
    world_sleep(&w, 20000);
    world_expect_event(&w, "disconnected link retries");
    world_done(&w);
}

static void feed(struct world *w, struct slice bytes)
{
    WORLD_TURN(w, wa_client_recv(w->client, bytes, w->now));
}

Test(link, ends_at_a_frame_that_is_no_ciphertext)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    feed(&w, SLICE("\0\0\x14"
                   "01234567890123456789"));
    world_expect_event(&w, "disconnected protocol retries");
    cr_assert(!w.is_up);
    world_done(&w);
}

Test(link, ends_at_a_stanza_that_does_not_decode)
{
    struct world w;
    AUTO(buf) frame = {0};

    world_init_paired(&w);
    world_login(&w);
    cr_assert_eq(wa_transport_seal(&w.result.transport, SLICE("\0\xf8\xff"), &frame), OK);
    feed(&w, buf_slice(&frame));
    world_expect_event(&w, "disconnected protocol retries");
    world_done(&w);
}

Test(link, ends_at_a_huge_frame_before_the_handshake_is_over)
{
    struct world w;

    world_init_paired(&w);
    w.hold = true;
    w.link++;
    w.is_up = true;
    WORLD_TURN(&w, wa_client_link_up(w.client, w.link, w.now));
    WORLD_TURN(&w, wa_client_recv(w.client, SLICE("\xff\xff\xff"), w.now));
    w.hold = false;
    world_settle(&w);
    world_expect_event(&w, "disconnected protocol retries");
    world_done(&w);
}

Test(link, reads_frames_in_any_pieces_and_several_at_once)
{
    struct world w;
    AUTO(buf) both = {0};
    AUTO(buf) plain = {0};

    world_init_paired(&w);
    world_login(&w);
    for (int i = 0; i < 2; i++) {
        char xml[128];
        snprintf(xml, sizeof(xml),
                 "<iq type=\"get\" xmlns=\"urn:xmpp:ping\" "
                 "from=\"@s.whatsapp.net\" id=\"p%d\"/>",
                 i);
        buf_reset(&plain);
        wa_node_encode(world_parse(&w, xml), &plain);
        cr_assert_eq(wa_transport_seal(&w.result.transport, buf_slice(&plain), &both), OK);
    }
    feed(&w, slice_of(both.data, 1));
    feed(&w, slice_of(both.data + 1, 10));
    world_expect_quiet(&w);
    feed(&w, slice_of(both.data + 11, both.len - 11));
    world_expect(&w, "<iq type=\"result\" to=\"@s.whatsapp.net\" id=\"p0\"/>");
    world_expect(&w, "<iq type=\"result\" to=\"@s.whatsapp.net\" id=\"p1\"/>");
    world_done(&w);
}

Test(link, drops_sends_of_a_link_that_is_gone)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    w.hold = true;
    world_serve(&w, "<iq type=\"get\" xmlns=\"urn:xmpp:ping\" from=\"@s.whatsapp.net\"/>");
    w.is_up = false;
    WORLD_TURN(&w, wa_client_link_down(w.client, "cut", w.now));
    w.hold = false;
    world_settle(&w); /* the pong is committed now, for a link that is gone */
    world_login(&w);
    world_expect_quiet(&w);
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_ONLINE);
    world_done(&w);
}

Test(link, is_wished_for_as_soon_when_the_clock_is_set_back)
{
    struct world w;
    int64_t at, before;

    world_init_paired(&w);
    world_login(&w);
    w.is_up = false;
    WORLD_TURN(&w, wa_client_link_down(w.client, "cut", w.now));
    cr_assert_eq(wa_client_wish(w.client, &before), WA_WISH_LINK);
    before -= w.now;
    w.now -= 7200 * 1000;
    wa_client_clock(w.client, w.now);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    cr_expect_eq(at - w.now, before);
    world_done(&w);
}

Test(link, ignores_what_comes_after_its_own_close)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    w.hold = true;
    world_serve(&w, "<stream:error code=\"503\"/>");
    world_serve(&w, "<failure reason=\"401\"/>");
    w.hold = false;
    world_settle(&w);
    world_expect_event(&w, "disconnected server 503 retries");
    world_expect_no_event(&w);
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_OFFLINE);
    world_done(&w);
}

Test(link, closes_a_link_that_nobody_wished_for)
{
    struct world w;

    world_init_paired(&w);
    WORLD_TURN(&w, wa_client_stop(w.client, w.now));
    w.link++;
    w.is_up = true;
    WORLD_TURN(&w, wa_client_link_up(w.client, w.link, w.now));
    cr_assert(!w.is_up);
    world_expect_no_event(&w);
    world_done(&w);
}

Test(link, keeps_the_edge_routing_and_gives_it_back)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    world_serve(&w, "<ib from=\"@s.whatsapp.net\"><edge_routing><routing_info>[08020805]"
                    "</routing_info></edge_routing></ib>");
    world_cut(&w);
    world_restart(&w);
    world_connect(&w);
    cr_assert(slice_eq(buf_slice(&w.frames.routing), SLICE("\x08\x02\x08\x05")));
    cr_assert(w.is_transport);
    world_done(&w);
}

Test(link, closes_the_account_when_a_row_is_damaged)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    w.h.load_error = ERR_STORE_DAMAGED;
    AUTO(buf) plain = {0};
    AUTO(buf) frame = {0};
    wa_node_encode(world_parse(&w, "<message from=\"888:2@lid\" id=\"A\" type=\"text\" t=\"1\">"
                                   "<enc v=\"2\" type=\"msg\">[00]</enc></message>"),
                   &plain);
    cr_assert_eq(wa_transport_seal(&w.result.transport, buf_slice(&plain), &frame), OK);
    fake_turn_open(&w.h);
    cr_assert_eq(wa_client_recv(w.client, buf_slice(&frame), w.now), ERR_STORE_DAMAGED);
    fake_crash(&w.h);
    w.h.load_error = OK;
    world_done(&w);
}

Test(link, is_tiny_when_idle)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    world_serve(&w, "<ib><offline count=\"0\"/></ib>");
    cr_assert_lt(wa_client_memory(w.client), 4096, "%zu", wa_client_memory(w.client));
    world_done(&w);
}
