/* parleyctl check: walks every page (pages.h) and every sub-database, verifies each record's
 * checksum and order, looks it up by its key, and counts the rows against LMDB's own count: damage
 * to LMDB's page structure can hide rows without any error. A process of its own: damaged pages may
 * also crash LMDB. A server may go on beside it. */
#pragma once
#include "storage/store.h"

struct check_result {
    size_t rows, bad_records, hidden_rows, disordered, bad_pages;
    err_t error; /* LMDB could not go on in a sub-database; the others were looked at */
};

/* Tells one line per finding and one per sub-database. */
err_t check_store(struct store *store, void (*tell)(void *context, const char *line), void *context,
                  struct check_result *out) MUST_CHECK;
static inline bool check_is_clean(const struct check_result *r)
{
    return r->bad_records == 0 && r->hidden_rows == 0 && r->disordered == 0 && r->bad_pages == 0 &&
           r->error == OK;
}
