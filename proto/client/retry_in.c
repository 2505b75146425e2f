#include "proto/client/retry_in.h"

#include "proto/base/reader.h"
#include "proto/client/acks.h"
#include "proto/client/prekeys.h"

/* Numbers of the protocol for what went wrong; a peer only logs them. */
static const struct {
    err_t error;
    int code;
} codes[] = {
    {ERR_NO_SESSION, 1},     {ERR_BAD_KEY, 2},        {ERR_NO_PREKEY, 3}, {ERR_BAD_MESSAGE, 4},
    {ERR_BAD_SIGNATURE, 12}, {ERR_FUTURE_MESSAGE, 6}, {ERR_BAD_MAC, 7},   {ERR_NO_SENDER_KEY, 11},
};

static int code_of(err_t e)
{
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].error == e) return codes[i].code;
    return 0;
}

/* The row: how often we asked, or EMPTY. */
enum { EMPTY = 0xff };

static err_t next_count(struct wa_client *c, const struct wa_info *info, unsigned *out)
{
    struct slice owner = wa_info_owner(c, info), name = wa_info_name(c, info), row;

    TRY(wa_load(c, WA_NS_RETRY, owner, name, &row));
    *out = (row.len ? row.data[0] : 0) + 1u;
    if (*out > WA_RETRY_ASKS) return OK;
    uint8_t asked = (uint8_t)*out;
    wa_save(c, WA_NS_RETRY, owner, name, slice_of(&asked, 1));
    return OK;
}

void wa_retry_over(struct wa_client *c, const struct wa_info *info)
{
    wa_save(c, WA_NS_RETRY, wa_info_owner(c, info), wa_info_name(c, info), SLICE_NONE);
}

void wa_retry_note_empty(struct wa_client *c, const struct wa_info *info)
{
    uint8_t empty = EMPTY;
    wa_save(c, WA_NS_RETRY, wa_info_owner(c, info), wa_info_name(c, info), slice_of(&empty, 1));
}

err_t wa_retry_was_empty(struct wa_client *c, const struct wa_info *info, bool *out)
{
    struct slice row;

    TRY(wa_load(c, WA_NS_RETRY, wa_info_owner(c, info), wa_info_name(c, info), &row));
    *out = row.len == 1 && row.data[0] == EMPTY;
    return OK;
}

static void copy_jid(struct wa_client *c, struct wa_node *to, const struct wa_node *from,
                     const char *key)
{
    wa_node_set_jid(to, c->arena, key, wa_node_jid(from, key));
}

static err_t send_receipt(struct wa_client *c, const struct wa_info *info, unsigned count,
                          err_t why)
{
    struct wa_node *receipt = wa_receipt_new(c, WA_RECEIPT_TYPE_RETRY, info->id, info->from);

    copy_jid(c, receipt, info->stanza, "participant");
    copy_jid(c, receipt, info->stanza, "recipient");
    if (info->is_peer) wa_node_set_text(receipt, c->arena, "category", "peer");

    struct wa_node *retry = wa_node_add(receipt, c->arena, "retry");
    wa_node_set_text(retry, c->arena, "v", "1");
    wa_node_set_int(retry, c->arena, "count", count);
    wa_node_set(retry, c->arena, "id", info->id);
    wa_node_set(retry, c->arena, "t", wa_node_text(info->stanza, "t"));
    if (code_of(why)) wa_node_set_int(retry, c->arena, "error", code_of(why));

    wa_node_set_bytes(wa_node_add(receipt, c->arena, "registration"),
                      wa_be_bytes(c, c->account.registration_id, 4));
    if (count >= WA_RETRY_KEYS_FROM)
        TRY(wa_prekeys_put_bundle(c, wa_node_add(receipt, c->arena, "keys")));
    wa_send_node(c, receipt, WA_SEND_ACKED);
    return OK;
}

err_t wa_retry_ask(struct wa_client *c, const struct wa_info *info, err_t why)
{
    unsigned count;

    TRY(next_count(c, info, &count));
    /* The receipt first: if only one of the two gets out, it must be the one that asks. */
    if (count <= WA_RETRY_ASKS) TRY(send_receipt(c, info, count, why));
    wa_ack_message(c, info->stanza, WA_NACK_NONE);
    return OK;
}
