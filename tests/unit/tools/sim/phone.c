/* Phones among themselves: real sessions through the relay, and what repairs them. */
#include "tests/unit/tools/sim/world.h"

static const char *say_to(struct sim_phone *from, const char *to, const char *text)
{
    static char id[SIM_ID_MAX];

    cr_assert_eq(
        sim_phone_write(from, &(struct sim_writing){.to = slice_text(to), .text = slice_text(text)},
                        id),
        OK, "%s", err_trail());
    world_settle((struct world *)(void *)((char *)from->phones - offsetof(struct world, phones)));
    return id;
}

static struct sim_letter *last_letter(struct sim_phone *p)
{
    return list_empty(&p->letters) ? NULL : LIST_ENTRY(p->letters.prev, struct sim_letter, link);
}

static void expect_text(struct sim_phone *p, const char *text)
{
    struct sim_letter *letter = last_letter(p);

    cr_assert_not_null(letter);
    cr_expect(slice_is(buf_slice(&letter->text), text), "have " SLICE_FMT, (int)letter->text.len,
              (char *)letter->text.data);
}

Test(phone, two_phones_talk)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");
    const char *id = say_to(a, "+15550002222", "hello");
    struct sim_letter *mine = sim_phone_letter(a, slice_text(id));

    expect_text(b, "hello");
    cr_expect_str_eq(last_letter(b)->from, "15550001111");
    cr_expect(mine->sent && mine->delivered && !mine->read_by_peer);
    cr_expect_eq(sim_phone_read(b, slice_text(mine->id)), OK);
    world_settle(w);
    cr_expect(mine->read_by_peer);
    for (int i = 0; i < 20; i++) {
        say_to(b, "15550001111", "back");
        expect_text(a, "back");
        say_to(a, "15550002222", "forth");
        expect_text(b, "forth");
    }
    world_free(w);
}

Test(phone, the_relay_sees_no_plaintext)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111");

    world_phone(w, "15550002222");
    say_to(a, "15550002222", "a sentence that nobody else may read");
    LIST_EACH(l, &w->relay.trace.lines)
    {
        struct sim_traced *line = LIST_ENTRY(l, struct sim_traced, link);

        cr_expect_null(memmem(line->bytes.data, line->bytes.len, "nobody else", 11));
    }
    world_free(w);
}

Test(phone, quotes)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");
    char id[SIM_ID_MAX];

    say_to(a, "15550002222", "a question");
    cr_assert_eq(sim_phone_write(b,
                                 &(struct sim_writing){.to = SLICE("15550001111"),
                                                       .text = SLICE("an answer"),
                                                       .quote = slice_text(last_letter(b)->id)},
                                 id),
                 OK);
    world_settle(w);
    expect_text(a, "an answer");
    cr_expect(slice_is(buf_slice(&last_letter(a)->quoted), last_letter(a)->id) == false);
    cr_expect_gt(last_letter(a)->quoted.len, 0u);
    world_free(w);
}

Test(phone, what_is_written_to_nobody_fails)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111");

    say_to(a, "15550009999", "hello?");
    cr_expect_neq(last_letter(a)->error, 0);
    cr_expect_not(last_letter(a)->sent);
    world_free(w);
}

Test(phone, bad_arguments)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *twice;
    char id[SIM_ID_MAX];
    AUTO(buf) huge = {0};

    cr_expect_eq(sim_phone_new(&w->phones, SLICE("15550001111"), SLICE_NONE, SLICE("x"), &twice),
                 ERR_BAD_ARGUMENT);
    cr_expect_eq(sim_phone_new(&w->phones, SLICE("abc"), SLICE_NONE, SLICE("x"), &twice),
                 ERR_BAD_ARGUMENT);
    memset(buf_extend(&huge, SIM_TEXT_MAX + 1), 'x', SIM_TEXT_MAX + 1);
    cr_expect_eq(
        sim_phone_write(a, &(struct sim_writing){.to = SLICE("1"), .text = buf_slice(&huge)}, id),
        ERR_TOO_LARGE);
    cr_expect_eq(sim_phone_write(a, &(struct sim_writing){.to = SLICE(""), .text = SLICE("x")}, id),
                 ERR_BAD_ARGUMENT);
    cr_expect_eq(
        sim_phone_write(
            a, &(struct sim_writing){.to = SLICE("1"), .text = SLICE("x"), .quote = SLICE("?")},
            id),
        ERR_NOT_FOUND);
    cr_expect_eq(sim_phone_read(a, SLICE("?")), ERR_NOT_FOUND);
    world_free(w);
}

