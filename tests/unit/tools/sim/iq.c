/* Answers to queries, one for each row of iqs.def that clients depend on. */
#include "tests/unit/tools/sim/stage.h"

#include "proto/schema/appstate.pb-c.h"

static struct stage set_stage(void)
{
    struct stage s = stage_people();

    stage_login(&s);
    return s;
}

static struct wa_node *ask(struct stage *s, const char *type, const char *xmlns, const char *child)
{
    struct wa_node *iq = companion_iq(s->c, type, xmlns), *answer;

    if (child) wa_node_add(iq, &s->c->arena, child);
    answer = companion_ask(s->c, iq);
    cr_assert_not_null(answer, "%s %s", xmlns, child ? child : "");
    return answer;
}

static const struct {
    const char *type, *xmlns, *child, *inside; /* NULL: an empty result */
} answers[] = {
    {"get", "w:p", NULL, NULL},
    {"get", "w:p", "ping", NULL},
    {"set", "passive", "active", NULL},
    {"get", "encrypt", "count", "count"},
    {"get", "abt", "props", "props"},
    {"get", "w", "props", "props"},
    {"get", "blocklist", NULL, "list"},
    {"get", "privacy", "privacy", "privacy"},
    {"set", "w:m", "media_conn", "media_conn"},
    {"set", "urn:xmpp:whatsapp:dirty", "clean", NULL},
    {"get", "status", "privacy", "privacy"},
    {"get", "w:biz", "business_profile", "business_profile"},
    {"get", "w:mex", "query", "result"},
    {"get", "w:g2", "participating", "groups"},
    {"set", "w:sync:app:state", "sync", "sync"},
};

Test(iq, every_client_gets_its_answers)
{
    struct stage s = set_stage();

    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct wa_node *n = ask(&s, answers[i].type, answers[i].xmlns, answers[i].child);
        const struct wa_attr *from = wa_node_attr(n, "from");

        cr_expect(has_text(n, "type", "result"), "%s", answers[i].xmlns);
        cr_expect(wa_jid_is_server(&from->value.jid), "whatsmeow wants a JID here");
        if (answers[i].inside) cr_expect_not_null(wa_node_child(n, answers[i].inside));
    }
    clear_stage(&s);
}

Test(iq, what_nobody_knows_is_501)
{
    struct stage s = set_stage();
    struct wa_node *n = ask(&s, "get", "w:stars", NULL);

    cr_expect(has_text(n, "type", "error"));
    cr_expect(has_text(wa_node_child(n, "error"), "code", "501"));
    clear_stage(&s);
}

/* ---- usync ---- */

static const struct wa_node *usync(struct stage *s, const char *const *protocols,
                                   struct wa_jid user, const char *contact)
{
    struct wa_node *iq = companion_iq(s->c, "get", "usync"), *sync, *query, *list, *one;
    struct arena *arena = &s->c->arena;

    sync = wa_node_add(iq, arena, "usync");
    wa_node_set(sync, arena, "sid", SLICE("1"));
    wa_node_set(sync, arena, "context", SLICE("message"));
    query = wa_node_add(sync, arena, "query");
    while (*protocols)
        wa_node_add(query, arena, *protocols++);
    list = wa_node_add(sync, arena, "list");
    one = wa_node_add(list, arena, "user");
    wa_node_set_jid(one, arena, "jid", user);
    if (contact) wa_node_set_bytes(wa_node_add(one, arena, "contact"), slice_text(contact));
    return wa_node_child(wa_node_child(wa_node_child(companion_ask(s->c, iq), "usync"), "list"),
                         "user");
}

Test(iq, device_lists_in_the_form_that_was_asked)
{
    static const char *const protocols[] = {"devices", "lid", NULL};
    struct stage s = set_stage();

    for (int lid = 0; lid < 2; lid++) {
        struct wa_jid asked =
            lid ? wa_jid_of(WA_SERVER_LID, SLICE("915550001111"), 0) : jid_pn("15550001111", 0);
        const struct wa_node *user = usync(&s, protocols, asked, NULL), *list;

        list = wa_node_child(wa_node_child(user, "devices"), "device-list");
        cr_expect(wa_jid_eq(&asked, &wa_node_attr(user, "jid")->value.jid));
        cr_assert_eq(list->child_count, 2);
        cr_expect(has_text(&list->children[0], "id", "0"));
        cr_expect_null(wa_node_attr(&list->children[0], "key-index"));
        cr_expect(has_text(&list->children[1], "key-index", "1"));
        cr_expect(slice_is(wa_node_text(wa_node_child(user, "lid"), "val"), "915550001111@lid"));
    }
    clear_stage(&s);
}

