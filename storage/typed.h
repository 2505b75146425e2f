/* What the typed record modules share: a record of a field table, put, found and walked.
 * FIELDS(table) gives table and length. */
#pragma once
#include "storage/batch.h"
#include "storage/record.h"
#include "storage/view.h"

#define FIELDS(table) (table), sizeof(table) / sizeof((table)[0])

void typed_put(struct batch *b, enum db db, const struct key *key, const struct field *fields,
               size_t count, const void *object);
/* *out_found is false, and the object untouched, when there is none. */
err_t typed_find(struct view *v, enum db db, const struct key *key, const struct field *fields,
                 size_t count, void *object, bool *out_found) MUST_CHECK;
/* NOT_FOUND when there is none. */
err_t typed_get(struct view *v, enum db db, const struct key *key, const struct field *fields,
                size_t count, void *object) MUST_CHECK;
/* The walk's next row; r->error says why it is false. */
bool typed_next(struct range *r, const struct field *fields, size_t count, void *object);

/* For read-modify-write: what the batch itself says about the key, else the view. */
err_t typed_current(const struct batch *b, struct view *v, enum db db, const struct key *key,
                    struct slice *out) MUST_CHECK;
