/* Events: what the log stores and every door sends.
 *
 * One shape everywhere: {seq, event, event_id, occurred_at, received_at, account_id, data}. The
 * bytes made here are the JSON object without its seq, for batch_event(): the log's key is the
 * number, and event_json() puts it in front. What readers filter by stands beside the bytes in
 * storage's struct event_head, whose `type` is event_number(). Builders append one object to `out`.
 * Pure functions, any thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "server/api/faces.h"

struct db_contact; /* storage/contacts.h */
struct event_head; /* storage/batch.h */

enum event_kind {
#define EVENT(name, number, public_name, meaning) EVENT_##name,
#include "server/events/events.def"
#undef EVENT
    EVENT_COUNT
};

/* "message.received" */
const char *event_name(enum event_kind k);
/* One sentence for catalogues. */
const char *event_meaning(enum event_kind k);
/* EVENT_COUNT when there is none of this name. */
enum event_kind event_find(struct slice name);
/* Its number in the database, the same for ever, and back (EVENT_COUNT when unknown). */
uint16_t event_number(enum event_kind k);
enum event_kind event_of_number(uint16_t number);

/* What all events carry. */
struct event_about {
    struct slice account; /* "acc_…" */
    int64_t occurred_at;  /* ms: when WhatsApp says it happened */
    int64_t received_at;  /* ms: when this server saw it */
};

/* ---- builders: one row appended to `out` ---- */

void event_message_received(struct buf *out, const struct event_about *about,
                            const struct face_message *m);
/* Ours, taken by WhatsApp: sent through the API or written by the owner on another device. */
void event_message_sent(struct buf *out, const struct event_about *about,
                        const struct face_message *m);

struct event_read {
    struct slice chat;            /* "chat_…" */
    const struct slice *messages; /* "msg_…" that were read */
    size_t message_count;
    struct face_person reader;
    bool by_us;       /* read by the owner on another device */
    const char *kind; /* "read" or "played" */
};
void event_message_read(struct buf *out, const struct event_about *about,
                        const struct event_read *r);

void event_account_paired(struct buf *out, const struct event_about *about, struct slice phone,
                          struct slice lid, struct slice name);
void event_account_connected(struct buf *out, const struct event_about *about, struct slice phone);
/* `reason` as wa_reason_text(); code 0, until 0 and retry 0 are left out. */
struct event_down {
    const char *reason;
    int code;
    int64_t until_s;  /* end of a ban */
    int64_t retry_at; /* ms of the next try; 0: not by itself */
};
void event_account_disconnected(struct buf *out, const struct event_about *about,
                                const struct event_down *d);
void event_account_unpaired(struct buf *out, const struct event_about *about,
                            const struct event_down *d);

/* Appends `{"seq":N,` and the rest of the object. */
void event_json(struct buf *out, uint64_t seq, struct slice bytes);

/* Appends the members (no braces) that tell a reader what it lost, the same at every door: rows
 * first..last fell out of the log. first > last, see hub_stream.on_gap: a reset, told as all that
 * this log may hold unread. */
void event_gap(struct buf *out, uint64_t first, uint64_t last);

/* ---- filters ---- */

enum { EVENT_PARTS_MAX = 8 }; /* CONTACT_PARTS_MAX */
struct event_filter {
    uint64_t kinds;                  /* bit 1 << enum event_kind; 0: all */
    uint32_t account;                /* its number; 0: every account the principal sees */
    uint32_t peer;                   /* the chat's number within that account; 0: every chat */
    uint32_t parts[EVENT_PARTS_MAX]; /* its other numbers, 0 ends them: chats become one */
};
bool event_filter_matches(const struct event_filter *f, const struct event_head *head);
/* "message.received", "message.*", "*", or several with commas, into `kinds` (added);
 * BAD_ARGUMENT names the unknown one. */
err_t event_filter_add_names(struct event_filter *f, struct slice names) MUST_CHECK;
/* The chat of this person, with all its numbers. */
void event_filter_chat(struct event_filter *f, const struct db_contact *who);

/* ---- chats become one ---- */

/* Two chats turned out to be of one person (storage/contacts.h). Events name the person from this
 * commit on, and who asked for the chat that was swallowed must hear them: the commit tells it as a
 * notice (batch_notice), whose head names account and person and whose bytes are these. Filters
 * that are read from the database later find it there. */
enum { NOTICE_MERGE = 1 };
void event_merge(struct buf *out, const struct db_contact *person);
/* The person's chat as a filter. False: this is another notice. */
bool event_merge_read(const struct event_head *head, struct slice bytes, struct event_filter *out);
/* A filter that names the person by one number names it by all of them now, as it would had it been
 * made anew. */
void event_filter_merge(struct event_filter *f, const struct event_filter *person);
