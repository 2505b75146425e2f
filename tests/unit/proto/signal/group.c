#include <criterion/criterion.h>

#include "proto/base/text.h"
#include "proto/signal/keyblock.h"
#include "tests/support/refusal.h"
#include "tests/support/signal_party.h"
#include "tests/support/vectors.h"

static const struct slice group = {(const uint8_t *)"1203630@g.us", 12};
static struct party anna, ben;

static void join(void)
{
    struct slice skdm;

    party_init(&anna, "anna@lid", 2, 31);
    party_init(&ben, "ben@lid", 0, 32);
    cr_assert_eq(wa_group_distribute(&anna.ks, &anna.arena, group, &anna.address, &skdm), OK);
    cr_assert_eq(wa_group_process(&ben.ks, &ben.arena, group, &anna.address, skdm), OK);
}

static void leave(void)
{
    party_done(&anna);
    party_done(&ben);
}

static struct slice say(const char *text)
{
    struct slice bytes;
    cr_assert_eq(
        wa_group_encrypt(&anna.ks, &anna.arena, group, &anna.address, slice_text(text), &bytes),
        OK);
    return bytes;
}

static void expect_text(struct slice bytes, const char *text)
{
    struct slice got;
    cr_assert_eq(wa_group_decrypt(&ben.ks, &ben.arena, group, &anna.address, bytes, &got), OK,
                 "%s: %s", text, err_trail());
    cr_assert(slice_is(got, text));
}

static void expect_error(struct slice bytes, err_t want)
{
    struct slice got;
    size_t before = ben.saves;
    err_t is = wa_group_decrypt(&ben.ks, &ben.arena, group, &anna.address, bytes, &got);

    cr_assert_eq(is, want, "%s instead of %s", err_name(is), err_name(want));
    cr_assert_eq(ben.saves, before, "a failed call saves nothing");
}

/* ---- the vector ---- */

Test(group, reads_the_vector_in_any_order)
{
    static const int orders[][4] = {{0, 1, 2, 3}, {1, 0, 3, 2}, {3, 2, 1, 0}};
    json_t *v = vectors_open("sender_key.json");

    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        party_init(&anna, "anna@lid", 2, 31);
        party_init(&ben, "ben@lid", 0, 32);
        cr_assert_eq(wa_group_process(&ben.ks, &ben.arena, group, &anna.address,
                                      vector_hex(v, "skdm", &ben.arena)),
                     OK);
        for (int i = 0; i < 4; i++) {
            json_t *m = json_array_get(vector_at(v, "messages"), (size_t)orders[o][i]);
            struct slice got, bytes = vector_hex(m, "skmsg", &ben.arena);

            cr_assert_eq(wa_group_decrypt(&ben.ks, &ben.arena, group, &anna.address, bytes, &got),
                         OK);
            cr_assert(slice_eq(got, vector_hex(m, "plaintext_padded", &ben.arena)));
        }
        leave();
    }
    json_decref(v);
}

Test(group, writes_what_the_vector_has)
{
    json_t *v = vectors_open("sender_key.json"), *m;
    uint32_t id = (uint32_t)vector_int(v, "sender_key_id");
    struct slice skdm;
    struct crypto_key signing;
    size_t i;

    party_init(&anna, "anna@lid", 2, 31);
    vector_bytes(v, "signing_key.pub", signing.bytes, CRYPTO_KEY);

    /* The record of the author, as save_record() lays it out: its id is not 32 random bytes. */
    AUTO(buf) row = {0};
    buf_put(&row, SLICE("\x01\x01\x01"));
    buf_put_be32(&row, id);
    buf_put(&row, vector_hex(v, "initial_chain_key", &anna.arena));
    buf_put_be32(&row, 0);
    buf_put(&row, SLICE_ARRAY(signing.bytes));
    buf_put(&row, vector_hex(v, "signing_key.priv", &anna.arena));
    buf_put_be64(&row, 0);
    party_save(&anna, (struct wa_row){WA_SIGNAL_SENDER_KEY, group, SLICE("anna@lid.2")},
               buf_slice(&row));

    cr_assert_eq(wa_group_distribute(&anna.ks, &anna.arena, group, &anna.address, &skdm), OK);
    cr_assert(slice_eq(skdm, vector_hex(v, "skdm", &anna.arena)));
    json_array_foreach(vector_at(v, "messages"), i, m)
    {
        struct slice padded = vector_hex(m, "plaintext_padded", &anna.arena), got;
        struct slice want = vector_hex(m, "skmsg", &anna.arena);
        size_t head = want.len - CRYPTO_SIGNATURE;

        cr_assert_eq(wa_group_encrypt(&anna.ks, &anna.arena, group, &anna.address, padded, &got),
                     OK);
        cr_assert(slice_eq(slice_sub(got, 0, head), slice_sub(want, 0, head)));
        cr_assert(crypto_verify(&signing, slice_sub(got, 0, head), slice_from(got, head)));
    }
    party_done(&anna);
    json_decref(v);
}

