#include "proto/client/acks.h"

static void echo(struct wa_client *c, struct wa_node *out, const struct wa_node *stanza,
                 const char *key)
{
    struct wa_jid jid = wa_node_jid(stanza, key);

    if (!wa_jid_is_none(&jid)) wa_node_set_jid(out, c->arena, key, jid);
}

static struct wa_node *new_ack(struct wa_client *c, const struct wa_node *stanza)
{
    struct wa_node *ack = wa_node_new(c->arena, "ack");
    struct wa_jid from = wa_node_jid(stanza, "from"),
                  participant = wa_node_jid(stanza, "participant");

    wa_node_set(ack, c->arena, "class", stanza->tag);
    wa_node_set(ack, c->arena, "id", wa_node_text(stanza, "id"));
    wa_node_set_jid(ack, c->arena, "to", from);
    if (!wa_jid_is_none(&participant) && !wa_jid_eq(&participant, &from))
        wa_node_set_jid(ack, c->arena, "participant", participant);
    echo(c, ack, stanza, "recipient");
    return ack;
}

void wa_ack_untyped(struct wa_client *c, const struct wa_node *stanza)
{
    if (slice_is_none(wa_node_text(stanza, "id"))) return;
    wa_send_node(c, new_ack(c, stanza), 0);
}

void wa_ack(struct wa_client *c, const struct wa_node *stanza)
{
    if (slice_is_none(wa_node_text(stanza, "id"))) return;

    struct wa_node *ack = new_ack(c, stanza);
    wa_node_set(ack, c->arena, "type", wa_node_text(stanza, "type"));
    wa_send_node(c, ack, 0);
}

void wa_ack_message(struct wa_client *c, const struct wa_node *stanza, enum wa_nack nack)
{
    if (slice_is_none(wa_node_text(stanza, "id"))) return;

    struct wa_node *ack = new_ack(c, stanza);
    wa_node_set_jid(ack, c->arena, "from", wa_self_pn(c));
    if (nack) wa_node_set_int(ack, c->arena, "error", nack);
    wa_send_node(c, ack, 0);
}

static const char *const types[] = {
#define RECEIPT(name, type) type,
#include "proto/client/receipts.def"
#undef RECEIPT
};

struct wa_node *wa_receipt_new(struct wa_client *c, enum wa_receipt_type type, struct slice id,
                               struct wa_jid to)
{
    struct wa_node *receipt = wa_node_new(c->arena, "receipt");

    wa_node_set(receipt, c->arena, "id", id);
    wa_node_set_jid(receipt, c->arena, "to", to);
    wa_node_set_text(receipt, c->arena, "type", types[type]);
    return receipt;
}

struct wa_node *wa_receipt_to_self(struct wa_client *c, enum wa_receipt_type type, struct slice id)
{
    struct wa_jid self = wa_self_pn(c);
    return wa_receipt_new(c, type, id, wa_jid_bare(&self));
}

static void send_receipt(struct wa_client *c, const struct wa_node *stanza,
                         enum wa_receipt_type type)
{
    struct wa_node *receipt =
        wa_receipt_new(c, type, wa_node_text(stanza, "id"), wa_node_jid(stanza, "from"));

    echo(c, receipt, stanza, "participant");
    echo(c, receipt, stanza, "recipient");
    wa_send_node(c, receipt, WA_SEND_ACKED);
}

/* A note to oneself has no recipient and gets a plain ack; any other echo of ours must get
 * `sender`, with the recipient, or the server delivers it for ever. */
void wa_receipt_delivered(struct wa_client *c, const struct wa_node *message, bool from_me)
{
    struct wa_jid from = wa_node_jid(message, "from"), to = wa_node_jid(message, "recipient");

    if (slice_is(wa_node_text(message, "category"), "peer")) {
        send_receipt(c, message, WA_RECEIPT_TYPE_PEER);
        return;
    }
    if (!from_me) {
        send_receipt(c, message, WA_RECEIPT_TYPE_DELIVERED);
        return;
    }
    if (wa_jid_is_person(&from) && wa_jid_is_none(&to)) {
        wa_ack_message(c, message, WA_NACK_NONE);
        return;
    }
    send_receipt(c, message, WA_RECEIPT_TYPE_SENDER);
}

void wa_receipt_history(struct wa_client *c, struct slice id)
{
    wa_send_node(c, wa_receipt_to_self(c, WA_RECEIPT_TYPE_HISTORY, id), WA_SEND_ACKED);
}
