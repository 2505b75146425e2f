/* When to try again: Fibonacci seconds with jitter, forgotten only after a link that held.
 * A short open must not reset it, or a server that refuses us after the login is hammered once a
 * second (protocol.md 1.3, 15). A link that ends in a 429 forgets nothing. */
#pragma once
#include <stdint.h>

enum {
    WA_BACKOFF_MAX_S = 900,
    WA_BACKOFF_RATE_LIMIT_STEPS = 5, /* added by a 429 */
    WA_BACKOFF_STABLE_MS = 30 * 1000 /* a link up this long resets it when it ends */
};

struct wa_backoff {
    uint8_t step; /* tries since the last reset */
};

/* Milliseconds until the next try, and one step further. `random` is any 32 random bits: they
 * give -10 … +10 %. */
int64_t wa_backoff_next(struct wa_backoff *b, uint32_t random);
/* 429: slower at once. */
void wa_backoff_slow(struct wa_backoff *b);
static inline void wa_backoff_reset(struct wa_backoff *b) { b->step = 0; }
