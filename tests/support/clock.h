/* The real clock, for tests that wait for other threads and programs. */
#pragma once
#include <stdint.h>
#include <time.h>

static inline void nap(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* On the monotonic clock. */
static inline int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
static inline int64_t now_ms(void) { return now_us() / 1000; }
