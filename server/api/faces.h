/* Faces: people and messages as the API shows them, for tool results and events alike. A message
 * looks the same wherever it appears, because both come from its record through
 * face_message_read(). Slices are borrowed. Any thread. */
#pragma once
#include <stdint.h>

#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/slice.h"

struct db_contact;
struct db_message;
struct scope; /* storage/key.h */
struct view;

/* db_message.status, by its numbers in the database: never changed. db_message.type is
 * enum wa_content_kind, whose rows are only ever appended to. */
enum message_status {
    MESSAGE_RECEIVED = 1, /* somebody else's */
    MESSAGE_WAITING = 2,  /* could not be decrypted yet; asked for again */
    MESSAGE_PENDING = 3,  /* ours, not taken by WhatsApp yet */
    MESSAGE_SENT = 4,
    MESSAGE_DELIVERED = 5,
    MESSAGE_READ = 6,
    MESSAGE_PLAYED = 7,
    MESSAGE_FAILED = 8,
};
/* "received"; never NULL. */
const char *message_status_text(unsigned status);

/* A person. Absent slices are null in the JSON. */
struct face_person {
    struct slice phone; /* "+14155550198" */
    struct slice lid;   /* "123@lid" */
    struct slice name;  /* contact, push or business name: text of somebody else */
};

struct face_message {
    struct slice id;      /* "msg_…" */
    struct slice chat;    /* "chat_…" */
    struct slice account; /* "acc_…" */
    struct slice whatsapp_id;
    bool from_me;
    bool is_group;
    struct face_person sender;
    const char *type;      /* wa_content_kind_text() */
    struct slice text;     /* body or caption: text of somebody else; SLICE_NONE is null */
    struct slice reply_to; /* "msg_…" of the quoted message, SLICE_NONE */
    struct slice reply_to_whatsapp_id; /* its WhatsApp id, also when we do not hold it */
    const struct slice *mentions;      /* "+1415…" or "123@lid" */
    size_t mention_count;
    int64_t sent_at;    /* ms */
    const char *status; /* message_status_text() */
    uint16_t error;     /* of WhatsApp's ack, 0 */
};

/* {"phone":…,"lid":…,"name":…} */
void face_person_json(struct buf *out, const struct face_person *p);
/* The object with its braces. */
void face_message_json(struct buf *out, const struct face_message *m);

/* "+4915112345678" of "4915112345678@s.whatsapp.net"; SLICE_NONE when it is none. */
struct slice face_phone(struct arena *arena, struct slice jid);
/* Addresses, names by trust: own contact name, then business, then push name. */
void face_person_of(struct arena *arena, const struct db_contact *c, struct face_person *out);
/* db_message.mentions: canonical JIDs without device, each ended by a line feed. */
void face_mentions_add(struct buf *out, struct slice jid);

/* The face of a record. Reads the sender's contact and the place of the quoted message; what is
 * not there is absent. `chat` is the person or group the message is in; `self` is the account's own
 * person, for from_me. Memory from `arena`. */
err_t face_message_read(struct arena *arena, struct view *v, struct scope scope,
                        struct slice account, const struct face_person *self,
                        const struct db_contact *chat, const struct db_message *m,
                        struct face_message *out) MUST_CHECK;
