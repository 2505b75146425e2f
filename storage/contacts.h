/* Peers: who an account talks to. A peer has a number within the account, a contact row, and a
 * chat row (chats.h) once there is a conversation.
 *
 * A person is one peer with two addresses, phone number and LID. When a mapping is learned between
 * two peers that both exist, the younger becomes a *part* of the older, in one batch of constant
 * size: its contact row turns into an alias, its rows stay where they are, and everything that
 * walks a chat walks its parts too. So both chat_ ids, and every msg_ id, work for ever.
 *
 * An address always leads to the peer it was first stored under, its *home*: there live the keys of
 * that address, also after it moved to somebody else. `peer` is the person, home or not. */
#pragma once
#include "storage/batch.h"
#include "storage/view.h"

enum { ADDRESS_MAX = 128, CONTACT_PARTS_MAX = 8, CONTACT_NAME_MAX = 1024 };

enum contact_kind {
    CONTACT_PERSON = 1,
    CONTACT_GROUP,
    CONTACT_STATUS,
    CONTACT_BROADCAST,
    CONTACT_NEWSLETTER,
    CONTACT_OTHER,
};

struct db_contact {
    uint32_t peer;     /* key */
    uint64_t secret;   /* of its chat_ and grp_ ids */
    uint8_t kind;      /* enum contact_kind */
    uint32_t alias_of; /* not 0: merged into that peer; only the secret is still of interest */
    uint32_t parts[CONTACT_PARTS_MAX]; /* peers merged into this one; 0 ends the list */
    struct slice pn;                   /* "4915112345678@s.whatsapp.net" */
    struct slice lid;                  /* "123456789@lid" */
    struct slice address;              /* of what is not a person: "…@g.us", "status@broadcast" */
    struct slice push_name, full_name, short_name, business_name;
    bool blocked;
    int64_t created_ms, updated_ms;
    struct slice extra; /* opaque to storage (group metadata) */
};

struct contact_ref {
    uint32_t home; /* where the keys of this address live */
    uint32_t peer; /* whose contact and chat it is; 0: nobody's any more */
};

/* Who has this address (canonical text without device): {0, 0} when nobody. */
err_t db_contact_of(struct view *v, struct scope scope, struct slice address,
                    struct contact_ref *out) MUST_CHECK;
/* The same, and a new peer with `kind` and `secret` when nobody has it. */
err_t db_contact_open(struct batch *b, struct view *v, struct scope scope, enum contact_kind kind,
                      struct slice address, uint64_t secret, int64_t now_ms,
                      struct contact_ref *out) MUST_CHECK;
/* Learns that a LID and a phone number are one person: adds the address that is missing, or merges
 * two peers, chats included. Gives the person, which is new when neither was known. A LID that
 * moves to another number (or back) takes its address along. */
err_t db_contact_map(struct batch *b, struct view *v, struct scope scope, struct slice lid,
                     struct slice pn, uint64_t secret, int64_t now_ms,
                     uint32_t *out_peer) MUST_CHECK;

/* The contact of the peer, which may be an alias. NOT_FOUND. */
err_t db_contact_get(struct view *v, struct scope scope, uint32_t peer,
                     struct db_contact *out) MUST_CHECK;
/* Follows the alias. With `secret` not 0: NOT_FOUND unless it is the secret of `peer` itself. */
err_t db_contact_resolve(struct view *v, struct scope scope, uint32_t peer, uint64_t secret,
                         struct db_contact *out) MUST_CHECK;
void db_contact_put(struct batch *b, struct scope scope, const struct db_contact *c);
/* All peers by number, aliases left out, from `peer` on: paging for list_contacts. */
err_t db_contact_page(struct view *v, struct scope scope, uint32_t from_peer, size_t limit,
                      struct db_contact *out, size_t *out_count) MUST_CHECK;