Test(phone, what_comes_while_it_is_offline_waits)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");
    const char *id;

    sim_phone_go(b, false);
    id = say_to(a, "15550002222", "are you there?");
    cr_expect_null(last_letter(b));
    cr_expect_not(sim_phone_letter(a, slice_text(id))->delivered);
    sim_phone_go(b, true);
    world_settle(w);
    expect_text(b, "are you there?");
    cr_expect(last_letter(a)->delivered);
    world_free(w);
}

static void forget_sessions(struct sim_phone *p)
{
    size_t at = 0;
    struct slice key;
    char prefix[8];

    snprintf(prefix, sizeof prefix, "%d ", WA_SIGNAL_SESSION);
    for (struct sim_row *row; (row = map_next(&p->rows, &at, &key));) {
        if (!slice_starts_with(key, slice_text(prefix))) continue;
        map_remove(&p->rows, key);
        buf_done(&row->value);
        free(row);
    }
}

Test(phone, a_lost_session_heals_by_a_retry)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");

    say_to(a, "15550002222", "one");
    say_to(b, "15550001111", "two");
    forget_sessions(b);
    say_to(a, "15550002222", "three");
    expect_text(b, "three");
    cr_expect(last_letter(a)->delivered);
    say_to(b, "15550001111", "four");
    expect_text(a, "four");
    world_free(w);
}

static struct sim_group *make_group(struct world *w, bool lid, struct sim_phone **members, size_t n)
{
    struct sim_group *g = sim_group_new(&w->relay.people, SLICE("120363000000000001"), SLICE("G"));

    g->lid_mode = lid;
    for (size_t i = 0; i < n; i++)
        sim_member_add(g, members[i]->account);
    return g;
}

Test(phone, groups_in_both_modes)
{
    for (int lid = 0; lid < 2; lid++) {
        struct world *w = world_new();
        struct sim_phone *p[3] = {world_phone(w, "15550001111"), world_phone(w, "15550002222"),
                                  world_phone(w, "15550003333")};

        make_group(w, lid, p, 3);
        for (int round = 0; round < 3; round++)
            for (int from = 0; from < 3; from++) {
                say_to(p[from], "120363000000000001@g.us", "to all");
                for (int to = 0; to < 3; to++) {
                    if (to == from) continue;
                    expect_text(p[to], "to all");
                    cr_expect_str_eq(last_letter(p[to])->from, p[from]->account->number);
                    cr_expect(
                        slice_is(buf_slice(&last_letter(p[to])->chat), "120363000000000001@g.us"));
                }
                cr_expect(last_letter(p[from])->sent && last_letter(p[from])->delivered);
            }
        world_free(w);
    }
}

Test(phone, a_withheld_sender_key_is_asked_for)
{
    struct world *w = world_new();
    struct sim_phone *p[2] = {world_phone(w, "15550001111"), world_phone(w, "15550002222")};
    struct sim_fault f = {.kind = SIM_FAULT_WITHHOLD_SENDER_KEY, .count = 1};

    make_group(w, true, p, 2);
    cr_assert_eq(sim_fault_put(&w->relay, &f), OK);
    say_to(p[0], "120363000000000001@g.us", "without a key");
    expect_text(p[1], "without a key");
    world_free(w);
}

Test(phone, a_stranger_cannot_write_to_a_group)
{
    struct world *w = world_new();
    struct sim_phone *p[2] = {world_phone(w, "15550001111"), world_phone(w, "15550002222")};
    struct sim_phone *stranger = world_phone(w, "15550003333");

    make_group(w, true, p, 2);
    say_to(stranger, "120363000000000001@g.us", "let me in");
    cr_expect_neq(last_letter(stranger)->error, 0);
    cr_expect_null(last_letter(p[0]));
    world_free(w);
}

