/* Every row of rules.def has a way to break it here, and a good client breaks none. */
#include "tests/unit/tools/sim/stage.h"

/* ---- payloads ---- */

static void no_agent(Wa__ClientPayload *p) { p->user_agent = NULL; }
static void old_version(Wa__ClientPayload *p) { p->user_agent->app_version->tertiary = 1000000000; }
static void no_connect_type(Wa__ClientPayload *p) { p->has_connect_type = 0; }
static void named_while_unpaired(Wa__ClientPayload *p) { p->has_username = 1; }
static void short_regid(Wa__ClientPayload *p) { p->device_pairing_data->e_regid.len = 3; }
static void no_keytype(Wa__ClientPayload *p) { p->device_pairing_data->e_keytype.len = 0; }
static void short_identity(Wa__ClientPayload *p) { p->device_pairing_data->e_ident.len = 31; }
static void short_skey(Wa__ClientPayload *p) { p->device_pairing_data->e_skey_val.len = 31; }
static void forged_skey(Wa__ClientPayload *p)
{
    static uint8_t other[64] = {1};

    p->device_pairing_data->e_skey_sig.data = other;
}
static void wrong_build(Wa__ClientPayload *p) { p->device_pairing_data->build_hash.len = 15; }
static void bad_props(Wa__ClientPayload *p)
{
    static uint8_t junk[] = {0xff};

    p->device_pairing_data->device_props = companion_pb(junk, 1);
}
static void no_username(Wa__ClientPayload *p) { p->has_username = 0; }
static void unknown_device(Wa__ClientPayload *p) { p->device = 77; }
static void no_pull(Wa__ClientPayload *p) { p->has_pull = 0; }

static const struct {
    enum sim_rule rule;
    bool paired;
    void (*spoil)(Wa__ClientPayload *p);
    const char *reason;
} payloads[] = {
    {SIM_RULE_PAYLOAD_AGENT, false, no_agent, "409"},
    {SIM_RULE_PAYLOAD_VERSION, false, old_version, "405"},
    {SIM_RULE_PAYLOAD_CONNECT, true, no_connect_type, "400"},
    {SIM_RULE_REG_PASSIVE, false, named_while_unpaired, "400"},
    {SIM_RULE_REG_REGID, false, short_regid, "400"},
    {SIM_RULE_REG_KEYTYPE, false, no_keytype, "400"},
    {SIM_RULE_REG_IDENTITY, false, short_identity, "400"},
    {SIM_RULE_REG_SIGNED_PREKEY, false, short_skey, "400"},
    {SIM_RULE_REG_SIGNATURE, false, forged_skey, "400"},
    {SIM_RULE_REG_BUILD_HASH, false, wrong_build, "400"},
    {SIM_RULE_REG_PROPS, false, bad_props, "400"},
    {SIM_RULE_LOGIN_USERNAME, true, no_username, "400"},
    {SIM_RULE_LOGIN_DEVICE, true, unknown_device, "401"},
    {SIM_RULE_LOGIN_PULL, true, no_pull, "400"},
};

Test(rules, payloads_are_refused_with_their_failure)
{
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        struct world *w = world_new();
        struct sim_phone *p = world_phone(w, "15550001111");
        struct companion *c = payloads[i].paired ? companion_ready(w, p) : companion_new(w);
        struct wa_node *failure;

        c->spoil = payloads[i].spoil;
        companion_connect(c);
        failure = companion_take(c, "failure");
        cr_expect_eq(w->relay.broken[payloads[i].rule], 1, "%s", sim_rule_name(payloads[i].rule));
        cr_assert_not_null(failure, "%s", sim_rule_name(payloads[i].rule));
        cr_expect(has_text(failure, "reason", payloads[i].reason));
        world_advance(w, 1000);
        cr_expect(c->closed);
        companion_free(c);
        world_free(w);
    }
}

