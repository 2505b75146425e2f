#include "proto/client/keepalive.h"

#include <criterion/criterion.h>

#include "tests/support/fake_server.h"

/* Logged in, login queries answered, so that the link owes nothing. */
static void start(struct world *w)
{
    world_init_paired(w);
    world_login_to_count(w);
    world_answer(w, "get", "encrypt", "<count value=\"100\"/>");
    world_expect_quiet(w);
    fake_events_skip(&w->h);
}

Test(keepalive, pings_every_twenty_to_thirty_seconds_and_lives)
{
    struct world w;

    start(&w);
    for (int i = 0; i < 20; i++) {
        int64_t from = w.now;
        while (list_empty(&w.received))
            world_sleep(&w, 100);
        cr_assert(w.now - from >= 19900 && w.now - from <= 30100, "%lld",
                  (long long)(w.now - from));
        world_answer(&w, "get", "w:p", "");
    }
    cr_assert(w.is_up);
    world_expect_no_event(&w);
    world_done(&w);
}

Test(keepalive, does_not_ping_while_something_comes_in)
{
    struct world w;

    start(&w);
    for (int i = 0; i < 60; i++) {
        world_sleep(&w, 10000);
        world_serve(&w, "<ib/>");
    }
    world_expect_quiet(&w);
    world_done(&w);
}

Test(keepalive, calls_the_link_dead_twenty_seconds_after_the_first_unanswered_send)
{
    struct world w;
    int64_t at;

    start(&w);
    world_sleep(&w, 30000);
    cr_assert(world_next(&w), "a ping");
    world_sleep(&w, 20000);
    world_expect_event(&w, "disconnected link retries");
    cr_assert(!w.is_up);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    world_done(&w);
}

Test(keepalive, is_not_put_off_by_further_sends)
{
    struct world w;

    start(&w);
    int64_t from = w.now;
    for (int i = 0; w.is_up && i < 100; i++) {
        struct slice ids[] = {SLICE("A")};
        struct wa_read read = {
            .chat.lid = wa_jid_of(WA_SERVER_LID, SLICE("888"), 0), .ids = ids, .id_count = 1};
        WORLD_TURN(&w, wa_client_mark_read(w.client, &read, w.now));
        world_sleep(&w, 1000);
    }
    cr_assert_eq(w.now - from, 20000);
    world_done(&w);
}

Test(keepalive, counts_from_release_not_from_the_turn)
{
    struct world w;

    start(&w);
    w.hold = true;
    world_sleep(&w, 30000);
    w.now += 60000; /* the disk is slow */
    w.hold = false;
    world_settle(&w);
    world_sleep(&w, 19999);
    world_answer(&w, "get", "w:p", "");
    cr_assert(w.is_up);
    world_done(&w);
}

Test(keepalive, answers_the_servers_ping)
{
    struct world w;

    start(&w);
    world_serve(&w, "<iq type=\"get\" xmlns=\"urn:xmpp:ping\" from=\"@s.whatsapp.net\" t=\"1\"/>");
    world_expect(&w, "<iq type=\"result\" to=\"@s.whatsapp.net\"/>");
    world_serve(&w, "<iq type=\"get\" from=\"@s.whatsapp.net\" id=\"7\"><ping/></iq>");
    world_expect(&w, "<iq type=\"result\" to=\"@s.whatsapp.net\" id=\"7\"/>");
    world_done(&w);
}

/* An hour back: what was to come in seconds still does, and nothing comes too early for it. */
Test(keepalive, goes_on_when_the_clock_is_set_back)
{
    struct world w;

    start(&w);
    for (int i = 0; i < 3; i++) {
        w.now -= 3600 * 1000;
        int64_t from = w.now;
        wa_client_clock(w.client, w.now);
        cr_assert_leq(wa_client_deadline(w.client), w.now + 30100);
        while (list_empty(&w.received))
            world_sleep(&w, 100);
        cr_assert_leq(w.now - from, 30100);
        world_answer(&w, "get", "w:p", "");
    }
    cr_assert(w.is_up);
    world_expect_no_event(&w);
    world_done(&w);
}