/* ---- skipping ---- */

Test(group, keeps_every_second_key_of_a_skipping_author_cheaply)
{
    enum { N = 3000 };
    struct slice hot, first = SLICE_NONE, late = SLICE_NONE;

    join();
    for (int i = 0; i < N; i++) {
        struct slice skipped = say("skipped");
        if (i == 0) first = arena_dup(&ben.arena, skipped);
        if (i == N - 900) late = arena_dup(&ben.arena, skipped);

        size_t before = ben.saves;
        expect_text(say("read"), "read");
        cr_assert_leq(ben.saves - before, 2, "the key and one row of skipped keys");
        if (i % 100 == 0) arena_reset(&anna.arena);
    }
    cr_assert_eq(party_load(&ben, (struct wa_row){WA_SIGNAL_SENDER_KEY, group, SLICE("anna@lid.2")},
                            &ben.arena, &hot),
                 OK);
    cr_assert_leq(hot.len, 100, "%zu", hot.len);
    cr_assert_leq(ben.rows.count, WA_SKIPPED_SLOTS + 2);
    expect_text(late, "skipped");
    expect_error(late, ERR_OLD_COUNTER);
    expect_error(first, ERR_OLD_COUNTER);
    leave();
}

Test(group, jumps_two_thousand_but_no_further)
{
    struct slice third = SLICE_NONE;

    join();
    for (int i = 0; i < 2000; i++) {
        struct slice lost = say("lost");
        if (i == 3) third = lost;
    }
    expect_text(say("far"), "far");
    expect_text(third, "lost");
    expect_error(third, ERR_OLD_COUNTER);
    for (int i = 0; i < 2001; i++)
        say("lost");
    expect_error(say("too far"), ERR_FUTURE_MESSAGE);

    struct slice skdm; /* which the author's next distribution mends */
    cr_assert_eq(wa_group_distribute(&anna.ks, &anna.arena, group, &anna.address, &skdm), OK);
    cr_assert_eq(wa_group_process(&ben.ks, &ben.arena, group, &anna.address, skdm), OK);
    expect_text(say("again"), "again");
    leave();
}

Test(group, refuses_what_was_read)
{
    struct slice m;

    join();
    m = say("hi");
    expect_text(m, "hi");
    expect_error(m, ERR_OLD_COUNTER);
    leave();
}

/* ---- distribution ---- */

Test(group, shows_a_late_joiner_only_what_follows)
{
    struct slice before, skdm;

    join();
    before = say("before");
    party_done(&ben);
    party_init(&ben, "ben@lid", 0, 33);
    expect_error(before, ERR_NO_SENDER_KEY);
    cr_assert_eq(wa_group_distribute(&anna.ks, &anna.arena, group, &anna.address, &skdm), OK);
    cr_assert_eq(wa_group_process(&ben.ks, &ben.arena, group, &anna.address, skdm), OK);
    expect_error(before, ERR_OLD_COUNTER);
    expect_text(say("after"), "after");
    leave();
}

Test(group, is_not_disturbed_by_a_repeated_distribution)
{
    struct slice early, skdm;

    join();
    early = say("early");
    expect_text(say("one"), "one");
    cr_assert_eq(wa_group_distribute(&anna.ks, &anna.arena, group, &anna.address, &skdm), OK);
    size_t saves = ben.saves;
    cr_assert_eq(wa_group_process(&ben.ks, &ben.arena, group, &anna.address, skdm), OK);
    cr_assert_eq(ben.saves, saves);
    expect_text(early, "early");
    expect_text(say("two"), "two");
    leave();
}

Test(group, rotates_and_keeps_five_states)
{
    struct slice messages[7], skdm;
    bool has;

    join();
    for (int i = 0; i < 7; i++) {
        messages[i] = say("state");
        cr_assert_eq(wa_group_delete(&anna.ks, &anna.arena, group, &anna.address), OK);
        cr_assert_eq(wa_group_has_key(&anna.ks, &anna.arena, group, &anna.address, &has), OK);
        cr_assert_not(has);
        cr_assert_eq(
            wa_group_encrypt(&anna.ks, &anna.arena, group, &anna.address, SLICE("x"), &skdm),
            ERR_NO_SENDER_KEY);
        cr_assert_eq(wa_group_distribute(&anna.ks, &anna.arena, group, &anna.address, &skdm), OK);
        cr_assert_eq(wa_group_process(&ben.ks, &ben.arena, group, &anna.address, skdm), OK);
    }
    for (int i = 0; i < 7; i++)
        if (i < 3)
            expect_error(messages[i], ERR_NO_SENDER_KEY);
        else
            expect_text(messages[i], "state");
    leave();
}

Test(group, forgets_everything_of_an_author)
{
    join();
    say("lost");
    expect_text(say("kept"), "kept");
    cr_assert_eq(wa_group_delete(&ben.ks, &ben.arena, group, &anna.address), OK);
    cr_assert_eq(ben.rows.count, 1, "the signed prekey alone");
    expect_error(say("x"), ERR_NO_SENDER_KEY);
    leave();
}

