#include "proto/client/message_out.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/steps.h"
#include "proto/base/text.h"
#include "proto/client/bundles.h"
#include "proto/client/content.h"
#include "proto/client/devices.h"
#include "proto/client/keys.h"
#include "proto/client/mapping.h"
#include "proto/client/message_info.h"
#include "proto/client/pb.h"
#include "proto/client/receipt.h"
#include "proto/client/tokens.h"
#include "proto/signal/padding.h"
#include "proto/signal/session.h"

struct wa_sending {
    struct list node;
    struct wa_client *c;
    struct steps steps;
    uint64_t operation;
    char id[WA_MESSAGE_ID_MAX + 1];
    char pn_user[WA_USER_MAX + 1], lid_user[WA_USER_MAX + 1]; /* the chat */
    struct buf raw;                                           /* the Message */

    /* What was asked in the step we are in, and how it ended. */
    bool asked, answered;
    bool started_over; /* the device lists turned out to be stale */
    size_t contact_in; /* answer of the number check */
    int refusal;       /* the server's code where it refused the part of a query that we need */
    err_t error;
};

static struct wa_party chat_of(const struct wa_sending *op)
{
    struct wa_party chat = {0};

    if (op->pn_user[0]) chat.pn = wa_jid_of(WA_SERVER_USER, slice_text(op->pn_user), 0);
    if (op->lid_user[0]) chat.lid = wa_jid_of(WA_SERVER_LID, slice_text(op->lid_user), 0);
    return chat;
}

static enum step_result failed(struct wa_sending *op, err_t e)
{
    op->error = e;
    return STEP_FAILED;
}

static enum step_result next(struct wa_sending *op)
{
    op->asked = op->answered = false;
    op->refusal = 0;
    return STEP_NEXT;
}

static enum step_result asked(struct wa_sending *op, err_t e)
{
    if (e != OK) return failed(op, e);
    op->asked = true;
    return STEP_WAIT;
}

static err_t run(struct wa_sending *op);

/* Every answer resumes the operation; `read` takes from it what later turns may use. */
static err_t resume(struct wa_client *c, struct wa_sending *op, err_t e)
{
    op->answered = true;
    op->error = e;
    return run(op);
}

/* ---- 1. turn: one after another in a chat ---- */

static bool is_first_of_chat(const struct wa_sending *op)
{
    struct wa_party chat = chat_of(op);

    LIST_EACH(node, &op->c->sends)
    {
        const struct wa_sending *other = LIST_ENTRY(node, struct wa_sending, node);
        struct wa_party theirs = chat_of(other);
        if (other == op) return true;
        if (wa_party_same(&chat, &theirs)) return false;
    }
    return true;
}

static enum step_result wait_turn(void *arg)
{
    struct wa_sending *op = arg;
    return is_first_of_chat(op) ? next(op) : STEP_WAIT;
}

/* ---- 2. recipient: both addresses; a stranger's number is checked first ---- */

/* The server may refuse parts of a query, as when it is asked too often. */
static void note_refusal(struct wa_sending *op, const struct wa_node *part)
{
    int code = part ? wa_iq_error(part) : 0;
    if (code && code != 404) op->refusal = code;
}

/* Only what the server has looked up says that nobody is there. */
static enum step_result nobody(struct wa_sending *op, const char *what)
{
    if (op->refusal) return failed(op, fail(QUERY_REFUSED, "%s: %d", what, op->refusal));
    return failed(op, fail(NOT_ON_WHATSAPP, "%s", what));
}

static err_t on_contact(struct wa_client *c, void *arg, const struct wa_node *iq, err_t e)
{
    struct wa_sending *op = arg;
    const struct wa_node *user;
    size_t n;

    for (size_t i = 0; e == OK && (user = wa_usync_next(iq, &i));) {
        const struct wa_node *contact = wa_node_child(user, "contact");
        err_t stored = wa_devices_store(c, user, &n);
        if (stored != OK) return stored;
        op->contact_in += contact && slice_is(wa_node_text(contact, "type"), "in");
        note_refusal(op, contact);
    }
    return resume(c, op, e);
}

