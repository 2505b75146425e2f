#include "proto/client/privacy.h"

#include <criterion/criterion.h>

#include "tests/support/fake_server.h"

#define READS(value)                                                                               \
    "<privacy><category name=\"last\" value=\"all\"/><category "                                   \
    "name=\"readreceipts\" value=\"" value "\"/></privacy>"

static void log_in(struct world *w, const char *settings)
{
    world_connect(w);
    world_serve(w, "<success t=\"1700000000\" lid=\"777:5@lid\"/>");
    world_next(w); /* unified_session */
    world_answer(w, "set", "passive", "");
    world_answer(w, "get", "privacy", settings);
    world_skip(w);
    fake_events_skip(&w->h);
}

static const char *type_of_read(struct world *w)
{
    struct slice id = SLICE("A");
    struct wa_read read = {
        .ids = &id, .id_count = 1, .chat.lid = wa_jid_of(WA_SERVER_LID, SLICE("888"), 0)};

    WORLD_TURN(w, wa_client_mark_read(w->client, &read, w->now));
    const struct wa_node *receipt = world_next_node(w);
    cr_assert(receipt && wa_node_is(receipt, "receipt"));
    return arena_text(&w->arena, wa_node_text(receipt, "type"));
}

Test(privacy, who_hides_what_he_reads_tells_himself_alone)
{
    struct world w;

    world_init_paired(&w);
    log_in(&w, READS("none"));
    cr_assert_str_eq(type_of_read(&w), "read-self");
    world_done(&w);
}

Test(privacy, until_the_setting_is_known_nobody_else_is_told)
{
    struct world w;

    world_init_paired(&w);
    log_in(&w, "500");
    cr_assert_str_eq(type_of_read(&w), "read-self");
    world_serve(&w, "<notification type=\"account_sync\" from=\"15550001111@s.whatsapp.net\" "
                    "id=\"N\" t=\"1\">" READS("all") "</notification>");
    world_skip(&w);
    cr_assert_str_eq(type_of_read(&w), "read");
    world_cut(&w);
    world_restart(&w);
    log_in(&w, "500");
    cr_assert_str_eq(type_of_read(&w), "read"); /* what was known last */
    world_done(&w);
}

Test(privacy, the_setting_outlives_the_process_and_an_answer_without_it)
{
    struct world w;

    world_init_paired(&w);
    log_in(&w, READS("none"));
    world_restart(&w);
    log_in(&w, "<privacy/>");
    cr_assert_str_eq(type_of_read(&w), "read-self");
    world_cut(&w);
    world_sleep(&w, 5000);
    log_in(&w, "500");
    cr_assert_str_eq(type_of_read(&w), "read-self");
    world_cut(&w);
    world_sleep(&w, 5000);
    log_in(&w, READS("all"));
    cr_assert_str_eq(type_of_read(&w), "read");
    world_done(&w);
}

Test(privacy, a_notification_tells_the_change)
{
    struct world w;

    world_init_paired(&w);
    log_in(&w, READS("all"));
    world_serve(&w, "<notification type=\"account_sync\" from=\"15550001111@s.whatsapp.net\" "
                    "id=\"N\" t=\"1\">" READS("none") "</notification>");
    world_expect(&w, "<ack class=\"notification\" id=\"N\" to=\"15550001111@s.whatsapp.net\" "
                     "type=\"account_sync\"/>");
    cr_assert_str_eq(type_of_read(&w), "read-self");
    world_done(&w);
}

static bool cleans(struct world *w, const char *type)
{
    const char *iq = world_next(w);
    struct slice clean = arena_printf(&w->arena, "<clean type=\"%s\" timestamp=\"123\"/>", type);

    return iq && strstr(iq, "xmlns=\"urn:xmpp:whatsapp:dirty\"") &&
           strstr(iq, arena_text(&w->arena, clean));
}

Test(privacy, a_dirty_account_is_fetched_before_it_is_cleaned)
{
    struct world w;

    world_init_paired(&w);
    log_in(&w, READS("all"));
    world_serve(&w, "<ib><dirty type=\"account_sync\" timestamp=\"123\"/></ib>");
    world_answer(&w, "get", "privacy", READS("none"));
    cr_assert(cleans(&w, "account_sync"));
    cr_assert_str_eq(type_of_read(&w), "read-self");
    world_done(&w);
}

Test(privacy, what_could_not_be_fetched_stays_dirty)
{
    struct world w;

    world_init_paired(&w);
    log_in(&w, READS("all"));
    world_serve(&w, "<ib><dirty type=\"account_sync\" timestamp=\"123\"/></ib>");
    world_answer(&w, "get", "privacy", "503");
    world_expect_quiet(&w);
    world_serve(&w, "<ib><dirty type=\"account_sync\" timestamp=\"soon\"/></ib>");
    world_expect_quiet(&w);
    world_done(&w);
}

Test(privacy, what_is_not_kept_is_cleaned_at_once)
{
    struct world w;

    world_init_paired(&w);
    log_in(&w, READS("all"));
    world_serve(&w, "<ib><dirty type=\"groups\" timestamp=\"123\"/></ib>");
    cr_assert(cleans(&w, "groups"));
    world_serve(&w, "<ib><dirty type=\"syncd_app_state\" timestamp=\"123\"/></ib>");
    cr_assert(cleans(&w, "syncd_app_state"));
    world_done(&w);
}
