/* What misbehaves on order, and only then. */
#include "tests/unit/tools/sim/stage.h"

static struct stage set_stage(void)
{
    struct stage s = stage_people();
    char id[SIM_ID_MAX];

    cr_assert_eq(
        sim_phone_write(
            s.other, &(struct sim_writing){.to = SLICE("15550001111"), .text = SLICE("first")}, id),
        OK);
    stage_login(&s);
    return s;
}

static err_t arm(struct stage *s, const char *word, int64_t value, const char *tag,
                 const char *text)
{
    struct sim_fault f = {.count = 1, .value = value};

    cr_assert_eq(sim_fault_kind_of(slice_text(word), &f.kind), OK);
    snprintf(f.device, sizeof f.device, "15550001111:1");
    snprintf(f.tag, sizeof f.tag, "%s", tag ? tag : "");
    snprintf(f.text, sizeof f.text, "%s", text ? text : "");
    return sim_fault_put(&s->w->relay, &f);
}

static void other_writes(struct stage *s)
{
    char id[SIM_ID_MAX];

    cr_assert_eq(sim_phone_write(
                     s->other,
                     &(struct sim_writing){.to = SLICE("15550001111"), .text = SLICE("hello")}, id),
                 OK);
    companion_settle(s->c);
}

static struct wa_node *to_other(struct stage *s, const char *id)
{
    struct wa_node *n = companion_message(s->c, jid_pn("15550002222", 0), id);

    add_to(s->c, wa_node_add(n, &s->c->arena, "participants"), jid_pn("15550002222", 0), "x");
    return n;
}

Test(faults, names)
{
    enum sim_fault_kind kind;

    for (size_t i = 0; i < SIM_FAULTS; i++) {
        cr_expect_eq(sim_fault_kind_of(slice_text(sim_fault_name(i)), &kind), OK);
        cr_expect_eq(kind, i);
        cr_expect_gt(strlen(sim_fault_text(i)), (size_t)10);
    }
    cr_expect_eq(sim_fault_kind_of(SLICE("rain"), &kind), ERR_BAD_ARGUMENT);
}

Test(faults, dropped_stanzas_come_again_after_a_reconnect)
{
    struct stage s = set_stage();

    arm(&s, "drop", 0, NULL, NULL);
    other_writes(&s);
    cr_expect_eq(companion_count(s.c, "message"), 0);
    other_writes(&s);
    cr_expect_eq(companion_count(s.c, "message"), 1, "only the first was dropped");
    companion_connect(s.c);
    cr_expect_eq(companion_count(s.c, "message"), 2);
    clear_stage(&s);
}

Test(faults, delayed_stanzas_come_later)
{
    struct stage s = set_stage();

    arm(&s, "delay", 500, NULL, NULL);
    other_writes(&s);
    world_advance(s.w, 499);
    cr_expect_eq(companion_count(s.c, "message"), 0);
    world_advance(s.w, 1);
    cr_expect_eq(companion_count(s.c, "message"), 1);
    clear_stage(&s);
}

Test(faults, duplicates_and_redelivery)
{
    struct stage s = set_stage();

    arm(&s, "duplicate", 0, NULL, NULL);
    other_writes(&s);
    cr_expect_eq(companion_count(s.c, "message"), 2);
    cr_expect_eq(arm(&s, "redeliver", 2, NULL, NULL), OK);
    cr_expect_eq(companion_count(s.c, "message"), 4);
    clear_stage(&s);
}

Test(faults, redelivery_ends_with_the_connection)
{
    struct stage s = set_stage();

    other_writes(&s);
    arm(&s, "cut", 0, NULL, NULL);
    cr_expect_eq(arm(&s, "redeliver", 3, NULL, NULL), OK);
    companion_settle(s.c);
    cr_expect(s.c->closed);
    clear_stage(&s);
}

Test(faults, a_spoiled_mac_spoils_the_ciphertext_alone)
{
    struct stage s = set_stage();
    struct slice spoiled, good;

    arm(&s, "wrong_mac", 0, NULL, NULL);
    other_writes(&s);
    spoiled = wa_node_child_bytes(companion_take(s.c, "message"), "enc");
    companion_connect(s.c);
    good = wa_node_child_bytes(companion_take(s.c, "message"), "enc");
    cr_assert_eq(spoiled.len, good.len);
    cr_expect_eq(memcmp(spoiled.data, good.data, good.len - 1), 0);
    cr_expect_neq(spoiled.data[good.len - 1], good.data[good.len - 1]);
    clear_stage(&s);
}

Test(faults, compressed_stanzas_say_the_same)
{
    struct stage s = set_stage();

    arm(&s, "compress", 0, NULL, NULL);
    other_writes(&s);
    cr_expect_eq(companion_count(s.c, "message"), 1);
    cr_expect_not(s.c->broken);
    clear_stage(&s);
}

