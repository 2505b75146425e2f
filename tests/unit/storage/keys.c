#include "chats_fixture.h"
#include "storage/keys.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(keys, .init = begin, .fini = end);

Test(keys, live_in_namespaces_of_a_peer)
{
    struct slice out;
    AUTO(range) r = {0};
    char longest[KEY_NAME_MAX + 1];

    memset(longest, 'n', sizeof(longest));
    db_key_put(&w.batch, w.scope, 0, 1, SLICE("identity"), SLICE("mine"));
    db_key_put(&w.batch, w.scope, 3, 2, SLICE("5@lid:1"), SLICE("one"));
    db_key_put(&w.batch, w.scope, 3, 2, SLICE("5@lid:2"), SLICE(""));
    db_key_put(&w.batch, w.scope, 3, 3, SLICE("5@lid:1"), SLICE("other"));
    for (int round = 0; round < 2; round++) {
        CHECK_OK(db_key_find(w.f.view, w.scope, 3, 2, SLICE("5@lid:1"), &out));
        cr_assert(slice_is(out, "one"));
        CHECK_OK(db_key_find(w.f.view, w.scope, 3, 2, SLICE("5@lid:2"), &out));
        cr_assert(!slice_is_none(out) && out.len == 0);
        CHECK_OK(db_key_find(w.f.view, w.scope, 4, 2, SLICE("5@lid:1"), &out));
        cr_assert(slice_is_none(out));
        CHECK_OK(db_key_find(w.f.view, w.scope, 3, 2, SLICE_ARRAY(longest), &out));
        cr_assert(slice_is_none(out));
        db_keys(&r, w.f.view, w.scope, 3, 2, SLICE("5@lid"));
        cr_assert(range_next(&r) && slice_is(db_key_name(&r), "5@lid:1"));
        cr_assert(range_next(&r) && slice_is(db_key_name(&r), "5@lid:2"));
        cr_assert(!range_next(&r));
        range_done(&r);
        world_commit(&w);
    }
    db_key_delete(&w.batch, w.scope, 3, 2, SLICE("5@lid:1"));
    CHECK_OK(db_key_find(w.f.view, w.scope, 3, 2, SLICE("5@lid:1"), &out));
    cr_assert(slice_is_none(out));
}

Test(keys, numbered_ones_share_rows)
{
    struct slice out;
    struct store_stat stat;
    uint8_t value[64];
    uint32_t last;
    size_t count;

    for (uint32_t i = 1; i <= 812; i++) {
        memset(value, (int)i, sizeof(value));
        CHECK_OK(db_pack_put(&w.batch, w.f.view, w.scope, 9, i, SLICE_ARRAY(value)));
    }
    world_commit(&w);
    CHECK_OK(store_stat(w.f.store, DB_data, &stat));
    cr_assert_eq(stat.entries, 26);
    CHECK_OK(db_pack_count(w.f.view, w.scope, 9, &count, &last));
    cr_assert(count == 812 && last == 812);
    CHECK_OK(db_pack_find(w.f.view, w.scope, 9, 300, &out));
    cr_assert(out.len == 64 && out.data[0] == (uint8_t)300);
    CHECK_OK(db_pack_put(&w.batch, w.f.view, w.scope, 9, 300, SLICE_NONE));
    CHECK_OK(db_pack_find(w.f.view, w.scope, 9, 300, &out));
    cr_assert(slice_is_none(out));
    CHECK_OK(db_pack_find(w.f.view, w.scope, 9, 301, &out));
    cr_assert_eq(out.len, 64);
    for (uint32_t i = 1; i <= 812; i++)
        CHECK_OK(db_pack_put(&w.batch, w.f.view, w.scope, 9, i, SLICE_NONE));
    world_commit(&w);
    CHECK_OK(db_pack_count(w.f.view, w.scope, 9, &count, &last));
    cr_assert(count == 0 && last == 0);
    CHECK_OK(store_stat(w.f.store, DB_data, &stat));
    cr_assert_eq(stat.entries, 0);
}