static err_t ask_contact(struct wa_sending *op)
{
    struct wa_client *c = op->c;
    struct wa_node *query, *list;
    struct wa_node *iq = wa_usync_new(c, "query", "interactive", &query, &list);

    wa_node_add(query, c->arena, "contact");
    wa_node_add(query, c->arena, "lid");
    struct wa_node *user = wa_node_add(list, c->arena, "user");
    wa_node_set_bytes(wa_node_add(user, c->arena, "contact"),
                      arena_printf(c->arena, "+%s", op->pn_user));
    return wa_iq_ask(c, iq, on_contact, op);
}

/* Messages to numbers that are not registered are what accounts are restricted for. */
static err_t is_stranger(struct wa_sending *op, const struct wa_party *chat, bool *out)
{
    struct wa_devices devices;
    struct wa_thread thread;

    *out = false;
    if (!wa_jid_is_none(&chat->lid)) return OK;
    TRY(wa_devices_load(op->c, chat, &devices));
    TRY(wa_thread_load(op->c, chat, &thread));
    *out = devices.count == 0 && thread.family == WA_SERVER_NONE;
    return OK;
}

/* Notes an address once it is known; `jid` may point to what is noted already. */
static void keep_user(char to[WA_USER_MAX + 1], const struct wa_jid *jid)
{
    if (!to[0] && jid->user.len <= WA_USER_MAX)
        snprintf(to, WA_USER_MAX + 1, SLICE_FMT, SLICE_ARG(jid->user));
}

static err_t note_addresses(struct wa_sending *op)
{
    struct wa_party chat = chat_of(op);

    TRY(wa_party_complete(op->c, &chat));
    keep_user(op->pn_user, &chat.pn);
    keep_user(op->lid_user, &chat.lid);
    return OK;
}

static enum step_result find_recipient(void *arg)
{
    struct wa_sending *op = arg;
    struct wa_party chat;
    bool stranger;

    if (op->answered && op->error != OK) return STEP_FAILED;
    if (op->answered && op->contact_in == 0) return nobody(op, "number");

    err_t e = note_addresses(op);
    if (e != OK) return failed(op, e);
    if (op->answered) return next(op);

    chat = chat_of(op);
    e = is_stranger(op, &chat, &stranger);
    if (e != OK) return failed(op, e);
    return stranger ? asked(op, ask_contact(op)) : next(op);
}

/* ---- 3. devices: the peer's and our own other ones ---- */

static err_t on_devices(struct wa_client *c, void *arg, const struct wa_node *iq, err_t e)
{
    struct wa_sending *op = arg;
    const struct wa_node *user;
    size_t n;

    for (size_t i = 0; e == OK && (user = wa_usync_next(iq, &i));) {
        err_t stored = wa_devices_store(c, user, &n);
        if (stored != OK) return stored;
        note_refusal(op, wa_node_child(user, "devices"));
    }
    return resume(c, op, e);
}

static void add_user(struct wa_client *c, struct wa_node *list, const struct wa_party *who)
{
    struct wa_jid jid = wa_jid_bare(wa_jid_is_none(&who->lid) ? &who->pn : &who->lid);
    wa_node_set_jid(wa_node_add(list, c->arena, "user"), c->arena, "jid", jid);
}

static struct wa_party self_of(const struct wa_client *c)
{
    struct wa_jid pn = wa_account_pn(&c->account), lid = wa_account_lid(&c->account);
    return (struct wa_party){.pn = wa_jid_bare(&pn), .lid = wa_jid_bare(&lid)};
}

