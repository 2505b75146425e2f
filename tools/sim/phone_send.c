/* What a phone sends, as lists of steps: who is in the chat, which devices have they, which of
 * them have no session yet, encrypt for all, wait for the ack. One operation at a time. */
#include "tools/sim/phone.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/signal/group.h"
#include "proto/signal/padding.h"
#include "tools/sim/content.h"

enum { SIM_TARGETS_MAX = 2000 };

/* ---- queries ---- */

static enum step_result ask(struct sim_operation *op, const struct wa_node *iq)
{
    sim_phone_send_node(op->phone, iq);
    return STEP_WAIT;
}

static bool is_error(const struct wa_node *answer)
{
    return slice_is(wa_node_text(answer, "type"), "error");
}

static void add_person(struct sim_operation *op, struct wa_jid jid)
{
    if (op->people_count < SIM_TARGETS_MAX)
        op->people[op->people_count++] = wa_jid_dup(&jid, &op->arena);
}

static void take_members(struct sim_operation *op, const struct wa_node *group)
{
    const struct wa_node *p;
    bool lid = slice_is(wa_node_text(group, "addressing_mode"), "lid");

    for (size_t i = 0; (p = wa_node_next(group, "participant", &i));) {
        struct wa_jid jid = wa_node_jid(p, "jid");
        struct wa_jid other = wa_node_jid(p, lid ? "phone_number" : "lid");

        sim_phone_learn(op->phone, lid ? other.user : jid.user, lid ? jid.user : other.user);
        add_person(op, jid);
    }
}

static enum step_result find_both(void *arg)
{
    struct sim_operation *op = arg;
    struct wa_jid own = sim_account_jid(op->phone->account, wa_jid_is_lid(&op->to));

    op->people = arena_array(&op->arena, struct wa_jid, 2);
    add_person(op, op->to);
    if (!wa_jid_same_user(&own, &op->to)) add_person(op, own);
    return STEP_NEXT;
}

/* Everybody we know sees our status, and so do our companions. */
static enum step_result find_viewers(void *arg)
{
    struct sim_operation *op = arg;
    struct slice lid;
    size_t at = 0;

    op->people = arena_array(&op->arena, struct wa_jid, SIM_TARGETS_MAX);
    add_person(op, sim_account_jid(op->phone->account, true));
    while (map_next(&op->phone->numbers, &at, &lid))
        if (!slice_is(lid, op->phone->account->lid))
            add_person(op, wa_jid_of(WA_SERVER_LID, lid, 0));
    return STEP_NEXT;
}

static enum step_result find_members(void *arg)
{
    struct sim_operation *op = arg;

    if (!op->people) op->people = arena_array(&op->arena, struct wa_jid, SIM_TARGETS_MAX);
    if (!op->answer) {
        struct wa_node *iq = sim_phone_iq(op->phone, &op->arena, "get", "w:g2", op->iq), *query;

        for (size_t i = 0; i < iq->attr_count; i++)
            if (slice_is(iq->attrs[i].key, "to")) iq->attrs[i].value.jid = op->to;
        query = wa_node_add(iq, &op->arena, "query");
        wa_node_set(query, &op->arena, "request", SLICE("interactive"));
        return ask(op, iq);
    }
    if (is_error(op->answer) || !wa_node_child(op->answer, "group")) return STEP_FAILED;
    take_members(op, wa_node_child(op->answer, "group"));
    return STEP_NEXT;
}

static struct wa_node *usync_query(struct sim_operation *op)
{
    struct arena *arena = &op->arena;
    struct wa_node *iq = sim_phone_iq(op->phone, arena, "get", "usync", op->iq);
    struct wa_node *usync = wa_node_add(iq, arena, "usync"), *query, *list;

    wa_node_set(usync, arena, "sid", slice_text(op->iq));
    wa_node_set(usync, arena, "mode", SLICE("query"));
    wa_node_set(usync, arena, "last", SLICE("true"));
    wa_node_set(usync, arena, "index", SLICE("0"));
    wa_node_set(usync, arena, "context", SLICE("message"));
    query = wa_node_add(usync, arena, "query");
    wa_node_set(wa_node_add(query, arena, "devices"), arena, "version", SLICE("2"));
    wa_node_add(query, arena, "lid");
    list = wa_node_add(usync, arena, "list");
    for (size_t i = 0; i < op->people_count; i++)
        wa_node_set_jid(wa_node_add(list, arena, "user"), arena, "jid", op->people[i]);
    return iq;
}