Test(phone, prekeys_are_filled_up_when_they_run_low)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111");
    struct sim_device *phone = sim_device_find(a->account, 0);
    struct companion *c = companion_ready(w, world_phone(w, "15550002222"));

    cr_expect_eq(phone->bundle.prekey_count, (uint32_t)SIM_PHONE_PREKEYS);
    for (int i = 0; i < SIM_PHONE_PREKEYS - 2; i++) {
        struct wa_node *iq = companion_iq(c, "get", "encrypt");

        wa_node_set_jid(wa_node_add(wa_node_add(iq, &c->arena, "key"), &c->arena, "user"),
                        &c->arena, "jid", jid_pn("15550001111", 0));
        companion_send(c, iq);
    }
    cr_expect_gt(phone->bundle.prekey_count, (uint32_t)SIM_PHONE_PREKEYS);
    companion_free(c);
    world_free(w);
}

Test(phone, a_person_gets_a_token_once_a_week)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");
    struct companion *c = companion_ready(w, b);
    struct wa_node *n;

    say_to(a, "15550002222", "one");
    n = companion_take(c, "notification");
    cr_assert_not_null(n);
    cr_expect(has_text(n, "type", "privacy_token"));
    cr_expect(slice_is(wa_node_text(n, "sender_lid"), "915550001111@lid"));
    cr_expect_eq(wa_node_child_bytes(wa_node_child(n, "tokens"), "token").len, 16);
    say_to(a, "15550002222", "two");
    cr_expect_null(companion_take(c, "notification"));
    companion_free(c);
    world_free(w);
}

Test(phone, companions_of_both_sides_get_their_copies)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");
    struct companion *ca = companion_ready(w, a), *cb = companion_ready(w, b);
    struct wa_node *n;

    say_to(a, "15550002222", "hello");
    n = companion_take(cb, "message");
    cr_assert_not_null(n);
    cr_expect(slice_is(wa_node_text(n, "from"), "15550001111@s.whatsapp.net"));
    n = companion_take(ca, "message");
    cr_assert_not_null(n, "what the owner writes on the phone");
    cr_expect(slice_is(wa_node_text(n, "from"), "15550001111@s.whatsapp.net"));
    cr_expect(slice_is(wa_node_text(n, "recipient"), "15550002222@s.whatsapp.net"));
    companion_free(ca);
    companion_free(cb);
    world_free(w);
}

Test(phone, a_status_reaches_who_knows_it)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");
    struct sim_phone *stranger = world_phone(w, "15550003333");

    say_to(a, "15550002222", "hello");
    for (int i = 0; i < 2; i++) {
        say_to(a, "status@broadcast", "at the sea");
        expect_text(b, "at the sea");
        cr_expect(slice_is(buf_slice(&last_letter(b)->chat), "status@broadcast"));
    }
    cr_expect_null(last_letter(stranger));
    cr_expect(last_letter(a)->sent);
    world_free(w);
}

Test(phone, any_content_can_be_written)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");
    char id[SIM_ID_MAX];

    /* field 46, a reaction with the text "!" */
    cr_assert_eq(sim_phone_write(a,
                                 &(struct sim_writing){.to = SLICE("15550002222"),
                                                       .message = SLICE("\xf2\x02\x03\x12\x01!"),
                                                       .type = SLICE("reaction")},
                                 id),
                 OK);
    world_settle(w);
    cr_assert_not_null(last_letter(b));
    cr_expect_str_eq(last_letter(b)->kind, "other");
    world_free(w);
}

Test(phone, a_message_nested_without_end_is_refused)
{
    struct world *w = world_new();
    struct sim_phone *a = world_phone(w, "15550001111"), *b = world_phone(w, "15550002222");
    AUTO(buf) bomb = {0};
    char id[SIM_ID_MAX];

    while (bomb.len < SIM_TEXT_MAX - 16) { /* field 37 of Message holds field 1, a Message */
        AUTO(buf) inner = {0};
        AUTO(buf) outer = {0};

        buf_put_varint(&inner, 1 << 3 | 2);
        buf_put_block(&inner, buf_slice(&bomb));
        buf_put_varint(&outer, 37 << 3 | 2);
        buf_put_block(&outer, buf_slice(&inner));
        buf_reset(&bomb);
        buf_put(&bomb, buf_slice(&outer));
    }
    cr_assert_eq(
        sim_phone_write(
            a, &(struct sim_writing){.to = SLICE("15550002222"), .message = buf_slice(&bomb)}, id),
        OK, "%s", err_trail());
    world_settle(w);
    cr_expect_null(last_letter(b));
    say_to(a, "15550002222", "still here");
    expect_text(b, "still here");
    world_free(w);
}
