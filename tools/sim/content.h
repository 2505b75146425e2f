/* Messages as phones write them: packed protobufs in an arena. Pure functions. */
#pragma once
#include "proto/base/arena.h"
#include "proto/schema/message.pb-c.h"

/* Plain text, or with `quote` (a message id) an extended text that quotes it. */
struct slice sim_content_text(struct arena *arena, struct slice text, struct slice quote,
                              struct slice quoted_author, struct slice quoted_text);
/* The copy for our own other devices. */
struct slice sim_content_device_sent(struct arena *arena, struct slice chat, struct slice message);
/* A sender key for one device. */
struct slice sim_content_distribution(struct arena *arena, struct slice group, struct slice key);
/* One message with the fields of both. */
struct slice sim_content_join(struct arena *arena, struct slice a, struct slice b);

struct sim_app_key {
    const uint8_t *id;   /* 6 bytes */
    const uint8_t *data; /* 32 bytes */
    int64_t at_ms;
    uint32_t raw_id, current_index;
};
struct slice sim_content_key_share(struct arena *arena, const struct sim_app_key *key);
/* History of one kind without conversations, but with the own name and address, inline. */
struct slice sim_content_history(struct arena *arena, int type, struct slice number,
                                 struct slice lid, struct slice name);

/* The answer to a companion that could not read a message: `text` is SLICE_NONE when the phone has
 * it not either. */
struct slice sim_content_placeholder(struct arena *arena, struct slice request,
                                     const Wa__MessageKey *key, int64_t at, struct slice text);

/* The text of a message, looked for through the usual wrappers; SLICE_NONE if it has none. */
struct slice sim_content_text_of(const Wa__Message *m);
/* Id of the quoted message, SLICE_NONE if none. */
struct slice sim_content_quote_of(const Wa__Message *m);
