/* Who gets what of a message, and how the stanza looks there. */
#include "tests/unit/tools/sim/world.h"

#include "proto/signal/padding.h"

struct stage {
    struct world *w;
    struct sim_phone *a, *b;
    struct companion *a1, *a2, *b1;
};

static struct stage set_stage(void)
{
    struct stage s = {.w = world_new()};

    s.a = world_phone(s.w, "15550001111");
    s.b = world_phone(s.w, "15550002222");
    s.a1 = companion_ready(s.w, s.a);
    s.a2 = companion_ready(s.w, s.a);
    s.b1 = companion_ready(s.w, s.b);
    companion_ack_all(s.a1);
    companion_skip(s.a1);
    return s;
}

static void clear_stage(struct stage *s)
{
    companion_free(s->a1);
    companion_free(s->a2);
    companion_free(s->b1);
    world_free(s->w);
}

/* A full fan-out in one family of addresses, to phones and companions of both ends. */
static struct wa_node *fan_out(struct stage *s, bool lid, const char *id)
{
    struct wa_jid (*of)(const char *, uint16_t) = lid ? jid_lid : jid_pn;
    const char *a = lid ? "915550001111" : "15550001111", *b = lid ? "915550002222" : "15550002222";
    struct wa_node *n = companion_message(s->a1, of(b, 0), id);
    struct wa_node *participants = wa_node_add(n, &s->a1->arena, "participants");

    add_to(s->a1, participants, of(a, 0), "to phone a");
    add_to(s->a1, participants, of(a, 2), "to a2");
    add_to(s->a1, participants, of(b, 0), "to phone b");
    add_to(s->a1, participants, of(b, 1), "to b1");
    return n;
}

static struct slice enc_bytes(const struct wa_node *n) { return wa_node_child_bytes(n, "enc"); }

Test(message, every_device_gets_its_own_ciphertext)
{
    struct stage s = set_stage();
    struct wa_node *n;

    companion_send(s.a1, fan_out(&s, false, "M1"));
    n = companion_take(s.b1, "message");
    cr_assert_not_null(n);
    cr_expect(slice_is(enc_bytes(n), "to b1"));
    cr_expect(slice_is(wa_node_text(n, "from"), "15550001111:1@s.whatsapp.net"));
    cr_expect(slice_is(wa_node_text(n, "sender_lid"), "915550001111@lid"));
    cr_expect(has_text(n, "notify", "Phone"));
    cr_expect(slice_is(wa_node_text(n, "t"), "1800000000"));
    cr_expect_null(wa_node_child(n, "participants"));
    n = companion_take(s.a2, "message");
    cr_assert_not_null(n);
    cr_expect(slice_is(enc_bytes(n), "to a2"));
    cr_expect(slice_is(wa_node_text(n, "recipient"), "15550002222@s.whatsapp.net"));
    cr_expect(slice_is(wa_node_text(n, "peer_recipient_lid"), "915550002222@lid"));
    clear_stage(&s);
}

Test(message, addresses_stay_in_the_family_of_the_chat)
{
    struct stage s = set_stage();
    struct wa_node *n;

    companion_send(s.a1, fan_out(&s, true, "M1"));
    n = companion_take(s.b1, "message");
    cr_assert_not_null(n);
    cr_expect(slice_is(wa_node_text(n, "from"), "915550001111:1@lid"));
    cr_expect(slice_is(wa_node_text(n, "sender_pn"), "15550001111@s.whatsapp.net"));
    n = companion_take(s.a2, "message");
    cr_expect(slice_is(wa_node_text(n, "recipient"), "915550002222@lid"));
    cr_expect(slice_is(wa_node_text(n, "peer_recipient_pn"), "15550002222@s.whatsapp.net"));
    clear_stage(&s);
}

Test(message, the_ack_has_a_time_and_no_error)
{
    struct stage s = set_stage();
    struct wa_node *ack;

    companion_send(s.a1, fan_out(&s, false, "M1"));
    ack = companion_take(s.a1, "ack");
    cr_assert_not_null(ack);
    cr_expect(has_text(ack, "class", "message"));
    cr_expect(has_text(ack, "id", "M1"));
    cr_expect(has_text(ack, "t", "1800000000"));
    cr_expect(slice_is(wa_node_text(ack, "from"), "15550002222@s.whatsapp.net"));
    cr_expect_null(wa_node_attr(ack, "error"));
    cr_expect_null(wa_node_attr(ack, "phash"), "nobody was left out");
    clear_stage(&s);
}