Test(faults, frames_share_a_message_or_come_in_pieces)
{
    struct stage s = set_stage();
    unsigned before;

    arm(&s, "join", 0, NULL, NULL);
    before = s.c->writes;
    other_writes(&s);
    cr_expect_eq(companion_count(s.c, "message"), 0);
    other_writes(&s);
    cr_expect_eq(companion_count(s.c, "message"), 2);
    cr_expect_eq(s.c->writes, before + 1);
    arm(&s, "split", 0, NULL, NULL);
    before = s.c->writes;
    other_writes(&s);
    cr_expect_eq(companion_count(s.c, "message"), 3);
    cr_expect_eq(s.c->writes, before + 2);
    clear_stage(&s);
}

Test(faults, a_cut_frame_ends_the_connection)
{
    struct stage s = set_stage();

    arm(&s, "cut", 0, NULL, NULL);
    other_writes(&s);
    world_advance(s.w, 10);
    cr_expect(s.c->closed);
    cr_expect_eq(companion_count(s.c, "message"), 0);
    companion_connect(s.c);
    cr_expect_eq(companion_count(s.c, "message"), 1);
    clear_stage(&s);
}

Test(faults, a_corrupt_frame_does_not_open)
{
    struct stage s = set_stage();

    arm(&s, "corrupt", 0, NULL, NULL);
    other_writes(&s);
    cr_expect(s.c->broken);
    clear_stage(&s);
}

Test(faults, acks_are_dropped_refused_or_strange)
{
    struct stage s = set_stage();
    struct wa_node *ack;
    size_t heard;

    arm(&s, "drop_ack", 0, NULL, NULL);
    heard = s.w->relay.trace.count;
    companion_send(s.c, to_other(&s, "M1"));
    cr_expect_null(companion_take(s.c, "ack"));
    cr_expect_gt(s.w->relay.trace.count, heard + 1, "it was delivered all the same");
    arm(&s, "ack_error", 463, NULL, NULL);
    companion_send(s.c, to_other(&s, "M2"));
    ack = companion_take(s.c, "ack");
    cr_expect(has_text(ack, "error", "463"));
    arm(&s, "phash", 0, NULL, NULL);
    companion_send(s.c, to_other(&s, "M3"));
    cr_expect(has_text(companion_take(s.c, "ack"), "phash", "2:AAAAAAAA"));
    companion_send(s.c, to_other(&s, "M4"));
    cr_expect_null(wa_node_attr(companion_take(s.c, "ack"), "error"));
    clear_stage(&s);
}

static struct wa_node *ask_bundle(struct stage *s)
{
    struct wa_node *iq = companion_iq(s->c, "get", "encrypt");

    wa_node_set_jid(wa_node_add(wa_node_add(iq, &s->c->arena, "key"), &s->c->arena, "user"),
                    &s->c->arena, "jid", jid_pn("15550002222", 0));
    return (struct wa_node *)wa_node_child(wa_node_child(companion_ask(s->c, iq), "list"), "user");
}

Test(faults, bundles_lose_their_key_or_their_signature)
{
    struct stage s = set_stage();
    struct sim_fault f = {.count = 1};
    struct slice good;

    good = wa_node_child_bytes(wa_node_child(ask_bundle(&s), "skey"), "signature");
    f.kind = SIM_FAULT_MISSING_PREKEY;
    cr_assert_eq(sim_fault_put(&s.w->relay, &f), OK);
    cr_expect_null(wa_node_child(ask_bundle(&s), "key"));
    cr_expect_not_null(wa_node_child(ask_bundle(&s), "key"));
    f.kind = SIM_FAULT_BAD_SIGNED_PREKEY;
    cr_assert_eq(sim_fault_put(&s.w->relay, &f), OK);
    cr_expect_not(
        slice_eq(wa_node_child_bytes(wa_node_child(ask_bundle(&s), "skey"), "signature"), good));
    clear_stage(&s);
}

Test(faults, queries_stay_without_an_answer_or_get_an_error)
{
    struct stage s = set_stage();

    arm(&s, "no_answer", 0, "encrypt", NULL);
    cr_expect_not_null(companion_ask(s.c, companion_iq(s.c, "get", "w:p")), "another namespace");
    struct wa_node *iq = companion_iq(s.c, "get", "encrypt");
    wa_node_add(iq, &s.c->arena, "count");
    cr_expect_null(companion_ask(s.c, iq));
    arm(&s, "iq_error", 429, "encrypt", NULL);
    iq = companion_iq(s.c, "get", "encrypt");
    wa_node_add(iq, &s.c->arena, "count");
    cr_expect(has_text(wa_node_child(companion_ask(s.c, iq), "error"), "code", "429"));
    clear_stage(&s);
}

