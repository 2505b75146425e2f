/* Messages of a chat; seen.h finds them by WhatsApp's own id.
 *
 * A row is named by the body of its msg_ id (id.h, struct place): sec is WhatsApp's time, seq the
 * order of arrival in the chat (db_chat.next_seq); the secret, 64 random bits, is in the row. Rows
 * never move. */
#pragma once
#include "storage/contacts.h"
#include "storage/id.h"

enum { MESSAGE_TEXT_MAX = 65536, STANZA_ID_MAX = 128 };

struct db_message {
    struct place place;     /* key */
    struct slice stanza_id; /* WhatsApp's id */
    struct slice author;    /* address without device, none when from_me */
    uint32_t author_peer;   /* 0 when from_me */
    bool from_me, starred, edited, deleted, forwarded, view_once;
    uint8_t type;   /* the server's: text, image, … */
    uint8_t status; /* the server's: waiting, received, pending, sent, delivered, … */
    uint16_t error; /* of WhatsApp's ack, 0: none */
    int64_t occurred_ms, received_ms, edited_ms, read_ms, played_ms;
    struct slice text; /* what a reader sees; at most MESSAGE_TEXT_MAX */
    struct slice raw;  /* the decrypted protobuf */
    struct slice quoted_id, quoted_author;
    struct slice mentions, media, reactions, extra; /* opaque to storage */
};

void db_message_put(struct batch *b, struct scope scope, const struct db_message *m);
/* NOT_FOUND also when the secret is neither 0 (not known) nor the row's. */
err_t db_message_get(struct view *v, struct scope scope, struct place place,
                     struct db_message *out) MUST_CHECK;

/* The same without an error: *out_found. */
err_t db_message_find(struct view *v, struct scope scope, struct place place, bool *out_found,
                      struct db_message *out) MUST_CHECK;

/* The place just before everything of that second: from there forwards, or backwards to before it.
 */
static inline struct place place_at(uint32_t sec) { return (struct place){.sec = sec}; }

/* A walk over a chat and its parts in the order of (sec, seq), either way, from a place (not
 * included):
 *
 *     AUTO(message_walk) w = {0};
 *     message_walk_init(&w, view, scope, &contact, from, RANGE_BACKWARDS);
 *     while (message_walk_next(&w, &m)) …
 *     TRY(message_walk_error(&w));
 */
struct message_walk {
    struct range parts[CONTACT_PARTS_MAX + 1];
    struct db_message heads[CONTACT_PARTS_MAX + 1];
    bool has[CONTACT_PARTS_MAX + 1];
    size_t count;
    struct place from; /* sec 0: from the end */
    enum range_direction direction;
    err_t error;
};
/* `from` with sec 0: from the newest or the oldest. */
void message_walk_init(struct message_walk *w, struct view *v, struct scope scope,
                       const struct db_contact *chat, struct place from,
                       enum range_direction direction);
bool message_walk_next(struct message_walk *w, struct db_message *out);
err_t message_walk_error(const struct message_walk *w) MUST_CHECK;
void message_walk_done(struct message_walk *w);
