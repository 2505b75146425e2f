/* The checks behind rules.def. Each is one sentence about a payload or a stanza, true while the
 * rule holds; who decides whether a stanza may pass asks sim_rules_hold. */
#include "tools/sim/rules.h"

#include <stdio.h>

#include "proto/schema/adv.pb-c.h"
#include "proto/schema/unpack.h"
#include "tools/sim/iq.h"
#include "tools/sim/adv.h"

struct check {
    struct sim_conn *c;
    const struct wa_node *n;          /* NULL for payloads */
    const Wa__ClientPayload *payload; /* NULL for stanzas */
};

#define PAIRING_DATA(k) ((k)->payload->device_pairing_data)

static struct slice of_bytes(ProtobufCBinaryData b) { return slice_of(b.data, b.len); }

/* ---- payloads ---- */

static bool has_user_agent(const struct check *k)
{
    const Wa__ClientPayload__UserAgent *agent = k->payload->user_agent;

    return agent && agent->has_platform && agent->app_version && agent->app_version->has_tertiary;
}

/* Clients of 2024 and later; the number only ever rises. */
static bool has_recent_version(const struct check *k)
{
    enum { OLDEST = 1010000000 };
    const Wa__ClientPayload__UserAgent__AppVersion *v = k->payload->user_agent->app_version;

    return v->primary == 2 && v->secondary == 3000 && v->tertiary >= OLDEST;
}

static bool has_connect_fields(const struct check *k)
{
    return k->payload->has_connect_type && k->payload->has_connect_reason;
}

static bool registers_unpaired(const struct check *k)
{
    return !k->payload->has_username && !k->payload->has_device;
}

static bool has_regid(const struct check *k) { return PAIRING_DATA(k)->e_regid.len == 4; }

static bool has_keytype(const struct check *k)
{
    return slice_eq(of_bytes(PAIRING_DATA(k)->e_keytype), SLICE("\x05"));
}

static bool has_identity(const struct check *k) { return PAIRING_DATA(k)->e_ident.len == 32; }

static bool has_signed_prekey(const struct check *k)
{
    return PAIRING_DATA(k)->e_skey_id.len == 3 && PAIRING_DATA(k)->e_skey_val.len == 32 &&
           PAIRING_DATA(k)->e_skey_sig.len == 64;
}

static bool verifies_prekey(struct slice identity, struct slice value, struct slice signature)
{
    struct crypto_key key;
    uint8_t typed[33] = {0x05};

    memcpy(key.bytes, identity.data, 32);
    memcpy(typed + 1, value.data, 32);
    return crypto_verify(&key, SLICE_ARRAY(typed), signature);
}

static bool signs_prekey(const struct check *k)
{
    return verifies_prekey(of_bytes(PAIRING_DATA(k)->e_ident),
                           of_bytes(PAIRING_DATA(k)->e_skey_val),
                           of_bytes(PAIRING_DATA(k)->e_skey_sig));
}

static bool has_build_hash(const struct check *k)
{
    const Wa__ClientPayload__UserAgent__AppVersion *v = k->payload->user_agent->app_version;
    char text[48];
    uint8_t hash[16];

    snprintf(text, sizeof text, "%u.%u.%u", v->primary, v->secondary, v->tertiary);
    crypto_md5(slice_text(text), hash);
    return slice_eq(of_bytes(PAIRING_DATA(k)->build_hash), SLICE_ARRAY(hash));
}

static bool has_device_props(const struct check *k)
{
    struct slice in = of_bytes(PAIRING_DATA(k)->device_props);
    const Wa__DeviceProps *props;
    bool ok = WA_UNPACK(wa__device_props, in, &k->c->relay->arena, &props) == OK;

    err_clear();
    return ok;
}

static bool has_username(const struct check *k)
{
    return k->payload->has_username && k->payload->has_device && k->payload->device > 0;
}

static struct sim_device *login_device(const struct check *k)
{
    char number[SIM_NUMBER_MAX];
    struct wa_jid jid;

    snprintf(number, sizeof number, "%llu", (unsigned long long)k->payload->username);
    jid = wa_jid_of(WA_SERVER_USER, slice_text(number), 0);
    jid.device = k->payload->device;
    return k->payload->device > UINT16_MAX ? NULL : sim_device_of(&k->c->relay->people, jid);
}

