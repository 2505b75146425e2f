#include "proto/client/receipt.h"

#include "proto/client/acks.h"
#include "proto/client/mapping.h"
#include "proto/client/message_info.h"
#include "proto/client/offline.h"
#include "proto/client/retry_out.h"
#include "proto/client/stanzas.h"
#include "proto/client/tokens.h"

/* ---- in ---- */

struct kind {
    const char *type; /* NULL: the attribute is absent */
    enum wa_receipt_kind kind;
    bool by_us; /* another device of ours says so of itself */
};
static const struct kind kinds[] = {
    {NULL, WA_RECEIPT_DELIVERED, false},  {"inactive", WA_RECEIPT_DELIVERED, false},
    {"read", WA_RECEIPT_READ, false},     {"read-self", WA_RECEIPT_READ, true},
    {"played", WA_RECEIPT_PLAYED, false}, {"played-self", WA_RECEIPT_PLAYED, true},
};

static const struct kind *find_kind(struct slice type)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].type ? slice_is(type, kinds[i].type) : slice_is_none(type)) return &kinds[i];
    return NULL;
}

/* The id in the attribute and those in <list>. */
static size_t read_ids(struct wa_client *c, const struct wa_node *receipt, struct slice **out)
{
    const struct wa_node *list = wa_node_child(receipt, "list"), *item;
    struct slice *ids = arena_array(c->arena, struct slice, 1 + (list ? list->child_count : 0));
    size_t n = 0;

    ids[n] = wa_node_text(receipt, "id");
    n += wa_id_ok(ids[n]);
    for (size_t i = 0; list && n < WA_RECEIPT_IN_MAX && (item = wa_node_next(list, "item", &i));) {
        ids[n] = wa_node_text(item, "id");
        n += wa_id_ok(ids[n]);
    }
    *out = ids;
    return n;
}

static int64_t time_of(struct wa_client *c, const struct wa_node *node)
{
    return wa_time_or_now(c, wa_node_text(node, "t"));
}

static err_t find_parties(struct wa_client *c, const struct wa_node *receipt, struct wa_event *e,
                          bool *out_own)
{
    struct wa_jid from = wa_node_jid(receipt, "from"),
                  participant = wa_node_jid(receipt, "participant"),
                  recipient = wa_node_jid(receipt, "recipient");
    struct wa_jid who = wa_jid_is_none(&participant) ? from : participant;

    ENSURE(wa_jid_is_person(&who), BAD_STANZA);
    *out_own = wa_account_is_self(&c->account, &who);
    TRY(wa_party_of(c, &who, &e->receipt.who));
    if (!wa_jid_is_person(&from))
        e->receipt.chat.pn = from;
    else if (*out_own && !wa_jid_is_none(&recipient))
        TRY(wa_party_of(c, &recipient, &e->receipt.chat));
    else
        e->receipt.chat = e->receipt.who;
    return OK;
}

/* <participants key=id><user jid t/></participants>: one receipt per member. */
static err_t emit_aggregated(struct wa_client *c, const struct wa_node *participants,
                             struct wa_event *e)
{
    const struct wa_node *user;
    struct slice *key = arena_new(c->arena, struct slice);

    *key = wa_node_text(participants, "key");
    ENSURE(wa_id_ok(*key), BAD_STANZA);
    e->receipt.ids = key;
    e->receipt.id_count = 1;
    for (size_t i = 0, n = 0; (user = wa_node_next(participants, "user", &i));) {
        struct wa_jid jid = wa_node_jid(user, "jid");
        if (!wa_jid_is_person(&jid)) continue;
        if (n++ == WA_RECEIPT_IN_MAX) break;
        TRY(wa_party_of(c, &jid, &e->receipt.who));
        e->receipt.time_s = time_of(c, user);
        wa_emit(c, e);
    }
    return OK;
}

static err_t report(struct wa_client *c, const struct wa_node *receipt, const struct kind *kind)
{
    const struct wa_node *participants = wa_node_child(receipt, "participants");
    struct wa_event e = {.kind = WA_EVENT_RECEIPT, .receipt.kind = kind->kind};
    struct wa_jid from = wa_node_jid(receipt, "from");
    struct slice *ids;
    bool own;

    if (wa_node_child(receipt, "error")) return OK; /* feature-incapable: was not delivered */
    e.receipt.time_s = time_of(c, receipt);
    if (participants) {
        e.receipt.chat.pn = from;
        return emit_aggregated(c, participants, &e);
    }
    TRY(find_parties(c, receipt, &e, &own));
    /* Our other devices got a message: nobody asked. And nobody else says what we have read. */
    if (own ? kind->kind == WA_RECEIPT_DELIVERED : kind->by_us) return OK;
    e.receipt.by_us = own || kind->by_us;
    e.receipt.id_count = read_ids(c, receipt, &ids);
    e.receipt.ids = ids;
    if (e.receipt.id_count > 0) wa_emit(c, &e);
    return OK;
}