static err_t ask_devices(struct wa_sending *op, bool of_peer, bool of_self)
{
    struct wa_client *c = op->c;
    struct wa_party chat = chat_of(op), self = self_of(c);
    struct wa_node *query, *list;
    struct wa_node *iq = wa_usync_new(c, "query", "message", &query, &list);

    wa_node_set_text(wa_node_add(query, c->arena, "devices"), c->arena, "version", "2");
    wa_node_add(query, c->arena, "lid");
    if (of_peer) add_user(c, list, &chat);
    if (of_self) add_user(c, list, &self);
    return wa_iq_ask(c, iq, on_devices, op);
}

static enum step_result find_devices(void *arg)
{
    struct wa_sending *op = arg;
    struct wa_client *c = op->c;
    struct wa_party self = self_of(c), chat;
    struct wa_devices peer, own;

    if (op->answered && op->error != OK) return STEP_FAILED;
    err_t e = note_addresses(op);
    chat = chat_of(op);
    if (e == OK) e = wa_devices_load(c, &chat, &peer);
    if (e == OK) e = wa_devices_load(c, &self, &own);
    if (e != OK) return failed(op, e);

    bool to_self = wa_party_same(&chat, &self);
    bool of_peer = !to_self && !peer.known, of_self = !own.known;
    if (!of_peer && !of_self) return next(op);
    if (!op->answered) return asked(op, ask_devices(op, of_peer, of_self));
    /* Without a list of the peer there is nobody to write to. Our own phone is always there. */
    return of_peer ? nobody(op, "no devices") : next(op);
}

/* ---- who gets it ---- */

struct target {
    struct wa_jid jid; /* in the family of the stanza */
    bool own;
};
struct targets {
    struct wa_jid to; /* the chat */
    size_t count, peer_count;
    struct target *list;
};

static void add_targets(struct wa_client *c, const struct wa_jid *user,
                        const struct wa_devices *devices, bool own, struct targets *out)
{
    for (size_t i = 0; i < devices->count; i++) {
        if (own && devices->list[i].id == c->account.device) continue;
        out->list[out->count++] =
            (struct target){.jid = wa_device_jid(user, &devices->list[i]), .own = own};
        out->peer_count += !own;
    }
}

static err_t find_targets(struct wa_sending *op, struct targets *out)
{
    struct wa_client *c = op->c;
    struct wa_party self = self_of(c), chat;
    struct wa_devices theirs = {0}, ours;

    *out = (struct targets){0};
    TRY(note_addresses(op)); /* the LID may have been learnt while we waited */
    chat = chat_of(op);
    TRY(wa_chat_jid(c, &chat, &out->to));
    if (!wa_party_same(&chat, &self)) TRY(wa_devices_load(c, &chat, &theirs));
    TRY(wa_devices_load(c, &self, &ours));
    if (ours.count == 0) ours.count = 1; /* device 0, the phone */
    out->list = arena_array(c->arena, struct target, theirs.count + ours.count);
    add_targets(c, &out->to, &theirs, false, out);
    bool by_lid = out->to.server == WA_SERVER_LID && !wa_jid_is_none(&self.lid);
    add_targets(c, by_lid ? &self.lid : &self.pn, &ours, true, out);
    return OK;
}

/* ---- 4. sessions ---- */

enum { STEP_OF_DEVICES = 2 };

/* The server knows one of the devices no more and does not say which: ask for the lists again,
 * once. */
static enum step_result start_over(struct wa_sending *op)
{
    struct wa_party chat = chat_of(op), self = self_of(op->c);
    const struct wa_jid *peer = wa_jid_is_none(&chat.lid) ? &chat.pn : &chat.lid;
    err_t e = wa_devices_expire(op->c, peer);

    if (e == OK) e = wa_devices_expire(op->c, &self.pn);
    if (e != OK) return failed(op, e);
    op->started_over = true;
    op->steps.at = STEP_OF_DEVICES - 1;
    return next(op);
}

static err_t on_bundles(struct wa_client *c, void *arg, const struct wa_node *iq, err_t e)
{
    if (e == OK) TRY(wa_bundles_take(c, iq, false));
    return resume(c, arg, e);
}

