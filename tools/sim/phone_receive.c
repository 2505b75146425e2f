/* What a phone hears: decrypt, keep, answer. An undecryptable message is asked for again, with
 * keys from the second time on; who asks us gets a fresh session and the same text. */
#include "tools/sim/phone.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/schema/unpack.h"
#include "proto/signal/group.h"
#include "proto/signal/padding.h"
#include "proto/signal/prekey.h"
#include "tools/sim/content.h"

enum { RETRIES_MAX = 5 };

struct incoming {
    struct sim_phone *p;
    struct arena *arena;
    const struct wa_node *n;
    struct slice id;
    struct wa_jid from, author, recipient;
    bool shared; /* group or status */
    bool own;    /* by another device of ours */
    struct wa_address address;
    unsigned read; /* encs that were decrypted */
};

/* ---- answers ---- */

static void send_receipt(const struct incoming *m)
{
    struct wa_node *n = wa_node_new(m->arena, "receipt");
    bool peer = slice_is(wa_node_text(m->n, "category"), "peer");

    wa_node_set(n, m->arena, "id", m->id);
    wa_node_set_jid(n, m->arena, "to", m->from);
    if (m->shared) wa_node_set_jid(n, m->arena, "participant", m->author);
    if (peer) {
        wa_node_set(n, m->arena, "type", SLICE("peer_msg"));
    } else if (m->own) {
        wa_node_set(n, m->arena, "type", SLICE("sender"));
        wa_node_set_jid(n, m->arena, "recipient", m->recipient);
    }
    sim_phone_send_node(m->p, n);
}

static void send_ack(const struct incoming *m)
{
    struct wa_node *n = wa_node_new(m->arena, "ack");

    wa_node_set(n, m->arena, "class", SLICE("message"));
    wa_node_set(n, m->arena, "id", m->id);
    wa_node_set_jid(n, m->arena, "to", m->from);
    if (m->shared) wa_node_set_jid(n, m->arena, "participant", m->author);
    sim_phone_send_node(m->p, n);
}

static void put_bytes(struct wa_node *to, struct arena *arena, const char *tag, const void *b,
                      size_t n)
{
    wa_node_set_bytes(wa_node_add(to, arena, tag), arena_dup(arena, slice_of(b, n)));
}

static void put_number(struct wa_node *to, struct arena *arena, const char *tag, uint32_t v, int n)
{
    uint8_t be[4] = {v >> 24, v >> 16, v >> 8, v};

    put_bytes(to, arena, tag, be + 4 - n, n);
}

static void add_keys(struct wa_node *receipt, const struct incoming *m)
{
    struct sim_phone *p = m->p;
    struct arena *arena = m->arena;
    struct wa_node *keys = wa_node_add(receipt, arena, "keys"), *key;
    struct wa_signed_prekey own;
    struct wa_prekey_public one;

    if (wa_prekeys_make(&p->keystore, arena, &p->next_prekey, 1, &one) != OK) return;
    if (wa_signed_prekey_load(&p->keystore, arena, 1, &own) != OK) return;
    put_bytes(keys, arena, "type", "\x05", 1);
    put_bytes(keys, arena, "identity", p->identity.public.bytes, 32);
    key = wa_node_add(keys, arena, "key");
    put_number(key, arena, "id", one.id, 3);
    put_bytes(key, arena, "value", one.key.bytes, 32);
    key = wa_node_add(keys, arena, "skey");
    put_number(key, arena, "id", own.id, 3);
    put_bytes(key, arena, "value", own.pair.public.bytes, 32);
    put_bytes(key, arena, "signature", own.signature, 64);
}

static uint32_t count_retry(const struct incoming *m)
{
    char who[WA_JID_TEXT_MAX];
    struct slice key =
        arena_printf(m->arena, SLICE_FMT " %s", SLICE_ARG(m->id), wa_jid_text(&m->author, who));
    uint32_t *count = map_find(&m->p->retries, key);

    if (!count) {
        count = xcalloc(sizeof *count);
        map_put(&m->p->retries, key, count);
    }
    return ++*count;
}

