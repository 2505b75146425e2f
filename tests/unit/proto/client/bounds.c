/* A server that sends as much as the wire allows: what one stanza may cost has an end. */
#include <criterion/criterion.h>

#include "proto/client/bundles.h"
#include "proto/client/devices.h"
#include "proto/client/mapping.h"
#include "proto/client/message_info.h"
#include "proto/client/prekeys.h"
#include "proto/client/receipt.h"
#include "tests/support/sending.h"

enum { MANY = 20000 };

static struct wa_node *stanza(struct world *w, const char *xml) { return world_parse(w, xml); }

static struct wa_jid somebody(struct world *w, enum wa_server server, unsigned n)
{
    return wa_jid_of(server, arena_printf(&w->arena, "%u", 1000000 + n), 0);
}

static void start(struct world *w)
{
    world_init_paired(w);
    world_login(w);
}

Test(bounds, of_the_members_that_one_notification_names)
{
    struct world w;

    start(&w);
    size_t before = fake_row_count(&w.h, WA_NS_LID);
    struct wa_node *n =
        stanza(&w, "<notification type=\"w:gp2\" from=\"120363@g.us\" id=\"N\"><add/><remove/>"
                   "</notification>");
    for (unsigned i = 0; i < MANY; i++) {
        struct wa_node *p = wa_node_add(&n->children[i % 2], &w.arena, "participant");
        wa_node_set_jid(p, &w.arena, "jid", somebody(&w, WA_SERVER_LID, i));
        wa_node_set_jid(p, &w.arena, "phone_number", somebody(&w, WA_SERVER_USER, i));
    }
    world_serve_node(&w, n);
    cr_assert_eq(fake_row_count(&w.h, WA_NS_LID) - before, WA_MEMBERS_MAX);
    cr_assert(strstr(world_next(&w), "<ack class=\"notification\" id=\"N\""));
    world_done(&w);
}

Test(bounds, of_the_messages_that_one_receipt_names)
{
    struct world w;
    size_t ids = 0;

    start(&w);
    struct wa_node *n =
        stanza(&w, "<receipt type=\"read\" from=\"888@lid\" id=\"R\" t=\"1\"><list/></receipt>");
    for (unsigned i = 0; i < MANY; i++)
        wa_node_set(wa_node_add(&n->children[0], &w.arena, "item"), &w.arena, "id", SLICE("X"));
    world_serve_node(&w, n);
    for (const char *at = fake_event(&w.h); *at; at++)
        ids += at[0] == ' ' && at[1] == 'X';
    cr_assert_eq(ids + 1, WA_RECEIPT_IN_MAX);
    world_done(&w);
}

Test(bounds, of_the_readers_that_one_receipt_names)
{
    struct world w;
    size_t told = 0;

    start(&w);
    struct wa_node *n = stanza(&w, "<receipt type=\"read\" from=\"120363@g.us\" id=\"R\" t=\"1\">"
                                   "<participants key=\"K\"/></receipt>");
    for (unsigned i = 0; i < MANY; i++)
        wa_node_set_jid(wa_node_add(&n->children[0], &w.arena, "user"), &w.arena, "jid",
                        somebody(&w, WA_SERVER_LID, i));
    world_serve_node(&w, n);
    while (fake_event(&w.h))
        told++;
    cr_assert_eq(told, WA_RECEIPT_IN_MAX);
    world_done(&w);
}

/* Each enc that is tried asks for the session of its sender. */
Test(bounds, of_the_ciphertexts_in_one_message)
{
    struct world w;

    start(&w);
    struct wa_node *n = stanza(&w, "<message from=\"888@lid\" id=\"M\" type=\"text\" t=\"1\"/>");
    for (unsigned i = 0; i < MANY; i++) {
        struct wa_node *enc = wa_node_add(n, &w.arena, "enc");
        wa_node_set_text(enc, &w.arena, "type", "msg");
        wa_node_set_bytes(enc, SLICE("\x33\x0a\x00"));
    }
    size_t before = w.h.loads;
    world_serve_node(&w, n);
    cr_assert_lt(w.h.loads - before, 10 * WA_ENCS_MAX + 50);
    world_done(&w);
}

Test(bounds, of_the_bundles_in_one_answer)
{
    struct cast x;

    cast_init(&x);
    struct wa_node *iq = stanza(&x.w, "<iq type=\"result\"><list/></iq>");
    for (unsigned i = 0; i < 400; i++) {
        char jid[32];
        snprintf(jid, sizeof(jid), "%u@lid", 5000 + i);
        struct slice xml = world_bundle_xml(&x.w, &x.peer, jid);
        wa_node_add_node(&iq->children[0], &x.w.arena, stanza(&x.w, arena_text(&x.w.arena, xml)));
    }
    fake_turn_open(&x.w.h);
    wa_arena_set(x.w.client, &x.w.arena);
    cr_assert_eq(wa_bundles_take(x.w.client, iq, true), OK);
    wa_arena_set(x.w.client, NULL);
    fake_turn_close(&x.w.h);
    fake_commit_all(&x.w.h);
    cr_assert_eq(fake_row_count(&x.w.h, WA_NS_SESSION), WA_BUNDLES_MAX);
    cast_done(&x);
}

Test(bounds, of_the_users_in_one_answer)
{
    struct world w;
    size_t at = 0, n = 0;

    start(&w);
    struct wa_node *iq = stanza(&w, "<iq type=\"result\"><usync><list/></usync></iq>");
    for (unsigned i = 0; i < MANY; i++)
        wa_node_add(&iq->children[0].children[0], &w.arena, "user");
    while (wa_usync_next(iq, &at))
        n++;
    cr_assert_eq(n, WA_USYNC_USERS_MAX);
    world_done(&w);
}

/* Says again and again that there are none, and takes what comes. */
static unsigned uploads_asked_for(struct world *w, unsigned times)
{
    unsigned uploads = 0;

    for (unsigned i = 0; i < times; i++) {
        const struct wa_node *iq;
        world_serve(w, "<notification type=\"encrypt\" from=\"@s.whatsapp.net\" id=\"e\">"
                       "<count value=\"0\"/></notification>");
        while ((iq = world_next_node(w))) {
            if (!wa_node_child(iq, "skey")) continue;
            struct slice id = wa_node_text(iq, "id");
            struct slice xml = arena_printf(
                &w->arena, "<iq type=\"result\" from=\"@s.whatsapp.net\" id=\"" SLICE_FMT "\"/>",
                SLICE_ARG(id));
            uploads++;
            world_serve(w, arena_text(&w->arena, xml));
        }
    }
    return uploads;
}

Test(bounds, of_the_prekeys_that_a_minute_makes)
{
    struct world w;

    start(&w);
    cr_assert_leq(uploads_asked_for(&w, 50), WA_UPLOADS_MAX);
    world_sleep(&w, WA_UPLOAD_RETRY_MS);
    world_answer(&w, "get", "encrypt", "<count value=\"0\"/>");
    cr_assert_gt(uploads_asked_for(&w, 1), 0, "and then more are made");
    world_done(&w);
}