static err_t find_missing(struct wa_sending *op, const struct targets *targets, struct wa_jid *out,
                          size_t *out_count)
{
    *out_count = 0;
    for (size_t i = 0; i < targets->count; i++) {
        bool has;
        TRY(wa_has_session(op->c, &targets->list[i].jid, &has));
        if (!has) TRY(wa_session_jid(op->c, &targets->list[i].jid, &out[(*out_count)++]));
    }
    return OK;
}

static enum step_result open_sessions(void *arg)
{
    struct wa_sending *op = arg;
    struct wa_client *c = op->c;
    struct targets targets;
    struct wa_jid *missing;
    size_t n = 0;

    if (op->answered && op->error == ERR_QUERY_REFUSED && !op->started_over) return start_over(op);
    if (op->answered) return op->error == OK ? next(op) : STEP_FAILED;

    err_t e = find_targets(op, &targets);
    missing = arena_array(c->arena, struct wa_jid, targets.count);
    if (e == OK) e = find_missing(op, &targets, missing, &n);
    if (e != OK) return failed(op, e);
    return n == 0 ? next(op)
                  : asked(op, wa_bundles_ask(c, missing, n, NULL, on_bundles, op, false));
}

/* ---- 5. encrypt ---- */

struct slice wa_device_sent(struct wa_client *c, const struct wa_jid *destination,
                            struct slice message)
{
    AUTO(buf) inner = {0};
    AUTO(buf) outer = {0};

    wa_pb_put_bytes(&inner, 1, wa_bare_text(c, destination));
    wa_pb_put_bytes(&inner, 2, message);
    wa_pb_put_bytes(&outer, 31, buf_slice(&inner));
    wa_pb_put_bytes(&outer, 35, wa_pb_bytes(message, 35));
    return arena_dup(c->arena, buf_slice(&outer));
}

err_t wa_encrypt_for(struct wa_client *c, const struct wa_jid *device, struct slice message,
                     struct wa_node *parent, bool *has_prekey)
{
    struct wa_address address;
    struct wa_encrypted sealed;

    TRY(wa_address_of(c, device, &address));
    TRY(wa_session_encrypt(&c->keystore, c->arena, &address,
                           wa_pad(&c->keystore, c->arena, message), &sealed));

    struct wa_node *enc = wa_node_add(parent, c->arena, "enc");
    wa_node_set_text(enc, c->arena, "v", "2");
    wa_node_set_text(enc, c->arena, "type", sealed.is_prekey ? "pkmsg" : "msg");
    wa_node_set_bytes(enc, sealed.bytes);
    *has_prekey |= sealed.is_prekey;
    return OK;
}

void wa_add_device_identity(struct wa_client *c, struct wa_node *message)
{
    wa_node_set_bytes(wa_node_add(message, c->arena, "device-identity"),
                      buf_slice(&c->account.device_identity));
}

/* Encrypts for every target that has a session; a device whose bundle was bad is left out, as it
 * would be if it were new. */
static err_t encrypt_all(struct wa_sending *op, const struct targets *targets,
                         struct wa_node *message, size_t *out_peers)
{
    struct wa_client *c = op->c;
    struct slice raw = buf_slice(&op->raw), copy = wa_device_sent(c, &targets->to, raw);
    struct wa_node *participants = wa_node_add(message, c->arena, "participants");
    bool has_prekey = false;

    *out_peers = 0;
    for (size_t i = 0; i < targets->count; i++) {
        const struct target *t = &targets->list[i];
        struct wa_node to = {.tag = SLICE("to")};

        wa_node_set_jid(&to, c->arena, "jid", t->jid);
        err_t e = wa_encrypt_for(c, &t->jid, t->own ? copy : raw, &to, &has_prekey);
        if (wa_is_fatal(e)) return e;
        if (e != OK) continue;
        wa_node_add_node(participants, c->arena, &to);
        *out_peers += !t->own;
    }
    if (has_prekey) wa_add_device_identity(c, message);
    return OK;
}