Test(iq, the_key_index_list_is_the_phones)
{
    static const char *const protocols[] = {"devices", NULL};
    struct stage s = set_stage();
    const struct wa_node *user = usync(&s, protocols, jid_pn("15550001111", 0), NULL);
    struct slice b = wa_node_child_bytes(wa_node_child(user, "devices"), "key-index-list");
    Wa__AdvSignedKeyIndexList *list = wa__adv_signed_key_index_list__unpack(NULL, b.len, b.data);
    Wa__AdvKeyIndexList *details;
    AUTO(buf) text = {0};

    cr_assert_not_null(list);
    buf_put(&text, SLICE("\x06\x02"));
    buf_put(&text, slice_of(list->details.data, list->details.len));
    cr_expect(crypto_verify(&s.own->identity.public, buf_slice(&text),
                            slice_of(list->account_signature.data, list->account_signature.len)));
    details = wa__adv_key_index_list__unpack(NULL, list->details.len, list->details.data);
    cr_expect(details->has_raw_id && details->has_timestamp);
    cr_expect_eq(details->current_index, 1);
    cr_expect_eq(details->n_valid_indexes, 2);
    wa__adv_key_index_list__free_unpacked(details, NULL);
    wa__adv_signed_key_index_list__free_unpacked(list, NULL);
    clear_stage(&s);
}

Test(iq, contacts_in_and_out)
{
    static const char *const protocols[] = {"contact", "lid", NULL};
    struct stage s = set_stage();
    const struct wa_node *user = usync(&s, protocols, (struct wa_jid){0}, "+15550002222");

    cr_expect(slice_is(wa_node_text(user, "jid"), "15550002222@s.whatsapp.net"));
    cr_expect(has_text(wa_node_child(user, "contact"), "type", "in"));
    user = usync(&s, protocols, (struct wa_jid){0}, "+15550002222@c.us");
    cr_expect(has_text(wa_node_child(user, "contact"), "type", "in"));
    user = usync(&s, protocols, (struct wa_jid){0}, "+15559999999");
    cr_expect(has_text(wa_node_child(user, "contact"), "type", "out"));
    clear_stage(&s);
}

/* ---- prekeys ---- */

static const struct wa_node *bundle(struct stage *s, struct wa_jid jid)
{
    struct wa_node *iq = companion_iq(s->c, "get", "encrypt");

    wa_node_set_jid(wa_node_add(wa_node_add(iq, &s->c->arena, "key"), &s->c->arena, "user"),
                    &s->c->arena, "jid", jid);
    return wa_node_child(wa_node_child(companion_ask(s->c, iq), "list"), "user");
}

Test(iq, bundles_have_the_lengths_that_whatsmeow_wants)
{
    struct stage s = set_stage();
    const struct wa_node *user = bundle(&s, jid_pn("15550002222", 0));
    const struct wa_node *key = wa_node_child(user, "key"), *skey = wa_node_child(user, "skey");

    cr_expect_eq(wa_node_child_bytes(user, "registration").len, 4);
    cr_expect_eq(wa_node_child_bytes(user, "identity").len, 32);
    cr_expect_eq(wa_node_child_bytes(key, "id").len, 3);
    cr_expect_eq(wa_node_child_bytes(key, "value").len, 32);
    cr_expect_eq(wa_node_child_bytes(skey, "id").len, 3);
    cr_expect_eq(wa_node_child_bytes(skey, "signature").len, 64);
    cr_expect_null(wa_node_child(user, "device-identity"), "a phone has none");
    user = bundle(&s, jid_pn("15550001111", 1));
    cr_expect_not_null(wa_node_child(user, "device-identity"));
    cr_expect_null(wa_node_child(user, "key"), "this companion uploaded none");
    user = bundle(&s, jid_pn("15550002222", 9));
    cr_expect(has_text(wa_node_child(user, "error"), "code", "406"));
    clear_stage(&s);
}

