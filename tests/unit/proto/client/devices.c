#include "proto/client/devices.h"

#include "tests/support/refusal.h"
#include "tests/support/sending.h"

Test(devices, keeps_the_phone_and_valid_companions)
{
    struct cast x;
    uint32_t valid[] = {1, 3};
    struct wa_key_index_list list = {
        .raw_id = 1, .timestamp = 1, .current_index = 5, .valid = valid, .valid_count = 2};

    cast_init(&x);
    struct slice bytes = wa_key_index_sign(&x.peer.ks, &x.w.arena, &list);
    cast_send(&x, cast_peer_lid(), "hi");
    cast_answer_usync(
        &x,
        arena_text(&x.w.arena,
                   arena_printf(
                       &x.w.arena,
                       "<user jid=\"888@lid\"><devices><device-list><device id=\"0\"/>"
                       "<device id=\"2\" key-index=\"1\"/><device id=\"3\" key-index=\"2\"/>"
                       "<device id=\"4\" key-index=\"6\"/><device id=\"5\"/><device id=\"70000\" "
                       "key-index=\"1\"/><device id=\"99\" is_hosted=\"true\"/></device-list>"
                       "<key-index-list ts=\"1\">[" SLICE_FMT "]</key-index-list></devices></user>",
                       SLICE_ARG(cast_hex(&x, bytes)))));
    const char *iq = world_next(&x.w);
    cr_assert(strstr(iq, "<key><user jid=\"888@lid\"/><user jid=\"888:2@lid\"/>"
                         "<user jid=\"888:4@lid\"/><user jid=\"888:99@hosted.lid\"/>"
                         "<user jid=\"15550001111@s.whatsapp.net\"/></key>") ||
                  strstr(iq, "<key><user jid=\"888@lid\"/><user jid=\"888:2@lid\"/>"
                             "<user jid=\"888:4@lid\"/><user jid=\"888:99@hosted.lid\"/>"
                             "<user jid=\"777@lid\"/></key>"),
              "%s", iq);
    cast_done(&x);
}

Test(devices, keeps_the_phone_alone_without_an_index_list)
{
    struct cast x;

    cast_init(&x);
    cast_send(&x, cast_peer_lid(), "hi");
    cast_answer_usync(&x, "<user jid=\"888@lid\"><devices><device-list><device id=\"0\"/>"
                          "<device id=\"2\" key-index=\"1\"/></device-list></devices></user>");
    const char *iq = world_next(&x.w);
    cr_assert(strstr(iq, "<user jid=\"888@lid\"/><user jid=\"777@lid\"/></key>"), "%s", iq);
    cast_done(&x);
}

