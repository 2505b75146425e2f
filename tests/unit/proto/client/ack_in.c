#include "tests/support/sending.h"

static void start(struct cast *x, struct slice *out_id)
{
    cast_init(x);
    cast_first_message(x, "hello");
    *out_id = arena_dup(&x->w.arena, wa_node_text(world_next_node(&x->w), "id"));
    world_skip(&x->w);
    fake_events_skip(&x->w.h);
}

Test(ack_in, is_done_only_without_an_error)
{
    static const struct {
        const char *more, *error;
    } rows[] = {
        {"", "OK"},
        {"error=\"421\"", "STALE_ADDRESSING"},
        {"error=\"463\"", "NEEDS_TOKEN"},
        {"error=\"475\"", "NEW_CHATS_CAPPED"},
        {"error=\"479\"", "INVALID_STANZA"},
        {"error=\"400\"", "SEND_REFUSED"},
        {"error=\"nonsense\"", "SEND_REFUSED"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cast x;
        struct slice id;

        start(&x, &id);
        cast_ack(&x, id, "15550002222@s.whatsapp.net", rows[i].more);
        const char *got = fake_event(&x.w.h);
        const char *want =
            arena_text(&x.w.arena, arena_printf(&x.w.arena, "outbox_done " SLICE_FMT " %s",
                                                SLICE_ARG(id), rows[i].error));
        cr_expect_str_eq(got, want);
        const char *sent = world_next(&x.w);
        cr_expect_eq(sent && strstr(sent, "xmlns=\"privacy\""), !rows[i].more[0],
                     "a token follows success alone: %s", sent);
        cast_done(&x);
    }
}

Test(ack_in, gives_a_token_once_per_week)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    cast_ack(&x, id, "15550002222@s.whatsapp.net", "");
    const char *sent = world_next(&x.w);
    cr_assert(strstr(sent, "<tokens><token jid=\"15550002222@s.whatsapp.net\" t=\"1700000000\" "
                           "type=\"trusted_contact\"/></tokens>"),
              "%s", sent);
    cast_ack(&x, id, "15550002222@s.whatsapp.net", "");
    world_expect_quiet(&x.w);
    x.w.now += 7 * 24 * 3600 * 1000LL;
    world_serve(&x.w, "<ib/>");
    cast_ack(&x, id, "15550002222@s.whatsapp.net", "");
    cr_assert(strstr(world_next(&x.w), "trusted_contact"));
    cast_done(&x);
}

Test(ack_in, gives_the_token_again_when_it_was_refused)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    cast_ack(&x, id, "15550002222@s.whatsapp.net", "");
    world_answer(&x.w, "set", "privacy", "500");
    cast_ack(&x, id, "15550002222@s.whatsapp.net", "");
    world_answer(&x.w, "set", "privacy", "");
    cast_ack(&x, id, "15550002222@s.whatsapp.net", "");
    world_expect_quiet(&x.w);
    cast_done(&x);
}

static bool has_list(struct cast *x) { return cast_list_is_fresh(x, "888@lid"); }

Test(ack_in, compares_the_hash_of_the_devices)
{
    struct cast x;
    struct slice id;
    char all[WA_PHASH_MAX], others[WA_PHASH_MAX];

    start(&x, &id);
    struct wa_jid jids[] = {wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0),
                            wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 2),
                            wa_jid_of(WA_SERVER_USER, SLICE("15550001111"), 0),
                            wa_jid_of(WA_SERVER_USER, SLICE("15550001111"), 5)};
    wa_phash(jids, 4, &x.w.arena, all);
    wa_phash(jids, 3, &x.w.arena, others);
    cr_assert(has_list(&x));
    cast_ack(&x, id, "15550002222@s.whatsapp.net",
             arena_text(&x.w.arena, arena_printf(&x.w.arena, "phash=\"%s\"", all)));
    cast_ack(&x, id, "15550002222@s.whatsapp.net",
             arena_text(&x.w.arena, arena_printf(&x.w.arena, "phash=\"%s\"", others)));
    cr_assert(has_list(&x), "either way of counting is fine");
    cast_ack(&x, id, "15550002222@s.whatsapp.net", "phash=\"2:AAAAAAAA\"");
    cr_assert(!has_list(&x), "asked again with the next message");
    cast_done(&x);
}

Test(ack_in, asks_for_the_lid_anew_when_told)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    cast_ack(&x, id, "15550002222@s.whatsapp.net", "refresh_lid=\"true\"");
    fake_events_skip(&x.w.h);
    cast_answer_usync(&x, "<user jid=\"15550002222@s.whatsapp.net\"><lid val=\"889@lid\"/></user>");
    world_expect_event(&x.w, "mapping 15550002222@s.whatsapp.net 889@lid");
    cast_done(&x);
}