static unsigned forget(struct buf *position)
{
    bool more = true;
    unsigned slices = 0;

    for (; more; slices++) {
        CHECK_OK(db_keys_forget(&w.batch, w.f.view, w.scope, position, &more));
        cr_expect_leq(w.batch.bytes, BATCH_SLICE + 1024);
        world_commit(&w);
    }
    return slices;
}

/* 20,000 people with a session each, whose chats lie between the keys. */
Test(keys, many_are_forgotten_in_slices)
{
    enum { PEOPLE = 20000 };
    AUTO(buf) position = {0};
    AUTO(buf) lost = {0};
    AUTO(range) r = {0};
    struct key prefix = key_of_scope(w.scope);
    uint8_t value[400] = {1};
    bool more;

    for (uint32_t peer = 1; peer <= PEOPLE; peer++) {
        struct key chat = key_of_kind(w.scope, peer, KIND_chat);
        batch_put(&w.batch, DB_data, key_slice(&chat), SLICE("kept"));
        db_key_put(&w.batch, w.scope, peer, 2, SLICE("5@lid:1"), SLICE_ARRAY(value));
        if (peer % 1000 == 0) world_commit(&w);
    }
    CHECK_OK(db_keys_forget(&w.batch, w.f.view, w.scope, &lost, &more));
    world_commit(&w);
    cr_assert(more);
    cr_expect_gt(forget(&position), 3u); /* from the beginning: the first position was lost */
    range_prefix(&r, w.f.view, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    size_t left = 0;
    while (range_next(&r)) {
        cr_assert(slice_is(r.value, "kept"));
        left++;
    }
    cr_expect_eq(left, PEOPLE);
}

Test(keys, of_an_account_are_forgotten)
{
    struct scope other = {w.scope.tenant, w.scope.account + 1};
    struct slice out;

    for (int round = 0; round < 2; round++) { /* 0: not durable yet */
        db_key_put(&w.batch, w.scope, 0, 1, SLICE("identity"), SLICE("mine"));
        db_key_put(&w.batch, w.scope, 3, 2, SLICE("5@lid:1"), SLICE("one"));
        db_key_put(&w.batch, w.scope, 300, 2, SLICE("6@lid:1"), SLICE("two"));
        db_key_put(&w.batch, other, 3, 2, SLICE("5@lid:1"), SLICE("theirs"));
        CHECK_OK(db_pack_put(&w.batch, w.f.view, w.scope, 3, 40, SLICE("prekey")));
        if (round) world_commit(&w);
        AUTO(buf) position = {0};
        cr_expect_eq(forget(&position), 1u);
        CHECK_OK(db_key_find(w.f.view, w.scope, 0, 1, SLICE("identity"), &out));
        cr_expect(slice_is_none(out));
        CHECK_OK(db_key_find(w.f.view, w.scope, 3, 2, SLICE("5@lid:1"), &out));
        cr_expect(slice_is_none(out));
        CHECK_OK(db_key_find(w.f.view, w.scope, 300, 2, SLICE("6@lid:1"), &out));
        cr_expect(slice_is_none(out));
        CHECK_OK(db_pack_find(w.f.view, w.scope, 3, 40, &out));
        cr_expect(slice_is_none(out));
        CHECK_OK(db_key_find(w.f.view, other, 3, 2, SLICE("5@lid:1"), &out));
        cr_expect(slice_is(out, "theirs"));
    }
}

/* Or no pairing could begin any more. */
Test(keys, a_damaged_one_is_forgotten_too)
{
    AUTO(buf) position = {0};
    AUTO(range) r = {0};
    struct key prefix = key_of_scope(w.scope);

    db_key_put(&w.batch, w.scope, 3, 2, SLICE("5@lid:1"), SLICE("spoiled"));
    db_key_put(&w.batch, w.scope, 4, 2, SLICE("6@lid:1"), SLICE("sound"));
    world_commit(&w);
    view_end(w.f.view);
    fixture_flip(&w.f, "spoiled");
    world_turn(&w);
    cr_expect_eq(forget(&position), 1u);
    range_prefix(&r, w.f.view, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    cr_expect(!range_next(&r) && range_error(&r) == OK, "something is left");
}