static bool is_known_device(const struct check *k) { return login_device(k) != NULL; }

static bool uses_paired_key(const struct check *k)
{
    return crypto_equal(SLICE_ARRAY(login_device(k)->noise), SLICE_ARRAY(k->c->noise_key));
}

static bool pulls(const struct check *k) { return k->payload->has_pull && k->payload->pull; }

/* ---- pair-device-sign ---- */

static struct slice signed_identity(const struct check *k)
{
    return wa_node_child_bytes(wa_node_child(k->n, "pair-device-sign"), "device-identity");
}

static bool signed_decodes(const struct check *k)
{
    return wa_node_child(k->n, "pair-device-sign") && sim_adv_decodes(signed_identity(k));
}

static bool signed_key_index(const struct check *k)
{
    const struct wa_node *sign = wa_node_child(k->n, "pair-device-sign");
    struct wa_attrs a = wa_attrs_of(wa_node_child(sign, "device-identity"));

    return wa_attr_int(&a, "key-index") == k->c->registration->key_index && !a.bad;
}

static bool signed_same_details(const struct check *k)
{
    return sim_adv_has_details(signed_identity(k), buf_slice(&k->c->registration->details));
}

static bool signed_by_device(const struct check *k)
{
    const struct sim_registration *reg = k->c->registration;

    return sim_adv_signed_by_device(signed_identity(k), reg->bundle.identity, reg->account_key,
                                    reg->hosted);
}

/* ---- pairing by code ---- */

static const struct wa_node *code_reg(const struct check *k)
{
    return wa_node_child(k->n, "link_code_companion_reg");
}

static size_t code_part(const struct check *k, const char *tag)
{
    return wa_node_child_bytes(code_reg(k), tag).len;
}

static bool code_names_number(const struct check *k)
{
    struct wa_jid jid = wa_node_jid(code_reg(k), "jid");

    return jid.server == WA_SERVER_USER && jid.user.len > 0 && jid.user.data[0] != '0';
}

static bool code_hello_parts(const struct check *k)
{
    return code_part(k, "link_code_pairing_wrapped_companion_ephemeral_pub") == 80 &&
           code_part(k, "companion_platform_id") > 0 && code_part(k, "link_code_pairing_nonce") > 0;
}

static bool code_hello_key(const struct check *k)
{
    return slice_eq(wa_node_child_bytes(code_reg(k), "companion_server_auth_key_pub"),
                    SLICE_ARRAY(k->c->noise_key));
}

static bool code_display(const struct check *k)
{
    static const char *const systems[] = {"(Windows)", "(Mac OS)", "(Linux)",
                                          "(Android)", "(iOS)",    "(Ubuntu)"};
    struct slice text = wa_node_child_bytes(code_reg(k), "companion_platform_display");

    for (size_t i = 0; i < ARRAY_LEN(systems); i++) {
        size_t n = strlen(systems[i]);

        if (text.len > n + 1 && text.data[text.len - n - 1] == ' ' &&
            slice_is(slice_from(text, text.len - n), systems[i]))
            return true;
    }
    return false;
}

static bool code_finish_parts(const struct check *k)
{
    return code_part(k, "link_code_pairing_wrapped_key_bundle") == 156 &&
           code_part(k, "companion_identity_public") == 32 &&
           slice_eq(wa_node_child_bytes(code_reg(k), "companion_identity_public"),
                    SLICE_ARRAY(k->c->registration->bundle.identity));
}

/* ---- stanzas ---- */

static bool has_id(const struct check *k) { return wa_node_text(k->n, "id").len > 0; }

static bool is_query(const struct check *k)
{
    struct slice type = wa_node_text(k->n, "type");

    return slice_is(type, "get") || slice_is(type, "set");
}

/* whatsapp-rust's WebAssembly build writes the server as a bare string here and there. */
static bool is_to_server(const struct check *k)
{
    struct wa_jid to = wa_node_jid(k->n, "to");
    struct slice text = wa_node_text(k->n, "to");

    return text.len == 0 || slice_is(text, "s.whatsapp.net") || slice_is(text, "g.us") ||
           wa_jid_is_server(&to) || wa_jid_is_group(&to) || to.server == WA_SERVER_NEWSLETTER;
}

