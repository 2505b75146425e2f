#include "storage/faults.h"

#include <assert.h>
#include <stddef.h>

#include "proto/base/text.h"

struct fault_row {
    const char *name;
    size_t offset;
};

static const struct fault_row rows[] = {
#define FAULT(name, meaning) {#name, offsetof(struct faults, name)},
#include "storage/faults.def"
#undef FAULT
};
enum { FAULT_COUNT = sizeof(rows) / sizeof(rows[0]) };

static atomic_ullong fired[FAULT_COUNT];

static int row_of(struct slice name)
{
    for (int i = 0; i < FAULT_COUNT; i++)
        if (slice_is(name, rows[i].name)) return i;
    return -1;
}

err_t faults_parse(struct faults *f, struct slice text)
{
    struct slice word, name;

    while (slice_split(&text, ' ', &word)) {
        if (word.len == 0) continue;
        uint64_t value;
        int row = slice_split(&word, '=', &name) ? row_of(name) : -1;
        if (row < 0) return fail(BAD_ARGUMENT, "no fault " SLICE_FMT, SLICE_ARG(name));
        TRY(text_u64(word, &value));
        atomic_store((atomic_llong *)(void *)((char *)f + rows[row].offset), (long long)value);
    }
    return OK;
}

unsigned long long faults_fired(const char *name)
{
    int row = row_of(slice_text(name));
    return row < 0 ? 0 : atomic_load(&fired[row]);
}

void fault_count(const char *name)
{
    int row = row_of(slice_text(name));
    assert(row >= 0);
    atomic_fetch_add(&fired[row], 1);
}

bool fault_due(atomic_llong *row)
{
    if (atomic_load_explicit(row, memory_order_relaxed) <= 0) return false;
    return atomic_fetch_sub(row, 1) == 1;
}
