/* What the attributes of a <message> say (protocol.md 7.4): which chat, who wrote it, what it is
 * owed. Addresses seen together are learnt on the way. */
#pragma once
#include "proto/client/inside.h"

enum wa_place {
    WA_PLACE_PERSON,
    WA_PLACE_GROUP,
    WA_PLACE_LIST,   /* a broadcast list: shown in the chat with its author */
    WA_PLACE_STATUS, /* status@broadcast */
    WA_PLACE_NEWSLETTER,
};

struct wa_info {
    const struct wa_node *stanza;
    enum wa_place place;
    struct slice id;
    int64_t time_s;
    struct wa_jid from;       /* as it came: where receipts go */
    struct wa_jid author_jid; /* the writing device */
    struct wa_party chat, author;
    struct slice push_name;
    bool from_me, is_peer, is_offline;
    uint32_t retry_count; /* of <enc count> */
};

enum {
    WA_PUSH_NAME_MAX = 256,
    WA_ENCS_MAX = 8, /* read of one message: a pairwise part and a group's are two */
};

/* 1 to WA_MESSAGE_ID_MAX printable characters: ids come from other people's programs, and become
 * names of rows and words in events. */
bool wa_id_ok(struct slice id);
/* BAD_STANZA when an attribute that everything needs is missing. */
err_t wa_info_read(struct wa_client *c, const struct wa_node *message,
                   struct wa_info *out) MUST_CHECK;
/* Owner and name of the rows of this message (WA_NS_MESSAGE, WA_NS_RETRY); in the arena. */
struct slice wa_info_owner(struct wa_client *c, const struct wa_info *info);
struct slice wa_info_name(struct wa_client *c, const struct wa_info *info);
/* author bare JID, 0, id */
struct slice wa_message_name(struct wa_client *c, const struct wa_party *author, struct slice id);