static void add_target(struct sim_operation *op, struct wa_jid jid)
{
    struct sim_phone *p = op->phone;
    bool own = slice_is(jid.user, p->account->number) || slice_is(jid.user, p->account->lid);

    if (op->device_count >= SIM_TARGETS_MAX || (own && jid.device == 0)) return;
    op->devices[op->device_count++] = wa_jid_dup(&jid, &op->arena);
}

static void remember_devices(struct sim_phone *p, struct slice person,
                             const struct sim_device_list *list)
{
    struct sim_device_list *copy = xcalloc(sizeof *copy);

    *copy = *list;
    free(map_put(&p->device_lists, person, copy));
}

static void take_devices(struct sim_operation *op, const struct wa_node *user)
{
    const struct wa_node *devices = wa_node_child(user, "devices"), *device;
    const struct wa_node *list = devices ? wa_node_child(devices, "device-list") : NULL;
    const struct wa_node *lid = wa_node_child(user, "lid");
    struct wa_jid jid = wa_node_jid(user, "jid");
    struct sim_device_list known = {0};

    if (lid && jid.server == WA_SERVER_USER)
        sim_phone_learn(op->phone, jid.user, wa_node_jid(lid, "val").user);
    for (size_t i = 0; list && (device = wa_node_next(list, "device", &i));) {
        struct wa_attrs a = wa_attrs_of(device);
        uint64_t id = wa_attr_int(&a, "id");

        if (!a.bad && id <= UINT16_MAX && known.count < SIM_DEVICES_MAX)
            known.ids[known.count++] = id;
    }
    if (known.count > 0) /* nobody today may be somebody tomorrow */
        remember_devices(op->phone, wa_jid_slice(&jid, &op->arena), &known);
}

static const struct sim_device_list *known_devices(struct sim_operation *op, struct wa_jid person)
{
    return map_find(&op->phone->device_lists, wa_jid_slice(&person, &op->arena));
}

static bool knows_all(struct sim_operation *op)
{
    for (size_t i = 0; i < op->people_count; i++)
        if (!known_devices(op, op->people[i])) return false;
    return true;
}

static void add_targets(struct sim_operation *op)
{
    op->devices = arena_array(&op->arena, struct wa_jid, op->people_count * SIM_DEVICES_MAX);
    for (size_t i = 0; i < op->people_count; i++) {
        const struct sim_device_list *list = known_devices(op, op->people[i]);
        struct wa_jid jid = op->people[i];

        for (size_t j = 0; list && j < list->count; j++) {
            jid.device = list->ids[j];
            add_target(op, jid);
        }
    }
}

static enum step_result find_devices(void *arg)
{
    struct sim_operation *op = arg;
    const struct wa_node *usync, *list, *user;

    if (!op->answer && !knows_all(op)) return ask(op, usync_query(op));
    if (op->answer) {
        usync = wa_node_child(op->answer, "usync");
        list = usync ? wa_node_child(usync, "list") : NULL;
        if (!list) return STEP_FAILED;
        for (size_t i = 0; (user = wa_node_next(list, "user", &i));)
            take_devices(op, user);
    }
    add_targets(op);
    return STEP_NEXT;
}

static enum step_result find_one(void *arg)
{
    struct sim_operation *op = arg;

    op->devices = arena_array(&op->arena, struct wa_jid, 1);
    op->devices[op->device_count++] = wa_jid_is_none(&op->participant) ? op->to : op->participant;
    return STEP_NEXT;
}

/* ---- sessions ---- */

static bool needs_session(struct sim_operation *op, struct wa_jid jid)
{
    struct wa_address to = sim_phone_address(op->phone, &op->arena, jid);
    struct wa_session_info info;

    if (op->fresh) return true;
    return wa_session_info(&op->phone->keystore, &op->arena, &to, &info) != OK;
}

static struct wa_node *bundle_query(struct sim_operation *op, size_t *out_count)
{
    struct wa_node *iq = sim_phone_iq(op->phone, &op->arena, "get", "encrypt", op->iq);
    struct wa_node *key = wa_node_add(iq, &op->arena, "key");

    *out_count = 0;
    for (size_t i = 0; i < op->device_count; i++) {
        if (!needs_session(op, op->devices[i])) continue;
        wa_node_set_jid(wa_node_add(key, &op->arena, "user"), &op->arena, "jid", op->devices[i]);
        ++*out_count;
    }
    return iq;
}

static uint32_t be(struct slice s)
{
    uint32_t v = 0;

    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.data[i];
    return v;
}

