/* Randomness of the kernel. Nonces, ids and padding are small and many, four for a message, so the
 * kernel is asked for them 512 bytes at a time, thread by thread. What was given out is wiped; a
 * child does not use what its parent holds; keys are asked for one by one. */
#include <pthread.h>
#include <sodium/randombytes.h>
#include <sodium/utils.h>
#include <stdlib.h>
#include <string.h>

#include "proto/crypto/crypto.h"

enum { POOL_BYTES = 512, FROM_POOL = 24 };

struct pool {
    uint8_t bytes[POOL_BYTES]; /* the first `left` were not given out */
    size_t left;
    unsigned process;
};

static _Thread_local struct pool pool;
static unsigned process; /* how often this one was forked off */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void on_fork(void) { process++; }

static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, on_fork) != 0) abort();
}

static void fill(void)
{
    pthread_once(&once, watch_forks);
    randombytes_buf(pool.bytes, sizeof(pool.bytes));
    pool.left = sizeof(pool.bytes);
    pool.process = process;
}

void crypto_random(void *out, size_t n)
{
    if (n > FROM_POOL) {
        randombytes_buf(out, n);
        return;
    }
    if (pool.left < n || pool.process != process) fill();
    pool.left -= n;
    memcpy(out, pool.bytes + pool.left, n);
    sodium_memzero(pool.bytes + pool.left, n);
}
