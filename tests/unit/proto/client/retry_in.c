#include "proto/client/retry_in.h"

#include <criterion/criterion.h>

#include "tests/support/fake_server.h"

#define LOST                                                                                       \
    "<message from=\"888:2@lid\" id=\"A1\" type=\"text\" t=\"1700000001\" notify=\"Ann\">"         \
    "<enc v=\"2\" type=\"msg\">[33aabbccddeeff00112233445566]</enc></message>"
#define ACK                                                                                        \
    "<ack class=\"message\" id=\"A1\" to=\"888:2@lid\" from=\"15550001111:5@s.whatsapp.net\"/>"

Test(retry_in, asks_five_times_with_keys_from_the_second_on)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    for (int count = 1; count <= 5; count++) {
        world_serve(&w, LOST);
        const struct wa_node *receipt = world_next_node(&w);
        const struct wa_node *retry = wa_node_child(receipt, "retry"),
                             *keys = wa_node_child(receipt, "keys");
        cr_assert(slice_is(wa_node_text(receipt, "type"), "retry"));
        cr_assert_eq(wa_node_text(retry, "count").data[0], '0' + count);
        cr_assert_eq(wa_node_child_bytes(receipt, "registration").len, 4);
        cr_assert_eq(keys != NULL, count >= 2);
        if (keys) {
            cr_assert_eq(wa_node_child_bytes(keys, "identity").len, 32);
            cr_assert_eq(wa_node_child_bytes(wa_node_child(keys, "key"), "value").len, 32);
            cr_assert_eq(wa_node_child_bytes(wa_node_child(keys, "skey"), "signature").len, 64);
            cr_assert_gt(wa_node_child_bytes(keys, "device-identity").len, 100);
        }
        world_expect(&w, ACK);
    }
    world_serve(&w, LOST); /* given up: the ack alone, never an error */
    world_expect(&w, ACK);
    world_expect_quiet(&w);
    world_expect_event(&w, "message unknown 888@lid from 888@lid:2 id A1 by Ann waiting");
    world_expect_no_event(&w);
    world_done(&w);
}

Test(retry_in, counts_over_a_restart)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    world_serve(&w, LOST);
    world_restart(&w);
    world_login(&w);
    world_serve(&w, LOST);
    cr_assert(strstr(world_next(&w), "count=\"2\""));
    world_expect_no_event(&w);
    world_done(&w);
}

Test(retry_in, completes_with_the_session_made_from_its_keys)
{
    struct world w;
    struct party peer;

    world_init_paired(&w);
    world_login(&w);
    world_serve(&w, LOST);
    world_serve(&w, LOST);
    for (int i = 0; i < 2; i++)
        world_next(&w);
    const struct wa_node *receipt = world_next_node(&w);
    const struct wa_node *keys = wa_node_child(receipt, "keys");
    const struct wa_node *key = wa_node_child(keys, "key"), *skey = wa_node_child(keys, "skey");
    struct wa_bundle bundle = {.has_prekey = true, .prekey_id = 1, .signed_prekey_id = 1};
    struct wa_address to = {.name = SLICE("777@lid"), .device = 5};
    bool changed;

    memcpy(bundle.identity.bytes, wa_node_child_bytes(keys, "identity").data, 32);
    memcpy(bundle.prekey.bytes, wa_node_child_bytes(key, "value").data, 32);
    struct slice id = wa_node_child_bytes(key, "id");
    bundle.prekey_id = (uint32_t)(id.data[0] << 16 | id.data[1] << 8 | id.data[2]);
    memcpy(bundle.signed_prekey.bytes, wa_node_child_bytes(skey, "value").data, 32);
    memcpy(bundle.signature, wa_node_child_bytes(skey, "signature").data, 64);
    party_init(&peer, "888@lid", 2, 11);
    cr_assert_eq(wa_session_from_bundle(&peer.ks, &w.arena, &to, &bundle, &changed), OK);
    world_skip(&w);
    fake_events_skip(&w.h);

    struct wa_node *again = world_parse(&w, "<message from=\"888:2@lid\" id=\"A1\" type=\"text\" "
                                            "t=\"1700000001\"/>");
    world_encrypt(&w, &peer, world_text(&w, "at last"), again);
    world_serve_node(&w, again);
    world_expect_event(&w, "message text 888@lid from 888@lid:2 id A1 \"at last\" completes");
    world_expect(&w, "<receipt id=\"A1\" to=\"888:2@lid\" type=\"inactive\"/>");
    cr_assert_eq(fake_row_count(&w.h, WA_NS_RETRY), 0);
    party_done(&peer);
    world_done(&w);
}

Test(retry_in, asks_for_peer_messages_without_showing_them)
{
    struct world w;

    world_init_paired(&w);
    world_login(&w);
    world_serve(&w, "<message from=\"777@lid\" category=\"peer\" id=\"P1\" type=\"text\" t=\"5\">"
                    "<enc v=\"2\" type=\"msg\">[33aabbccddeeff00112233445566]</enc></message>");
    cr_assert(strstr(world_next(&w), "<receipt id=\"P1\" to=\"777@lid\" type=\"retry\" "
                                     "category=\"peer\">"));
    world_expect_no_event(&w);
    world_done(&w);
}

Test(retry_in, tells_what_went_wrong)
{
    static const struct {
        const char *type, *hex, *error;
    } rows[] = {
        {"msg", "33", "error=\"4\""},
        {"pkmsg", "33", "error=\"4\""},
        {"skmsg", "33", "error=\"4\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        world_init_paired(&w);
        world_login(&w);
        char *xml = arena_text(
            &w.arena,
            arena_printf(&w.arena,
                         "<message from=\"120363@g.us\" participant=\"888:2@lid\" id=\"A\" t=\"1\">"
                         "<enc v=\"2\" type=\"%s\">[%s]</enc></message>",
                         rows[i].type, rows[i].hex));
        world_serve(&w, xml);
        const char *got = world_next(&w);
        cr_expect(strstr(got, rows[i].error), "%s: %s", rows[i].type, got);
        world_done(&w);
    }
}