static bool read_key(const struct wa_node *parent, const char *tag, struct crypto_key *out)
{
    struct slice b = wa_node_child_bytes(parent, tag);

    if (b.len != CRYPTO_KEY) return false;
    memcpy(out->bytes, b.data, CRYPTO_KEY);
    return true;
}

bool sim_phone_read_bundle(const struct wa_node *user, struct wa_bundle *out)
{
    const struct wa_node *key = wa_node_child(user, "key"), *skey = wa_node_child(user, "skey");
    struct slice signature = skey ? wa_node_child_bytes(skey, "signature") : SLICE_NONE;

    *out = (struct wa_bundle){0};
    if (!skey || signature.len != CRYPTO_SIGNATURE) return false;
    out->registration_id = be(wa_node_child_bytes(user, "registration"));
    out->signed_prekey_id = be(wa_node_child_bytes(skey, "id"));
    memcpy(out->signature, signature.data, CRYPTO_SIGNATURE);
    out->has_prekey = key && read_key(key, "value", &out->prekey);
    if (out->has_prekey) out->prekey_id = be(wa_node_child_bytes(key, "id"));
    return read_key(user, "identity", &out->identity) &&
           read_key(skey, "value", &out->signed_prekey);
}

/* A device whose bundle is an error or a forgery is left out. */
static void start_session(struct sim_operation *op, const struct wa_node *user)
{
    struct wa_address to = sim_phone_address(op->phone, &op->arena, wa_node_jid(user, "jid"));
    struct wa_bundle bundle;
    bool changed;

    if (!sim_phone_read_bundle(user, &bundle)) return;
    if (wa_session_from_bundle(&op->phone->keystore, &op->arena, &to, &bundle, &changed) != OK)
        err_clear();
}

static enum step_result open_sessions(void *arg)
{
    struct sim_operation *op = arg;
    const struct wa_node *list, *user;
    size_t count;

    if (!op->answer) {
        struct wa_node *iq = bundle_query(op, &count);

        return count == 0 ? STEP_NEXT : ask(op, iq);
    }
    list = wa_node_child(op->answer, "list");
    if (!list) return STEP_FAILED;
    for (size_t i = 0; (user = wa_node_next(list, "user", &i));)
        start_session(op, user);
    return STEP_NEXT;
}

/* ---- encryption ---- */

static void put_enc(struct wa_node *parent, struct sim_operation *op, const char *type,
                    struct slice bytes)
{
    struct wa_node *enc = wa_node_add(parent, &op->arena, "enc");

    wa_node_set(enc, &op->arena, "v", SLICE("2"));
    wa_node_set_text(enc, &op->arena, "type", type);
    wa_node_set(enc, &op->arena, "mediatype", op->mediatype);
    if (op->kind == SIM_RESEND) wa_node_set_int(enc, &op->arena, "count", op->count);
    wa_node_set_bytes(enc, bytes);
}

static bool encrypt_to(struct sim_operation *op, struct wa_node *parent, struct wa_jid jid,
                       struct slice message)
{
    struct wa_address to = sim_phone_address(op->phone, &op->arena, jid);
    struct slice padded = wa_pad(&op->phone->keystore, &op->arena, message);
    struct wa_encrypted out;

    if (wa_session_encrypt(&op->phone->keystore, &op->arena, &to, padded, &out) != OK) {
        err_clear();
        return false;
    }
    put_enc(parent, op, out.is_prekey ? "pkmsg" : "msg", out.bytes);
    return true;
}

static struct wa_node *message_node(struct sim_operation *op)
{
    struct wa_node *n = wa_node_new(&op->arena, "message");

    wa_node_set_jid(n, &op->arena, "to", op->to);
    wa_node_set_text(n, &op->arena, "id", op->id);
    wa_node_set(n, &op->arena, "type", op->type.len ? op->type : SLICE("text"));
    wa_node_set(n, &op->arena, "edit", op->edit);
    return n;
}

static bool is_own(const struct sim_operation *op, struct wa_jid jid)
{
    return slice_is(jid.user, op->phone->account->number) ||
           slice_is(jid.user, op->phone->account->lid);
}

static struct slice chat_text(struct sim_operation *op)
{
    return wa_jid_slice(&op->to, &op->arena);
}

static enum step_result encrypt_for_all(void *arg)
{
    struct sim_operation *op = arg;
    struct wa_node *n = message_node(op),
                   *participants = wa_node_add(n, &op->arena, "participants");
    struct slice copy = sim_content_device_sent(&op->arena, chat_text(op), op->message);

