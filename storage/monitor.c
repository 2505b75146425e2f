#include "storage/monitor.h"

#include <pthread.h>
#include <stdatomic.h>

#include "proto/base/map.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map durable; /* owner -> turn, as a pointer */
static atomic_ullong violations;

static struct slice key_of(const uint64_t *owner) { return slice_of(owner, sizeof(*owner)); }

uint64_t monitor_durable(uint64_t owner)
{
    pthread_mutex_lock(&lock);
    uint64_t turn = (uintptr_t)map_find(&durable, key_of(&owner));
    pthread_mutex_unlock(&lock);
    return turn;
}

void monitor_note(uint64_t owner, uint64_t turn)
{
    if (turn == 0) return;
    pthread_mutex_lock(&lock);
    if ((uintptr_t)map_find(&durable, key_of(&owner)) < turn)
        map_put(&durable, key_of(&owner), (void *)(uintptr_t)turn);
    pthread_mutex_unlock(&lock);
}

bool monitor_is_durable(uint64_t owner, uint64_t turn)
{
    if (turn == 0 || turn <= monitor_durable(owner)) return true;
    atomic_fetch_add(&violations, 1);
    return false;
}

uint64_t monitor_violations(void) { return atomic_load(&violations); }

void monitor_reset(void)
{
    pthread_mutex_lock(&lock);
    map_done(&durable);
    pthread_mutex_unlock(&lock);
    atomic_store(&violations, 0);
}
