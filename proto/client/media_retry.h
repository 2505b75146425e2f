/* Files that are gone from the media hosts: the phone may still have them (protocol.md 10). */
#pragma once
#include "proto/client/inside.h"

enum { WA_MEDIA_KEY = 32 };

/* Asks the phone to upload the file of a message again. Sealed under the file's own key, so that
 * the server learns nothing. BAD_KEY when media_key is none. */
err_t wa_media_ask(struct wa_client *c, const struct wa_lost_media *lost) MUST_CHECK;
