#include "proto/client/backoff.h"

static int64_t seconds(unsigned step)
{
    int64_t a = 1, b = 1;

    for (; step > 0 && a < WA_BACKOFF_MAX_S; step--) {
        int64_t next = a + b;
        a = b;
        b = next;
    }
    return a < WA_BACKOFF_MAX_S ? a : WA_BACKOFF_MAX_S;
}

int64_t wa_backoff_next(struct wa_backoff *b, uint32_t random)
{
    int64_t ms = seconds(b->step) * 1000;

    if (b->step < UINT8_MAX) b->step++;
    return ms * 9 / 10 + (int64_t)(random % 1024) * (ms / 5) / 1023;
}

void wa_backoff_slow(struct wa_backoff *b)
{
    b->step = b->step > UINT8_MAX - WA_BACKOFF_RATE_LIMIT_STEPS
                  ? UINT8_MAX
                  : (uint8_t)(b->step + WA_BACKOFF_RATE_LIMIT_STEPS);
}