/* A device with the Noise key of another. */
static uint64_t log_in_with_another_key(void)
{
    struct world *w = world_new();
    struct companion *c = companion_ready(w, world_phone(w, "15550001111"));

    crypto_pair_new(&c->noise);
    companion_connect(c);
    cr_expect(has_text(companion_take(c, "failure"), "reason", "401"));
    uint64_t broken = w->relay.broken[SIM_RULE_LOGIN_NOISE_KEY];
    companion_free(c);
    world_free(w);
    return broken;
}

/* ---- pair-device-sign ---- */

static void sign_junk(struct companion *c, struct wa_node *iq, struct slice id, uint32_t index)
{
    companion_send_sign(c, iq, SLICE("\xff\xff"), index);
}

static void sign_index(struct companion *c, struct wa_node *iq, struct slice id, uint32_t index)
{
    companion_send_sign(c, iq, id, index + 1);
}

/* Details of another length in front: the rest stays as it was. */
static void sign_details(struct companion *c, struct wa_node *iq, struct slice id, uint32_t index)
{
    AUTO(buf) joined = {0};

    buf_put(&joined, id);
    buf_put(&joined, SLICE("\x0a\x02\x08\x01")); /* the last field 1 wins */
    companion_send_sign(c, iq, arena_dup(&c->arena, buf_slice(&joined)), index);
}

static void sign_forged(struct companion *c, struct wa_node *iq, struct slice id, uint32_t index)
{
    struct slice copy = arena_dup(&c->arena, id);

    ((uint8_t *)copy.data)[copy.len - 3] ^= 1; /* inside the device signature, the last field */
    companion_send_sign(c, iq, copy, index);
}

static const struct {
    enum sim_rule rule;
    void (*send)(struct companion *c, struct wa_node *iq, struct slice identity, uint32_t index);
} signatures[] = {
    {SIM_RULE_SIGN_DECODES, sign_junk},
    {SIM_RULE_SIGN_KEY_INDEX, sign_index},
    {SIM_RULE_SIGN_DETAILS, sign_details},
    {SIM_RULE_SIGN_SIGNATURE, sign_forged},
};

Test(rules, a_companion_that_signs_wrongly_is_not_paired)
{
    for (size_t i = 0; i < ARRAY_LEN(signatures); i++) {
        struct world *w = world_new();
        struct sim_phone *p = world_phone(w, "15550001111");
        struct companion *c = companion_new(w);
        struct slice ref = companion_ask_refs(c), identity;
        struct wa_node *iq;
        uint32_t index;

        cr_assert_eq(sim_phone_scan(p, slice_text(companion_qr(c, ref))), OK);
        iq = companion_take(c, "iq");
        identity = companion_sign(c, wa_node_child(iq, "pair-success"), &index);
        signatures[i].send(c, iq, identity, index);
        world_advance(w, 100);
        cr_expect_eq(w->relay.broken[signatures[i].rule], 1, "%s",
                     sim_rule_name(signatures[i].rule));
        cr_expect_eq(p->scan, SIM_SCAN_REFUSED);
        cr_expect_eq(sim_account_device_count(p->account), 1);
        cr_expect(c->closed);
        companion_free(c);
        world_free(w);
    }
}

/* ---- pairing by code ---- */

struct hello {
    const char *user, *display;
    size_t wrapped;
    bool other_key;
};

static void send_hello(struct companion *c, struct hello h)
{
    static const uint8_t wrapped[80] = {1};
    struct wa_node *iq = companion_iq(c, "set", "md"), *reg;
    struct slice key =
        h.other_key ? SLICE_ARRAY(c->identity.public.bytes) : SLICE_ARRAY(c->noise.public.bytes);

    reg = wa_node_add(iq, &c->arena, "link_code_companion_reg");
    wa_node_set_jid(reg, &c->arena, "jid", jid_pn(h.user, 0));
    wa_node_set(reg, &c->arena, "stage", SLICE("companion_hello"));
    wa_node_set_bytes(
        wa_node_add(reg, &c->arena, "link_code_pairing_wrapped_companion_ephemeral_pub"),
        slice_of(wrapped, h.wrapped));
    wa_node_set_bytes(wa_node_add(reg, &c->arena, "companion_server_auth_key_pub"), key);
    wa_node_set_bytes(wa_node_add(reg, &c->arena, "companion_platform_id"), SLICE("1"));
    wa_node_set_bytes(wa_node_add(reg, &c->arena, "companion_platform_display"),
                      slice_text(h.display));
    wa_node_set_bytes(wa_node_add(reg, &c->arena, "link_code_pairing_nonce"), SLICE("0"));
    companion_send(c, iq);
}

