#include "chats_fixture.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(fold, .init = begin, .fini = end);

Test(fold, goes_in_slices_that_fit_a_turn)
{
    static char text[2000];
    uint32_t peer = world_peer(&w, "1@lid");
    size_t slices = 0, count, n = 0;
    bool more = true;

    for (uint32_t i = 0; i < 3000; i++) { /* 40 new words each: much more than a slice */
        n = 0;
        for (uint32_t j = 0; j < 40; j++)
            n += (size_t)sprintf(text + n, "w%ux%u ", i % 150, j);
        world_message(&w, peer, 1 + i, text);
        if (i % 100 == 99) world_commit(&w);
    }
    for (; more; slices++) {
        CHECK_OK(db_fold(&w.batch, w.f.view, w.scope, TAIL_KEEP, &more));
        cr_assert_leq(w.batch.bytes, BATCH_SLICE);
        cr_assert(!batch_is_empty(&w.batch));
        world_commit(&w);
    }
    cr_assert_geq(slices, 5);
    CHECK_OK(db_tail_count(w.f.view, w.scope, &count));
    cr_assert_eq(count, TAIL_KEEP);
    CHECK_OK(db_fold(&w.batch, w.f.view, w.scope, TAIL_KEEP, &more));
    cr_assert(!more && batch_is_empty(&w.batch));
}