static int retry_reason(err_t e)
{
    switch (e) {
    case ERR_NO_SESSION: return 1;
    case ERR_NO_PREKEY: return 3;
    case ERR_BAD_MAC: return 7;
    case ERR_NO_SENDER_KEY: return 11;
    case ERR_FUTURE_MESSAGE: return 6;
    default: return 4;
    }
}

static void ask_again(const struct incoming *m, err_t why)
{
    uint32_t count = count_retry(m);
    struct wa_node *n = wa_node_new(m->arena, "receipt"), *retry;

    if (count > RETRIES_MAX) {
        send_ack(m);
        return;
    }
    wa_node_set(n, m->arena, "id", m->id);
    wa_node_set_jid(n, m->arena, "to", m->from);
    wa_node_set(n, m->arena, "type", SLICE("retry"));
    if (m->shared) wa_node_set_jid(n, m->arena, "participant", m->author);
    wa_node_set_jid(n, m->arena, "recipient", m->recipient);
    retry = wa_node_add(n, m->arena, "retry");
    wa_node_set(retry, m->arena, "v", SLICE("1"));
    wa_node_set_int(retry, m->arena, "count", count);
    wa_node_set(retry, m->arena, "id", m->id);
    wa_node_set(retry, m->arena, "t", wa_node_text(m->n, "t"));
    wa_node_set_int(retry, m->arena, "error", retry_reason(why));
    put_number(n, m->arena, "registration", m->p->registration_id, 4);
    if (count > 1) add_keys(n, m);
    sim_phone_send_node(m->p, n);
    send_ack(m);
}

/* ---- content ---- */

static struct slice chat_of(const struct incoming *m, struct slice destination)
{
    char number[SIM_NUMBER_MAX];
    struct wa_jid jid;

    if (m->shared) return wa_jid_slice(&m->from, m->arena);
    if (destination.len == 0 || wa_jid_parse(destination, &jid) != OK) jid = wa_jid_bare(&m->from);
    if (wa_jid_is_group(&jid)) return destination;
    return arena_dup(m->arena, slice_text(sim_phone_number(m->p, jid, number)));
}

static void keep(const struct incoming *m, const Wa__Message *content, struct slice destination)
{
    struct sim_phones *ps = m->p->phones;
    struct sim_letter letter = {.kind = "text",
                                .from_me = m->own,
                                .device = m->author.device,
                                .at = sim_seconds(ps->relay),
                                .sent = m->own};
    struct slice text = sim_content_text_of(content);
    struct sim_letter *kept;
    struct wa_attrs a = wa_attrs_of(m->n);

    if (slice_is_none(text)) letter.kind = content->protocol_message ? "protocol" : "other";
    letter.at = (int64_t)wa_attr_int_or(&a, "t", letter.at);
    snprintf(letter.id, sizeof letter.id, SLICE_FMT, SLICE_ARG(m->id));
    sim_phone_number(m->p, m->author, letter.from);
    kept = sim_phone_keep(m->p, &letter, chat_of(m, destination), text);
    buf_put(&kept->quoted, sim_content_quote_of(content));
    buf_put(&kept->sender, wa_jid_slice(&m->author, m->arena));
    sim_changed(ps->relay);
    if (ps->on_letter && !m->own && strcmp(kept->kind, "text") == 0)
        ps->on_letter(ps->ctx, m->p, kept);
}

/* A companion asks for messages that it could not read. */
static void give_messages(const struct incoming *m, const Wa__PeerDataOperationRequestMessage *q)
{
    for (size_t i = 0; q && i < q->n_placeholder_message_resend_request; i++) {
        const Wa__MessageKey *key = q->placeholder_message_resend_request[i]->message_key;
        const struct sim_letter *letter;

        if (!key || !key->id) continue;
        letter = sim_phone_letter(m->p, slice_text(key->id));
        bool known = letter && strcmp(letter->kind, "text") == 0;
        sim_phone_send_peer(m->p, m->author,
                            sim_content_placeholder(m->arena, m->id, key, known ? letter->at : 0,
                                                    known ? buf_slice(&letter->text) : SLICE_NONE));
    }
}