static const struct {
    enum sim_rule rule;
    struct hello hello;
} hellos[] = {
    {SIM_RULE_CODE_HELLO_JID, {"015550001111", "Chrome (Linux)", 80, false}},
    {SIM_RULE_CODE_HELLO_PARTS, {"15550001111", "Chrome (Linux)", 79, false}},
    {SIM_RULE_CODE_HELLO_KEY, {"15550001111", "Chrome (Linux)", 80, true}},
    {SIM_RULE_CODE_HELLO_DISPLAY, {"15550001111", "Parley", 80, false}},
};

Test(rules, pairing_by_code)
{
    for (size_t i = 0; i < ARRAY_LEN(hellos); i++) {
        struct world *w = world_new();
        struct companion *c = companion_new(w);

        world_phone(w, "15550001111");
        companion_ask_refs(c);
        send_hello(c, hellos[i].hello);
        cr_expect_eq(w->relay.broken[hellos[i].rule], 1, "%s", sim_rule_name(hellos[i].rule));
        cr_expect(has_text(wa_node_child(companion_take(c, "iq"), "error"), "code", "400"));
        companion_free(c);
        world_free(w);
    }
}

static uint64_t finish_a_code_with_nothing(void)
{
    struct world *w = world_new();
    struct companion *c = companion_new(w);
    struct wa_node *iq;

    companion_ask_refs(c);
    iq = companion_iq(c, "set", "md");
    wa_node_set(wa_node_add(iq, &c->arena, "link_code_companion_reg"), &c->arena, "stage",
                SLICE("companion_finish"));
    companion_send(c, iq);
    uint64_t broken = w->relay.broken[SIM_RULE_CODE_FINISH_PARTS];
    companion_free(c);
    world_free(w);
    return broken;
}

/* ---- stanzas ---- */

static struct wa_node *any_iq(struct stage *s) { return companion_iq(s->c, "get", "w:p"); }

/* Attributes are an array: taking one out is moving the last into its place. */
static struct wa_node *without(struct wa_node *n, const char *key)
{
    for (size_t i = 0; i < n->attr_count; i++)
        if (slice_is(n->attrs[i].key, key)) n->attrs[i] = n->attrs[--n->attr_count];
    return n;
}

static struct wa_node *iq_without_id(struct stage *s) { return without(any_iq(s), "id"); }
static struct wa_node *iq_of_no_type(struct stage *s) { return companion_iq(s->c, "give", "w:p"); }
static struct wa_node *iq_to_somebody(struct stage *s)
{
    struct wa_node *iq = without(any_iq(s), "to");

    wa_node_set_jid(iq, &s->c->arena, "to", jid_pn("15550002222", 0));
    return iq;
}
static struct wa_node *iq_without_xmlns(struct stage *s) { return without(any_iq(s), "xmlns"); }

static void put(struct stage *s, struct wa_node *to, const char *tag, const void *b, size_t n)
{
    wa_node_set_bytes(wa_node_add(to, &s->c->arena, tag), arena_dup(&s->c->arena, slice_of(b, n)));
}

/* An upload; each part can be another length. */
struct upload {
    size_t registration, type, identity, signature, id, value;
    size_t keys;
    bool forged;
};

static struct wa_node *upload(struct stage *s, struct upload u)
{
    struct companion *c = s->c;
    struct wa_node *iq = companion_iq(c, "set", "encrypt"), *list, *skey;
    uint8_t junk[64] = {9}, id[3] = {0, 0, 1};

