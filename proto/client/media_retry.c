#include "proto/client/media_retry.h"

#include "proto/client/acks.h"
#include "proto/client/pb.h"
#include "proto/client/receipt.h"

enum { FIELD_STANZA_ID = 1, KEY = 32, IV = 12 };

/* <encrypt> with the ServerErrorReceipt, which repeats the message's id. */
static void put_sealed(struct wa_client *c, struct wa_node *receipt,
                       const struct wa_lost_media *lost)
{
    uint8_t key[KEY], iv[IV];
    struct wa_node *encrypt = wa_node_add(receipt, c->arena, "encrypt");
    AUTO(buf) plain = {0};
    AUTO(buf) sealed = {0};

    crypto_hkdf(lost->media_key, SLICE_NONE, SLICE("WhatsApp Media Retry Notification"), key, KEY);
    wa_random(c, iv, IV);
    wa_pb_put_bytes(&plain, FIELD_STANZA_ID, lost->id);
    crypto_gcm_seal(key, iv, lost->id, buf_slice(&plain), &sealed);
    crypto_wipe(key, sizeof(key));
    wa_node_set_bytes(wa_node_add(encrypt, c->arena, "enc_p"),
                      arena_dup(c->arena, buf_slice(&sealed)));
    wa_node_set_bytes(wa_node_add(encrypt, c->arena, "enc_iv"),
                      arena_dup(c->arena, SLICE_ARRAY(iv)));
}

err_t wa_media_ask(struct wa_client *c, const struct wa_lost_media *lost)
{
    struct wa_node *receipt = wa_receipt_to_self(c, WA_RECEIPT_TYPE_SERVER_ERROR, lost->id);
    struct wa_jid chat, author;

    ENSURE(wa_is_online(c), NOT_CONNECTED);
    ENSURE(lost->media_key.len == WA_MEDIA_KEY, BAD_KEY);
    TRY(wa_chat_jid(c, &lost->chat, &chat));
    TRY(wa_participant_jid(c, &lost->chat, &lost->author, lost->is_group, &author));
    put_sealed(c, receipt, lost);
    struct wa_node *rmr = wa_node_add(receipt, c->arena, "rmr");
    wa_node_set_jid(rmr, c->arena, "jid", chat);
    wa_node_set_text(rmr, c->arena, "from_me", lost->from_me ? "true" : "false");
    wa_node_set_jid(rmr, c->arena, "participant", author);
    wa_send_node(c, receipt, WA_SEND_ACKED);
    return OK;
}