Test(group, moves_an_author_to_another_address)
{
    struct wa_address lid = {.name = SLICE("999@lid"), .device = 2};
    struct slice skipped;

    join();
    skipped = say("skipped");
    expect_text(say("one"), "one");
    cr_assert_eq(wa_group_move(&ben.ks, &ben.arena, group, &anna.address, &lid), OK);
    expect_error(skipped, ERR_NO_SENDER_KEY);
    struct slice next;
    cr_assert_eq(wa_group_encrypt(&anna.ks, &anna.arena, group, &anna.address, SLICE("two"), &next),
                 OK);
    anna.address = lid;
    expect_text(skipped, "skipped");
    expect_text(next, "two");
    leave();
}

/* ---- hostile input ---- */

Test(group, refuses_a_cut_or_spoiled_message)
{
    struct slice m, got;

    join();
    m = say("hello everybody");
    for (size_t n = 0; n < m.len; n++) {
        size_t before = ben.saves;
        cr_assert_neq(
            wa_group_decrypt(&ben.ks, &ben.arena, group, &anna.address, slice_sub(m, 0, n), &got),
            OK);
        cr_assert_eq(ben.saves, before);
    }
    for (size_t i = 0; i < m.len; i++) {
        struct slice copy = arena_dup(&ben.arena, m);
        ((uint8_t *)(uintptr_t)copy.data)[i] ^= 0x10;
        size_t before = ben.saves;
        cr_assert_neq(wa_group_decrypt(&ben.ks, &ben.arena, group, &anna.address, copy, &got), OK);
        cr_assert_eq(ben.saves, before);
    }
    struct slice signature_spoiled = arena_dup(&ben.arena, m);
    ((uint8_t *)(uintptr_t)signature_spoiled.data)[m.len - 40] ^= 1;
    expect_error(signature_spoiled, ERR_BAD_SIGNATURE);
    expect_text(m, "hello everybody");
    leave();
}

Test(group, refuses_a_cut_distribution)
{
    struct slice skdm;

    join();
    party_done(&ben);
    party_init(&ben, "ben@lid", 0, 34);
    cr_assert_eq(wa_group_distribute(&anna.ks, &anna.arena, group, &anna.address, &skdm), OK);
    for (size_t n = 0; n < skdm.len; n++)
        cr_assert_eq(
            wa_group_process(&ben.ks, &ben.arena, group, &anna.address, slice_sub(skdm, 0, n)),
            ERR_BAD_MESSAGE);
    leave();
}

Test(group, refuses_a_damaged_row)
{
    struct wa_row row = {WA_SIGNAL_SENDER_KEY, group, SLICE("anna@lid.2")};
    struct slice good, m;

    join();
    m = say("hi");
    cr_assert_eq(party_load(&ben, row, &ben.arena, &good), OK);
    for (size_t n = 1; n < good.len; n++) {
        party_save(&ben, row, slice_sub(good, 0, n));
        expect_error(m, ERR_STORE_DAMAGED);
    }
    party_save(&ben, row, good);
    expect_text(m, "hi");
    leave();
}

/* ---- no memory ---- */

typedef err_t attempt(struct arena *arena, struct slice bytes);

static err_t take_distribution(struct arena *arena, struct slice bytes)
{
    return wa_group_process(&ben.ks, arena, group, &anna.address, bytes);
}

static err_t take_message(struct arena *arena, struct slice bytes)
{
    struct slice got;
    return wa_group_decrypt(&ben.ks, arena, group, &anna.address, bytes, &got);
}

/* Once for each point at which memory may be refused, then without a refusal. */
static unsigned count_refusals(attempt *try, struct slice bytes)
{
    size_t before = ben.saves;

    for (unsigned refusals = 0;; refusals++) {
        AUTO(arena) arena = {0};

        refuse_memory(refusals + 1);
        err_t is = try(&arena, bytes);
        if (!refused_memory()) {
            cr_assert_eq(is, OK, "%s", err_name(is));
            return refusals;
        }
        cr_assert_eq(is, ERR_NO_MEMORY, "%s at refusal %u", err_name(is), refusals + 1);
        cr_assert_eq(ben.saves, before, "a failed call saves nothing");
    }
}

Test(group, does_not_blame_the_author_when_there_is_no_memory)
{
    static char text[3000];
    struct slice skdm;

    memset(text, 'x', sizeof(text) - 1);
    party_init(&anna, "anna@lid", 2, 31);
    party_init(&ben, "ben@lid", 0, 32);
    cr_assert_eq(wa_group_distribute(&anna.ks, &anna.arena, group, &anna.address, &skdm), OK);
    cr_assert_geq(count_refusals(take_distribution, skdm), 1);
    cr_assert_geq(count_refusals(take_message, say(text)), 2);
    leave();
}