Test(message, a_device_left_out_shows_in_the_phash)
{
    struct stage s = set_stage();
    struct wa_node *n = companion_message(s.a1, jid_pn("15550002222", 0), "M1");
    struct wa_jid all[] = {jid_pn("15550002222", 0), jid_pn("15550002222", 1),
                           jid_pn("15550001111", 0), jid_pn("15550001111", 1),
                           jid_pn("15550001111", 2)};
    char want[WA_PHASH_MAX];

    add_to(s.a1, wa_node_add(n, &s.a1->arena, "participants"), jid_pn("15550002222", 0), "x");
    companion_send(s.a1, n);
    cr_expect(has_text(companion_take(s.a1, "ack"), "phash",
                       wa_phash(all, ARRAY_LEN(all), &s.a1->arena, want)));
    clear_stage(&s);
}

Test(message, tokens_stay_with_the_server_other_children_travel)
{
    struct stage s = set_stage();
    struct wa_node *n = fan_out(&s, false, "M1");

    wa_node_set_bytes(wa_node_add(n, &s.a1->arena, "tctoken"), SLICE("t"));
    wa_node_set_bytes(wa_node_add(n, &s.a1->arena, "device-identity"), s.a1->device_identity);
    wa_node_add(n, &s.a1->arena, "meta");
    companion_send(s.a1, n);
    n = companion_take(s.b1, "message");
    cr_expect_null(wa_node_child(n, "tctoken"));
    cr_expect_not_null(wa_node_child(n, "device-identity"));
    cr_expect_not_null(wa_node_child(n, "meta"));
    clear_stage(&s);
}

Test(message, a_resend_goes_to_one_device)
{
    struct stage s = set_stage();
    struct wa_node *n = companion_message(s.a1, jid_pn("15550002222", 1), "M1");
    struct wa_node *participants;
    size_t phone_before = s.b->letter_count;

    wa_node_set(add_enc(s.a1, n, "msg", "again"), &s.a1->arena, "count", SLICE("1"));
    participants = wa_node_add(n, &s.a1->arena, "participants"); /* as Baileys adds one */
    add_to(s.a1, participants, jid_pn("15550002222", 1), "redundant");
    companion_send(s.a1, n);
    n = companion_take(s.b1, "message");
    cr_assert_not_null(n);
    cr_expect(slice_is(enc_bytes(n), "again"));
    cr_expect(has_text(wa_node_child(n, "enc"), "count", "1"));
    cr_expect_null(companion_take(s.a2, "message"));
    cr_expect_eq(s.b->letter_count, phone_before);
    clear_stage(&s);
}

Test(message, a_peer_message_has_no_recipient)
{
    struct stage s = set_stage();
    struct wa_node *n = companion_message(s.a1, jid_pn("15550001111", 2), "M1");

    wa_node_set(n, &s.a1->arena, "category", SLICE("peer"));
    add_enc(s.a1, n, "msg", "peer");
    companion_send(s.a1, n);
    n = companion_take(s.a2, "message");
    cr_assert_not_null(n);
    cr_expect(has_text(n, "category", "peer"));
    cr_expect_null(wa_node_attr(n, "recipient"));
    clear_stage(&s);
}

Test(message, who_is_blocked_is_not_told)
{
    struct stage s = set_stage();
    struct wa_node *iq = companion_iq(s.b1, "set", "blocklist");
    struct wa_node *item = wa_node_add(iq, &s.b1->arena, "item");

    wa_node_set(item, &s.b1->arena, "action", SLICE("block"));
    wa_node_set_jid(item, &s.b1->arena, "jid", jid_pn("15550001111", 0));
    cr_expect(has_text(companion_ask(s.b1, iq), "type", "error"), "a phone number alone");
    iq = companion_iq(s.b1, "set", "blocklist");
    item = wa_node_add(iq, &s.b1->arena, "item");
    wa_node_set(item, &s.b1->arena, "action", SLICE("block"));
    wa_node_set_jid(item, &s.b1->arena, "jid", jid_lid("915550001111", 0));
    wa_node_set_jid(item, &s.b1->arena, "pn_jid", jid_pn("15550001111", 0));
    cr_expect(has_text(companion_ask(s.b1, iq), "type", "result"));
    companion_send(s.a1, fan_out(&s, false, "M1"));
    cr_expect_null(wa_node_attr(companion_take(s.a1, "ack"), "error"));
    cr_expect_null(companion_take(s.b1, "message"));
    cr_expect_not_null(companion_take(s.a2, "message"), "our own copy");
    clear_stage(&s);
}

