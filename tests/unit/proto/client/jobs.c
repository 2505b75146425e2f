#include "proto/client/jobs.h"

#include <criterion/criterion.h>

#include "proto/client/inside.h"
#include "tests/support/fake_server.h"

Test(jobs, come_back_from_their_row_and_never_from_a_cut_one)
{
    struct world w;
    struct wa_job job = {.kind = WA_JOB_HISTORY, .time_s = 5, .raw = SLICE("raw")}, out;
    AUTO(arena) arena = {0};

    world_init(&w);
    wa_arena_set(w.client, &arena);
    fake_turn_open(&w.h);
    wa_job_save(w.client, SLICE("ID"), &job);
    fake_turn_close(&w.h);
    world_settle(&w);
    const struct buf *row = fake_row(&w.h, WA_NS_JOB, "", "1.ID");
    cr_assert_eq(wa_job_decode(buf_slice(row), &out), OK);
    cr_assert(out.kind == WA_JOB_HISTORY && out.time_s == 5 && slice_is(out.raw, "raw"));
    for (size_t n = 0; n < 10; n++)
        cr_assert_eq(wa_job_decode(slice_of(row->data, n), &out), ERR_STORE_DAMAGED);
    wa_arena_set(w.client, NULL);
    world_done(&w);
}
