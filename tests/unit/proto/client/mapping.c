#include "proto/client/mapping.h"

#include <criterion/criterion.h>

#include "tests/support/fake_server.h"

static void start(struct world *w, struct party *peer)
{
    world_init_paired(w);
    world_login(w);
    party_init(peer, "888@lid", 2, 11);
    world_introduce(w, peer);
}

static void receive(struct world *w, struct party *peer, const char *from, const char *id)
{
    char *xml = arena_text(
        &w->arena,
        arena_printf(&w->arena, "<message %s id=\"%s\" type=\"text\" t=\"1\"/>", from, id));
    struct wa_node *stanza = world_parse(w, xml);

    world_encrypt(w, peer, world_text(w, "hi"), stanza);
    world_serve_node(w, stanza);
}

Test(mapping, is_told_once)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    receive(&w, &peer, "from=\"888:2@lid\" sender_pn=\"15550002222@s.whatsapp.net\"", "A");
    receive(&w, &peer, "from=\"888:2@lid\" sender_pn=\"15550002222@s.whatsapp.net\"", "B");
    world_expect_event(&w, "mapping 15550002222@s.whatsapp.net 888@lid");
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id A \"hi\"");
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id B \"hi\"");
    cr_assert(slice_is(buf_slice(fake_row(&w.h, WA_NS_LID, "15550002222@s.whatsapp.net", "")),
                       "888@lid"));
    cr_assert(
        slice_is(buf_slice(fake_row(&w.h, WA_NS_PN, "888@lid", "")), "15550002222@s.whatsapp.net"));
    party_done(&peer);
    world_done(&w);
}

Test(mapping, moves_sessions_and_identities_to_the_lid)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    receive(&w, &peer, "from=\"15550002222:2@s.whatsapp.net\"", "A");
    world_expect_event(&w, "message text 15550002222@s.whatsapp.net from "
                           "15550002222@s.whatsapp.net:2 id A \"hi\"");
    cr_assert(fake_row(&w.h, WA_NS_SESSION, "15550002222@s.whatsapp.net", "2"));
    receive(&w, &peer, "from=\"888:2@lid\" sender_pn=\"15550002222@s.whatsapp.net\"", "B");
    world_expect_event(&w, "mapping 15550002222@s.whatsapp.net 888@lid");
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id B \"hi\"");
    cr_assert(!fake_row(&w.h, WA_NS_SESSION, "15550002222@s.whatsapp.net", "2"));
    cr_assert(!fake_row(&w.h, WA_NS_IDENTITY, "15550002222@s.whatsapp.net", "2"));
    cr_assert(fake_row(&w.h, WA_NS_SESSION, "888@lid", "2"));
    cr_assert(fake_row(&w.h, WA_NS_IDENTITY, "888@lid", "2"));
    cr_assert(!fake_row(&w.h, WA_NS_DEVICES, "15550002222@s.whatsapp.net", "made"));
    /* And by phone number again: the same session, under the LID. */
    receive(&w, &peer, "from=\"15550002222:2@s.whatsapp.net\"", "C");
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id C \"hi\"");
    cr_assert(!fake_row(&w.h, WA_NS_SESSION, "15550002222@s.whatsapp.net", "2"));
    party_done(&peer);
    world_done(&w);
}

Test(mapping, moves_in_one_turn_with_the_message)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    receive(&w, &peer, "from=\"15550002222:2@s.whatsapp.net\"", "A");
    w.hold = true;
    receive(&w, &peer, "from=\"888:2@lid\" sender_pn=\"15550002222@s.whatsapp.net\"", "B");
    world_restart(&w);
    cr_assert(fake_row(&w.h, WA_NS_SESSION, "15550002222@s.whatsapp.net", "2"));
    cr_assert(!fake_row(&w.h, WA_NS_LID, "15550002222@s.whatsapp.net", ""));
    party_done(&peer);
    world_done(&w);
}

/* Their token came under the number, their message under the LID, and nobody had said yet that the
 * two are one: without the token the server refuses what we write (463). */
Test(mapping, keeps_the_newer_token_of_both_addresses)
{
    struct world w;
    struct party peer;

    start(&w, &peer);
    world_serve(&w, "<notification type=\"privacy_token\" from=\"15550002222@s.whatsapp.net\" "
                    "id=\"N\" t=\"1\"><tokens><token type=\"trusted_contact\" t=\"1700000000\">"
                    "[c0ffee]</token></tokens></notification>");
    receive(&w, &peer, "from=\"888:2@lid\"", "A");
    cr_assert(fake_row(&w.h, WA_NS_TOKEN, "888@lid", ""));
    receive(&w, &peer, "from=\"888:2@lid\" sender_pn=\"15550002222@s.whatsapp.net\"", "B");
    cr_assert(!fake_row(&w.h, WA_NS_TOKEN, "15550002222@s.whatsapp.net", ""));
    const struct buf *row = fake_row(&w.h, WA_NS_TOKEN, "888@lid", "");
    cr_assert(row && memmem(row->data, row->len, "\xc0\xff\xee", 3), "the token is gone");
    party_done(&peer);
    world_done(&w);
}

Test(mapping, ignores_what_is_not_one_number_and_one_lid)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    world_serve(&w, "<receipt from=\"888@lid\" sender_lid=\"999@lid\" id=\"A\"/>");
    world_serve(&w, "<receipt from=\"120363@g.us\" participant=\"888@lid\" sender_lid=\"999@lid\" "
                    "id=\"A\"/>");
    cr_assert(!fake_row(&w.h, WA_NS_PN, "888@lid", ""));
    cr_assert(!fake_row(&w.h, WA_NS_PN, "999@lid", ""));
    world_done(&w);
}
