#include "proto/client/receipt.h"

#include <criterion/criterion.h>

#include "tests/support/fake_server.h"

static void start(struct world *w)
{
    world_init_paired(w);
    world_login(w);
}

Test(receipt, tells_who_got_and_read_what)
{
    static const struct {
        const char *xml, *event;
    } rows[] = {
        {"<receipt from=\"888:2@lid\" id=\"A\" t=\"5\"/>",
         "receipt delivered 888@lid by 888@lid A"},
        {"<receipt from=\"888:2@lid\" id=\"A\" type=\"inactive\" t=\"5\"/>",
         "receipt delivered 888@lid by 888@lid A"},
        {"<receipt from=\"888@lid\" id=\"A\" type=\"read\" t=\"5\"><list><item id=\"B\"/>"
         "<item id=\"C\"/></list></receipt>",
         "receipt read 888@lid by 888@lid A B C"},
        {"<receipt from=\"888@lid\" id=\"A\" type=\"played\" t=\"5\"/>",
         "receipt played 888@lid by 888@lid A"},
        {"<receipt from=\"120363@g.us\" participant=\"888:2@lid\" id=\"A\" type=\"read\" t=\"5\"/>",
         "receipt read 120363@g.us by 888@lid A"},
        {"<receipt from=\"777:3@lid\" recipient=\"888@lid\" id=\"A\" type=\"read\" t=\"5\"/>",
         "receipt read 888@lid by 777@lid us A"},
        {"<receipt from=\"777:3@lid\" recipient=\"888@lid\" id=\"A\" type=\"read-self\" t=\"5\"/>",
         "receipt read 888@lid by 777@lid us A"},
        {"<receipt from=\"120363@g.us\" participant=\"777@lid\" id=\"A\" type=\"read\" t=\"5\"/>",
         "receipt read 120363@g.us by 777@lid us A"},
        {"<receipt from=\"777:3@lid\" recipient=\"888@lid\" id=\"A\" type=\"sender\" t=\"5\"/>",
         NULL},
        {"<receipt from=\"777@lid\" id=\"A\" t=\"5\"/>", NULL},
        {"<receipt from=\"888@lid\" id=\"A\" type=\"read-self\" t=\"5\"/>", NULL},
        {"<receipt from=\"888@lid\" id=\"A\" type=\"peer_msg\" t=\"5\"/>", NULL},
        {"<receipt from=\"888@lid\" id=\"A\" t=\"5\"><error type=\"feature-incapable\"/></receipt>",
         NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        start(&w);
        world_serve(&w, rows[i].xml);
        const char *got = fake_event(&w.h);
        cr_expect_str_eq(got ? got : "", rows[i].event ? rows[i].event : "", "%s", rows[i].xml);
        cr_expect(strstr(world_next(&w), "<ack class=\"receipt\" id=\"A\""));
        world_done(&w);
    }
}

Test(receipt, unfolds_what_the_server_aggregated)
{
    struct world w;

    start(&w);
    world_serve(&w, "<receipt from=\"120363@g.us\" id=\"X\" type=\"read\" t=\"5\">"
                    "<participants key=\"A\"><user jid=\"888@lid\" t=\"6\"/>"
                    "<user jid=\"999@lid\" t=\"7\"/></participants></receipt>");
    world_expect_event(&w, "receipt read 120363@g.us by 888@lid A");
    world_expect_event(&w, "receipt read 120363@g.us by 999@lid A");
    world_done(&w);
}

static void read_ids(struct world *w, size_t n, bool is_group, enum wa_server author)
{
    struct slice *ids = arena_array(&w->arena, struct slice, n);

    for (size_t i = 0; i < n; i++)
        ids[i] = arena_printf(&w->arena, "M%zu", i);
    struct wa_read read = {.chat.pn = is_group ? wa_jid_of(WA_SERVER_GROUP, SLICE("120363"), 0)
                                               : wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0),
                           .author.lid = author == WA_SERVER_LID
                                             ? wa_jid_of(author, SLICE("888"), 0)
                                             : (struct wa_jid){0},
                           .author.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0),
                           .is_group = is_group,
                           .ids = ids,
                           .id_count = n};
    WORLD_TURN(w, wa_client_mark_read(w->client, &read, w->now));
}

Test(receipt, marks_read_and_waits_for_the_ack)
{
    struct world w;

    start(&w);
    read_ids(&w, 3, false, WA_SERVER_NONE);
    world_expect(&w, "<receipt id=\"M0\" to=\"15550002222@s.whatsapp.net\" type=\"read\" "
                     "t=\"1700000000\"><list><item id=\"M1\"/><item id=\"M2\"/>"
                     "</list></receipt>");
    world_expect_event(&w, "outbox M0 receipt");
    world_serve(&w, "<ack class=\"receipt\" id=\"M0\" from=\"15550002222@s.whatsapp.net\" "
                    "type=\"read\"/>");
    world_expect_event(&w, "outbox_done M0 OK");
    world_serve(&w, "<ack class=\"receipt\" id=\"M0\" from=\"15550002222@s.whatsapp.net\" "
                    "type=\"inactive\"/>");
    world_expect_no_event(&w);
    world_done(&w);
}

/* A kind whose ack was not known would be repeated at every login for ever. */
Test(receipt, every_kind_we_keep_is_finished_by_its_ack)
{
    static const char *const types[] = {"read", "read-self", "played", "played-self"};

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct world w;

        start(&w);
        read_ids(&w, 1, false, WA_SERVER_NONE);
        world_expect_event(&w, "outbox M0 receipt");
        struct slice ack = arena_printf(&w.arena,
                                        "<ack class=\"receipt\" id=\"M0\" "
                                        "from=\"15550002222@s.whatsapp.net\" type=\"%s\"/>",
                                        types[i]);
        world_serve(&w, arena_text(&w.arena, ack));
        world_expect_event(&w, "outbox_done M0 OK");
        world_done(&w);
    }
}

Test(receipt, names_the_author_in_groups_as_the_group_does)
{
    struct world w;

    start(&w);
    read_ids(&w, 1, true, WA_SERVER_LID);
    world_expect(&w, "<receipt id=\"M0\" to=\"120363@g.us\" type=\"read\" t=\"1700000000\" "
                     "participant=\"888@lid\"/>");
    world_serve(&w, "<message from=\"120363@g.us\" participant=\"15550002222:2@s.whatsapp.net\" "
                    "id=\"A\" t=\"1\"><enc v=\"2\" type=\"skmsg\">[00]</enc></message>");
    world_skip(&w);
    read_ids(&w, 1, true, WA_SERVER_LID);
    world_expect(&w, "<receipt id=\"M0\" to=\"120363@g.us\" type=\"read\" t=\"1700000000\" "
                     "participant=\"15550002222@s.whatsapp.net\"/>");
    world_done(&w);
}

Test(receipt, cuts_long_lists_at_256)
{
    struct world w;

    start(&w);
    read_ids(&w, 600, false, WA_SERVER_NONE);
    for (int i = 0; i < 3; i++) {
        const struct wa_node *r = world_next_node(&w);
        cr_assert_eq(wa_node_child(r, "list")->child_count, i < 2 ? 255u : 87u);
    }
    world_expect_event(&w, "outbox M0 receipt");
    world_expect_event(&w, "outbox M256 receipt");
    world_expect_event(&w, "outbox M512 receipt");
    world_done(&w);
}

Test(receipt, is_kept_for_later_without_a_link)
{
    struct world w;

    world_init_paired(&w);
    read_ids(&w, 1, false, WA_SERVER_NONE);
    world_expect_event(&w, "outbox M0 receipt");
    world_done(&w);
}