static void on_own_protocol(const struct incoming *m, const Wa__ProtocolMessage *p)
{
    if (p->type == WA__PROTOCOL_MESSAGE__TYPE__APP_STATE_SYNC_KEY_REQUEST)
        sim_phone_share_keys(m->p, m->author);
    if (p->type == WA__PROTOCOL_MESSAGE__TYPE__PEER_DATA_OPERATION_REQUEST_MESSAGE)
        give_messages(m, p->peer_data_operation_request_message);
}

static void take_sender_key(const struct incoming *m, const Wa__SenderKeyDistributionMessage *key)
{
    ProtobufCBinaryData b = key->axolotl_sender_key_distribution_message;

    if (!key->group_id) return;
    if (wa_group_process(&m->p->keystore, m->arena, slice_text(key->group_id), &m->address,
                         slice_of(b.data, b.len)) != OK)
        err_clear();
}

static bool is_only_key(const Wa__Message *content)
{
    return content->sender_key_distribution_message && !content->conversation &&
           !content->extended_text_message;
}

static void on_content(const struct incoming *m, const Wa__Message *content)
{
    const Wa__DeviceSentMessage *copy = m->own ? content->device_sent_message : NULL;

    if (content->sender_key_distribution_message)
        take_sender_key(m, content->sender_key_distribution_message);
    if (copy && copy->message)
        keep(m, copy->message, slice_text(copy->destination_jid));
    else if (m->own && content->protocol_message)
        on_own_protocol(m, content->protocol_message);
    else if (!is_only_key(content))
        keep(m, content, SLICE_NONE);
}

/* ---- decryption ---- */

static err_t decrypt(const struct incoming *m, const struct wa_node *enc, struct slice *out)
{
    struct slice type = wa_node_text(enc, "type"), padded;
    struct wa_decrypted plain;

    if (slice_is(type, "skmsg")) {
        TRY(wa_group_decrypt(&m->p->keystore, m->arena, wa_jid_slice(&m->from, m->arena),
                             &m->address, enc->bytes, &padded));
        return wa_unpad(padded, out);
    }
    TRY(wa_session_decrypt(&m->p->keystore, m->arena, &m->address, slice_is(type, "pkmsg"),
                           enc->bytes, &plain));
    return wa_unpad(plain.padded, out);
}

static err_t read_enc(struct incoming *m, const struct wa_node *enc)
{
    struct slice plain;
    const Wa__Message *content;

    TRY(decrypt(m, enc, &plain));
    TRY(WA_UNPACK(wa__message, plain, m->arena, &content));
    m->read++;
    on_content(m, content);
    return OK;
}

/* Pairwise parts first: one of them may hold the key of the group part. */
static err_t read_all(struct incoming *m)
{
    err_t first = OK;

    for (int shared = 0; shared < 2; shared++) {
        const struct wa_node *enc;

        for (size_t i = 0; (enc = wa_node_next(m->n, "enc", &i));) {
            err_t e;

            if (slice_is(wa_node_text(enc, "type"), "skmsg") != (shared == 1)) continue;
            e = read_enc(m, enc);
            if (e != OK && e != ERR_OLD_COUNTER && first == OK) first = e;
        }
    }
    return first;
}

static void learn_addresses(struct sim_phone *p, const struct wa_node *n, struct wa_jid author)
{
    static const char *const others[] = {"sender_lid", "sender_pn", "participant_lid",
                                         "participant_pn"};

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct wa_jid other = wa_node_jid(n, others[i]);

        if (wa_jid_is_none(&other)) continue;
        if (wa_jid_is_lid(&other))
            sim_phone_learn(p, author.user, other.user);
        else
            sim_phone_learn(p, other.user, author.user);
    }
}

static bool is_kept(const struct incoming *m)
{
    struct sim_letter *letter = sim_phone_letter(m->p, m->id);
    char from[SIM_NUMBER_MAX];

    return letter && strcmp(letter->from, sim_phone_number(m->p, m->author, from)) == 0 &&
           letter->device == m->author.device;
}

