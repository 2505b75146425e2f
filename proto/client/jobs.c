#include "proto/client/jobs.h"

#include "proto/base/reader.h"

enum { ROW_VERSION = 1 };

void wa_job_save(struct wa_client *c, struct slice id, const struct wa_job *job)
{
    AUTO(buf) row = {0};

    buf_put_u8(&row, ROW_VERSION);
    buf_put_u8(&row, (uint8_t)job->kind);
    buf_put_be64(&row, (uint64_t)job->time_s);
    buf_put(&row, job->raw);
    wa_save(c, WA_NS_JOB, SLICE(""),
            arena_printf(c->arena, "%u." SLICE_FMT, (unsigned)job->kind, SLICE_ARG(id)),
            buf_slice(&row));
}

err_t wa_job_decode(struct slice row, struct wa_job *out)
{
    struct reader r = reader_of(row);
    uint8_t version = reader_u8(&r), kind = reader_u8(&r);
    struct wa_job job = {.kind = kind, .time_s = (int64_t)reader_be64(&r)};

    job.raw = reader_rest(&r);
    if (reader_check(&r) != OK || version != ROW_VERSION) return fail(STORE_DAMAGED, "job row");
    *out = job;
    return OK;
}
