/* Chats: one row per conversation, and the list by last activity.
 *
 * A message writes its chat's row and appends to the account's tail (tail.h); it does not touch an
 * index by time. The list is put together when it is read, exactly: chats named in the tail come
 * from their rows, all others from the chatlist, a table of five bytes per peer (last activity,
 * flags) that the fold of the tail keeps up. 10,000 chats are 40 rows of 1.3 KB. */
#pragma once
#include "storage/contacts.h"
#include "storage/id.h"

struct db_chat {
    uint32_t peer;         /* key */
    uint32_t next_seq;     /* of its next message; starts at 1 */
    uint32_t activity_sec; /* what the list sorts by; unix seconds */
    struct place last;     /* newest message, for the preview; peer 0: none */
    uint32_t unread_count;
    bool marked_unread, archived, deleted;
    int64_t pinned_ms;      /* 0: not pinned */
    int64_t muted_until_ms; /* -1: for ever */
    uint32_t read_seq;      /* read by us up to here */
    uint32_t ephemeral_s;
    int64_t ephemeral_set_ms;
    struct slice labels, extra; /* opaque to storage */
};

/* None yet: OK and out->next_seq is 0. `peer` is a person's own number, not a part's. */
err_t db_chat_find(struct view *v, struct scope scope, uint32_t peer,
                   struct db_chat *out) MUST_CHECK;
/* The row alone: enough for who appends a message to the tail in the same batch. */
void db_chat_put(struct batch *b, struct scope scope, const struct db_chat *c);
/* Row and chatlist: for everything that changes what the list sorts or filters by without a new
 * message (read, archived, pinned, opened, history). */
err_t db_chat_put_listed(struct batch *b, struct view *v, struct scope scope,
                         const struct db_chat *c) MUST_CHECK;
/* The chatlist alone; for the fold. */
err_t db_chat_list(struct batch *b, struct view *v, struct scope scope,
                   const struct db_chat *c) MUST_CHECK;
/* Two peers became one (contacts.c): `from`'s chat joins `into`'s. */
err_t db_chat_join(struct batch *b, struct view *v, struct scope scope, uint32_t into,
                   uint32_t from) MUST_CHECK;

enum chat_want { CHAT_ANY, CHAT_ONLY, CHAT_WITHOUT };
struct chat_filter {
    enum chat_want unread, archived, pinned;
};

/* Order: pinned first, then the newest activity, then the higher number. A chat that moves up while
 * somebody pages stands above the cursor then: it is on the first page of the next walk. */
struct chat_cursor {
    bool set; /* false: from the top */
    bool pinned;
    uint32_t activity_sec, peer;
};
struct chat_entry {
    struct db_chat chat;
    struct db_contact contact;
};

/* The page behind `after`. `out` holds `limit` entries; *out_next.set is false at the end. */
err_t db_chat_page(struct view *v, struct scope scope, const struct chat_filter *filter,
                   struct chat_cursor after, size_t limit, struct chat_entry *out,
                   size_t *out_count, struct chat_cursor *out_next) MUST_CHECK;
