/* Prekey bundles: sessions with devices we never wrote to. */
#pragma once
#include "proto/client/iq.h"
#include "proto/signal/session.h"

/* Taken from one answer: as many as one send asks for. */
enum { WA_BUNDLES_MAX = 256 };

/* Asks for the bundles of these devices (addresses as they go on the wire). `reason` may be NULL
 * or "identity". With `take_op` the query owns the op (wa_iq_ask_with). */
err_t wa_bundles_ask(struct wa_client *c, const struct wa_jid *devices, size_t n,
                     const char *reason, wa_answer_fn *answer, void *op, bool take_op) MUST_CHECK;
/* The address bundles are asked under: the LID where that is known. */
err_t wa_session_jid(struct wa_client *c, const struct wa_jid *device,
                     struct wa_jid *out) MUST_CHECK;
/* Makes a session for every user of the answer that has none; with `replace` also for those that
 * have one. A device that the server does not know any more (406) makes its owner's list
 * expire. One bad bundle does not spoil the others. */
err_t wa_bundles_take(struct wa_client *c, const struct wa_node *iq, bool replace) MUST_CHECK;
/* The bundle inside <user> or <keys>; `registration` is looked for there too, unless given. */
err_t wa_bundle_read(const struct wa_node *node, struct slice registration,
                     struct wa_bundle *out) MUST_CHECK;
/* Installs a bundle for a device: session, note for the mapping, IDENTITY event when it changed. */
err_t wa_bundle_install(struct wa_client *c, const struct wa_jid *device,
                        const struct wa_bundle *bundle) MUST_CHECK;
/* Whether there is a session; fatal errors only. */
err_t wa_has_session(struct wa_client *c, const struct wa_jid *device, bool *out) MUST_CHECK;
/* Tells the owner that a contact's identity key changed. */
err_t wa_identity_changed(struct wa_client *c, const struct wa_jid *who) MUST_CHECK;