static bool has_xmlns(const struct check *k) { return wa_node_text(k->n, "xmlns").len > 0; }

static bool keys_registration(const struct check *k)
{
    return wa_node_child_bytes(k->n, "registration").len == 4;
}

static bool keys_type(const struct check *k)
{
    return slice_eq(wa_node_child_bytes(k->n, "type"), SLICE("\x05"));
}

static bool keys_identity(const struct check *k)
{
    struct slice identity = wa_node_child_bytes(k->n, "identity");

    return identity.len == 32 && (k->c->device->id == 0 ||
                                  slice_eq(identity, SLICE_ARRAY(k->c->device->bundle.identity)));
}

static bool keys_signed(const struct check *k)
{
    const struct wa_node *skey = wa_node_child(k->n, "skey");

    return skey && wa_node_child_bytes(skey, "id").len == 3 &&
           wa_node_child_bytes(skey, "value").len == 32 &&
           wa_node_child_bytes(skey, "signature").len == 64;
}

static bool keys_signature(const struct check *k)
{
    const struct wa_node *skey = wa_node_child(k->n, "skey");
    struct slice identity = wa_node_child_bytes(k->n, "identity");

    if (identity.len != 32) identity = SLICE_ARRAY(k->c->device->bundle.identity); /* a rotation */
    return verifies_prekey(identity, wa_node_child_bytes(skey, "value"),
                           wa_node_child_bytes(skey, "signature"));
}

static bool keys_list(const struct check *k)
{
    const struct wa_node *list = wa_node_child(k->n, "list"), *key;
    static const uint8_t zero[3];

    if (!list) return false;
    for (size_t i = 0; (key = wa_node_next(list, "key", &i));) {
        struct slice id = wa_node_child_bytes(key, "id");

        if (id.len != 3 || slice_eq(id, SLICE_ARRAY(zero))) return false;
        if (wa_node_child_bytes(key, "value").len != 32) return false;
    }
    return true;
}

static bool keys_fit(const struct check *k)
{
    return wa_node_child(k->n, "list")->child_count + k->c->device->bundle.prekey_count <=
           SIM_PREKEYS_MAX;
}

static bool has_jid_to(const struct check *k)
{
    const struct wa_attr *to = wa_node_attr(k->n, "to");

    return to && !wa_jid_is_none(&to->value.jid);
}

static bool has_message_type(const struct check *k)
{
    static const char *const types[] = {"text", "media", "reaction",
                                        "poll", "event", "medianotify"};
    struct slice type = wa_node_text(k->n, "type");

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (slice_is(type, types[i])) return true;
    return false;
}

static bool enc_is_wellformed(const struct wa_node *enc)
{
    static const char *const types[] = {"msg", "pkmsg", "skmsg", "msmsg"};
    struct slice v = wa_node_text(enc, "v"), type = wa_node_text(enc, "type");
    bool known = false;

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        known = known || slice_is(type, types[i]);
    return known && (slice_is(v, "2") || slice_is(v, "3")) && enc->content == WA_CONTENT_BYTES &&
           enc->bytes.len > 0;
}

/* Calls `visit` for every enc of the message, its own and those of the participants. */
static bool each_enc(const struct wa_node *n, bool (*visit)(const struct wa_node *enc))
{
    const struct wa_node *to, *enc, *participants = wa_node_child(n, "participants");

    for (size_t i = 0; (enc = wa_node_next(n, "enc", &i));)
        if (!visit(enc)) return false;
    if (!participants) return true;
    for (size_t i = 0; (to = wa_node_next(participants, "to", &i));)
        for (size_t j = 0; (enc = wa_node_next(to, "enc", &j));)
            if (!visit(enc)) return false;
    return true;
}

static bool encs_are_wellformed(const struct check *k) { return each_enc(k->n, enc_is_wellformed); }

static bool is_no_pkmsg(const struct wa_node *enc)
{
    return !slice_is(wa_node_text(enc, "type"), "pkmsg");
}

