/* A message comes in: whose it is, whether we hold it, decrypt, content, event, receipt.
 *
 * Everything here happens in one turn: the ratchet's step, the event and the receipt are committed
 * together, and the receipt leaves last. Start at wa_on_message(). */
#include "proto/client/message_in.h"

#include "proto/client/acks.h"
#include "proto/client/ask_phone.h"
#include "proto/client/bundles.h"
#include "proto/client/content.h"
#include "proto/client/keys.h"
#include "proto/client/mapping.h"
#include "proto/client/message_info.h"
#include "proto/client/offline.h"
#include "proto/client/pb.h"
#include "proto/client/peer.h"
#include "proto/client/retry_in.h"
#include "proto/client/stanzas.h"
#include "proto/client/tokens.h"
#include "proto/signal/adv.h"
#include "proto/signal/group.h"
#include "proto/signal/identity.h"
#include "proto/signal/padding.h"
#include "proto/signal/session.h"

enum { FIELD_SENDER_KEY = 2, FIELD_PROTOCOL = 12, FIELD_DEVICE_SENT = 31, FIELD_CONTEXT = 35 };

struct inbound {
    struct wa_info info;
    struct wa_address address; /* of the writing device */
    enum wa_held held;
    bool has_content; /* something of it was read */
    bool is_spoilt;   /* decrypted, but no message */
    bool is_told;     /* there was an event, so the owner holds it from now on */
    err_t failure;    /* of an enc that must be asked for again */
};

/* ---- the event ---- */

static void emit(struct wa_client *c, struct inbound *in, struct wa_message *m)
{
    const struct wa_info *info = &in->info;
    struct wa_event e = {.kind = WA_EVENT_MESSAGE};

    m->chat = info->chat;
    m->author = info->author;
    m->author_device = info->author_jid.device;
    m->from_me = info->from_me;
    m->is_group = info->place == WA_PLACE_GROUP;
    m->offline = info->is_offline;
    m->completes = in->held == WA_HELD_WAITING && !m->waiting;
    m->id = info->id;
    m->time_s = info->time_s;
    if (!info->from_me) m->push_name = info->push_name;
    e.message = *m;
    in->is_told = true;
    wa_emit(c, &e);
}

static void emit_content(struct wa_client *c, struct inbound *in, struct slice message)
{
    struct wa_message m = {.raw = message};
    struct wa_body body;

    wa_body_read(message, c->arena, &body);
    if (body.is_empty) return;
    wa_body_into(&body, &m);
    emit(c, in, &m);
}

/* ---- content ---- */

static err_t take_sender_key(struct wa_client *c, const struct inbound *in, struct slice message)
{
    struct slice outer = wa_pb_bytes(message, FIELD_SENDER_KEY), group = wa_pb_text(outer, 1);
    struct wa_jid jid;

    if (slice_is_none(outer)) return OK;
    TRY(wa_jid_parse(group, &jid));
    ENSURE(wa_jid_is_group(&jid) && jid.user.len <= WA_USER_MAX, BAD_STANZA);
    TRY(wa_group_process(&c->keystore, c->arena, group, &in->address, wa_pb_bytes(outer, 2)));
    return wa_mapping_note(c, &in->info.author_jid, group);
}

/* The message inside deviceSentMessage, with the context of the outer one behind it (in protobuf
 * concatenation merges). Its chat is the destination named there. */
static err_t open_device_sent(struct wa_client *c, struct inbound *in, struct slice outer,
                              struct slice *message)
{
    struct slice inner = wa_pb_bytes(outer, 2), context = wa_pb_bytes(*message, FIELD_CONTEXT);
    struct wa_jid to;

    if (in->info.place == WA_PLACE_PERSON && wa_jid_parse(wa_pb_text(outer, 1), &to) == OK) {
        if (wa_jid_is_person(&to) && to.user.len <= WA_USER_MAX)
            TRY(wa_party_of(c, &to, &in->info.chat));
    }
    if (slice_is_none(context) || !slice_is_none(wa_pb_bytes(inner, FIELD_CONTEXT))) {
        *message = inner;
        return OK;
    }

    AUTO(buf) joined = {0};
    buf_put(&joined, inner);
    wa_pb_put_bytes(&joined, FIELD_CONTEXT, context);
    *message = arena_dup(c->arena, buf_slice(&joined));
    return OK;
}