static void emit_sent(struct wa_sending *op, const struct wa_party *chat, struct slice stanza)
{
    struct wa_client *c = op->c;
    struct wa_event e = {.kind = WA_EVENT_MESSAGE};
    struct wa_body body;

    wa_body_read(buf_slice(&op->raw), c->arena, &body);
    e.message = (struct wa_message){.chat = *chat,
                                    .author = self_of(c),
                                    .author_device = c->account.device,
                                    .from_me = true,
                                    .id = slice_text(op->id),
                                    .time_s = wa_server_now(c),
                                    .raw = buf_slice(&op->raw),
                                    .operation = op->operation};
    wa_body_into(&body, &e.message);
    wa_emit(c, &e);

    e = (struct wa_event){
        .kind = WA_EVENT_OUTBOX,
        .outbox = {.id = slice_text(op->id), .is_message = true, .stanza = stanza}};
    wa_emit(c, &e);
}

static err_t encrypt(struct wa_sending *op)
{
    AUTO(buf) stanza = {0};
    struct wa_client *c = op->c;
    struct targets targets;
    struct wa_party self = self_of(c), chat;
    struct wa_thread thread;
    size_t peers;

    TRY(find_targets(op, &targets));
    chat = chat_of(op);
    TRY(wa_thread_load(c, &chat, &thread));

    struct wa_node *message = wa_node_new(c->arena, "message");
    wa_node_set_jid(message, c->arena, "to", targets.to);
    wa_node_set_text(message, c->arena, "id", op->id);
    wa_node_set_text(message, c->arena, "type", wa_body_stanza_type(buf_slice(&op->raw)));
    TRY(encrypt_all(op, &targets, message, &peers));
    bool to_self = wa_party_same(&chat, &self);
    if (peers == 0 && !to_self) return fail(NO_SESSION, "no device of the recipient");
    if (!to_self) wa_token_attach(c, &thread, message);

    wa_node_encode(message, &stanza);
    /* The outbox would offer it to every link, and none could carry it. */
    ENSURE(stanza.len + CRYPTO_GCM_TAG <= WA_FRAME_MAX, TOO_LARGE);
    emit_sent(op, &chat, buf_slice(&stanza));
    wa_send_encoded(c, buf_slice(&stanza), WA_SEND_ACKED);
    return OK;
}

static enum step_result encrypt_for_all(void *arg)
{
    struct wa_sending *op = arg;
    err_t e = encrypt(op);

    return e == OK ? STEP_DONE : failed(op, e);
}

static const struct step send_steps[] = {
    {"turn", wait_turn}, /* sends to one chat keep their order */
    {"recipient", find_recipient},
    {"devices", find_devices},   /* cached lists, else one usync for all */
    {"sessions", open_sessions}, /* prekey bundles for devices we never wrote to */
    {"encrypt", encrypt_for_all},
    {0},
};

/* ---- the operation ---- */

/* (The analyser does not follow a node out of an intrusive list and takes the next walk for a use
 * after free; hence the NOLINTs below.) */
static void op_free(struct wa_sending *op)
{
    wa_iq_cancel(op->c, op);
    list_remove(&op->node);
    buf_done(&op->raw);
    free(op);
}

static err_t finish(struct wa_sending *op, err_t e)
{
    struct wa_client *c = op->c;
    struct wa_event failure = {.kind = WA_EVENT_SEND_FAILED,
                               .send_failed = {.operation = op->operation, .error = e}};

    op_free(op);
    if (wa_is_fatal(e)) return e;
    if (e != OK) wa_emit(c, &failure);
    return OK;
}

static err_t run_one(struct wa_sending *op)
{
    switch (steps_run(&op->steps, op, op->c->now)) {
    case STEP_WAIT: return OK;
    case STEP_FAILED: return finish(op, op->error);
    default: return finish(op, OK);
    }
}

