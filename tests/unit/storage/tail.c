#include "chats_fixture.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(tail, .init = begin, .fini = end);

static size_t count(void)
{
    size_t n;
    CHECK_OK(db_tail_count(w.f.view, w.scope, &n));
    return n;
}

Test(tail, keeps_arrival_order_over_pending_and_durable_turns)
{
    struct tail_row row;
    struct slice term;
    AUTO(range) r = {0};
    uint32_t peer = world_peer(&w, "1@lid");

    cr_assert_eq(count(), 0);
    world_message(&w, peer, 50, "late one");
    world_commit(&w);
    world_message(&w, peer, 10, "early two");
    cr_assert_eq(count(), 2);
    db_tail(&r, w.f.view, w.scope, RANGE_FORWARDS);
    cr_assert(db_tail_next(&r, &row));
    cr_assert(row.ordinal == 1 && row.place.sec == 50);
    cr_assert(tail_next_term(&row.terms, &term) && slice_is(term, "late"));
    cr_assert(tail_next_term(&row.terms, &term) && slice_is(term, "one"));
    cr_assert(!tail_next_term(&row.terms, &term));
    cr_assert(db_tail_next(&r, &row) && row.ordinal == 2 && row.place.sec == 10);
    cr_assert(!db_tail_next(&r, &row));
    CHECK_OK(range_error(&r));
}

Test(tail, a_message_without_words_is_in_it_too)
{
    struct place p = world_message(&w, world_peer(&w, "1@lid"), 5, "");
    struct tail_row row;
    AUTO(range) r = {0};

    db_tail(&r, w.f.view, w.scope, RANGE_BACKWARDS);
    cr_assert(db_tail_next(&r, &row) && row.place.seq == p.seq && row.terms.len == 0);
}

Test(tail, a_term_that_ends_early_is_the_last)
{
    struct slice terms = SLICE("\x03"
                               "abc\x05"
                               "de"),
                 term;
    cr_assert(tail_next_term(&terms, &term) && slice_is(term, "abc"));
    cr_assert(!tail_next_term(&terms, &term));
}