    put(s, iq, "registration", junk, u.registration);
    put(s, iq, "type", "\x05", u.type);
    put(s, iq, "identity", c->identity.public.bytes, u.identity);
    list = wa_node_add(iq, &c->arena, "list");
    for (size_t i = 0; i < u.keys; i++) {
        struct wa_node *key = wa_node_add(list, &c->arena, "key");

        id[1] = (i + 1) >> 8;
        id[2] = i + 1;
        put(s, key, "id", id, u.id);
        put(s, key, "value", junk, u.value);
    }
    skey = wa_node_add(iq, &c->arena, "skey");
    put(s, skey, "id", "\0\0\1", 3);
    put(s, skey, "value", c->signed_prekey.public.bytes, 32);
    put(s, skey, "signature", u.forged ? junk : c->signature, u.signature);
    return iq;
}

#define GOOD_UPLOAD                                                                                \
    .registration = 4, .type = 1, .identity = 32, .signature = 64, .id = 3, .value = 32, .keys = 2

static struct wa_node *short_registration(struct stage *s)
{
    struct upload u = {GOOD_UPLOAD};

    u.registration = 3;
    return upload(s, u);
}
static struct wa_node *no_type(struct stage *s)
{
    struct upload u = {GOOD_UPLOAD};

    u.type = 0;
    return upload(s, u);
}
static struct wa_node *other_identity(struct stage *s)
{
    struct wa_node *iq = upload(s, (struct upload){GOOD_UPLOAD});
    struct wa_node *identity = (struct wa_node *)wa_node_child(iq, "identity");

    identity->bytes = SLICE_ARRAY(s->c->noise.public.bytes);
    return iq;
}
static struct wa_node *short_signature(struct stage *s)
{
    struct upload u = {GOOD_UPLOAD};

    u.signature = 63;
    return upload(s, u);
}
static struct wa_node *forged_signature(struct stage *s)
{
    struct upload u = {GOOD_UPLOAD};

    u.forged = true;
    return upload(s, u);
}
static struct wa_node *short_prekey(struct stage *s)
{
    struct upload u = {GOOD_UPLOAD};

    u.value = 31;
    return upload(s, u);
}
static struct wa_node *too_many_prekeys(struct stage *s)
{
    struct upload u = {GOOD_UPLOAD};

    u.keys = SIM_PREKEYS_MAX + 1;
    return upload(s, u);
}

static struct wa_node *rotate(struct stage *s, size_t signature, bool forged)
{
    struct companion *c = s->c;
    struct wa_node *iq = companion_iq(c, "set", "encrypt"), *skey;
    uint8_t junk[64] = {9};

    skey = wa_node_add(wa_node_add(iq, &c->arena, "rotate"), &c->arena, "skey");
    put(s, skey, "id", "\0\0\2", 3);
    put(s, skey, "value", c->signed_prekey.public.bytes, 32);
    put(s, skey, "signature", forged ? junk : c->signature, signature);
    return iq;
}
static struct wa_node *short_rotation(struct stage *s) { return rotate(s, 63, false); }
static struct wa_node *forged_rotation(struct stage *s) { return rotate(s, 64, true); }

/* A good message to the other phone. */
static struct wa_node *to_other(struct stage *s)
{
    struct wa_node *n = companion_message(s->c, jid_pn("15550002222", 0), "M1");

    add_to(s->c, wa_node_add(n, &s->c->arena, "participants"), jid_pn("15550002222", 0), "x");
    return n;
}

static struct wa_node *message_without_id(struct stage *s) { return without(to_other(s), "id"); }
static struct wa_node *message_to_text(struct stage *s)
{
    struct wa_node *n = without(to_other(s), "to");

    wa_node_set(n, &s->c->arena, "to", SLICE("15550002222@s.whatsapp.net"));
    return n;
}
static struct wa_node *message_of_no_type(struct stage *s)
{
    struct wa_node *n = without(to_other(s), "type");

    wa_node_set(n, &s->c->arena, "type", SLICE("song"));
    return n;
}
static struct wa_node *message_of_odd_enc(struct stage *s)
{
    struct wa_node *n = companion_message(s->c, jid_pn("15550002222", 0), "M1");

