/* Receipts: what others tell of our messages, and our own reading. */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_RECEIPT_IDS_MAX = 256, /* of one stanza of ours; the rest goes in further ones */
    WA_RECEIPT_IN_MAX =
        4096, /* messages, or readers, heard of in one stanza; further ones are not */
};

err_t wa_read_start(struct wa_client *c, const struct wa_read *read) MUST_CHECK;
/* The JID of a chat's stanzas: a group itself, a person in the family of the thread. */
err_t wa_chat_jid(struct wa_client *c, const struct wa_party *chat, struct wa_jid *out) MUST_CHECK;
/* In a group the author, named as the group names its members; elsewhere none. */
err_t wa_participant_jid(struct wa_client *c, const struct wa_party *chat,
                         const struct wa_party *author, bool is_group,
                         struct wa_jid *out) MUST_CHECK;