    for (size_t i = 0; i < op->device_count; i++) {
        struct wa_node *to = wa_node_add(participants, &op->arena, "to");

        wa_node_set_jid(to, &op->arena, "jid", op->devices[i]);
        if (!encrypt_to(op, to, op->devices[i], is_own(op, op->devices[i]) ? copy : op->message))
            participants->child_count--;
    }
    if (participants->child_count == 0) return STEP_FAILED;
    sim_phone_send_node(op->phone, n);
    return STEP_NEXT;
}

static err_t distribution(struct sim_operation *op, struct slice *out)
{
    struct wa_address self =
        sim_phone_address(op->phone, &op->arena, sim_account_jid(op->phone->account, true));
    struct slice key;

    TRY(wa_group_distribute(&op->phone->keystore, &op->arena, chat_text(op), &self, &key));
    *out = sim_content_distribution(&op->arena, chat_text(op), key);
    return OK;
}

static err_t encrypt_group(struct sim_operation *op, struct wa_node *n)
{
    struct wa_address self =
        sim_phone_address(op->phone, &op->arena, sim_account_jid(op->phone->account, true));
    struct wa_node *participants = wa_node_add(n, &op->arena, "participants");
    struct slice keys, sealed;

    TRY(distribution(op, &keys));
    for (size_t i = 0; i < op->device_count; i++) {
        struct wa_node *to = wa_node_add(participants, &op->arena, "to");

        wa_node_set_jid(to, &op->arena, "jid", op->devices[i]);
        if (!encrypt_to(op, to, op->devices[i], keys)) participants->child_count--;
    }
    TRY(wa_group_encrypt(&op->phone->keystore, &op->arena, chat_text(op), &self,
                         wa_pad(&op->phone->keystore, &op->arena, op->message), &sealed));
    put_enc(n, op, "skmsg", sealed);
    return OK;
}

static enum step_result encrypt_for_group(void *arg)
{
    struct sim_operation *op = arg;
    struct wa_node *n = message_node(op);
    bool lid = op->people_count > 0 && wa_jid_is_lid(&op->people[0]);

    /* A status with an addressing mode is refused. */
    if (lid && wa_jid_is_group(&op->to))
        wa_node_set(n, &op->arena, "addressing_mode", SLICE("lid"));
    if (encrypt_group(op, n) != OK) return STEP_FAILED;
    sim_phone_send_node(op->phone, n);
    return STEP_NEXT;
}

/* A resend to a group member carries the key as well. */
static struct slice resent_message(struct sim_operation *op)
{
    struct slice keys;

    if (op->kind != SIM_RESEND) return op->message;
    if (wa_jid_is_group(&op->to) && distribution(op, &keys) == OK)
        return sim_content_join(&op->arena, keys, op->message);
    if (!wa_jid_is_none(&op->chat))
        return sim_content_device_sent(&op->arena, wa_jid_slice(&op->chat, &op->arena),
                                       op->message);
    return op->message;
}

static enum step_result encrypt_for_one(void *arg)
{
    struct sim_operation *op = arg;
    struct wa_node *n = message_node(op);

    if (op->kind == SIM_PEER) {
        wa_node_set(n, &op->arena, "category", SLICE("peer"));
        wa_node_set(n, &op->arena, "push_priority", SLICE("high"));
    }
    if (wa_jid_is_group(&op->to)) wa_node_set_jid(n, &op->arena, "participant", op->participant);
    if (!wa_jid_is_group(&op->to)) wa_node_set_jid(n, &op->arena, "recipient", op->chat);
    if (!encrypt_to(op, n, op->devices[0], resent_message(op))) return STEP_FAILED;
    sim_phone_send_node(op->phone, n);
    return STEP_NEXT;
}

static enum step_result await_ack(void *arg)
{
    struct sim_operation *op = arg;
    struct sim_letter *letter = sim_phone_letter(op->phone, slice_text(op->id));
    struct wa_attrs a;

    if (!op->answer) return STEP_WAIT;
    a = wa_attrs_of(op->answer);
    /* A phash in the ack of a direct message: our lists are stale. */
    if (op->kind == SIM_SEND && wa_jid_is_person(&op->to) && wa_node_attr(op->answer, "phash"))
        for (size_t i = 0; i < op->people_count; i++)
            sim_phone_forget_devices(op->phone, op->people[i]);
    if (letter && letter->from_me && op->kind == SIM_SEND) {
        letter->error = (int64_t)wa_attr_int_or(&a, "error", 0);
        letter->sent = letter->error == 0;
    }
    if (op->kind == SIM_SEND && wa_jid_is_person(&op->to)) sim_phone_give_token(op->phone, op->to);
    return STEP_DONE;
}