    add_enc(s->c, n, "plain", "x");
    return n;
}
static struct wa_node *pkmsg_without_identity(struct stage *s)
{
    struct wa_node *n = companion_message(s->c, jid_pn("15550002222", 0), "M1");

    add_enc(s->c, n, "pkmsg", "x");
    return n;
}
static struct wa_node *media_without_mediatype(struct stage *s)
{
    struct wa_node *n = without(to_other(s), "type");

    wa_node_set(n, &s->c->arena, "type", SLICE("media"));
    return n;
}
static struct wa_node *status_with_mode(struct stage *s)
{
    struct wa_node *n =
        companion_message(s->c, wa_jid_of(WA_SERVER_BROADCAST, SLICE("status"), 0), "M1");

    wa_node_set(n, &s->c->arena, "addressing_mode", SLICE("lid"));
    add_enc(s->c, n, "skmsg", "x");
    return n;
}
static struct wa_node *peer_message(struct stage *s, const char *number)
{
    struct wa_node *n = companion_message(s->c, jid_pn(number, 0), "M1");

    wa_node_set(n, &s->c->arena, "category", SLICE("peer"));
    add_enc(s->c, n, "msg", "x");
    return n;
}
static struct wa_node *peer_with_token(struct stage *s)
{
    struct wa_node *n = peer_message(s, "15550001111");

    put(s, n, "tctoken", "t", 1);
    return n;
}
static struct wa_node *peer_to_other(struct stage *s) { return peer_message(s, "15550002222"); }
static struct wa_node *message_to_a_third(struct stage *s)
{
    struct wa_node *n = companion_message(s->c, jid_pn("15550002222", 0), "M1");
    struct wa_node *participants = wa_node_add(n, &s->c->arena, "participants");

    add_to(s->c, participants, jid_pn("15550003333", 0), "x");
    return n;
}
static struct wa_node *group_message(struct stage *s, const char *mode)
{
    struct wa_node *n =
        companion_message(s->c, wa_jid_of(WA_SERVER_GROUP, slice_text(s->group->id), 0), "M1");

    wa_node_set_text(n, &s->c->arena, "addressing_mode", mode);
    add_enc(s->c, n, "skmsg", "x");
    return n;
}
static struct wa_node *message_to_foreign_group(struct stage *s)
{
    sim_member_remove(s->group, s->own->account);
    return group_message(s, "lid");
}
static struct wa_node *message_in_stale_mode(struct stage *s) { return group_message(s, "pn"); }
static struct wa_node *message_with_odd_phash(struct stage *s)
{
    struct wa_node *n = group_message(s, "lid");

    wa_node_set(n, &s->c->arena, "phash", SLICE("2:AAvxhwhn"));
    return n;
}
static struct wa_node *message_without_token(struct stage *s)
{
    s->w->relay.options.require_tokens = true;
    return to_other(s);
}
static struct wa_node *message_of_nothing(struct stage *s)
{
    return companion_message(s->c, jid_pn("15550002222", 0), "M1");
}

static struct wa_node *receipt(struct stage *s, struct wa_jid to)
{
    struct wa_node *n = wa_node_new(&s->c->arena, "receipt");

    wa_node_set(n, &s->c->arena, "id", SLICE("M1"));
    wa_node_set_jid(n, &s->c->arena, "to", to);
    return n;
}
static struct wa_node *receipt_without_id(struct stage *s)
{
    return without(receipt(s, jid_pn("15550002222", 0)), "id");
}
static struct wa_node *receipt_to_nobody(struct stage *s)
{
    return without(receipt(s, jid_pn("15550002222", 0)), "to");
}
static struct wa_node *receipt_without_author(struct stage *s)
{
    return receipt(s, wa_jid_of(WA_SERVER_GROUP, slice_text(s->group->id), 0));
}
static struct wa_node *retry_without_count(struct stage *s)
{
    struct wa_node *n = receipt(s, jid_pn("15550002222", 0));