err_t wa_on_receipt(struct wa_client *c, const struct wa_node *receipt)
{
    struct slice type = wa_node_text(receipt, "type");
    const struct kind *kind = find_kind(type);
    struct wa_jid from = wa_node_jid(receipt, "from"), lid = wa_node_jid(receipt, "sender_lid");
    err_t e = OK;

    wa_offline_count(c, receipt);
    TRY(wa_mapping_learn(c, &from, &lid));
    if (slice_is(type, "retry"))
        e = wa_retry_asked(c, receipt);
    else if (kind)
        e = report(c, receipt, kind);
    if (wa_is_fatal(e)) return e;
    wa_ack(c, receipt);
    return OK;
}

/* ---- out ---- */

err_t wa_chat_jid(struct wa_client *c, const struct wa_party *chat, struct wa_jid *out)
{
    struct wa_party known = *chat;
    struct wa_thread thread;

    if (chat->pn.server != WA_SERVER_USER && wa_jid_is_none(&chat->lid)) {
        *out = chat->pn;
        return OK;
    }
    TRY(wa_party_complete(c, &known));
    TRY(wa_thread_load(c, &known, &thread));

    bool by_lid = c->account.lid_migrated || thread.family == WA_SERVER_LID;
    if (wa_jid_is_none(&known.lid)) by_lid = false;
    if (wa_jid_is_none(&known.pn)) by_lid = true;
    *out = wa_jid_bare(by_lid ? &known.lid : &known.pn);
    return OK;
}

err_t wa_participant_jid(struct wa_client *c, const struct wa_party *chat,
                         const struct wa_party *author, bool is_group, struct wa_jid *out)
{
    struct wa_party who = *author;
    struct wa_thread thread;

    *out = (struct wa_jid){0};
    if (!is_group) return OK;
    TRY(wa_party_complete(c, &who));
    TRY(wa_thread_load(c, chat, &thread));
    bool by_pn = thread.family == WA_SERVER_USER && !wa_jid_is_none(&who.pn);
    *out = wa_jid_bare(by_pn || wa_jid_is_none(&who.lid) ? &who.pn : &who.lid);
    return OK;
}

/* Who hides what he reads tells his own devices alone, in groups too. */
static enum wa_receipt_type read_type(const struct wa_client *c, const struct wa_read *read)
{
    bool shows = c->account.reads == WA_READS_SHOWN;

    if (read->played) return shows ? WA_RECEIPT_TYPE_PLAYED : WA_RECEIPT_TYPE_PLAYED_SELF;
    return shows ? WA_RECEIPT_TYPE_READ : WA_RECEIPT_TYPE_READ_SELF;
}

static void send_read(struct wa_client *c, struct wa_node *receipt, const struct slice *ids,
                      size_t n)
{
    AUTO(buf) encoded = {0};
    struct wa_event e = {.kind = WA_EVENT_OUTBOX, .outbox = {.id = ids[0]}};

    if (n > 1) {
        struct wa_node *list = wa_node_add(receipt, c->arena, "list");
        for (size_t i = 1; i < n; i++)
            wa_node_set(wa_node_add(list, c->arena, "item"), c->arena, "id", ids[i]);
    }

    wa_node_encode(receipt, &encoded);
    e.outbox.stanza = buf_slice(&encoded);
    wa_emit(c, &e);
    if (wa_is_online(c)) wa_send_encoded(c, buf_slice(&encoded), WA_SEND_ACKED);
}

err_t wa_read_start(struct wa_client *c, const struct wa_read *read)
{
    struct wa_jid to, participant;

    TRY(wa_chat_jid(c, &read->chat, &to));
    TRY(wa_participant_jid(c, &read->chat, &read->author, read->is_group, &participant));
    for (size_t at = 0; at < read->id_count; at += WA_RECEIPT_IDS_MAX) {
        size_t n = read->id_count - at;
        struct wa_node *receipt = wa_receipt_new(c, read_type(c, read), read->ids[at], to);
        wa_node_set_int(receipt, c->arena, "t", wa_server_now(c));
        wa_node_set_jid(receipt, c->arena, "participant", participant);
        send_read(c, receipt, read->ids + at, n < WA_RECEIPT_IDS_MAX ? n : WA_RECEIPT_IDS_MAX);
    }
    return OK;
}