static err_t on_content(struct wa_client *c, struct inbound *in, struct slice message)
{
    struct slice device_sent = wa_pb_bytes(message, FIELD_DEVICE_SENT);

    if (!wa_pb_is_whole(message)) {
        in->is_spoilt = true;
        return OK;
    }
    in->has_content = true;
    err_t e = take_sender_key(c, in, message);
    if (wa_is_fatal(e)) return e;

    /* Anybody can write a deviceSentMessage; only our own devices may put words in our mouth. */
    if (!slice_is_none(device_sent)) {
        if (!in->info.from_me) return OK;
        TRY(open_device_sent(c, in, device_sent, &message));
    }
    struct slice protocol = wa_pb_bytes(message, FIELD_PROTOCOL);
    if (!slice_is_none(protocol) && wa_peer_is_protocol(protocol))
        return wa_peer_take(c, &in->info, protocol);
    if (in->info.is_peer) return OK;
    emit_content(c, in, message);
    return OK;
}

/* ---- decryption ---- */

/* Our own devices need no trust on first use: the pairing told us the key of our phone, and it
 * vouches for the others. Who speaks as one of them puts words in our mouth and answers for the
 * phone, so here a server's word is not enough. */
static err_t check_own_device(struct inbound *in, const struct crypto_key *key,
                              const struct crypto_key *phone, const struct wa_adv_device *device)
{
    const struct crypto_key *vouches = in->address.device == 0 ? key : &device->account_key;

    ENSURE(memcmp(vouches, phone, sizeof(*phone)) == 0, BAD_SIGNATURE);
    return OK;
}

/* A companion's first message shows that its phone vouches for it. Checked once per identity key:
 * it costs two signatures, and a pkmsg is repeated until we answer. (The account key may be the
 * one it brings along; only when it brings none is the phone's own, known one used.) */
static err_t check_device_identity(struct wa_client *c, struct inbound *in, struct slice pkmsg)
{
    struct slice identity = wa_node_child_bytes(in->info.stanza, "device-identity");
    struct wa_address phone = {.name = in->address.name, .device = 0, .own = in->address.own};
    struct crypto_key key, known, account;
    struct wa_adv_device device = {0};
    bool is_known, has_account, is_companion = in->address.device != 0;

    if (pkmsg.len < 2 || (!in->address.own && (!is_companion || identity.len == 0))) return OK;
    TRY(wa_key_untyped(wa_pb_bytes(slice_from(pkmsg, 1), 3), &key));
    TRY(wa_identity_load(&c->keystore, c->arena, &in->address, &known, &is_known));
    if (is_known && memcmp(&known, &key, sizeof(key)) == 0) return OK;
    TRY(wa_identity_load(&c->keystore, c->arena, &phone, &account, &has_account));
    if (is_companion && (identity.len || has_account))
        TRY(wa_adv_verify(c->arena, identity, &key, has_account ? &account : NULL, &device));
    return in->address.own && has_account ? check_own_device(in, &key, &account, &device) : OK;
}

static err_t decrypt_pairwise(struct wa_client *c, struct inbound *in, const struct wa_node *enc,
                              struct slice *out_padded)
{
    bool is_prekey = slice_is(wa_node_text(enc, "type"), "pkmsg");
    struct wa_decrypted d;

    if (is_prekey) TRY(check_device_identity(c, in, enc->bytes));
    TRY(wa_session_decrypt(&c->keystore, c->arena, &in->address, is_prekey, enc->bytes, &d));
    if (d.new_session) TRY(wa_mapping_note(c, &in->info.author_jid, SLICE("")));
    if (d.identity_changed) {
        TRY(wa_identity_changed(c, &in->info.author_jid));
        err_t e = wa_token_reissue(c, &in->info.author, &in->info.author_jid);
        if (wa_is_fatal(e)) return e;
    }
    *out_padded = d.padded;
    return OK;
}

static err_t decrypt_group(struct wa_client *c, struct inbound *in, const struct wa_node *enc,
                           struct slice *out_padded)
{
    struct slice group = wa_bare_text(c, &in->info.from);
    return wa_group_decrypt(&c->keystore, c->arena, group, &in->address, enc->bytes, out_padded);
}

