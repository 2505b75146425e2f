/* What surrounds the ciphertext: padding of plaintexts, and the hash of a set of devices. */
#pragma once
#include "proto/signal/keystore.h"
#include "proto/wire/jid.h"

/* The plaintext with 1 to 16 bytes behind it, each of that value. */
struct slice wa_pad(const struct wa_keystore *ks, struct arena *arena, struct slice plain);
/* Takes the padding off. BAD_PADDING when it is empty, the last byte is 0 or larger than the
 * text, the pad bytes differ, or nothing is left. */
err_t wa_unpad(struct slice padded, struct slice *out) MUST_CHECK;

/* "2:" and 8 characters: tells whether two sides mean the same devices. Order does not matter;
 * hosted devices are left out by the caller. */
enum { WA_PHASH_MAX = 16 };
const char *wa_phash(const struct wa_jid *devices, size_t n, struct arena *arena,
                     char out[WA_PHASH_MAX]);
/* Its two steps: "user.agent:device@server", where the agent should always be 0 … */
struct slice wa_phash_name(const struct wa_jid *device, unsigned agent, struct arena *arena);
/* … and the hash of all names, which are sorted in place. */
const char *wa_phash_names(struct slice *names, size_t n, char out[WA_PHASH_MAX]);
