#include "chats_fixture.h"
#include "storage/search.h"

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

/* "peer:sec words …;" of every row, chat by chat. */
static const char *rows(void)
{
    static char text[2000];
    struct tail_row row;
    struct slice term;
    uint32_t peer;
    size_t n = 0;
    AUTO(range) chats = {0};

    text[0] = '\0';
    db_tail_chats(&chats, w.f.view, w.scope);
    while (db_tail_chat_next(&chats, &peer)) {
        AUTO(range) r = {0};
        db_tail(&r, w.f.view, w.scope, peer);
        while (db_tail_next(&r, &row)) {
            cr_assert_eq(row.place.peer, peer);
            n += (size_t)sprintf(text + n, "%u:%u", peer, row.place.sec);
            while (tail_next_term(&row.terms, &term))
                n += (size_t)sprintf(text + n, " " SLICE_FMT, SLICE_ARG(term));
            n += (size_t)sprintf(text + n, ";");
        }
        CHECK_OK(range_error(&r));
    }
    CHECK_OK(range_error(&chats));
    return text;
}

Test(tail, keeps_arrival_order_over_pending_and_durable_turns)
{
    uint32_t ann = world_peer(&w, "1@lid"), bob = world_peer(&w, "2@lid");

    cr_assert_eq(count(), 0);
    world_message(&w, bob, 50, "late one");
    world_commit(&w);
    world_message(&w, bob, 10, "early two");
    world_message(&w, ann, 20, "three");
    for (int round = 0; round < 2; round++) {
        cr_expect_eq(count(), 3);
        cr_expect_str_eq(rows(), "1:20 three;2:50 late one;2:10 early two;");
        world_commit(&w);
    }
}

Test(tail, a_message_without_words_is_in_it_too)
{
    world_message(&w, world_peer(&w, "1@lid"), 5, "");
    cr_expect_str_eq(rows(), "1:5;");
}

Test(tail, a_newer_text_takes_the_place_of_the_older)
{
    struct place p = world_message(&w, world_peer(&w, "1@lid"), 5, "old words");
    struct slice term = SLICE("new");

    world_commit(&w);
    CHECK_OK(db_tail_add(&w.batch, w.f.view, w.scope, p, &(struct terms){&term, 1}));
    world_commit(&w);
    cr_expect_str_eq(rows(), "1:5 new;");
}

Test(tail, a_second_message_writes_nothing_that_belongs_to_the_account)
{
    uint32_t ann = world_peer(&w, "1@lid");
    struct key account = key_of_scope(w.scope);

    key_int(&account, 0);
    world_message(&w, ann, 1, "first");
    world_commit(&w);
    world_message(&w, ann, 2, "second");
    for (const struct batch_op *op = batch_first(&w.batch); op; op = batch_next(op))
        cr_expect(!slice_starts_with(batch_op_key(op), key_slice(&account)));
}

Test(tail, a_chat_that_was_folded_is_named_again_by_its_next_message)
{
    uint32_t ann = world_peer(&w, "1@lid"), bob = world_peer(&w, "2@lid");
    bool more;

    world_message(&w, ann, 1, "a");
    world_message(&w, bob, 2, "b");
    world_commit(&w);
    CHECK_OK(db_fold(&w.batch, w.f.view, w.scope, 0, &more));
    cr_expect_str_eq(rows(), "", "the fold is pending");
    world_commit(&w);
    cr_expect_str_eq(rows(), "");
    world_message(&w, ann, 3, "c");
    world_commit(&w);
    cr_expect_str_eq(rows(), "1:3 c;");
}

Test(tail, rows_of_schema_1_are_moved_in_slices)
{
    static const uint8_t words[] = "\3abc\5defgh";
    static uint8_t long_word[600];
    bool more = true;
    int slices = 0;

    for (uint32_t i = 1; i <= 1000; i++) {
        struct key k = key_of_kind(w.scope, 0, KIND_tail_1);
        AUTO(buf) row = {0};
        key_be64(&k, i);
        buf_put_be32(&row, 1 + i % 2);
        buf_put_be32(&row, 5000 + i);
        buf_put_be32(&row, i);
        buf_put(&row, i == 1000 ? slice_of(words, sizeof(words) - 1) : SLICE_ARRAY(long_word));
        batch_put(&w.batch, DB_data, key_slice(&k), buf_slice(&row));
        if (i % 100 == 0) world_commit(&w);
    }
    for (; more; slices++) {
        CHECK_OK(tail_move_old(&w.batch, w.f.view, w.scope, &more));
        world_commit(&w);
    }
    cr_expect_gt(slices, 1);
    cr_expect_eq(count(), 1000);
    struct key old = key_of_kind(w.scope, 0, KIND_tail_1);
    struct tail_row row, last = {0};
    AUTO(range) left = {0};
    AUTO(range) r = {0};
    range_prefix(&left, w.f.view, DB_data, key_slice(&old), RANGE_FORWARDS);
    cr_expect(!range_next(&left));
    db_tail(&r, w.f.view, w.scope, 1);
    while (db_tail_next(&r, &row))
        last = row;
    cr_expect(last.place.seq == 1000 && last.place.sec == 6000);
    cr_expect(slice_eq(last.terms, slice_of(words, sizeof(words) - 1)));
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