/* Who waited for his turn and has it now. */
static err_t run_ready(struct wa_client *c)
{
    for (;;) {
        struct wa_sending *ready = NULL;
        LIST_EACH(node, &c->sends) /* NOLINT(*-unix.Malloc) */
        {
            struct wa_sending *op = LIST_ENTRY(node, struct wa_sending, node);
            if (!ready && op->steps.at == 0 && is_first_of_chat(op)) ready = op;
        }
        if (!ready) return OK;
        TRY(run_one(ready));
    }
}

static err_t run(struct wa_sending *op)
{
    struct wa_client *c = op->c;

    TRY(run_one(op));
    return run_ready(c);
}

static size_t count(const struct list *l)
{
    size_t n = 0;
    for (const struct list *at = l->next; at != l; at = at->next)
        n++;
    return n;
}

static err_t check(struct wa_client *c, const struct wa_text *text)
{
    const struct wa_jid *pn = &text->to.pn, *lid = &text->to.lid;

    if (!wa_is_online(c)) return fail(NOT_CONNECTED, "not logged in");
    if (count(&c->sends) >= WA_SENDS_MAX) return fail(TOO_BUSY, "sends in flight");
    ENSURE(pn->server == WA_SERVER_USER || lid->server == WA_SERVER_LID, BAD_JID);
    ENSURE(pn->user.len <= WA_USER_MAX && lid->user.len <= WA_USER_MAX, BAD_JID);
    ENSURE(text->text.len > 0 && text->text.len <= WA_TEXT_MAX, BAD_ARGUMENT);
    ENSURE(text_is_utf8(text->text), BAD_TEXT);
    ENSURE(wa_id_ok(text->id), BAD_ARGUMENT);
    return OK;
}

err_t wa_send_start(struct wa_client *c, const struct wa_text *text)
{
    uint8_t secret[32];

    TRY(check(c, text));
    struct wa_sending *op = xcalloc(sizeof(*op));
    op->c = c;
    op->operation = text->operation;
    snprintf(op->id, sizeof(op->id), SLICE_FMT, SLICE_ARG(text->id));
    if (text->to.pn.server == WA_SERVER_USER) keep_user(op->pn_user, &text->to.pn);
    if (text->to.lid.server == WA_SERVER_LID) keep_user(op->lid_user, &text->to.lid);
    wa_random(c, secret, sizeof(secret));
    wa_body_write_text(text, SLICE_ARRAY(secret), &op->raw);
    steps_init(&op->steps, send_steps, c->now);
    list_push(&c->sends, &op->node);
    return run_ready(c);
}

/* What is in the list has not been encrypted. */
err_t wa_send_cancel(struct wa_client *c, uint64_t operation)
{
    LIST_EACH(node, &c->sends) /* NOLINT(*-unix.Malloc) */
    {
        struct wa_sending *op = LIST_ENTRY(node, struct wa_sending, node);
        if (op->operation != operation) continue;
        TRY(finish(op, fail(QUERY_TIMEOUT, "a query of the send was not answered")));
        return run_ready(c);
    }
    return OK;
}

static struct wa_sending *first(struct wa_client *c)
{
    return LIST_ENTRY(c->sends.next, struct wa_sending, node); /* NOLINT(*-unix.Malloc) */
}

err_t wa_sends_drop(struct wa_client *c, err_t e)
{
    err_t fatal = OK;

    while (fatal == OK && !list_empty(&c->sends))
        fatal = finish(first(c), e);
    return fatal;
}

void wa_sends_free(struct wa_client *c)
{
    while (!list_empty(&c->sends))
        op_free(first(c));
}

size_t wa_sends_memory(const struct wa_client *c)
{
    size_t n = 0;

    for (const struct list *l = c->sends.next; l != &c->sends; l = l->next)
        n += sizeof(struct wa_sending) + LIST_ENTRY(l, struct wa_sending, node)->raw.cap;
    return n;
}
