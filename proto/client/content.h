/* What a Message protobuf says: its kind, its text, what it quotes and whom it mentions.
 *
 * The table is bodies.def. Nothing is allocated but the list of mentions; every slice borrows
 * from the message. Pure functions. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/client/client.h"
#include "proto/client/events.h"

enum {
    WA_BODY_WRAPS_MAX = 8,       /* ephemeral in view-once in edited …; more is UNKNOWN */
    WA_BODY_MENTIONS_MAX = 1024, /* further ones are left out */
    WA_QUOTED_MAX = 64 * 1024,   /* of a message that is quoted; a longer one goes by its id */
};

struct wa_body {
    enum wa_content_kind kind;
    bool is_empty; /* nothing in it for a reader: keys and context only */
    struct slice text;
    struct slice quoted_id;
    struct wa_jid quoted_author;
    const struct wa_jid *mentions;
    size_t mention_count;
};

/* Never fails: what cannot be read is of kind UNKNOWN. */
void wa_body_read(struct slice message, struct arena *arena, struct wa_body *out);
/* Copies kind, text, quote and mentions. */
void wa_body_into(const struct wa_body *body, struct wa_message *out);
/* The Message protobuf of a text, with a fresh message secret of 32 bytes in it. */
void wa_body_write_text(const struct wa_text *text, struct slice secret, struct buf *out);
/* "text" or "media" …: the type attribute of the stanza (protocol.md 7.2). */
const char *wa_body_stanza_type(struct slice message);
