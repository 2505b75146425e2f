#include "tests/support/refusal.h"

#include "proto/base/xalloc.h"

static unsigned left;
static bool refused;

void *__real_xtry(void *p, size_t size);
void *__wrap_xtry(void *p, size_t size);

void *__wrap_xtry(void *p, size_t size)
{
    if (left && --left == 0) {
        refused = true;
        return NULL;
    }
    return __real_xtry(p, size);
}

void refuse_memory(unsigned nth)
{
    left = nth;
    refused = false;
}

bool refused_memory(void)
{
    left = 0;
    return refused;
}