Test(message, nobody_has_this_number)
{
    struct stage s = set_stage();
    struct wa_node *n = companion_message(s.a1, jid_pn("15550009999", 0), "M1");

    add_enc(s.a1, n, "msg", "x");
    companion_send(s.a1, n);
    cr_expect(has_text(companion_take(s.a1, "ack"), "error", "404"));
    clear_stage(&s);
}

/* ---- groups ---- */

static struct sim_group *make_group(struct stage *s, bool lid)
{
    struct sim_group *g =
        sim_group_new(&s->w->relay.people, SLICE("120363000000000001"), SLICE("Group"));

    g->lid_mode = lid;
    sim_member_add(g, s->a->account)->creator = true;
    sim_member_add(g, s->b->account);
    return g;
}

static struct wa_node *group_message(struct stage *s, const char *id)
{
    struct wa_node *n =
        companion_message(s->a1, wa_jid_of(WA_SERVER_GROUP, SLICE("120363000000000001"), 0), id);
    struct wa_node *participants = wa_node_add(n, &s->a1->arena, "participants");

    wa_node_set(n, &s->a1->arena, "addressing_mode", SLICE("lid"));
    add_to(s->a1, participants, jid_lid("915550001111", 1), "to myself, as Baileys does");
    add_to(s->a1, participants, jid_lid("915550002222", 1), "key for b1");
    add_enc(s->a1, n, "skmsg", "for all");
    return n;
}

Test(message, a_group_message_goes_to_every_device_of_every_member)
{
    struct stage s = set_stage();
    struct wa_node *n;
    size_t at = 0;

    make_group(&s, true);
    companion_send(s.a1, group_message(&s, "M1"));
    cr_expect_null(companion_take(s.a1, "message"), "the sending device gets nothing");
    n = companion_take(s.b1, "message");
    cr_assert_not_null(n);
    cr_expect(slice_is(wa_node_text(n, "from"), "120363000000000001@g.us"));
    cr_expect(slice_is(wa_node_text(n, "participant"), "915550001111:1@lid"));
    cr_expect(slice_is(wa_node_text(n, "participant_pn"), "15550001111@s.whatsapp.net"));
    cr_expect(has_text(n, "addressing_mode", "lid"));
    cr_expect(slice_is(wa_node_next(n, "enc", &at)->bytes, "key for b1"));
    cr_expect(slice_is(wa_node_next(n, "enc", &at)->bytes, "for all"));
    n = companion_take(s.a2, "message");
    cr_assert_not_null(n);
    cr_expect(slice_is(enc_bytes(n), "for all"), "no key of its own, the message all the same");
    clear_stage(&s);
}

Test(message, the_ack_of_a_group_has_the_phash_of_all)
{
    struct stage s = set_stage();
    struct wa_jid all[] = {jid_lid("915550001111", 0), jid_lid("915550001111", 1),
                           jid_lid("915550001111", 2), jid_lid("915550002222", 0),
                           jid_lid("915550002222", 1)};
    char want[WA_PHASH_MAX];

    make_group(&s, true);
    companion_send(s.a1, group_message(&s, "M1"));
    cr_expect(has_text(companion_take(s.a1, "ack"), "phash",
                       wa_phash(all, ARRAY_LEN(all), &s.a1->arena, want)));
    clear_stage(&s);
}

