/* Somebody could not decrypt a message of ours and asks for it again (protocol.md 6.5).
 *
 * The message comes from the host's records, so it can be answered for as long as it is kept. The
 * session is repaired first, also when the message is not known: with the keys that came along if
 * their identity is known or vouched for by the phone, else with those that the server has. A
 * device gets at most WA_RETRY_ANSWERS answers per message, and a new session without keys of its
 * own at most once an hour. */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_RETRY_ANSWERS = 5,
    WA_RESENDS_MAX = 256, /* waiting for a bundle at once; more are not answered */
    WA_RECREATE_MS = 60 * 60 * 1000,
};

err_t wa_retry_asked(struct wa_client *c, const struct wa_node *receipt) MUST_CHECK;
