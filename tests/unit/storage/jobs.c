#include "chats_fixture.h"
#include "storage/jobs.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(jobs, .init = begin, .fini = end);

Test(jobs, keep_their_position)
{
    struct db_job a = {.number = 1, .kind = 3, .input = SLICE("blob")},
                  b = {.number = 2, .kind = 4}, found;
    AUTO(range) r = {0};

    db_job_put(&w.batch, w.scope, &a);
    db_job_put(&w.batch, w.scope, &b);
    world_commit(&w);
    a.position = SLICE("here");
    db_job_put(&w.batch, w.scope, &a);
    db_job_delete(&w.batch, w.scope, b.number);
    world_commit(&w);
    db_jobs(&r, w.f.view, w.scope);
    cr_assert(db_job_next(&r, &found));
    cr_assert(found.number == 1 && found.kind == 3 && slice_is(found.position, "here"));
    cr_assert(slice_is(found.input, "blob"));
    cr_assert(!db_job_next(&r, &found));
    CHECK_OK(range_error(&r));
}
