/* Which sets of devices a phash may stand for: phashes.def, row by row. */
#include "tests/unit/tools/sim/stage.h"

#include "proto/signal/padding.h"

static struct stage set_stage(bool lid)
{
    struct stage s = stage_people();

    stage_group(&s, lid);
    stage_login(&s);
    return s;
}

static bool is_taken(struct stage *s, struct wa_jid to, const struct wa_jid *named, size_t n,
                     const char *phash)
{
    struct wa_node *message = companion_message(s->c, to, "M1"), *participants, *ack;

    if (s->group && wa_jid_is_group(&to))
        wa_node_set_text(message, &s->c->arena, "addressing_mode",
                         s->group->lid_mode ? "lid" : "pn");
    wa_node_set_text(message, &s->c->arena, "phash", phash);
    add_enc(s->c, message, "skmsg", "x");
    participants = n ? wa_node_add(message, &s->c->arena, "participants") : NULL;
    for (size_t i = 0; i < n; i++)
        add_to(s->c, participants, named[i], "x");
    companion_send(s->c, message);
    ack = companion_take(s->c, "ack");
    cr_assert_not_null(ack);
    return !wa_node_attr(ack, "error");
}

static bool group_takes(struct stage *s, const struct wa_jid *devices, size_t n)
{
    char text[WA_PHASH_MAX];

    return is_taken(s, wa_jid_of(WA_SERVER_GROUP, slice_text(s->group->id), 0), NULL, 0,
                    wa_phash(devices, n, &s->c->arena, text));
}

#define OWN_PHONE jid_lid("915550001111", 0)
#define OWN_DEVICE jid_lid("915550001111", 1)
#define OTHER_PHONE jid_lid("915550002222", 0)
#define THIRD_PHONE jid_lid("915550003333", 0)
#define TAKES(s, ...)                                                                              \
    group_takes(s, (struct wa_jid[]){__VA_ARGS__}, ARRAY_LEN(((struct wa_jid[]){__VA_ARGS__})))

Test(phash, a_group_is_all_devices_with_or_without_the_sender)
{
    struct stage s = set_stage(true);

    cr_expect(TAKES(&s, OTHER_PHONE, OWN_DEVICE, OWN_PHONE));
    cr_expect(TAKES(&s, OWN_PHONE, OTHER_PHONE));
    cr_expect_not(TAKES(&s, OWN_DEVICE, OTHER_PHONE), "the own phone is missing");
    cr_expect_not(TAKES(&s, OWN_PHONE, OWN_DEVICE), "the other is missing");
    cr_expect_not(TAKES(&s, OWN_PHONE, OWN_DEVICE, OTHER_PHONE, THIRD_PHONE), "no member");
    cr_expect_not(
        TAKES(&s, jid_pn("15550001111", 0), jid_pn("15550001111", 1), jid_pn("15550002222", 0)),
        "phone numbers in a lid group");
    cr_expect_eq(s.w->relay.broken[SIM_RULE_MSG_PHASH], 4);
    clear_stage(&s);
}

Test(phash, a_group_by_number_hashes_numbers)
{
    struct stage s = set_stage(false);

    cr_expect(
        TAKES(&s, jid_pn("15550001111", 0), jid_pn("15550001111", 1), jid_pn("15550002222", 0)));
    cr_expect_not(TAKES(&s, OWN_PHONE, OWN_DEVICE, OTHER_PHONE));
    clear_stage(&s);
}

/* What whatsapp-rust-bridge sends: the sending device alone has agent 1. */
Test(phash, the_senders_agent_may_be_one)
{
    struct stage s = set_stage(true);
    struct arena *arena = &s.c->arena;
    struct wa_jid own = OWN_DEVICE, phone = OWN_PHONE, other = OTHER_PHONE,
                  group = wa_jid_of(WA_SERVER_GROUP, slice_text(s.group->id), 0);
    char text[WA_PHASH_MAX];

    struct slice rust[] = {wa_phash_name(&own, 1, arena), wa_phash_name(&phone, 0, arena),
                           wa_phash_name(&other, 0, arena)};
    cr_expect(is_taken(&s, group, NULL, 0, wa_phash_names(rust, 3, text)));
    struct slice odd[] = {wa_phash_name(&own, 0, arena), wa_phash_name(&phone, 0, arena),
                          wa_phash_name(&other, 1, arena)};
    cr_expect_not(is_taken(&s, group, NULL, 0, wa_phash_names(odd, 3, text)));
    clear_stage(&s);
}

/* A client hashes the lists it has: it may not have heard yet. */
Test(phash, what_was_true_before_a_change_still_passes)
{
    struct stage s = set_stage(true);
    struct companion *late;

    sim_rosters_note(&s.w->relay);
    sim_member_add(s.group, s.third->account);
    sim_rosters_note(&s.w->relay);
    late = companion_ready(s.w, s.other);
    cr_expect(TAKES(&s, OWN_PHONE, OWN_DEVICE, OTHER_PHONE));
    cr_expect(TAKES(&s, OWN_PHONE, OWN_DEVICE, OTHER_PHONE, THIRD_PHONE));
    cr_expect(
        TAKES(&s, OWN_PHONE, OWN_DEVICE, OTHER_PHONE, THIRD_PHONE, jid_lid("915550002222", 1)));
    cr_expect_not(TAKES(&s, OWN_PHONE, OWN_DEVICE, OTHER_PHONE, jid_lid("915550002222", 1)),
                  "never a set of this group");
    companion_free(late);
    clear_stage(&s);
}

Test(phash, only_so_many_changes_are_remembered)
{
    struct stage s = set_stage(true);

    sim_rosters_note(&s.w->relay);
    for (int i = 0; i < SIM_ROSTERS_MAX; i++) {
        if (i % 2)
            sim_member_remove(s.group, s.third->account);
        else
            sim_member_add(s.group, s.third->account);
        sim_rosters_note(&s.w->relay);
        sim_rosters_note(&s.w->relay); /* nothing changed: nothing to remember */
    }
    cr_expect_eq(s.group->roster_count, SIM_ROSTERS_MAX);
    clear_stage(&s);
}

Test(phash, a_status_is_the_devices_it_names)
{
    struct stage s = set_stage(true);
    struct wa_jid status = wa_jid_of(WA_SERVER_BROADCAST, SLICE("status"), 0);
    struct wa_jid named[] = {OTHER_PHONE, OWN_PHONE}, all[] = {OTHER_PHONE, OWN_PHONE, OWN_DEVICE};
    char text[WA_PHASH_MAX];

    cr_expect(is_taken(&s, status, named, 2, wa_phash(named, 2, &s.c->arena, text)));
    cr_expect(is_taken(&s, status, named, 2, wa_phash(all, 3, &s.c->arena, text)));
    cr_expect_not(is_taken(&s, status, named, 2, wa_phash(named, 1, &s.c->arena, text)));
    clear_stage(&s);
}

Test(phash, nobody_sends_one_to_a_person)
{
    struct stage s = set_stage(true);
    struct wa_jid named[] = {jid_pn("15550002222", 0)};
    char text[WA_PHASH_MAX];

    cr_expect_not(
        is_taken(&s, jid_pn("15550002222", 0), named, 1, wa_phash(named, 1, &s.c->arena, text)));
    clear_stage(&s);
}