Test(message, a_status_goes_to_whom_it_names)
{
    struct stage s = set_stage();
    struct wa_node *n = companion_message(s.a1, wa_jid_of(WA_SERVER_BROADCAST, SLICE("status"), 0),
                                          "M1"),
                   *participants, *to;

    participants = wa_node_add(n, &s.a1->arena, "participants");
    to = wa_node_add(participants, &s.a1->arena, "to");
    wa_node_set_jid(to, &s.a1->arena, "jid", jid_lid("915550002222", 0)); /* a whole person */
    add_enc(s.a1, n, "skmsg", "status");
    companion_send(s.a1, n);
    n = companion_take(s.b1, "message");
    cr_assert_not_null(n);
    cr_expect(slice_is(wa_node_text(n, "from"), "status@broadcast"));
    cr_expect(slice_is(wa_node_text(n, "participant"), "915550001111:1@lid"));
    cr_expect_null(wa_node_attr(n, "addressing_mode"));
    cr_expect_null(companion_take(s.a2, "message"));
    clear_stage(&s);
}

/* ---- receipts ---- */

static struct wa_node *receipt(struct companion *c, struct wa_jid to, const char *id,
                               const char *type)
{
    struct wa_node *n = wa_node_new(&c->arena, "receipt");

    wa_node_set_text(n, &c->arena, "id", id);
    wa_node_set_jid(n, &c->arena, "to", to);
    wa_node_set_text(n, &c->arena, "type", type);
    return n;
}

Test(message, a_delivery_receipt_goes_to_the_sending_device)
{
    struct stage s = set_stage();
    struct wa_node *n;

    companion_send(s.a1, fan_out(&s, false, "M1"));
    companion_skip(s.a1);
    companion_send(s.b1, receipt(s.b1, jid_pn("15550001111", 1), "M1", "inactive"));
    n = companion_take(s.b1, "ack");
    cr_assert_not_null(n);
    cr_expect(has_text(n, "class", "receipt"));
    cr_expect(has_text(n, "type", "inactive"));
    cr_expect(slice_is(wa_node_text(n, "from"), "15550001111:1@s.whatsapp.net"));
    n = companion_take(s.a1, "receipt");
    cr_assert_not_null(n);
    cr_expect(slice_is(wa_node_text(n, "from"), "15550002222:1@s.whatsapp.net"));
    cr_expect_null(companion_take(s.a2, "receipt"));
    clear_stage(&s);
}

Test(message, a_read_receipt_goes_to_all_devices_of_both)
{
    struct stage s = set_stage();
    struct companion *b2 = companion_ready(s.w, s.b);
    struct wa_node *n;

    companion_send(s.b1, receipt(s.b1, jid_pn("15550001111", 0), "M1", "read"));
    cr_expect(has_text(companion_take(s.a1, "receipt"), "type", "read"));
    cr_expect(has_text(companion_take(s.a2, "receipt"), "type", "read"));
    n = companion_take(b2, "receipt");
    cr_assert_not_null(n, "our other devices learn it too");
    cr_expect(slice_is(wa_node_text(n, "from"), "15550002222:1@s.whatsapp.net"));
    cr_expect(slice_is(wa_node_text(n, "recipient"), "15550001111@s.whatsapp.net"));
    companion_free(b2);
    clear_stage(&s);
}

Test(message, read_self_stays_at_home)
{
    struct stage s = set_stage();

    companion_send(s.b1, receipt(s.b1, jid_pn("15550001111", 0), "M1", "read-self"));
    cr_expect_null(companion_take(s.a1, "receipt"));
    clear_stage(&s);
}

Test(message, a_retry_receipt_reaches_its_device_and_settles_nothing)
{
    struct stage s = set_stage();
    struct wa_node *n, *retry;
    struct sim_device *b1 = sim_device_find(s.b->account, 1);

    companion_send(s.a1, fan_out(&s, false, "M1"));
    cr_assert_eq(b1->queue_count, 1);
    n = receipt(s.b1, jid_pn("15550001111", 1), "M1", "retry");
    retry = wa_node_add(n, &s.b1->arena, "retry");
    wa_node_set(retry, &s.b1->arena, "count", SLICE("1"));
    wa_node_set(retry, &s.b1->arena, "id", SLICE("M1"));
    wa_node_set(retry, &s.b1->arena, "t", SLICE("1800000000"));
    wa_node_set_bytes(wa_node_add(n, &s.b1->arena, "registration"), SLICE("\0\0\0\1"));
    companion_send(s.b1, n);
    cr_expect_eq(b1->queue_count, 1);
    n = companion_take(s.a1, "receipt");
    cr_assert_not_null(n);
    cr_expect(has_text(n, "type", "retry"));
    cr_expect_not_null(wa_node_child(n, "retry"));
    cr_expect_not_null(wa_node_child(n, "registration"));
    clear_stage(&s);
}