void sim_phone_on_message(struct sim_phone *p, const struct wa_node *n)
{
    struct incoming m = {.p = p, .arena = &p->phones->arena, .n = n};
    err_t e;

    m.id = wa_node_text(n, "id");
    m.from = m.author = wa_node_jid(n, "from");
    m.recipient = wa_node_jid(n, "recipient");
    m.shared = wa_jid_is_group(&m.from) || m.from.server == WA_SERVER_BROADCAST;
    if (m.shared) m.author = wa_node_jid(n, "participant");
    m.own = slice_is(m.author.user, p->account->number) || slice_is(m.author.user, p->account->lid);
    learn_addresses(p, n, m.author);
    m.address = sim_phone_address(p, m.arena, m.author);
    if (is_kept(&m)) {
        send_receipt(&m);
        return;
    }
    e = read_all(&m);
    err_clear();
    sim_changed(p->phones->relay);
    if (e != OK)
        ask_again(&m, e);
    else
        send_receipt(&m);
}

/* ---- receipts ---- */

/* A device could not read us: a new session from its keys, and the message once more. */
static void resend(struct sim_phone *p, const struct wa_node *n)
{
    struct arena *arena = &p->phones->arena;
    struct sim_sent *sent = sim_phone_sent(p, wa_node_text(n, "id"));
    const struct wa_node *keys = wa_node_child(n, "keys"), *retry = wa_node_child(n, "retry");
    struct wa_jid from = wa_node_jid(n, "from"), author = wa_node_jid(n, "participant");
    struct wa_jid asker = wa_jid_is_none(&author) ? from : author, chat;
    struct wa_attrs a = wa_attrs_of(retry);
    struct sim_operation *op;
    struct wa_address to;
    struct wa_bundle bundle;
    bool changed, installed = false;

    if (!sent || !retry || wa_jid_parse(buf_slice(&sent->to), &chat) != OK) return;
    to = sim_phone_address(p, arena, asker);
    if (keys && sim_phone_read_bundle(keys, &bundle)) {
        bundle.registration_id = 0;
        for (size_t i = 0; i < wa_node_child_bytes(n, "registration").len; i++)
            bundle.registration_id =
                bundle.registration_id << 8 | wa_node_child_bytes(n, "registration").data[i];
        installed = wa_session_from_bundle(&p->keystore, arena, &to, &bundle, &changed) == OK;
    }
    op = sim_operation_new(p, SIM_RESEND, wa_jid_is_group(&chat) ? chat : asker, sent->id,
                           buf_slice(&sent->message));
    op->count = (int64_t)wa_attr_int_or(&a, "count", 1);
    op->fresh = !installed;
    if (wa_jid_is_group(&chat)) op->participant = wa_jid_dup(&asker, &op->arena);
    if (slice_is(asker.user, p->account->number) || slice_is(asker.user, p->account->lid))
        op->chat = wa_jid_dup(&chat, &op->arena);
    sim_operations_go(p);
}

static void note_receipt(struct sim_phone *p, struct slice id, struct slice type)
{
    struct sim_letter *letter = sim_phone_letter(p, id);

    if (!letter || !letter->from_me) return;
    letter->delivered = true;
    if (slice_starts_with(type, SLICE("read")) || slice_starts_with(type, SLICE("played")))
        letter->read_by_peer = true;
    sim_changed(p->phones->relay);
}

/* A receipt of another device of ours says that we read something. */
static void note_own_read(struct sim_phone *p, struct slice id, struct slice type)
{
    struct sim_letter *letter = sim_phone_letter(p, id);

    if (letter && !letter->from_me && slice_starts_with(type, SLICE("read"))) letter->read = true;
}

void sim_phone_on_receipt(struct sim_phone *p, const struct wa_node *n)
{
    struct slice type = wa_node_text(n, "type"), id = wa_node_text(n, "id");
    const struct wa_node *list = wa_node_child(n, "list"), *item;
    struct wa_jid from = wa_node_jid(n, "from");
    bool own = slice_is(from.user, p->account->number) || slice_is(from.user, p->account->lid);
    void (*note)(struct sim_phone *, struct slice, struct slice) =
        own ? note_own_read : note_receipt;

    if (slice_is(type, "retry")) {
        resend(p, n);
        return;
    }
    note(p, id, type);
    for (size_t i = 0; list && (item = wa_node_next(list, "item", &i));)
        note(p, wa_node_text(item, "id"), type);
}
