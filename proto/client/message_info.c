#include "proto/client/message_info.h"

#include "proto/base/text.h"
#include "proto/client/mapping.h"

/* Pairs of attributes that name one person by both addresses. */
static const struct {
    const char *one, *other;
} pairs[] = {
    {"from", "sender_lid"},
    {"from", "sender_pn"},
    {"participant", "participant_lid"},
    {"participant", "participant_pn"},
    {"participant", "sender_lid"},
    {"participant", "sender_pn"},
    {"recipient", "recipient_lid"},
    {"recipient", "recipient_pn"},
    {"recipient", "peer_recipient_lid"},
    {"recipient", "peer_recipient_pn"},
};

static err_t learn(struct wa_client *c, const struct wa_node *message)
{
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (!wa_node_attr(message, pairs[i].other)) continue;
        struct wa_jid one = wa_node_jid(message, pairs[i].one),
                      other = wa_node_jid(message, pairs[i].other);
        TRY(wa_mapping_learn(c, &one, &other));
    }
    return OK;
}

static enum wa_place place_of(const struct wa_jid *from)
{
    switch (from->server) {
    case WA_SERVER_GROUP: return WA_PLACE_GROUP;
    case WA_SERVER_NEWSLETTER: return WA_PLACE_NEWSLETTER;
    case WA_SERVER_BROADCAST: return wa_jid_is_status(from) ? WA_PLACE_STATUS : WA_PLACE_LIST;
    default: return WA_PLACE_PERSON;
    }
}

/* A message of ours to a person names the chat in `recipient`; a note to ourselves does not. */
static err_t find_chat(struct wa_client *c, const struct wa_node *message, struct wa_info *info)
{
    struct wa_jid recipient = wa_node_jid(message, "recipient");

    ENSURE(recipient.user.len <= WA_USER_MAX, BAD_STANZA);
    switch (info->place) {
    case WA_PLACE_PERSON:
        if (info->from_me && !wa_jid_is_none(&recipient))
            return wa_party_of(c, &recipient, &info->chat);
        info->chat = info->author;
        return OK;
    case WA_PLACE_LIST: info->chat = info->author; return OK;
    default: info->chat = (struct wa_party){.pn = info->from}; return OK;
    }
}

bool wa_id_ok(struct slice id)
{
    if (id.len == 0 || id.len > WA_MESSAGE_ID_MAX) return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] <= ' ' || id.data[i] >= 0x7f) return false;
    return true;
}

static struct slice push_name(const struct wa_node *message)
{
    struct slice name = wa_node_text(message, "notify");
    return text_is_utf8(name) ? text_cut(name, WA_PUSH_NAME_MAX) : SLICE_NONE;
}

err_t wa_info_read(struct wa_client *c, const struct wa_node *message, struct wa_info *out)
{
    struct wa_attrs a = wa_attrs_of(message);
    const struct wa_node *enc = wa_node_child(message, "enc");

    *out = (struct wa_info){.stanza = message,
                            .id = wa_attr_text(&a, "id"),
                            .from = wa_attr_jid(&a, "from"),
                            .time_s = wa_time_or_now(c, wa_node_text(message, "t")),
                            .push_name = push_name(message)};
    TRY(wa_attrs_check(&a));
    ENSURE(wa_id_ok(out->id) && out->from.user.len <= WA_USER_MAX, BAD_STANZA);
    out->place = place_of(&out->from);
    out->is_offline = wa_node_attr(message, "offline") != NULL;
    out->is_peer = slice_is(wa_node_text(message, "category"), "peer");
    if (out->place == WA_PLACE_NEWSLETTER) {
        out->chat.pn = out->author.pn = out->author_jid = out->from;
        return OK;
    }

    out->author_jid = out->place == WA_PLACE_PERSON ? out->from : wa_attr_jid(&a, "participant");
    TRY(wa_attrs_check(&a));
    ENSURE(wa_jid_is_person(&out->author_jid), BAD_STANZA);
    ENSURE(out->author_jid.user.len <= WA_USER_MAX, BAD_STANZA);
    if (enc) {
        struct wa_attrs e = wa_attrs_of(enc);
        out->retry_count = (uint32_t)wa_attr_int_or(&e, "count", 0);
    }
    out->from_me = wa_account_is_self(&c->account, &out->author_jid);
    TRY(learn(c, message));
    TRY(wa_party_of(c, &out->author_jid, &out->author));
    return find_chat(c, message, out);
}

struct slice wa_message_name(struct wa_client *c, const struct wa_party *author, struct slice id)
{
    struct slice who = wa_party_name(c, author);
    uint8_t *name = arena_alloc(c->arena, who.len + 1 + id.len);

    memcpy(name, who.data, who.len);
    name[who.len] = 0;
    memcpy(name + who.len + 1, id.data, id.len);
    return slice_of(name, who.len + 1 + id.len);
}

struct slice wa_info_owner(struct wa_client *c, const struct wa_info *info)
{
    return wa_party_name(c, &info->chat);
}

struct slice wa_info_name(struct wa_client *c, const struct wa_info *info)
{
    return wa_message_name(c, &info->author, info->id);
}