/* A used counter means a message that we have read, and what we hold does not get this far. If it
 * is neither for devices alone nor noted as empty, its author used the counter twice: whatsmeow
 * and Baileys now and then lose a step of their ratchet. Only a retry brings that message. */
static err_t was_read_before(struct wa_client *c, const struct inbound *in, bool *out)
{
    *out = in->info.is_peer;
    return *out ? OK : wa_retry_was_empty(c, &in->info, out);
}

static err_t on_enc(struct wa_client *c, struct inbound *in, const struct wa_node *enc)
{
    bool is_group = slice_is(wa_node_text(enc, "type"), "skmsg"), is_old = false;
    struct slice padded = SLICE_NONE, message;
    err_t e = is_group ? decrypt_group(c, in, enc, &padded) : decrypt_pairwise(c, in, enc, &padded);

    if (wa_is_fatal(e)) return e;
    if (e == ERR_OLD_COUNTER) TRY(was_read_before(c, in, &is_old));
    if (is_old) return OK; /* the receipt was lost */
    if (e != OK) {
        in->failure = e;
        return OK;
    }
    if (wa_unpad(padded, &message) != OK) {
        in->is_spoilt = true;
        return OK;
    }
    return on_content(c, in, message);
}

static bool is_pairwise(const struct wa_node *enc)
{
    struct slice type = wa_node_text(enc, "type");
    return slice_is(type, "pkmsg") || slice_is(type, "msg");
}

/* Each may cost an agreement of keys, and a stanza has room for tens of thousands. */
static const struct wa_node *next_enc(const struct inbound *in, size_t *at, size_t *count)
{
    if ((*count)++ == WA_ENCS_MAX) return NULL;
    return wa_node_next(in->info.stanza, "enc", at);
}

/* Pairwise first: they may bring the sender key that the group message needs. */
static err_t decrypt_all(struct wa_client *c, struct inbound *in)
{
    const struct wa_node *enc;

    for (size_t i = 0, n = 0; (enc = next_enc(in, &i, &n));)
        if (is_pairwise(enc)) TRY(on_enc(c, in, enc));
    for (size_t i = 0, n = 0; (enc = next_enc(in, &i, &n));)
        if (slice_is(wa_node_text(enc, "type"), "skmsg")) {
            in->has_content = false; /* the pairwise part was only its key */
            TRY(on_enc(c, in, enc));
        }
    return OK;
}

/* ---- the message ---- */

static err_t find_held(struct wa_client *c, struct inbound *in)
{
    struct wa_held_message held;
    struct slice row;

    TRY(wa_load(c, WA_NS_MESSAGE, wa_info_owner(c, &in->info), wa_info_name(c, &in->info), &row));
    TRY(wa_held_decode(row, &held));
    in->held = held.state;
    return OK;
}

err_t wa_message_recovered(struct wa_client *c, const struct wa_info *info, struct slice message)
{
    struct inbound in = {.info = *info, .held = WA_HELD_WAITING};

    if (!message.len || !wa_pb_is_whole(message)) return OK; /* the phone has it no more */
    emit_content(c, &in, message);
    if (in.is_told) wa_retry_over(c, info);
    return OK;
}

static err_t undecryptable(struct wa_client *c, struct inbound *in)
{
    struct wa_message m = {.kind = WA_KIND_UNKNOWN, .waiting = true};

    if (in->held == WA_HELD_NO && !in->info.is_peer) {
        emit(c, in, &m);
        TRY(wa_ask_phone(c, &in->info, WA_ASK_AFTER_MS));
    }
    return wa_retry_ask(c, &in->info, in->failure);
}

static err_t finish(struct wa_client *c, struct inbound *in)
{
    if (in->failure != OK && !in->has_content) return undecryptable(c, in);
    if (in->is_spoilt && !in->has_content) {
        wa_ack_message(c, in->info.stanza, WA_NACK_PROTOBUF);
        return OK;
    }
    if (in->held == WA_HELD_WAITING || in->info.retry_count > 0) wa_retry_over(c, &in->info);
    if (in->has_content && !in->is_told && !in->info.is_peer) wa_retry_note_empty(c, &in->info);
    wa_receipt_delivered(c, in->info.stanza, in->info.from_me);
    return OK;
}

static enum wa_server thread_family(const struct wa_info *info)
{
    struct wa_jid recipient = wa_node_jid(info->stanza, "recipient");

