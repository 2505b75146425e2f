/* The rows of a session: the current state, the archived ones, and where their skipped keys are.
 *
 *   SESSION  person, "5"                 the current state, 250 to 650 bytes
 *   SESSION  person, "5.old"             at most 10 archived states, newest first
 *   SKIPPED  person, "5.<chain>.<slot>"  see keyblock.h; <chain> is the head of its ratchet key
 *
 * A state remembers the last 5 chains it received on; from the third archived state on 2 (sessions
 * that cross take turns in the first places). The skipped keys of a chain that falls out go with
 * it. All parsers are exact: a row that is cut, longer or of a newer version is an error, never a
 * guess. */
#pragma once
#include "proto/signal/keyblock.h"
#include "proto/signal/ratchet.h"

enum { WA_CHAINS_MAX = 5, WA_ARCHIVED_MAX = 10, WA_ARCHIVED_WHOLE = 2, WA_ARCHIVED_CHAINS_MAX = 2 };

struct wa_receiving {
    struct crypto_key ratchet; /* theirs */
    struct wa_chain chain;
    uint64_t slots; /* of its skipped keys */
};

struct wa_session {
    struct crypto_key their_identity;
    struct crypto_key base; /* the initiator's; names the session */
    uint32_t their_registration_id;

    struct crypto_key root;
    struct crypto_pair ratchet; /* ours */
    struct wa_chain sending;    /* of that ratchet key */
    bool can_send; /* else the next send makes both, with the key of the newest chain received */
    uint32_t previous_counter; /* last index of the sending chain before */
    unsigned receiving_count;
    struct wa_receiving receiving[WA_CHAINS_MAX]; /* newest first */

    /* We started it and they have not answered yet: every message is a pkmsg. */
    bool pending, has_prekey;
    uint32_t prekey_id, signed_prekey_id;
};

struct wa_archive {
    unsigned count;
    struct wa_session states[WA_ARCHIVED_MAX]; /* newest first */
};

void wa_session_put(const struct wa_session *s, struct buf *out);
err_t wa_session_parse(struct slice in, struct wa_session *out) MUST_CHECK;

/* false in out_found when there is none. */
err_t wa_session_load(const struct wa_keystore *ks, struct arena *arena,
                      const struct wa_address *of, struct wa_session *out,
                      bool *out_found) MUST_CHECK;
void wa_session_save(const struct wa_keystore *ks, struct arena *arena, const struct wa_address *of,
                     const struct wa_session *s);
err_t wa_archive_load(const struct wa_keystore *ks, struct arena *arena,
                      const struct wa_address *of, struct wa_archive *out) MUST_CHECK;
void wa_archive_save(const struct wa_keystore *ks, struct arena *arena, const struct wa_address *of,
                     const struct wa_archive *archive);
/* Puts a state in front; what falls out behind loses its skipped keys. */
void wa_archive_push(const struct wa_keystore *ks, struct arena *arena, const struct wa_address *of,
                     struct wa_archive *archive, const struct wa_session *s);
void wa_archive_take(struct wa_archive *archive, unsigned at);
/* Forgets the skipped keys of a chain, or of a whole state. */
void wa_receiving_forget(const struct wa_keystore *ks, struct arena *arena,
                         const struct wa_address *of, struct wa_receiving *chain);
void wa_session_forget(const struct wa_keystore *ks, struct arena *arena,
                       const struct wa_address *of, struct wa_session *s);
/* The skipped keys of a chain of this address. */
struct wa_skipped wa_receiving_skipped(const struct wa_keystore *ks, struct arena *arena,
                                       const struct wa_address *of, struct wa_receiving *chain);
/* Moves the skipped keys of a state to another address. */
err_t wa_session_rehome(const struct wa_keystore *ks, struct arena *arena,
                        const struct wa_address *from, const struct wa_address *to,
                        struct wa_session *s) MUST_CHECK;
/* The row of the current session. */
struct wa_row wa_session_row(struct arena *arena, const struct wa_address *of);
