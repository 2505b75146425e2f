/* What other files ask of message_in.c. */
#pragma once
#include "proto/client/message_info.h"

/* The content of a waiting message came another way (ask_phone.h): told as if it had been read
 * here, its retries are over. */
err_t wa_message_recovered(struct wa_client *c, const struct wa_info *info,
                           struct slice message) MUST_CHECK;