static const struct {
    const char *fault;
    int64_t value;
    const char *text, *tag, *code;
} streams[] = {
    {"stream_error", 503, NULL, "stream:error", "503"},
    {"stream_error", 515, NULL, "stream:error", "515"},
    {"stream_error", 401, "device_removed", "stream:error", "401"},
    {"stream_error", 0, "replaced", "stream:error", NULL},
    {"stream_end", 0, NULL, "xmlstreamend", NULL},
    {"close", 0, NULL, NULL, NULL},
};

Test(faults, streams_end_in_every_way)
{
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct stage s = set_stage();
        struct wa_node *n;

        cr_expect_eq(arm(&s, streams[i].fault, streams[i].value, NULL, streams[i].text), OK);
        if (streams[i].tag) {
            n = companion_take(s.c, streams[i].tag);
            cr_assert_not_null(n, "%zu", i);
            if (streams[i].code) cr_expect(has_text(n, "code", streams[i].code));
            if (streams[i].text)
                cr_expect(has_text(wa_node_child(n, "conflict"), "type", streams[i].text));
        }
        world_advance(s.w, 1000);
        cr_expect(s.c->closed);
        companion_connect(s.c);
        cr_expect_not_null(companion_take(s.c, "success"));
        clear_stage(&s);
    }
}

Test(faults, a_login_fails_once)
{
    struct stage s = set_stage();
    struct wa_node *failure;

    arm(&s, "failure", 402, NULL, "3600");
    companion_connect(s.c);
    failure = companion_take(s.c, "failure");
    cr_expect(has_text(failure, "reason", "402"));
    cr_expect(has_text(failure, "expire", "3600"));
    companion_connect(s.c);
    cr_expect_not_null(companion_take(s.c, "success"));
    clear_stage(&s);
}

Test(faults, things_the_server_says_on_its_own)
{
    struct stage s = set_stage();
    struct wa_node *n;

    cr_expect_eq(arm(&s, "server_ping", 0, NULL, NULL), OK);
    cr_expect(has_text(companion_take(s.c, "iq"), "xmlns", "urn:xmpp:ping"));
    cr_expect_eq(arm(&s, "low_prekeys", 3, NULL, NULL), OK);
    n = companion_take(s.c, "notification");
    cr_expect(has_text(wa_node_child(n, "count"), "value", "3"));
    cr_expect_eq(arm(&s, "dirty", 0, NULL, "groups"), OK);
    cr_expect(has_text(wa_node_child(companion_take(s.c, "ib"), "dirty"), "type", "groups"));
    cr_expect_eq(arm(&s, "edge_routing", 0, NULL, NULL), OK);
    cr_expect_not_null(wa_node_child(companion_take(s.c, "ib"), "edge_routing"));
    cr_expect_eq(arm(&s, "lose_prekeys", 0, NULL, NULL), OK);
    cr_expect_eq(sim_device_find(s.own->account, 1)->bundle.prekey_count, 0);
    cr_expect_eq(arm(&s, "unlink", 0, NULL, NULL), OK);
    cr_expect(has_text(companion_take(s.c, "stream:error"), "code", "401"));
    cr_expect_eq(arm(&s, "server_ping", 0, NULL, NULL), ERR_NOT_FOUND, "nobody is there");
    clear_stage(&s);
}

Test(faults, contacts_hear_of_changes)
{
    struct stage s = set_stage();
    struct sim_fault f = {.count = 1};
    struct wa_node *n;

    snprintf(f.device, sizeof f.device, "15550002222:0");
    companion_send(s.c, to_other(&s, "M1")); /* we know each other now */
    companion_skip(s.c);
    f.kind = SIM_FAULT_DEVICE_LIST_CHANGE;
    cr_assert_eq(sim_fault_put(&s.w->relay, &f), OK);
    n = companion_take(s.c, "notification");
    cr_expect(has_text(n, "type", "devices"));
    f.kind = SIM_FAULT_IDENTITY_CHANGE;
    cr_assert_eq(sim_fault_put(&s.w->relay, &f), OK);
    n = companion_take(s.c, "notification");
    cr_expect(has_text(n, "type", "encrypt"));
    cr_expect_not_null(wa_node_child(n, "identity"));
    clear_stage(&s);
}

Test(faults, skip_and_count)
{
    struct stage s = set_stage();
    struct sim_fault f = {.kind = SIM_FAULT_DROP, .skip = 1, .count = 2};

    cr_assert_eq(sim_fault_put(&s.w->relay, &f), OK);
    for (int i = 0; i < 4; i++)
        other_writes(&s);
    cr_expect_eq(companion_count(s.c, "message"), 2, "the first and the last");
    sim_faults_clear(&s.w->relay);
    clear_stage(&s);
}
