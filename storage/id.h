/* Public ids: "acc_", "chat_", "msg_" … and a sortable, unguessable body.
 *
 * The body locates the row without an index: it holds the numbers of the row's key, and 64 random
 * bits that the row (or its key) holds too, so that a guessed id finds nothing. Base 32 with the
 * lower-case digits 0-9 a-v, whose text sorts as the bytes do. The tenant is never in an id: it
 * comes from the key that asks.
 *
 *     account, tenant, key, webhook   number (4) secret (8)                        20 characters
 *     chat, group                     account (4) peer (4) secret (8)              26
 *     message, media                  sec (4) account (4) peer (4) seq (4) secret (8)  39
 *     event                           milliseconds (6) random (10)                 26
 *
 * Pure functions, any thread. */
#pragma once
#include "proto/base/slice.h"

enum id_type {
    ID_ACCOUNT,
    ID_CHAT,
    ID_GROUP,
    ID_MESSAGE,
    ID_MEDIA,
    ID_TENANT,
    ID_KEY,
    ID_EVENT,
    ID_WEBHOOK,
};

enum { ID_TEXT_MAX = 48 };

/* Where a message stands: the key of its row within the account, and its id. Sorted by (sec, seq),
 * seconds by WhatsApp's clock, then order of arrival in the chat. */
struct place {
    uint32_t peer, sec, seq;
    uint64_t secret;
};
static inline bool place_is_none(struct place p) { return p.peer == 0; }
/* By sec, then seq, then secret; the peer does not matter. */
int place_cmp(struct place a, struct place b);

const char *id_number_text(enum id_type type, uint32_t number, uint64_t secret,
                           char out[ID_TEXT_MAX]);
bool id_number_parse(enum id_type type, struct slice text, uint32_t *out_number,
                     uint64_t *out_secret);
/* ID_CHAT or ID_GROUP: one peer, two prefixes. */
const char *id_chat_text(enum id_type type, uint32_t account, uint32_t peer, uint64_t secret,
                         char out[ID_TEXT_MAX]);
bool id_chat_parse(enum id_type type, struct slice text, uint32_t *out_account, uint32_t *out_peer,
                   uint64_t *out_secret);
/* ID_MESSAGE, or ID_MEDIA: the attachment of that message. */
const char *id_message_text(enum id_type type, uint32_t account, struct place place,
                            char out[ID_TEXT_MAX]);
bool id_message_parse(enum id_type type, struct slice text, uint32_t *out_account,
                      struct place *out_place);
const char *id_event_text(int64_t at_ms, const uint8_t random[10], char out[ID_TEXT_MAX]);
