#include <criterion/criterion.h>

#include "tests/support/fake_server.h"

static void start(struct world *w)
{
    world_init_paired(w);
    world_login(w);
}

static void receive(struct world *w, struct party *peer, const char *id)
{
    char *xml = arena_text(
        &w->arena,
        arena_printf(&w->arena, "<message from=\"888@lid\" id=\"%s\" type=\"text\" t=\"1\"/>", id));
    struct wa_node *stanza = world_parse(w, xml);

    world_encrypt(w, peer, world_text(w, "hi"), stanza);
    world_serve_node(w, stanza);
    world_skip(w);
}

Test(notification, forgets_the_keys_of_a_contact_who_installed_anew)
{
    struct world w;
    struct party peer;

    start(&w);
    party_init(&peer, "888@lid", 0, 11);
    world_introduce(&w, &peer);
    receive(&w, &peer, "A");
    cr_assert(fake_row(&w.h, WA_NS_SESSION, "888@lid", "0"));
    fake_events_skip(&w.h);
    world_serve(&w, "<notification type=\"encrypt\" from=\"888@lid\" id=\"N\" t=\"1\"><identity/>"
                    "</notification>");
    cr_assert(!fake_row(&w.h, WA_NS_SESSION, "888@lid", "0"));
    cr_assert(!fake_row(&w.h, WA_NS_IDENTITY, "888@lid", "0"));
    world_expect_event(&w, "identity 888@lid");
    world_expect(&w, "<ack class=\"notification\" id=\"N\" to=\"888@lid\"/>");
    party_done(&peer);
    world_done(&w);
}

Test(notification, learns_numbers_from_groups_and_contacts)
{
    struct world w;

    start(&w);
    world_serve(&w, "<notification type=\"w:gp2\" from=\"120363@g.us\" participant=\"888@lid\" "
                    "participant_pn=\"15550002222@s.whatsapp.net\" id=\"N\"><add>"
                    "<participant jid=\"999@lid\" phone_number=\"15550003333@s.whatsapp.net\"/>"
                    "</add></notification>");
    world_expect_event(&w, "mapping 15550002222@s.whatsapp.net 888@lid");
    world_expect_event(&w, "mapping 15550003333@s.whatsapp.net 999@lid");
    world_serve(&w, "<notification type=\"contacts\" from=\"@s.whatsapp.net\" id=\"N\">"
                    "<modify old=\"15550002222@s.whatsapp.net\" old_lid=\"888@lid\" "
                    "new=\"15550004444@s.whatsapp.net\" new_lid=\"444@lid\"/></notification>");
    world_expect_event(&w, "mapping 15550004444@s.whatsapp.net 444@lid");
    world_done(&w);
}

Test(notification, acknowledges_even_what_it_cannot_read)
{
    struct world w;

    start(&w);
    world_serve(&w, "<notification type=\"privacy_token\" from=\"888@lid\" id=\"N\"/>");
    world_expect(&w, "<ack class=\"notification\" id=\"N\" to=\"888@lid\" "
                     "type=\"privacy_token\"/>");
    world_done(&w);
}
