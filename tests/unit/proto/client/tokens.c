#include "proto/client/tokens.h"

#include "tests/support/sending.h"

static void give(struct cast *x, const char *hex, long t)
{
    world_serve(
        &x->w,
        arena_text(
            &x->w.arena,
            arena_printf(
                &x->w.arena,
                "<notification type=\"privacy_token\" from=\"15550002222@s.whatsapp.net\" "
                "sender_lid=\"888@lid\" id=\"N\" t=\"1\"><tokens><token type=\"trusted_contact\" "
                "t=\"%ld\">[%s]</token></tokens></notification>",
                t, hex)));
    cr_assert(strstr(world_next(&x->w), "<ack class=\"notification\""));
}

/* The stanza of a message to the contact, sessions made on the way. */
static const struct wa_node *send(struct cast *x, bool first)
{
    cr_assert_eq(cast_send(x, cast_peer_pn(), "hi"), OK);
    if (first) {
        cast_answer_devices(x);
        cast_answer_bundles(x);
    }
    return world_next_node(&x->w);
}

Test(tokens, go_with_every_message_until_they_are_old)
{
    struct cast x;

    cast_init(&x);
    give(&x, "aabb", 1700000000);
    const struct wa_node *m = send(&x, true);
    cr_assert(slice_eq(wa_node_child_bytes(m, "tctoken"), SLICE("\xaa\xbb")));
    x.w.now += 21 * 24 * 3600 * 1000LL;
    world_serve(&x.w, "<ib/>");
    world_serve(&x.w, "<notification type=\"picture\" id=\"x\" from=\"888@lid\"/>");
    world_skip(&x.w);
    m = send(&x, false);
    cr_assert(wa_node_is(m, "iq"), "the device list is old by now");
    cast_done(&x);
}

Test(tokens, die_after_four_weeks)
{
    struct cast x;

    cast_init(&x);
    give(&x, "aabb", 1700000000 - 28 * 86400);
    const struct wa_node *m = send(&x, true);
    cr_assert(slice_is_none(wa_node_child_bytes(m, "tctoken")));
    cast_done(&x);
}

Test(tokens, newest_wins)
{
    struct cast x;

    cast_init(&x);
    give(&x, "aa", 1700000000);
    give(&x, "bb", 1699999999);
    const struct wa_node *m = send(&x, true);
    cr_assert(slice_eq(wa_node_child_bytes(m, "tctoken"), SLICE("\xaa")));
    give(&x, "cc", 1700000001);
    m = send(&x, false);
    cr_assert(slice_eq(wa_node_child_bytes(m, "tctoken"), SLICE("\xcc")));
    cast_done(&x);
}

Test(tokens, move_with_the_mapping)
{
    struct cast x;

    cast_init(&x);
    world_serve(&x.w, "<notification type=\"privacy_token\" from=\"15550002222@s.whatsapp.net\" "
                      "id=\"N\"><tokens><token type=\"trusted_contact\" t=\"1700000000\">[aa]"
                      "</token></tokens></notification>");
    cr_assert(fake_row(&x.w.h, WA_NS_TOKEN, "15550002222@s.whatsapp.net", ""));
    world_serve(&x.w, "<receipt from=\"15550002222@s.whatsapp.net\" sender_lid=\"888@lid\" "
                      "id=\"R\"/>");
    world_skip(&x.w);
    cr_assert(!fake_row(&x.w.h, WA_NS_TOKEN, "15550002222@s.whatsapp.net", ""));
    const struct wa_node *m = send(&x, true);
    cr_assert(slice_eq(wa_node_child_bytes(m, "tctoken"), SLICE("\xaa")));
    cast_done(&x);
}
