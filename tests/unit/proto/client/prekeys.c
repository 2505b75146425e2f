#include "proto/client/prekeys.h"

#include <criterion/criterion.h>

#include "proto/client/inside.h"
#include "proto/client/iq.h"
#include "tests/support/fake_server.h"

/* Online, the count asked for and not yet answered. */
static void start(struct world *w)
{
    world_init_paired(w);
    world_login_to_count(w);
}

/* Ids of the upload that comes next: first and how many. */
static void expect_upload(struct world *w, uint32_t first, size_t n)
{
    const struct wa_node *iq = world_next_node(w);
    cr_assert(iq && wa_node_child(iq, "list"), "no upload");
    const struct wa_node *list = wa_node_child(iq, "list");
    struct slice id = wa_node_child_bytes(&list->children[0], "id");

    cr_assert_eq(list->child_count, n);
    cr_assert_eq((uint32_t)(id.data[0] << 16 | id.data[1] << 8 | id.data[2]), first);
    cr_assert_eq(wa_node_child_bytes(wa_node_child(iq, "skey"), "signature").len, 64);
}

static void answer_upload(struct world *w, const char *how)
{
    struct slice id = wa_node_text(w->last->stanza, "id");
    char *xml = arena_text(
        &w->arena,
        arena_printf(&w->arena, "<iq type=\"%s\" from=\"@s.whatsapp.net\" id=\"" SLICE_FMT "\"/>",
                     how, SLICE_ARG(id)));
    world_serve(w, xml);
}

Test(prekeys, uploads_first_many_then_few_when_low)
{
    struct world w;

    start(&w);
    world_answer(&w, "get", "encrypt", "<count value=\"0\"/>");
    expect_upload(&w, 1, 3);
    answer_upload(&w, "result");
    world_serve(&w, "<notification type=\"encrypt\" from=\"@s.whatsapp.net\" id=\"e\">"
                    "<count value=\"2\"/></notification>");
    expect_upload(&w, 4, WA_MORE_PREKEYS);
    world_expect(&w, "<ack class=\"notification\" id=\"e\" to=\"@s.whatsapp.net\" "
                     "type=\"encrypt\"/>");
    world_done(&w);
}

Test(prekeys, uploads_812_unless_told_otherwise)
{
    struct world w;

    world_init_paired(&w);
    w.config.first_prekeys = 0;
    world_login(&w);
    world_serve(&w, "<notification type=\"encrypt\" from=\"@s.whatsapp.net\" id=\"e\">"
                    "<count value=\"0\"/></notification>");
    expect_upload(&w, 1, 812);
    world_done(&w);
}

Test(prekeys, leaves_enough_alone)
{
    struct world w;

    start(&w);
    world_answer(&w, "get", "encrypt", "<count value=\"5\"/>");
    world_expect_quiet(&w);
    world_done(&w);
}

Test(prekeys, repeats_the_same_keys_until_they_are_accepted)
{
    struct world w;

    start(&w);
    world_answer(&w, "get", "encrypt", "<count value=\"0\"/>");
    expect_upload(&w, 1, 3);
    world_restart(&w); /* nobody knows whether the server got them */
    world_login_to_count(&w);
    world_answer(&w, "get", "encrypt", "<count value=\"100\"/>");
    expect_upload(&w, 1, 3);
    answer_upload(&w, "result");
    world_restart(&w);
    world_login_to_count(&w);
    world_answer(&w, "get", "encrypt", "<count value=\"100\"/>");
    world_expect_quiet(&w);
    world_done(&w);
}

Test(prekeys, tries_again_a_minute_after_a_refusal)
{
    struct world w;

    start(&w);
    world_answer(&w, "get", "encrypt", "<count value=\"0\"/>");
    expect_upload(&w, 1, 3);
    answer_upload(&w, "error");
    for (int s = 0; s < 60; s += 10) {
        world_expect_quiet(&w);
        world_serve(&w, "<ib/>");
        world_sleep(&w, 10000);
    }
    world_answer(&w, "get", "encrypt", "<count value=\"0\"/>");
    expect_upload(&w, 1, 3);
    world_done(&w);
}

Test(prekeys, has_one_upload_on_the_way)
{
    struct world w;

    start(&w);
    world_answer(&w, "get", "encrypt", "<count value=\"0\"/>");
    expect_upload(&w, 1, 3);
    world_serve(&w, "<notification type=\"encrypt\" from=\"@s.whatsapp.net\" id=\"e\">"
                    "<count value=\"0\"/></notification>");
    cr_assert(strstr(world_next(&w), "<ack "));
    world_expect_quiet(&w);
    world_done(&w);
}

/* An upload that found no place among the open queries is not on its way. */
Test(prekeys, an_upload_that_was_not_asked_is_asked_again)
{
    struct world w;
    AUTO(arena) arena = {0};
    err_t e = OK;

    start(&w);
    w.hold = true;
    fake_turn_open(&w.h);
    wa_arena_set(w.client, &arena);
    while (e == OK)
        e = wa_iq_ask(w.client, wa_iq_new(w.client, "get", "x"), wa_iq_ignore, NULL);
    cr_assert_eq(wa_prekeys_upload(w.client), ERR_TOO_BUSY);
    cr_assert_eq(wa_iq_drop_all(w.client, ERR_QUERY_TIMEOUT), OK);
    cr_assert_eq(wa_prekeys_upload(w.client), OK);
    cr_assert(w.client->uploading && !list_empty(&w.client->queries));
    wa_arena_set(w.client, NULL);
    fake_turn_close(&w.h);
    world_done(&w);
}
