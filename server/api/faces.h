/* Faces: people, messages and chats as the API shows them, for tool results and events alike.
 * Plain borrowed data in, one JSON object out; a message looks the same wherever it appears.
 * Pure functions, any thread. */
#pragma once
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/slice.h"

/* A person. Absent slices are null in the JSON. */
struct face_person {
    struct slice phone; /* "+14155550198" */
    struct slice lid;   /* "123@lid" */
    struct slice name;  /* push name or contact name: text of somebody else */
};

struct face_message {
    struct slice id;      /* "msg_…" */
    struct slice chat;    /* "chat_…" */
    struct slice account; /* "acc_…" */
    struct slice whatsapp_id;
    bool from_me;
    bool is_group;
    bool waiting;         /* could not be decrypted yet, asked for again */
    struct face_person sender;
    struct slice type;    /* wa_content_kind_text() */
    struct slice text;    /* body or caption: text of somebody else; SLICE_NONE is null */
    struct slice reply_to;             /* "msg_…" of the quoted message, SLICE_NONE */
    struct slice reply_to_whatsapp_id; /* its WhatsApp id, also when we do not hold it */
    const struct slice *mentions;      /* "+1415…" or "123@lid" */
    size_t mention_count;
    int64_t sent_at;      /* ms */
    const char *status;   /* received, pending, sent, delivered, read, failed */
};

/* {"phone":…,"lid":…,"name":…} */
void face_person_json(struct buf *out, const struct face_person *p);
/* The object with its braces. */
void face_message_json(struct buf *out, const struct face_message *m);