Test(devices, are_asked_anew_when_the_server_says_so)
{
    static const struct {
        const char *xml;
        const char *owner;
    } rows[] = {
        {"<notification type=\"devices\" from=\"888@lid\" id=\"N\"><remove/></notification>",
         "888@lid"},
        {"<notification type=\"devices\" from=\"15550002222@s.whatsapp.net\" lid=\"888@lid\" "
         "id=\"N\"><add/></notification>",
         "888@lid"},
        {"<notification type=\"account_sync\" from=\"15550001111@s.whatsapp.net\" id=\"N\">"
         "<devices dhash=\"x\"/></notification>",
         "777@lid"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cast x;
        cast_init(&x);
        cast_first_message(&x, "hi");
        cr_assert(cast_list_is_fresh(&x, rows[i].owner));
        world_serve(&x.w, rows[i].xml);
        cr_expect(!cast_list_is_fresh(&x, rows[i].owner), "%s", rows[i].xml);
        cast_done(&x);
    }
}

Test(devices, empty_lists_mean_nobody)
{
    struct cast x;

    cast_init(&x);
    cast_send(&x, cast_peer_lid(), "hi");
    cast_answer_usync(&x, "<user jid=\"888@lid\"><devices/></user>");
    world_expect_event(&x.w, "send_failed 1 NOT_ON_WHATSAPP");
    cast_done(&x);
}

Test(devices, that_change_under_a_send_do_not_end_it)
{
    struct cast x;

    cast_init(&x);
    cast_send(&x, cast_peer_pn(), "hi");
    cast_answer_contact(&x, true);
    cast_answer_devices(&x);
    struct slice id = arena_dup(&x.w.arena, wa_node_text(world_next_node(&x.w), "id"));
    world_serve(&x.w, "<notification type=\"devices\" from=\"888@lid\" id=\"N\"><add/>"
                      "</notification>");
    world_skip(&x.w);
    world_serve(&x.w,
                arena_text(&x.w.arena,
                           arena_printf(&x.w.arena,
                                        "<iq type=\"result\" id=\"" SLICE_FMT "\"><list>" SLICE_FMT
                                        "</list></iq>",
                                        SLICE_ARG(id),
                                        SLICE_ARG(world_bundle_xml(&x.w, &x.peer, "888@lid")))));
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(m && cast_enc_for(m, "15550002222@s.whatsapp.net"));
    cast_done(&x);
}

Test(devices, move_to_a_lid_that_is_learnt_under_a_send)
{
    struct cast x;

    cast_init(&x);
    cast_send(&x, cast_peer_pn(), "hi");
    cast_answer_usync(&x, "<user jid=\"15550002222@s.whatsapp.net\"><contact type=\"in\"/></user>");
    const char *peer = cast_devices(&x, "15550002222@s.whatsapp.net", "", &x.peer, 2);
    cast_answer_usync(&x, peer);
    struct slice id = arena_dup(&x.w.arena, wa_node_text(world_next_node(&x.w), "id"));
    world_serve(&x.w, "<receipt from=\"15550002222@s.whatsapp.net\" sender_lid=\"888@lid\" "
                      "id=\"R\"/>");
    world_skip(&x.w);
    world_serve(&x.w, arena_text(&x.w.arena,
                                 arena_printf(&x.w.arena,
                                              "<iq type=\"result\" id=\"" SLICE_FMT
                                              "\"><list>" SLICE_FMT "</list></iq>",
                                              SLICE_ARG(id),
                                              SLICE_ARG(world_bundle_xml(
                                                  &x.w, &x.peer, "15550002222@s.whatsapp.net")))));
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(m && cast_enc_for(m, "15550002222@s.whatsapp.net"));
    cr_assert(fake_row(&x.w.h, WA_NS_SESSION, "888@lid", "0"));
    cast_done(&x);
}

/* ---- no memory ---- */

/* A phone and a companion, with a list of indexes that needs memory of its own. */
static const struct wa_node *user_of_many_indexes(struct cast *x)
{
    static uint32_t valid[2000];
    struct wa_key_index_list list = {
        .raw_id = 1, .timestamp = 1, .current_index = 3000, .valid = valid, .valid_count = 2000};

    for (uint32_t i = 0; i < ARRAY_LEN(valid); i++)
        valid[i] = i + 1;
    struct slice hex = cast_hex(x, wa_key_index_sign(&x->peer.ks, &x->w.arena, &list));
    return world_parse(
        &x->w, arena_text(&x->w.arena,
                          arena_printf(&x->w.arena,
                                       "<user jid=\"888@lid\"><devices><device-list>"
                                       "<device id=\"0\"/><device id=\"2\" key-index=\"1999\"/>"
                                       "</device-list><key-index-list ts=\"1\">[" SLICE_FMT
                                       "]</key-index-list></devices></user>",
                                       SLICE_ARG(hex))));
}

Test(devices, are_not_forgotten_because_there_was_no_memory)
{
    struct cast x;
    bool refused = true;
    size_t kept = 0;
    unsigned nth;

    cast_init(&x);
    const struct wa_node *user = user_of_many_indexes(&x);
    for (nth = 1; refused; nth++) {
        AUTO(arena) arena = {0};

        fake_turn_open(&x.w.h);
        wa_arena_set(x.w.client, &arena);
        refuse_memory(nth);
        err_t e = wa_devices_store(x.w.client, user, &kept);
        refused = refused_memory();
        cr_assert_eq(e, refused ? ERR_NO_MEMORY : OK, "%s at refusal %u", err_name(e), nth);
        wa_arena_set(x.w.client, NULL);
        fake_crash(&x.w.h);
    }
    cr_assert_gt(nth, 2);
    cr_assert_eq(kept, 2);
    cast_done(&x);
}