    wa_node_set(n, &s->c->arena, "type", SLICE("retry"));
    wa_node_add(n, &s->c->arena, "retry");
    return n;
}

static const struct {
    enum sim_rule rule;
    struct wa_node *(*make)(struct stage *s);
    const char *tag, *code; /* of the answer; NULL: silence */
} stanzas[] = {
    {SIM_RULE_IQ_ID, iq_without_id, "stream:error", NULL},
    {SIM_RULE_IQ_TYPE, iq_of_no_type, "iq", "400"},
    {SIM_RULE_IQ_TO, iq_to_somebody, "iq", "400"},
    {SIM_RULE_IQ_XMLNS, iq_without_xmlns, "iq", "400"},
    {SIM_RULE_KEYS_REGISTRATION, short_registration, "iq", "406"},
    {SIM_RULE_KEYS_TYPE, no_type, "iq", "406"},
    {SIM_RULE_KEYS_IDENTITY, other_identity, "iq", "406"},
    {SIM_RULE_KEYS_SIGNED, short_signature, "iq", "406"},
    {SIM_RULE_KEYS_SIGNATURE, forged_signature, "iq", "406"},
    {SIM_RULE_KEYS_LIST, short_prekey, "iq", "406"},
    {SIM_RULE_KEYS_TOO_MANY, too_many_prekeys, "iq", "406"},
    {SIM_RULE_ROTATE_SIGNED, short_rotation, "iq", "406"},
    {SIM_RULE_ROTATE_SIGNATURE, forged_rotation, "iq", "406"},
    {SIM_RULE_MSG_ID, message_without_id, "stream:error", NULL},
    {SIM_RULE_MSG_TO, message_to_text, "ack", "479"},
    {SIM_RULE_MSG_TYPE, message_of_no_type, "ack", "479"},
    {SIM_RULE_MSG_ENC, message_of_odd_enc, "ack", "479"},
    {SIM_RULE_MSG_IDENTITY, pkmsg_without_identity, "ack", "479"},
    {SIM_RULE_MSG_MEDIATYPE, media_without_mediatype, NULL, NULL},
    {SIM_RULE_MSG_STATUS, status_with_mode, "ack", "479"},
    {SIM_RULE_MSG_PEER_TOKEN, peer_with_token, "ack", "479"},
    {SIM_RULE_MSG_PEER_TO, peer_to_other, "ack", "479"},
    {SIM_RULE_MSG_RECIPIENTS, message_to_a_third, "ack", "479"},
    {SIM_RULE_MSG_MEMBER, message_to_foreign_group, "ack", "403"},
    {SIM_RULE_MSG_ADDRESSING, message_in_stale_mode, "ack", "421"},
    {SIM_RULE_MSG_PHASH, message_with_odd_phash, "ack", "479"},
    {SIM_RULE_MSG_TOKEN, message_without_token, "ack", "463"},
    {SIM_RULE_MSG_PARTICIPANTS, message_of_nothing, "ack", "479"},
    {SIM_RULE_RCPT_ID, receipt_without_id, "stream:error", NULL},
    {SIM_RULE_RCPT_TO, receipt_to_nobody, NULL, NULL},
    {SIM_RULE_RCPT_AUTHOR, receipt_without_author, NULL, NULL},
    {SIM_RULE_RCPT_RETRY, retry_without_count, NULL, NULL},
};

static struct stage set_stage(void)
{
    struct stage s = stage_people();

    stage_group(&s, true);
    stage_login(&s);
    return s;
}

static struct slice code_of(const struct wa_node *answer)
{
    const struct wa_node *error = wa_node_child(answer, "error");

    return error ? wa_node_text(error, "code") : wa_node_text(answer, "error");
}