Test(iq, a_one_time_key_is_given_once)
{
    struct stage s = set_stage();
    struct slice first =
        wa_node_child_bytes(wa_node_child(bundle(&s, jid_pn("15550002222", 0)), "key"), "id");
    struct slice second =
        wa_node_child_bytes(wa_node_child(bundle(&s, jid_pn("15550002222", 0)), "key"), "id");

    cr_expect_not(slice_eq(first, second));
    clear_stage(&s);
}

static uint64_t told_count(struct stage *s)
{
    struct wa_attrs a = wa_attrs_of(wa_node_child(ask(s, "get", "encrypt", "count"), "count"));

    return wa_attr_int(&a, "value");
}

Test(iq, a_device_without_keys_may_be_told_that_it_has_some)
{
    struct stage s = set_stage();
    struct sim_device *device = s.c->conn->device;

    cr_expect_eq(told_count(&s), 0);
    s.w->relay.options.least_prekeys = 3;
    cr_expect_eq(told_count(&s), 3);
    device->bundle.prekey_count = 5;
    cr_expect_eq(told_count(&s), 5);
    device->bundle.prekey_count = 0; /* there is none of them */
    clear_stage(&s);
}

Test(iq, phones_upload_as_many_keys_as_the_options_say)
{
    struct stage s = set_stage();
    struct sim_phone *few;

    s.w->relay.options.phone_prekeys = 7;
    few = world_phone(s.w, "15550007777");
    cr_expect_eq(sim_device_find(s.other->account, 0)->bundle.prekey_count, SIM_PHONE_PREKEYS);
    cr_expect_eq(sim_device_find(few->account, 0)->bundle.prekey_count, 7);
    clear_stage(&s);
}

Test(iq, no_prekeys_is_404_in_a_digest)
{
    struct stage s = set_stage();

    cr_expect(has_text(wa_node_child(ask(&s, "get", "encrypt", "digest"), "error"), "code", "404"));
    clear_stage(&s);
}

/* ---- privacy ---- */

static struct slice reads_of(const struct wa_node *holder)
{
    const struct wa_node *category = wa_node_child(wa_node_child(holder, "privacy"), "category");

    cr_expect(has_text(category, "name", "readreceipts"));
    return wa_node_text(category, "value");
}

/* As Baileys and whatsmeow set it. */
Test(iq, a_setting_is_kept_and_told_to_the_other_devices)
{
    struct stage s = set_stage();
    struct companion *second = companion_ready(s.w, s.own);
    struct wa_node *iq = companion_iq(s.c, "set", "privacy"), *category;

    cr_expect(slice_is(reads_of(ask(&s, "get", "privacy", "privacy")), "all"));
    category = wa_node_add(wa_node_add(iq, &s.c->arena, "privacy"), &s.c->arena, "category");
    wa_node_set(category, &s.c->arena, "name", SLICE("readreceipts"));
    wa_node_set(category, &s.c->arena, "value", SLICE("none"));
    cr_expect(slice_is(reads_of(companion_ask(s.c, iq)), "none"));
    cr_expect(slice_is(reads_of(ask(&s, "get", "privacy", "privacy")), "none"));
    cr_expect(slice_is(reads_of(companion_take(second, "notification")), "none"));
    companion_free(second);
    clear_stage(&s);
}

/* ---- tokens ---- */