static bool has_device_identity(const struct check *k)
{
    struct slice identity = wa_node_child_bytes(k->n, "device-identity");

    if (k->c->device->id == 0) return true; /* the phone needs no introduction */
    return each_enc(k->n, is_no_pkmsg) || (identity.len > 0 && sim_adv_decodes(identity));
}

static bool has_no_mediatype(const struct wa_node *enc)
{
    return wa_node_text(enc, "mediatype").len == 0;
}

static bool has_mediatype(const struct check *k)
{
    return !slice_is(wa_node_text(k->n, "type"), "media") || !each_enc(k->n, has_no_mediatype);
}

static bool status_is_plain(const struct check *k)
{
    struct wa_jid to = wa_node_jid(k->n, "to");

    return !wa_jid_is_status(&to) || wa_node_text(k->n, "addressing_mode").len == 0;
}

static bool is_peer(const struct check *k)
{
    return slice_is(wa_node_text(k->n, "category"), "peer");
}

static bool peer_has_no_token(const struct check *k)
{
    return !is_peer(k) || !wa_node_child(k->n, "tctoken");
}

static bool peer_is_own(const struct check *k)
{
    return !is_peer(k) ||
           sim_account_of(&k->c->relay->people, wa_node_jid(k->n, "to")) == k->c->device->account;
}

/* A recipient that left may still stand in a sender's cache: who does not exist is skipped later,
 * who has nothing to do with the chat is an error. */
static bool recipients_fit(const struct check *k)
{
    const struct sim_directory *people = &k->c->relay->people;
    const struct wa_node *to, *participants = wa_node_child(k->n, "participants");
    struct wa_jid chat = wa_node_jid(k->n, "to");
    const struct sim_account *peer = sim_account_of(people, chat), *own = k->c->device->account;

    if (!participants || !wa_jid_is_person(&chat)) return true;
    for (size_t i = 0; (to = wa_node_next(participants, "to", &i));) {
        struct sim_account *a = sim_account_of(people, wa_node_jid(to, "jid"));

        if (a && a != peer && a != own) return false;
    }
    return true;
}

static bool is_member(const struct check *k)
{
    struct wa_jid to = wa_node_jid(k->n, "to");
    struct sim_group *g = sim_group_of(&k->c->relay->people, to);

    return !wa_jid_is_group(&to) || (g && sim_member_find(g, k->c->device->account));
}

/* Retries answer one device and may leave the mode out (Baileys does). */
static bool is_group_addressing(const struct check *k)
{
    struct sim_group *g = sim_group_of(&k->c->relay->people, wa_node_jid(k->n, "to"));
    struct slice mode = wa_node_text(k->n, "addressing_mode");

    if (!g || wa_node_text(k->n, "participant").len > 0) return true;
    return g->lid_mode ? slice_is(mode, "lid") : !slice_is(mode, "lid");
}

static bool has_known_phash(const struct check *k) { return sim_phash_is_known(k->c, k->n); }

static bool has_token(const struct check *k)
{
    struct sim_account *peer = sim_account_of(&k->c->relay->people, wa_node_jid(k->n, "to"));
    const struct sim_token *t;

    if (!k->c->relay->options.require_tokens || k->c->device->id == 0) return true;
    if (!peer || peer == k->c->device->account || !wa_node_child(k->n, "participants")) return true;
    t = sim_token_find(k->c->device->account, peer);
    return t && slice_eq(wa_node_child_bytes(k->n, "tctoken"), SLICE_ARRAY(t->bytes));
}

static bool has_payload(const struct check *k)
{
    struct wa_jid to = wa_node_jid(k->n, "to");
    const struct wa_node *participants = wa_node_child(k->n, "participants");

    return wa_node_child(k->n, "enc") || (participants && participants->child_count > 0) ||
           to.server == WA_SERVER_NEWSLETTER;
}

