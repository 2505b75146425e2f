/* One person, two addresses: phone number (PN) and LID.
 *
 * Learnt from every attribute that names both, stored in both directions, never expired. Rows of a
 * person are named by the LID once it is known; what was stored under the phone number before
 * moves in the turn that learns the mapping. */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_MEMBERS_MAX = 4096, /* learnt from one notification; a group has no more */
    WA_NOTES_MAX = 4096,   /* rows made under a number whose LID is not known yet */
};

/* Both addresses of a person as far as they are known, bare; a group, broadcast or newsletter
 * comes back as it is, in `pn`. */
err_t wa_party_of(struct wa_client *c, const struct wa_jid *jid, struct wa_party *out) MUST_CHECK;
/* Completes a party of which one address is known. */
err_t wa_party_complete(struct wa_client *c, struct wa_party *party) MUST_CHECK;
/* The name of this person's rows: the LID, else the phone number. In the arena. */
struct slice wa_party_name(struct wa_client *c, const struct wa_party *party);
bool wa_party_same(const struct wa_party *a, const struct wa_party *b);
/* Two addresses seen together, in either order. Anything that is not one PN and one LID is
 * ignored. Emits MAPPING, then saves and moves rows, when it is news. */
err_t wa_mapping_learn(struct wa_client *c, const struct wa_jid *a,
                       const struct wa_jid *b) MUST_CHECK;
/* A session (group empty) or a sender key was made under this address: remembered while it is a
 * phone number, so that the move finds it. */
err_t wa_mapping_note(struct wa_client *c, const struct wa_jid *device,
                      struct slice group) MUST_CHECK;