static const struct step person_steps[] = {
    {"people", find_both},        {"devices", find_devices}, {"sessions", open_sessions},
    {"encrypt", encrypt_for_all}, {"ack", await_ack},        {0},
};
static const struct step group_steps[] = {
    {"members", find_members},      {"devices", find_devices}, {"sessions", open_sessions},
    {"encrypt", encrypt_for_group}, {"ack", await_ack},        {0},
};
static const struct step status_steps[] = {
    {"viewers", find_viewers},      {"devices", find_devices}, {"sessions", open_sessions},
    {"encrypt", encrypt_for_group}, {"ack", await_ack},        {0},
};
static const struct step one_steps[] = {
    {"device", find_one},
    {"sessions", open_sessions},
    {"encrypt", encrypt_for_one},
    {"ack", await_ack},
    {0},
};

/* ---- the line of operations ---- */

struct sim_operation *sim_operation_new(struct sim_phone *p, enum sim_operation_kind kind,
                                        struct wa_jid to, const char *id, struct slice message)
{
    struct sim_operation *op = xcalloc(sizeof *op);
    const struct step *rows = kind != SIM_SEND        ? one_steps
                              : wa_jid_is_group(&to)  ? group_steps
                              : wa_jid_is_status(&to) ? status_steps
                                                      : person_steps;

    op->phone = p;
    op->kind = kind;
    op->to = wa_jid_dup(&to, &op->arena);
    op->message = arena_dup(&op->arena, message);
    snprintf(op->id, sizeof op->id, "%s", id);
    steps_init(&op->steps, rows, p->phones->relay->now_ms);
    list_push(&p->operations, &op->link);
    return op;
}

static void operation_free(struct sim_operation *op)
{
    list_remove(&op->link);
    arena_done(&op->arena);
    free(op);
}

/* A failed send shows as an error of its letter. */
static void note_failure(struct sim_operation *op)
{
    struct sim_letter *letter = sim_phone_letter(op->phone, slice_text(op->id));

    if (letter && op->kind == SIM_SEND && !letter->sent && letter->error == 0) letter->error = -1;
}

static void free_operations(struct list *operations)
{
    LIST_EACH(l, operations) operation_free(LIST_ENTRY(l, struct sim_operation, link));
    list_init(operations);
}

/* Takes the first operation off while it runs, so that a finished one is in no list. */
void sim_operations_go(struct sim_phone *p)
{
    struct list done;

    list_init(&done);
    for (struct list *l; p->conn && (l = list_pop(&p->operations));) {
        struct sim_operation *op = LIST_ENTRY(l, struct sim_operation, link);
        enum step_result r = STEP_WAIT;

        if (!op->running) r = steps_run(&op->steps, op, p->phones->relay->now_ms);
        op->running = true;
        if (r == STEP_WAIT) { /* for an answer */
            list_push_front(&p->operations, l);
            break;
        }
        if (r == STEP_FAILED) note_failure(op);
        list_push(&done, l);
    }
    free_operations(&done);
}

static bool is_answer_for(const struct sim_operation *op, const struct wa_node *n)
{
    struct slice id = wa_node_text(n, "id");

    if (wa_node_is(n, "ack"))
        return strcmp(steps_name(&op->steps), "ack") == 0 && slice_is(id, op->id) &&
               slice_is(wa_node_text(n, "class"), "message");
    return op->iq[0] && slice_is(id, op->iq);
}

/* A step sees its answer once; the steps behind it start without one. */
bool sim_operations_answer(struct sim_phone *p, const struct wa_node *n)
{
    struct list *l = list_pop(&p->operations);
    struct sim_operation *op = l ? LIST_ENTRY(l, struct sim_operation, link) : NULL;
    enum step_result r;

    if (!op) return false;
    if (!is_answer_for(op, n)) {
        list_push_front(&p->operations, l);
        return false;
    }
    op->answer = n;
    op->iq[0] = 0;
    r = op->steps.rows[op->steps.at].run(op);
    op->answer = NULL;
    if (r == STEP_NEXT) {
        op->steps.at++;
        r = steps_run(&op->steps, op, p->phones->relay->now_ms);
    }
    if (r == STEP_WAIT) {
        list_push_front(&p->operations, l);
        return true;
    }
    if (r == STEP_FAILED) note_failure(op);
    sim_operations_go(p);
    operation_free(op);
    return true;
}

void sim_operations_drop(struct sim_phone *p) { free_operations(&p->operations); }
