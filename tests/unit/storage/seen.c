#include "storage/seen.h"

#include "chats_fixture.h"
#include "storage/record.h"

static struct world w;
static struct db_contact chat;
static uint32_t peer;

static void begin(void)
{
    world_init(&w);
    peer = world_peer(&w, "1@lid");
    CHECK_OK(db_contact_get(w.f.view, w.scope, peer, &chat));
    world_commit(&w);
    CHECK_OK(db_contact_get(w.f.view, w.scope, peer, &chat));
}
static void end(void) { world_done(&w); }
TestSuite(seen, .init = begin, .fini = end);

static struct slice id_of(unsigned i)
{
    static char text[8][STANZA_ID_MAX];
    static unsigned at;
    char *out = text[at++ % 8];

    snprintf(out, STANZA_ID_MAX, "3EB0%08X", i * 2654435761u);
    return slice_text(out);
}

static struct place place_of(unsigned i) { return (struct place){peer, 1000 + i, 1 + i, 77 + i}; }

static void put(unsigned i)
{
    CHECK_OK(db_seen_put(&w.batch, w.f.view, w.scope, peer, SLICE("1@lid"), id_of(i), place_of(i)));
}

static bool is_there(unsigned i)
{
    struct place p;

    CHECK_OK(db_seen_find(w.f.view, w.scope, &chat, SLICE("1@lid"), id_of(i), &p));
    if (p.peer == 0) return false;
    struct place want = place_of(i);
    cr_expect(place_cmp(p, want) == 0 && p.secret == want.secret && p.peer == peer, "id %u", i);
    return true;
}

static size_t rows_of(enum kind kind)
{
    struct key prefix = key_of_kind(w.scope, peer, kind);
    size_t n = 0;
    AUTO(range) r = {0};

    range_prefix(&r, w.f.view, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    while (range_next(&r))
        n++;
    CHECK_OK(range_error(&r));
    return n;
}

Test(seen, finds_by_chat_author_and_id)
{
    char longest[STANZA_ID_MAX + 1];
    struct place found;

    memset(longest, 'x', sizeof(longest));
    put(1);
    for (int round = 0; round < 2; round++) {
        cr_expect(is_there(1));
        cr_expect(!is_there(2));
        CHECK_OK(db_seen_find(w.f.view, w.scope, &chat, SLICE("2@lid"), id_of(1), &found));
        cr_expect_eq(found.peer, 0);
        CHECK_OK(db_seen_find(w.f.view, w.scope, &chat, SLICE_NONE, id_of(1), &found));
        cr_expect_eq(found.peer, 0);
        CHECK_OK(
            db_seen_find(w.f.view, w.scope, &chat, SLICE("1@lid"), SLICE_ARRAY(longest), &found));
        cr_expect_eq(found.peer, 0);
        world_commit(&w);
    }
}

Test(seen, every_id_is_found_at_every_commit)
{
    for (unsigned i = 0; i < 200; i++) {
        put(i);
        cr_assert(is_there(i), "not durable yet");
        if (i % 3 == 0) world_commit(&w); /* one, two or three of them in a batch */
        for (unsigned j = 0; j <= i; j++)
            cr_assert(is_there(j), "%u after %u", j, i);
        cr_assert(!is_there(i + 1));
    }
    world_commit(&w);
    cr_expect_lt(rows_of(KIND_recent), 2);
    cr_expect_eq(rows_of(KIND_seen), 200 / RECENT_MAX * RECENT_MAX);
}

Test(seen, most_messages_write_no_row_of_the_index)
{
    size_t indexing = 0;

    for (unsigned i = 0; i < 160; i++) {
        put(i);
        indexing += w.batch.op_count > 1;
        world_commit(&w);
    }
    cr_expect_eq(indexing, 160 / RECENT_MAX);
}

Test(seen, long_ids_do_not_make_a_long_row)
{
    char id[STANZA_ID_MAX];
    struct key k = key_of_kind(w.scope, peer, KIND_recent);
    struct slice row;

    memset(id, 'x', sizeof(id));
    for (unsigned i = 0; i < 40; i++) {
        struct place found;
        id[0] = (char)('A' + i);
        CHECK_OK(db_seen_put(&w.batch, w.f.view, w.scope, peer, SLICE_NONE, SLICE_ARRAY(id),
                             place_of(i)));
        world_commit(&w);
        CHECK_OK(view_find(w.f.view, DB_data, key_slice(&k), &row));
        cr_assert_lt(row.len, RECENT_BYTES);
        CHECK_OK(db_seen_find(w.f.view, w.scope, &chat, SLICE_NONE, SLICE_ARRAY(id), &found));
        cr_assert(place_cmp(found, place_of(i)) == 0);
    }
}

Test(seen, told_again_the_new_place_counts)
{
    for (unsigned i = 0; i < RECENT_MAX + 3; i++)
        put(i);
    world_commit(&w);
    for (unsigned i = 0; i < RECENT_MAX + 3;
         i += RECENT_MAX) { /* an indexed one and a recent one */
        struct place again = {peer, 9, 9, 9}, found;
        CHECK_OK(db_seen_put(&w.batch, w.f.view, w.scope, peer, SLICE("1@lid"), id_of(i), again));
        world_commit(&w);
        CHECK_OK(db_seen_find(w.f.view, w.scope, &chat, SLICE("1@lid"), id_of(i), &found));
        cr_expect_eq(place_cmp(found, again), 0);
    }
}

Test(seen, rows_of_an_older_program_are_found)
{
    struct key k = key_of_kind(w.scope, peer, KIND_seen);
    struct place p = place_of(5);
    AUTO(buf) bytes = {0};

    key_be32(&k, crc32c(0, SLICE("1@lid")));
    key_bytes(&k, id_of(5));
    buf_put_be32(&bytes, p.sec);
    buf_put_be32(&bytes, p.seq);
    buf_put_be64(&bytes, p.secret);
    batch_put(&w.batch, DB_data, key_slice(&k), buf_slice(&bytes));
    world_commit(&w);
    cr_expect(is_there(5));
}

Test(seen, a_damaged_row_is_an_error_and_not_an_unknown_message)
{
    struct key k = key_of_kind(w.scope, peer, KIND_recent);
    struct place found;

    batch_put(&w.batch, DB_data, key_slice(&k), SLICE("\1\2\3\4\xff"));
    world_commit(&w);
    cr_expect_eq(db_seen_find(w.f.view, w.scope, &chat, SLICE_NONE, SLICE("X"), &found),
                 ERR_STORE_DAMAGED);
    cr_expect_eq(
        db_seen_put(&w.batch, w.f.view, w.scope, peer, SLICE_NONE, SLICE("X"), place_of(1)),
        ERR_STORE_DAMAGED);
}
