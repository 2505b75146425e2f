/* What our own phone tells us in protocol messages: history, app-state keys, address mappings. */
#pragma once
#include "proto/client/message_info.h"

/* `protocol` is the ProtocolMessage of a message of ours. True when it was for devices only and
 * is no message of a chat; from anybody else such a one is dropped unread. */
bool wa_peer_is_protocol(struct slice protocol);
err_t wa_peer_take(struct wa_client *c, const struct wa_info *info,
                   struct slice protocol) MUST_CHECK;