/* ---- the queue's rules ---- */

static struct wa_node *ack(struct companion *c, struct wa_jid to, const char *id, const char *error)
{
    struct wa_node *n = wa_node_new(&c->arena, "ack");

    wa_node_set(n, &c->arena, "class", SLICE("message"));
    wa_node_set_text(n, &c->arena, "id", id);
    wa_node_set_jid(n, &c->arena, "to", to);
    wa_node_set_text(n, &c->arena, "error", error);
    return n;
}

Test(message, an_answer_must_name_the_device)
{
    struct stage s = set_stage();
    struct sim_device *b1 = sim_device_find(s.b->account, 1);

    companion_send(s.a1, fan_out(&s, false, "M1"));
    companion_send(s.b1, receipt(s.b1, jid_pn("15550001111", 0), "M1", NULL));
    cr_expect_eq(b1->queue_count, 1, "device stripped from `to`");
    companion_send(s.b1, receipt(s.b1, jid_lid("915550001111", 1), "M1", NULL));
    cr_expect_eq(b1->queue_count, 0, "the other address of the same device");
    clear_stage(&s);
}

Test(message, a_late_ack_does_not_swallow_the_resend)
{
    struct stage s = set_stage();
    struct sim_device *b1 = sim_device_find(s.b->account, 1);
    struct wa_node *again = companion_message(s.a1, jid_pn("15550002222", 1), "M1");

    companion_send(s.a1, fan_out(&s, false, "M1"));
    add_enc(s.a1, again, "msg", "again");
    companion_send(s.a1, again);
    cr_assert_eq(b1->queue_count, 2);
    companion_send(s.b1, ack(s.b1, jid_pn("15550001111", 1), "M1", "500"));
    cr_expect_eq(b1->queue_count, 1);
    companion_send(s.b1, receipt(s.b1, jid_pn("15550001111", 1), "M1", NULL));
    cr_expect_eq(b1->queue_count, 0);
    clear_stage(&s);
}

Test(message, one_receipt_can_answer_for_many)
{
    struct stage s = set_stage();
    struct sim_device *b1 = sim_device_find(s.b->account, 1);
    struct wa_node *n = receipt(s.b1, jid_pn("15550001111", 1), "M1", NULL), *list;

    companion_send(s.a1, fan_out(&s, false, "M1"));
    companion_send(s.a1, fan_out(&s, false, "M2"));
    companion_send(s.a1, fan_out(&s, false, "M3"));
    list = wa_node_add(n, &s.b1->arena, "list");
    wa_node_set(wa_node_add(list, &s.b1->arena, "item"), &s.b1->arena, "id", SLICE("M2"));
    wa_node_set(wa_node_add(list, &s.b1->arena, "item"), &s.b1->arena, "id", SLICE("M3"));
    companion_send(s.b1, n);
    cr_expect_eq(b1->queue_count, 0);
    clear_stage(&s);
}

/* ---- presence ---- */

Test(message, chat_states_and_presences_pass_by)
{
    struct stage s = set_stage();
    struct wa_node *n = wa_node_new(&s.a1->arena, "chatstate");

    wa_node_set_jid(n, &s.a1->arena, "to", jid_pn("15550002222", 0));
    wa_node_add(n, &s.a1->arena, "composing");
    companion_send(s.a1, n);
    n = companion_take(s.b1, "chatstate");
    cr_assert_not_null(n);
    cr_expect_not_null(wa_node_child(n, "composing"));
    n = wa_node_new(&s.a1->arena, "presence");
    wa_node_set(n, &s.a1->arena, "type", SLICE("subscribe"));
    wa_node_set_jid(n, &s.a1->arena, "to", jid_pn("15550002222", 0));
    companion_send(s.a1, n);
    cr_expect(has_text(companion_take(s.a1, "presence"), "type", "unavailable"));
    n = wa_node_new(&s.b1->arena, "presence");
    wa_node_set(n, &s.b1->arena, "type", SLICE("available"));
    companion_send(s.b1, n);
    n = companion_take(s.a1, "presence");
    cr_assert_not_null(n);
    cr_expect_null(wa_node_attr(n, "type"));
    clear_stage(&s);
}