Test(iq, a_token_lets_the_other_side_write)
{
    struct stage s = set_stage();
    struct companion *d = companion_ready(s.w, s.other);
    struct wa_node *iq = companion_iq(s.c, "set", "privacy"), *token, *n;
    struct slice bytes;

    s.w->relay.options.require_tokens = true;
    token = wa_node_add(wa_node_add(iq, &s.c->arena, "tokens"), &s.c->arena, "token");
    wa_node_set_jid(token, &s.c->arena, "jid", jid_pn("15550002222", 0));
    wa_node_set(token, &s.c->arena, "t", SLICE("1800000000"));
    wa_node_set(token, &s.c->arena, "type", SLICE("trusted_contact"));
    cr_expect(has_text(companion_ask(s.c, iq), "type", "result"));
    bytes =
        wa_node_child_bytes(wa_node_child(companion_take(d, "notification"), "tokens"), "token");
    cr_assert_eq(bytes.len, 16);
    for (int with = 0; with < 2; with++) {
        n = companion_message(d, jid_pn("15550001111", 0), with ? "M2" : "M1");
        add_to(d, wa_node_add(n, &d->arena, "participants"), jid_pn("15550001111", 0), "x");
        if (with) wa_node_set_bytes(wa_node_add(n, &d->arena, "tctoken"), bytes);
        companion_send(d, n);
        cr_expect_eq(wa_node_attr(companion_take(d, "ack"), "error") == NULL, with == 1);
    }
    companion_free(d);
    clear_stage(&s);
}

/* ---- app state ---- */

static const struct wa_node *sync_collection(struct stage *s, const char *version,
                                             struct slice patch)
{
    struct wa_node *iq = companion_iq(s->c, "set", "w:sync:app:state"), *col;
    struct arena *arena = &s->c->arena;

    col = wa_node_add(wa_node_add(iq, arena, "sync"), arena, "collection");
    wa_node_set(col, arena, "name", SLICE("regular_low"));
    wa_node_set_text(col, arena, "version", version);
    if (patch.len) wa_node_set_bytes(wa_node_add(col, arena, "patch"), patch);
    return wa_node_child(wa_node_child(companion_ask(s->c, iq), "sync"), "collection");
}

Test(iq, app_state_numbers_patches_and_gives_them_back)
{
    struct stage s = set_stage();
    struct companion *twin = companion_ready(s.w, s.own);
    struct slice patch = SLICE("\x22\x03mac"); /* field 4, snapshotMAC */
    const struct wa_node *col = sync_collection(&s, NULL, SLICE_NONE);
    Wa__SyncdPatch *got;
    struct slice b;

    cr_expect(has_text(col, "version", "0"));
    cr_expect_null(wa_node_child(col, "patches"));
    cr_expect(has_text(sync_collection(&s, "0", patch), "version", "1"));
    cr_expect(has_text(companion_take(twin, "notification"), "type", "server_sync"));
    col = sync_collection(&s, "0", patch);
    cr_expect(has_text(wa_node_child(col, "error"), "code", "409"));
    b = wa_node_child_bytes(wa_node_child(col, "patches"), "patch");
    got = wa__syncd_patch__unpack(NULL, b.len, b.data);
    cr_assert_not_null(got);
    cr_expect_eq(got->version->version, 1);
    cr_expect_eq(got->snapshot_mac.len, 3);
    wa__syncd_patch__free_unpacked(got, NULL);
    companion_free(twin);
    clear_stage(&s);
}

/* ---- groups ---- */

Test(iq, groups_are_shown_to_members)
{
    struct stage s = set_stage();
    struct sim_group *g =
        sim_group_new(&s.w->relay.people, SLICE("120363000000000001"), SLICE("G"));
    struct wa_jid jid = wa_jid_of(WA_SERVER_GROUP, SLICE("120363000000000001"), 0);
    const struct wa_node *group;

    g->lid_mode = true;
    sim_member_add(g, s.other->account)->creator = true;
    for (int member = 0; member < 2; member++) {
        struct wa_node *iq = companion_iq(s.c, "get", "w:g2"), *answer;

        for (size_t i = 0; i < iq->attr_count; i++)
            if (slice_is(iq->attrs[i].key, "to")) iq->attrs[i].value.jid = jid;
        wa_node_add(iq, &s.c->arena, "query");
        if (member) sim_member_add(g, s.own->account);
        answer = companion_ask(s.c, iq);
        cr_expect(has_text(answer, "type", member ? "result" : "error"));
        group = wa_node_child(answer, "group");
        if (!member) continue;
        cr_assert_not_null(group);
        cr_expect(has_text(group, "id", "120363000000000001"));
        cr_expect(has_text(group, "addressing_mode", "lid"));
        cr_expect_eq(group->child_count, 2);
        cr_expect(slice_is(wa_node_text(&group->children[0], "phone_number"),
                           "15550002222@s.whatsapp.net"));
    }
    clear_stage(&s);
}