    if (info->place == WA_PLACE_PERSON && info->from_me) return recipient.server;
    return info->author_jid.server;
}

static err_t on_encrypted(struct wa_client *c, struct inbound *in)
{
    in->address = (struct wa_address){.name = wa_party_name(c, &in->info.author),
                                      .device = in->info.author_jid.device,
                                      .own = in->info.from_me};
    TRY(decrypt_all(c, in));
    if (!in->info.is_peer) TRY(wa_thread_seen(c, &in->info.chat, thread_family(&in->info)));
    return finish(c, in);
}

/* These three come to the phone alone; any other may still be sent to us. */
static bool is_for_phone_only(const struct wa_node *unavailable)
{
    struct slice type = wa_node_text(unavailable, "type");

    return slice_is(type, "view_once_unavailable_fanout") ||
           slice_is(type, "hosted_unavailable_fanout") || slice_is(type, "bot_unavailable_fanout");
}

static err_t on_unavailable(struct wa_client *c, struct inbound *in,
                            const struct wa_node *unavailable)
{
    struct wa_message m = {.kind = WA_KIND_UNAVAILABLE, .waiting = !is_for_phone_only(unavailable)};

    if (in->held == WA_HELD_NO) emit(c, in, &m);
    if (in->held == WA_HELD_NO && m.waiting) TRY(wa_ask_phone(c, &in->info, 0));
    wa_ack_message(c, in->info.stanza, WA_NACK_NONE);
    return OK;
}

static bool has_enc(const struct wa_node *message)
{
    const struct wa_node *enc;

    for (size_t i = 0; (enc = wa_node_next(message, "enc", &i));)
        if (is_pairwise(enc) || slice_is(wa_node_text(enc, "type"), "skmsg")) return true;
    return false;
}

static err_t on_chat_message(struct wa_client *c, struct inbound *in)
{
    const struct wa_node *unavailable = wa_node_child(in->info.stanza, "unavailable");

    if (!in->info.is_peer) TRY(find_held(c, in));
    if (in->held == WA_HELD_WHOLE) {
        wa_receipt_delivered(c, in->info.stanza, in->info.from_me);
        return OK;
    }
    if (has_enc(in->info.stanza)) return on_encrypted(c, in);
    if (unavailable) return on_unavailable(c, in, unavailable);
    /* Answers of bots (msmsg) and what nobody knows: nothing we could show. */
    wa_ack_message(c, in->info.stanza,
                   wa_node_child(in->info.stanza, "enc") ? WA_NACK_NONE : WA_NACK_STANZA);
    return OK;
}

/* A status is acknowledged and not shown. Its pairwise parts still step ratchets that we share
 * with its author, so they are read. */
static err_t pass_status(struct wa_client *c, struct inbound *in)
{
    const struct wa_node *enc;
    struct slice padded;

    in->address = (struct wa_address){.name = wa_party_name(c, &in->info.author),
                                      .device = in->info.author_jid.device,
                                      .own = in->info.from_me};
    for (size_t i = 0, n = 0; (enc = next_enc(in, &i, &n));) {
        err_t e = is_pairwise(enc) ? decrypt_pairwise(c, in, enc, &padded) : OK;
        if (wa_is_fatal(e)) return e;
    }
    wa_ack_message(c, in->info.stanza, WA_NACK_NONE);
    return OK;
}

static err_t read_message(struct wa_client *c, const struct wa_node *stanza, bool is_status)
{
    struct inbound in = {0};
    err_t e = wa_info_read(c, stanza, &in.info);

    wa_offline_count(c, stanza);
    if (wa_is_fatal(e)) return e;
    if (e != OK) {
        wa_ack_message(c, stanza, WA_NACK_STANZA);
        return OK;
    }
    if (in.info.place == WA_PLACE_NEWSLETTER) {
        wa_ack_message(c, stanza, WA_NACK_NONE);
        return OK;
    }
    if (is_status || in.info.place == WA_PLACE_STATUS) return pass_status(c, &in);
    return on_chat_message(c, &in);
}

err_t wa_on_message(struct wa_client *c, const struct wa_node *message)
{
    return wa_is_online(c) ? read_message(c, message, false) : OK;
}

err_t wa_on_status(struct wa_client *c, const struct wa_node *status)
{
    return wa_is_online(c) ? read_message(c, status, true) : OK;
}
