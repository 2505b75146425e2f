/* What an incoming stanza is owed (protocol.md 7.5, 7.6). A message is owed exactly one of a
 * receipt and an ack; the server deletes it from its queue with that, so both leave after the
 * commit, as every send does. */
#pragma once
#include "proto/client/inside.h"

/* Answers to a message that can never be handled; the server drops it then. */
enum wa_nack { WA_NACK_NONE = 0, WA_NACK_STANZA = 488, WA_NACK_PROTOBUF = 491 };

/* <ack class=tag id to=from [participant] [recipient] [type]/>. */
void wa_ack(struct wa_client *c, const struct wa_node *stanza);
/* The same without type: an identity notification. */
void wa_ack_untyped(struct wa_client *c, const struct wa_node *stanza);
/* With from=own device, as messages and status stanzas get it. */
void wa_ack_message(struct wa_client *c, const struct wa_node *stanza, enum wa_nack nack);

enum wa_receipt_type {
#define RECEIPT(name, type) WA_RECEIPT_TYPE_##name,
#include "proto/client/receipts.def"
#undef RECEIPT
};
/* <receipt type id to/>, to be filled and sent. */
struct wa_node *wa_receipt_new(struct wa_client *c, enum wa_receipt_type type, struct slice id,
                               struct wa_jid to);
/* To our own bare address, where the phone listens. */
struct wa_node *wa_receipt_to_self(struct wa_client *c, enum wa_receipt_type type, struct slice id);
/* A message's own receipt, by who wrote it. */
void wa_receipt_delivered(struct wa_client *c, const struct wa_node *message, bool from_me);
/* History notification taken: to our own bare address. */
void wa_receipt_history(struct wa_client *c, struct slice id);