/* Every enc is noted, also behind one that breaks the rule. A phone is no client under test. */
static bool steps_are_new(const struct check *k)
{
    const struct wa_node *to, *participants = wa_node_child(k->n, "participants"), *enc;
    struct sim_relay *r = k->c->relay;
    struct slice id = wa_node_text(k->n, "id");
    char name[SIM_NUMBER_MAX + 8];
    bool fresh = true;

    if (k->c->local) return true;
    struct slice author = slice_text(sim_device_name(k->c->device, name));
    for (size_t i = 0; (enc = wa_node_next(k->n, "enc", &i));)
        fresh &= sim_step_note(&r->steps, &r->arena, author, id, enc);
    for (size_t i = 0; participants && (to = wa_node_next(participants, "to", &i));)
        for (size_t j = 0; (enc = wa_node_next(to, "enc", &j));)
            fresh &= sim_step_note(&r->steps, &r->arena, author, id, enc);
    return fresh;
}

static bool names_author(const struct check *k)
{
    struct wa_jid to = wa_node_jid(k->n, "to"), author = wa_node_jid(k->n, "participant");
    struct slice type = wa_node_text(k->n, "type");

    return !wa_jid_is_group(&to) || !wa_jid_is_none(&author) || slice_is(type, "server-error");
}

static bool retry_is_wellformed(const struct check *k)
{
    const struct wa_node *retry = wa_node_child(k->n, "retry");
    struct wa_attrs a = wa_attrs_of(retry);

    if (!slice_is(wa_node_text(k->n, "type"), "retry")) return true;
    if (!retry) return false;
    wa_attr_int(&a, "count");
    wa_attr_int(&a, "t");
    wa_attr_text(&a, "id");
    return !a.bad && wa_node_child_bytes(k->n, "registration").len == 4;
}

/* ---- the table ---- */

enum answer { ANSWER_FAILURE, ANSWER_IQ, ANSWER_ACK, ANSWER_STREAM, ANSWER_NONE, ANSWER_PASS };

static const struct rule {
    const char *name;
    enum sim_scope scope;
    bool (*holds)(const struct check *k);
    enum answer answer;
    int code;
    const char *text, *source;
} rules[] = {
#define RULE(name, scope, check, answer, code, text, source)                                       \
    {#name, SIM_SCOPE_##scope, check, ANSWER_##answer, code, text, source},
#include "tools/sim/rules.def"
#undef RULE
};

static void refuse_message(struct sim_conn *c, const struct wa_node *n, int code)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *ack = wa_node_new(arena, "ack");

    wa_node_set(ack, arena, "class", n->tag);
    wa_node_set(ack, arena, "id", wa_node_text(n, "id"));
    wa_node_set_jid(ack, arena, "from", wa_node_jid(n, "to"));
    wa_node_set_int(ack, arena, "t", sim_seconds(c->relay));
    wa_node_set_int(ack, arena, "error", code);
    sim_conn_send(c, ack);
}

static void refuse(struct sim_conn *c, const struct rule *rule, const struct wa_node *n)
{
    char note[160];

    c->relay->broken[rule - rules]++;
    snprintf(note, sizeof note, "rule %s broken: %s", rule->name, rule->text);
    sim_note(c, note);
    switch (rule->answer) {
    case ANSWER_FAILURE: sim_conn_failure(c, rule->code, NULL, NULL); break;
    case ANSWER_IQ: sim_iq_error(c, n, rule->code, rule->text); break;
    case ANSWER_ACK: refuse_message(c, n, rule->code); break;
    case ANSWER_STREAM: sim_conn_stream_error(c, NULL, "xml-not-well-formed"); break;
    case ANSWER_NONE:
    case ANSWER_PASS: break;
    }
}

static bool hold(struct check *k, enum sim_scope scope)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].scope == scope && !rules[i].holds(k)) {
            refuse(k->c, &rules[i], k->n);
            if (rules[i].answer != ANSWER_PASS) return false;
        }
    return true;
}

bool sim_rules_hold(struct sim_conn *c, enum sim_scope scope, const struct wa_node *n)
{
    return hold(&(struct check){.c = c, .n = n}, scope);
}

bool sim_rules_hold_payload(struct sim_conn *c, enum sim_scope scope,
                            const Wa__ClientPayload *payload)
{
    return hold(&(struct check){.c = c, .payload = payload}, scope);
}

const char *sim_rule_name(enum sim_rule rule) { return rules[rule].name; }
const char *sim_rule_text(enum sim_rule rule) { return rules[rule].text; }
const char *sim_rule_source(enum sim_rule rule) { return rules[rule].source; }
