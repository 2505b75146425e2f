/* Failures that a test may provoke, as a table (faults.def). Set from any thread, read by the
 * writer; a "once" row counts itself down to 0. */
#pragma once
#include <stdatomic.h>

#include "proto/base/err.h"
#include "proto/base/slice.h"

struct faults {
#define FAULT(name, meaning) atomic_llong name;
#include "storage/faults.def"
#undef FAULT
};

/* "commit_delay_ms=50 fail_put=3"; BAD_ARGUMENT for an unknown name or a bad number. */
err_t faults_parse(struct faults *f, struct slice text) MUST_CHECK;
/* How often each row has fired since the process started, by name; 0 for an unknown one. */
unsigned long long faults_fired(const char *name);

/* True once: when a "the n-th from now on" row reaches its turn. */
bool fault_due(atomic_llong *row);
/* Counts that a row fired. */
void fault_count(const char *name);