Test(rules, stanzas_are_refused_with_their_answer)
{
    for (size_t i = 0; i < ARRAY_LEN(stanzas); i++) {
        struct stage s = set_stage();
        const char *name = sim_rule_name(stanzas[i].rule);
        size_t before = s.other->letter_count;

        companion_send(s.c, stanzas[i].make(&s));
        cr_expect_eq(s.w->relay.broken[stanzas[i].rule], 1, "%s", name);
        if (!stanzas[i].tag) {
            cr_expect_eq(s.c->received, 0, "%s", name);
        } else {
            struct wa_node *answer = companion_take(s.c, stanzas[i].tag);

            cr_assert_not_null(answer, "%s", name);
            if (stanzas[i].code) cr_expect(slice_is(code_of(answer), stanzas[i].code), "%s", name);
        }
        cr_expect_eq(s.other->letter_count, before, "%s", name);
        clear_stage(&s);
    }
}

/* Ratchet key "abc", counter 1, and eight bytes of MAC. */
static void send_step(struct stage *s, const char *id, const char *mac)
{
    struct wa_node *n = companion_message(s->c, jid_pn("15550002222", 0), id);
    char bytes[32];

    snprintf(bytes, sizeof bytes, "\x33\x0a\x03%s\x10\x01%s", "abc", mac);
    add_to(s->c, wa_node_add(n, &s->c->arena, "participants"), jid_pn("15550002222", 0), bytes);
    companion_send(s->c, n);
}

/* It is counted, and passes. */
static uint64_t use_a_step_twice(void)
{
    struct stage s = set_stage();

    send_step(&s, "M1", "MACMACMA");
    send_step(&s, "M1", "MACMACMA");
    cr_expect_eq(s.w->relay.broken[SIM_RULE_MSG_STEP], 0);
    send_step(&s, "M2", "OTHEROTH");
    for (int i = 0; i < 3; i++)
        cr_expect(slice_is_none(code_of(companion_take(s.c, "ack"))));
    uint64_t broken = s.w->relay.broken[SIM_RULE_MSG_STEP];
    clear_stage(&s);
    return broken;
}

/* ---- what takes more than one spoilt thing ---- */

static const struct {
    enum sim_rule rule;
    uint64_t (*act)(void); /* gives how often the rule was broken: once */
} scenes[] = {
    {SIM_RULE_LOGIN_NOISE_KEY, log_in_with_another_key},
    {SIM_RULE_CODE_FINISH_PARTS, finish_a_code_with_nothing},
    {SIM_RULE_MSG_STEP, use_a_step_twice},
};

Test(rules, scenes_break_their_rule_once)
{
    for (size_t i = 0; i < ARRAY_LEN(scenes); i++)
        cr_expect_eq(scenes[i].act(), 1u, "%s", sim_rule_name(scenes[i].rule));
}

Test(rules, each_has_a_test_that_breaks_it)
{
    bool covered[SIM_RULES] = {0};

    for (size_t i = 0; i < ARRAY_LEN(payloads); i++)
        covered[payloads[i].rule] = true;
    for (size_t i = 0; i < ARRAY_LEN(hellos); i++)
        covered[hellos[i].rule] = true;
    for (size_t i = 0; i < ARRAY_LEN(signatures); i++)
        covered[signatures[i].rule] = true;
    for (size_t i = 0; i < ARRAY_LEN(stanzas); i++)
        covered[stanzas[i].rule] = true;
    for (size_t i = 0; i < ARRAY_LEN(scenes); i++)
        covered[scenes[i].rule] = true;
    for (size_t i = 0; i < SIM_RULES; i++)
        cr_expect(covered[i], "%s", sim_rule_name(i));
}

Test(rules, a_good_client_breaks_none)
{
    struct stage s = set_stage();

    companion_send(s.c, any_iq(&s));
    companion_send(s.c, upload(&s, (struct upload){GOOD_UPLOAD}));
    companion_send(s.c, rotate(&s, 64, false));
    companion_send(s.c, to_other(&s));
    companion_send(s.c, group_message(&s, "lid"));
    companion_send(s.c, receipt(&s, jid_pn("15550002222", 0)));
    for (size_t i = 0; i < SIM_RULES; i++)
        cr_expect_eq(s.w->relay.broken[i], 0, "%s", sim_rule_name(i));
    clear_stage(&s);
}
