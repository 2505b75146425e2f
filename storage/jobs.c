#include "storage/jobs.h"

#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_UINT(1, struct db_job, kind),      FIELD_UINT(2, struct db_job, attempts),
    FIELD_INT(3, struct db_job, created_ms), FIELD_INT(4, struct db_job, due_ms),
    FIELD_BYTES(5, struct db_job, position), FIELD_BYTES(6, struct db_job, input),
};

static struct key key_of_job(struct scope scope, uint32_t number)
{
    struct key k = key_of_kind(scope, 0, KIND_jobs);
    key_int(&k, number);
    return k;
}

static uint32_t number_of(const struct range *r)
{
    struct reader key = key_read_rest(r->key);
    return key_read_int(&key);
}

void db_job_put(struct batch *b, struct scope scope, const struct db_job *job)
{
    struct key k = key_of_job(scope, job->number);
    typed_put(b, DB_data, &k, FIELDS(fields), job);
}

void db_job_delete(struct batch *b, struct scope scope, uint32_t number)
{
    struct key k = key_of_job(scope, number);
    batch_delete(b, DB_data, key_slice(&k));
}

void db_jobs(struct range *r, struct view *v, struct scope scope)
{
    struct key prefix = key_of_kind(scope, 0, KIND_jobs);
    range_prefix(r, v, DB_data, key_slice(&prefix), RANGE_FORWARDS);
}

bool db_job_next(struct range *r, struct db_job *out)
{
    if (!typed_next(r, FIELDS(fields), out)) return false;
    out->number = number_of(r);
    return true;
}
