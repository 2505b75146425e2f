/* What we keep per chat beside keys: the privacy token a contact gave us, when we gave ours, and
 * which address family the thread uses (protocol.md 6.7, 6.3).
 *
 * Without the token the server refuses messages to people who did not write first (463). Time is
 * cut into buckets of a week; a token of theirs lives four buckets, ours is given once a bucket.
 *
 * A reply must go to the family in which the thread came to us, so it is noted when it changes. */
#pragma once
#include "proto/client/inside.h"

enum { WA_TOKEN_BUCKET_S = 604800, WA_TOKEN_BUCKETS = 4, WA_TOKEN_MAX = 4096 };

struct wa_thread {
    enum wa_server family; /* WA_SERVER_USER, WA_SERVER_LID, or WA_SERVER_NONE: unknown */
    int64_t token_at_s;    /* theirs */
    int64_t issued_at_s;   /* ours; 0 never */
    struct slice token;    /* theirs; borrowed from the arena */
};

err_t wa_thread_load(struct wa_client *c, const struct wa_party *who,
                     struct wa_thread *out) MUST_CHECK;
/* The family a message of this thread came in (of the author in a group). */
err_t wa_thread_seen(struct wa_client *c, const struct wa_party *chat,
                     enum wa_server family) MUST_CHECK;
/* The person got a LID: what was noted under the number goes there. */
err_t wa_thread_move(struct wa_client *c, const struct wa_jid *pn,
                     const struct wa_jid *lid) MUST_CHECK;
/* Adds <tctoken> to a stanza for this person, if we have one that is still good. */
void wa_token_attach(struct wa_client *c, const struct wa_thread *thread, struct wa_node *message);
/* After a message was accepted: gives ours, once per bucket. */
err_t wa_token_issue(struct wa_client *c, const struct wa_party *who,
                     const struct wa_jid *address) MUST_CHECK;
/* The contact has a new identity: ours must be given again. */
err_t wa_token_reissue(struct wa_client *c, const struct wa_party *who,
                       const struct wa_jid *address) MUST_CHECK;
/* <notification type="privacy_token">. */
err_t wa_token_received(struct wa_client *c, const struct wa_node *notification) MUST_CHECK;
