/* The sandbox's public root key, asked of its control API (GET /root-key) until it answers: a new
 * sandbox makes a new key, and nobody should have to copy it. Main worker. */
#pragma once
#include "proto/crypto/crypto.h"
#include "server/worker.h"

struct rootkey;

enum { ROOTKEY_ANSWER_MAX = 4096 }; /* bytes, head and body */

/* `control` is "127.0.0.1:7801". `found` at each answer, on the
 * main worker. */
struct rootkey *rootkey_new(struct worker *main_worker, const char *control,
                            void (*found)(void *owner, const struct crypto_key *key), void *owner);
/* Asks now and again every second until there is an answer; harmless while it runs. NULL: nothing.
 */
void rootkey_ask(struct rootkey *r);
/* Stops asking; freed when its handles are closed. */
void rootkey_free(struct rootkey *r);
