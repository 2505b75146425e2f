#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/base/text.h"
#include "proto/signal/record.h"
#include "tests/support/refusal.h"
#include "tests/support/signal_party.h"

/* ---- two parties ---- */

static struct party alice, bob;

static void meet(bool with_prekey)
{
    struct wa_bundle b;
    bool changed;

    party_init(&alice, "alice@lid", 0, 11);
    party_init(&bob, "bob@lid", 3, 22);
    b = party_bundle(&bob, with_prekey);
    cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &b, &changed), OK);
}

static void part(void)
{
    party_done(&alice);
    party_done(&bob);
}

static struct wa_encrypted say(struct party *from, struct party *to, const char *text)
{
    struct wa_encrypted e;
    cr_assert_eq(wa_session_encrypt(&from->ks, &from->arena, &to->address, slice_text(text), &e),
                 OK);
    return e;
}

static err_t hear(struct party *to, struct party *from, struct wa_encrypted e,
                  struct wa_decrypted *out)
{
    return wa_session_decrypt(&to->ks, &to->arena, &from->address, e.is_prekey, e.bytes, out);
}

static void expect_text(struct party *to, struct party *from, struct wa_encrypted e,
                        const char *text)
{
    struct wa_decrypted got;
    cr_assert_eq(hear(to, from, e, &got), OK, "%s: %s", text, err_trail());
    cr_assert(slice_is(got.padded, text));
}

static void expect_error(struct party *to, struct party *from, struct wa_encrypted e, err_t want)
{
    struct wa_decrypted got;
    size_t before = to->saves;
    err_t is = hear(to, from, e, &got);

    cr_assert_eq(is, want, "%s instead of %s", err_name(is), err_name(want));
    cr_assert_eq(to->saves, before, "a failed call saves nothing");
}

static void exchange(struct party *from, struct party *to, const char *text)
{
    expect_text(to, from, say(from, to, text), text);
}

static struct wa_session_info info(struct party *p, struct party *peer)
{
    struct wa_session_info i;
    cr_assert_eq(wa_session_info(&p->ks, &p->arena, &peer->address, &i), OK);
    return i;
}

Test(session, sends_pkmsg_until_the_peer_answers)
{
    meet(true);
    for (int i = 0; i < 3; i++) {
        struct wa_encrypted e = say(&alice, &bob, "hi");
        cr_assert(e.is_prekey);
        expect_text(&bob, &alice, e, "hi");
    }
    cr_assert(info(&alice, &bob).pending);
    cr_assert_not(info(&bob, &alice).pending);
    exchange(&bob, &alice, "hello");
    cr_assert_not(say(&alice, &bob, "x").is_prekey);
    cr_assert_eq(info(&alice, &bob).registration_id, bob.ks.registration_id);
    cr_assert_eq(info(&bob, &alice).registration_id, alice.ks.registration_id);
    cr_assert_arr_eq(info(&alice, &bob).base.bytes, info(&bob, &alice).base.bytes, CRYPTO_KEY);
    cr_assert_arr_eq(info(&bob, &alice).identity.bytes, alice.identity.public.bytes, CRYPTO_KEY);
    part();
}

Test(session, uses_up_the_one_time_prekey)
{
    struct crypto_key secret;
    struct wa_decrypted got;

    meet(true);
    struct wa_encrypted e = say(&alice, &bob, "hi");
    cr_assert_eq(wa_prekey_load(&bob.ks, &bob.arena, 1, &secret), OK);
    cr_assert_eq(hear(&bob, &alice, e, &got), OK);
    cr_assert(got.new_session);
    cr_assert_not(got.identity_changed);
    cr_assert_eq(wa_prekey_load(&bob.ks, &bob.arena, 1, &secret), ERR_NO_PREKEY);
    expect_error(&bob, &alice, e, ERR_OLD_COUNTER);
    cr_assert_eq(wa_session_delete(&bob.ks, &bob.arena, &alice.address), OK);
    expect_error(&bob, &alice, e, ERR_NO_PREKEY);
    part();
}

Test(session, works_without_a_one_time_prekey)
{
    meet(false);
    exchange(&alice, &bob, "hi");
    exchange(&bob, &alice, "hello");
    exchange(&alice, &bob, "how are you");
    part();
}

Test(session, reads_a_shuffled_pile)
{
    enum { N = 200 };
    static struct wa_encrypted pile[N];
    static char texts[N][16];
    unsigned order[N];

    meet(true);
    exchange(&alice, &bob, "hi");
    exchange(&bob, &alice, "hello");
    for (unsigned i = 0; i < N; i++) {
        snprintf(texts[i], sizeof(texts[i]), "text %u", i);
        pile[i] = say(&alice, &bob, texts[i]);
        order[i] = i;
        if (i % 20 == 19) exchange(&bob, &alice, "turn"); /* the next run has a new ratchet key */
    }
    for (unsigned run = 0; run < N; run += 60) { /* within the chains that are remembered */
        unsigned end = run + 60 < N ? run + 60 : N;
        for (unsigned i = end - 1; i > run; i--) {
            unsigned j = run + (unsigned)(party_number(&alice) % (i - run + 1)), t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
    }
    for (unsigned i = 0; i < N; i++) {
        expect_text(&bob, &alice, pile[order[i]], texts[order[i]]);
        if (i % 7 == 0) expect_error(&bob, &alice, pile[order[i]], ERR_OLD_COUNTER);
    }
    for (unsigned i = 0; i < N; i++)
        expect_error(&bob, &alice, pile[i], ERR_OLD_COUNTER);
    part();
}

Test(session, keeps_the_hot_row_small_while_skipping)
{
    struct slice row;

    meet(true);
    exchange(&alice, &bob, "hi");
    for (int i = 0; i < 1500; i++)
        say(&alice, &bob, "lost");
    size_t before = bob.saves;
    exchange(&alice, &bob, "after the gap");
    cr_assert_leq(bob.saves - before, 1500 / WA_BLOCK_KEYS + 3);
    before = bob.saves;
    exchange(&alice, &bob, "next");
    cr_assert_eq(bob.saves - before, 1, "one row a message");
    cr_assert_eq(bob.ks.load(&bob, wa_session_row(&bob.arena, &alice.address), &bob.arena, &row),
                 OK);
    cr_assert_leq(row.len, 400, "%zu", row.len);
    part();
}

Test(session, jumps_two_thousand_but_no_further)
{
    struct wa_encrypted lost = {0};

    meet(true);
    exchange(&alice, &bob, "hi");
    exchange(&bob, &alice, "hello");
    for (int i = 0; i < 2000; i++) {
        struct wa_encrypted e = say(&alice, &bob, "lost");
        if (i == 3) lost = e;
    }
    exchange(&alice, &bob, "far");
    expect_text(&bob, &alice, lost, "lost");
    expect_error(&bob, &alice, lost, ERR_OLD_COUNTER);

    for (int i = 0; i < 2001; i++)
        say(&alice, &bob, "lost");
    struct wa_encrypted beyond = say(&alice, &bob, "too far");
    expect_error(&bob, &alice, beyond, ERR_FUTURE_MESSAGE);
    alice.address.own = true;
    expect_text(&bob, &alice, beyond, "too far");
    part();
}

Test(session, forgets_the_oldest_of_too_many_skipped_keys)
{
    struct wa_encrypted oldest, newer;

    meet(true);
    exchange(&alice, &bob, "hi");
    oldest = say(&alice, &bob, "oldest");
    for (int i = 0; i < 1900; i++)
        say(&alice, &bob, "lost");
    exchange(&alice, &bob, "a");
    newer = say(&alice, &bob, "newer");
    for (int i = 0; i < 1900; i++)
        say(&alice, &bob, "lost");
    exchange(&alice, &bob, "b");
    expect_error(&bob, &alice, oldest, ERR_OLD_COUNTER);
    expect_text(&bob, &alice, newer, "newer");
    cr_assert_leq(bob.rows.count, WA_SKIPPED_SLOTS + 3, "%zu", bob.rows.count);
    part();
}

Test(session, forgets_the_rows_of_old_chains)
{
    meet(true);
    exchange(&alice, &bob, "hi");
    for (int turn = 0; turn < 20; turn++) {
        exchange(&bob, &alice, "turn");
        say(&alice, &bob, "lost");
        exchange(&alice, &bob, "kept");
    }
    /* session, identity, signed prekey, and at most one row for each remembered chain */
    cr_assert_leq(bob.rows.count, 3 + WA_CHAINS_MAX, "%zu", bob.rows.count);
    cr_assert_eq(wa_session_delete(&bob.ks, &bob.arena, &alice.address), OK);
    cr_assert_eq(bob.rows.count, 2, "%zu", bob.rows.count);
    part();
}

Test(session, survives_simultaneous_initiation)
{
    struct wa_bundle b;
    bool changed;

    meet(true);
    b = party_bundle(&alice, true);
    cr_assert_eq(wa_session_from_bundle(&bob.ks, &bob.arena, &alice.address, &b, &changed), OK);
    struct wa_encrypted from_alice = say(&alice, &bob, "a1"), from_bob = say(&bob, &alice, "b1");
    cr_assert(from_alice.is_prekey && from_bob.is_prekey);
    expect_text(&bob, &alice, from_alice, "a1");
    expect_text(&alice, &bob, from_bob, "b1");
    for (int i = 0; i < 4; i++) {
        from_alice = say(&alice, &bob, "a2");
        from_bob = say(&bob, &alice, "b2");
        cr_assert_not(from_alice.is_prekey || from_bob.is_prekey);
        expect_text(&bob, &alice, from_alice, "a2");
        expect_text(&alice, &bob, from_bob, "b2");
    }
    exchange(&alice, &bob, "alone");
    exchange(&bob, &alice, "answer");
    cr_assert_arr_eq(info(&alice, &bob).base.bytes, info(&bob, &alice).base.bytes, CRYPTO_KEY,
                     "both ended up on one session");
    part();
}

Test(session, reads_late_messages_of_an_archived_session)
{
    struct wa_bundle b;
    bool changed;

    meet(true);
    exchange(&alice, &bob, "hi");
    exchange(&bob, &alice, "hello");
    struct wa_encrypted skipped = say(&alice, &bob, "skipped"), late = say(&alice, &bob, "late");
    b = party_bundle(&bob, true);
    cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &b, &changed), OK);
    exchange(&alice, &bob, "new session");
    expect_text(&bob, &alice, late, "late");
    expect_text(&bob, &alice, skipped, "skipped");
    expect_error(&bob, &alice, late, ERR_OLD_COUNTER);
    exchange(&alice, &bob, "new again");
    exchange(&bob, &alice, "answer");
    part();
}

Test(session, bounds_the_archive)
{
    struct wa_encrypted first;
    struct wa_archive archive;
    bool changed;

    meet(false);
    exchange(&alice, &bob, "hi");
    first = say(&alice, &bob, "first session");
    for (int i = 0; i < 30; i++) {
        struct wa_bundle b = party_bundle(&bob, false);
        cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &b, &changed),
                     OK);
        exchange(&alice, &bob, "again");
    }
    cr_assert_eq(wa_archive_load(&bob.ks, &bob.arena, &alice.address, &archive), OK);
    cr_assert_eq(archive.count, WA_ARCHIVED_MAX);
    /* Its state is gone; a pkmsg without one-time key starts it anew, at the same message. */
    expect_text(&bob, &alice, first, "first session");
    part();
}

Test(session, reports_a_new_identity_and_drops_the_old_sessions)
{
    struct wa_decrypted got;
    struct wa_encrypted old;
    struct wa_bundle b;
    bool changed;

    meet(true);
    exchange(&alice, &bob, "hi");
    exchange(&bob, &alice, "hello");
    old = say(&alice, &bob, "from the old phone");
    say(&alice, &bob, "lost");
    exchange(&alice, &bob, "skips one");

    party_done(&alice);
    party_init(&alice, "alice@lid", 0, 99); /* reinstalled */
    b = party_bundle(&bob, true);
    cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &b, &changed), OK);
    struct wa_encrypted e = say(&alice, &bob, "new phone");
    cr_assert_eq(hear(&bob, &alice, e, &got), OK);
    cr_assert(got.identity_changed);
    cr_assert_arr_eq(info(&bob, &alice).identity.bytes, alice.identity.public.bytes, CRYPTO_KEY);
    exchange(&bob, &alice, "hello again");
    cr_assert_eq(old.is_prekey, false);
    cr_assert_leq(bob.rows.count, 3);

    party_done(&bob);
    party_init(&bob, "bob@lid", 3, 77);
    b = party_bundle(&bob, true);
    cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &b, &changed), OK);
    cr_assert(changed, "a bundle tells it too");
    part();
}

Test(session, refuses_a_forged_bundle)
{
    struct wa_bundle b;
    bool changed;
    size_t before;

    meet(true);
    b = party_bundle(&bob, true);
    before = alice.saves;
    b.signature[10] ^= 1;
    cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &b, &changed),
                 ERR_BAD_SIGNATURE);
    b.signature[10] ^= 1;
    b.signed_prekey.bytes[0] ^= 1;
    cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &b, &changed),
                 ERR_BAD_SIGNATURE);
    b.signed_prekey.bytes[0] ^= 1;
    memset(b.prekey.bytes, 0, CRYPTO_KEY);
    cr_assert_eq(wa_session_from_bundle(&alice.ks, &alice.arena, &bob.address, &b, &changed),
                 ERR_BAD_KEY);
    cr_assert_eq(alice.saves, before);
    part();
}

Test(session, knows_nobody_at_first)
{
    struct wa_encrypted e;

    meet(true);
    exchange(&alice, &bob, "hi");
    exchange(&bob, &alice, "hello");
    e = say(&alice, &bob, "x");
    cr_assert_eq(wa_session_delete(&bob.ks, &bob.arena, &alice.address), OK);
    expect_error(&bob, &alice, e, ERR_NO_SESSION);
    cr_assert_eq(wa_session_encrypt(&bob.ks, &bob.arena, &alice.address, SLICE("y"), &e),
                 ERR_NO_SESSION);
    part();
}

/* ---- a random life ---- */

struct letter {
    struct wa_encrypted sent;
    char text[24];
};

/* What is under way in one direction, at most a few letters, delivered in almost any order:
 * one that waits for more turns of the ratchet than a state remembers could not be read. */
struct post {
    struct party *from, *to;
    struct letter letters[6];
    unsigned count, number, passed_over; /* how often the oldest was */
};

static void post_letter(struct post *p)
{
    struct letter *l = &p->letters[p->count++];

    snprintf(l->text, sizeof(l->text), "letter %u", p->number++);
    l->sent = say(p->from, p->to, l->text);
}

static void deliver_letter(struct post *p)
{
    unsigned i = p->passed_over == 2 ? 0 : (unsigned)(party_number(p->from) % p->count);
    struct letter l = p->letters[i];

    p->passed_over = i ? p->passed_over + 1 : 0;
    p->count--;
    memmove(p->letters + i, p->letters + i + 1, (p->count - i) * sizeof(l));
    if (party_number(p->from) % 10 == 0) return; /* lost */
    expect_text(p->to, p->from, l.sent, l.text);
    if (party_number(p->from) % 5 == 0) expect_error(p->to, p->from, l.sent, ERR_OLD_COUNTER);
}

static void start_anew(struct post *p)
{
    struct wa_bundle b = party_bundle(p->to, party_number(p->from) % 2);
    bool changed;

    cr_assert_eq(
        wa_session_from_bundle(&p->from->ks, &p->from->arena, &p->to->address, &b, &changed), OK);
    cr_assert_not(changed);
}

Test(session, survives_a_random_life)
{
    struct post posts[2];

    meet(true);
    posts[0] = (struct post){.from = &alice, .to = &bob};
    posts[1] = (struct post){.from = &bob, .to = &alice};
    exchange(&alice, &bob, "hi");
    for (int step = 0; step < 6000; step++) {
        struct post *p = &posts[party_number(&alice) % 2];
        unsigned dice = (unsigned)(party_number(&alice) % 200);

        if (dice == 0)
            start_anew(p);
        else if (p->count == ARRAY_LEN(p->letters) || (p->count && dice % 2))
            deliver_letter(p);
        else
            post_letter(p);
    }
    cr_assert_gt(posts[0].number + posts[1].number, 2000);
    cr_assert_lt(alice.rows.count, 60, "%zu", alice.rows.count);
    part();
}

/* ---- hostile input ---- */

static void expect_spoiled(struct party *to, struct party *from, struct wa_encrypted e)
{
    struct wa_decrypted got;
    size_t before = to->saves;
    err_t is = hear(to, from, e, &got);

    cr_assert_neq(is, OK);
    cr_assert_neq(err_class(is), ERR_CLASS_BROKEN);
    cr_assert_eq(to->saves, before);
}

static void spoil(struct party *to, struct party *from, struct wa_encrypted e, const char *text)
{
    for (size_t n = 0; n < e.bytes.len; n++) {
        struct wa_encrypted cut = {e.is_prekey, slice_sub(e.bytes, 0, n)};
        expect_spoiled(to, from, cut);
    }
    for (size_t i = 0; i < e.bytes.len; i++) {
        struct slice copy = arena_dup(&to->arena, e.bytes);
        struct wa_decrypted got;
        size_t before = to->saves;

        ((uint8_t *)(uintptr_t)copy.data)[i] ^= 1 << i % 8;
        err_t is = hear(to, from, (struct wa_encrypted){e.is_prekey, copy}, &got);
        /* The low half of the outer version byte and the registration id are not authenticated. */
        if (is == OK) {
            cr_assert(e.is_prekey);
            cr_assert(slice_is(got.padded, text));
            return;
        }
        cr_assert_eq(to->saves, before);
    }
    expect_text(to, from, e, text);
}

Test(session, refuses_a_cut_or_spoiled_msg)
{
    meet(true);
    exchange(&alice, &bob, "hi");
    exchange(&bob, &alice, "hello");
    spoil(&bob, &alice, say(&alice, &bob, "on the same ratchet key, a little longer"),
          "on the same ratchet key, a little longer");
    exchange(&bob, &alice, "turn");
    spoil(&bob, &alice, say(&alice, &bob, "on a new one"), "on a new one");
    part();
}

Test(session, refuses_a_cut_pkmsg)
{
    struct wa_encrypted e;

    meet(true);
    e = say(&alice, &bob, "first");
    for (size_t n = 0; n < e.bytes.len; n++)
        expect_spoiled(&bob, &alice, (struct wa_encrypted){true, slice_sub(e.bytes, 0, n)});
    expect_text(&bob, &alice, e, "first");
    part();
}

Test(session, refuses_a_spoiled_pkmsg)
{
    struct wa_encrypted e;

    meet(true);
    e = say(&alice, &bob, "first");
    /* From the base key to the end of the inner MAC: everything that takes part in the keys. */
    for (size_t i = 3; i < e.bytes.len - 8; i++) {
        struct slice copy = arena_dup(&bob.arena, e.bytes);
        ((uint8_t *)(uintptr_t)copy.data)[i] ^= 0x40;
        expect_spoiled(&bob, &alice, (struct wa_encrypted){true, copy});
    }
    expect_text(&bob, &alice, e, "first");
    part();
}

Test(session, refuses_other_versions)
{
    struct wa_encrypted e;

    meet(true);
    e = say(&alice, &bob, "first");
    struct slice copy = arena_dup(&bob.arena, e.bytes);
    *(uint8_t *)(uintptr_t)copy.data = 0x44;
    expect_error(&bob, &alice, (struct wa_encrypted){true, copy}, ERR_BAD_MESSAGE);
    *(uint8_t *)(uintptr_t)copy.data = 0x23;
    expect_error(&bob, &alice, (struct wa_encrypted){true, copy}, ERR_BAD_MESSAGE);
    part();
}

Test(session, moves_to_another_address)
{
    struct wa_address pn = {.name = SLICE("155500@s.whatsapp.net"), .device = 0};
    struct wa_encrypted skipped;
    struct wa_session_info i;
    struct crypto_key key;
    bool found;

    meet(true);
    exchange(&alice, &bob, "hi");
    skipped = say(&alice, &bob, "skipped");
    exchange(&alice, &bob, "next");
    cr_assert_eq(wa_session_move(&bob.ks, &bob.arena, &alice.address, &pn), OK);
    cr_assert_eq(wa_session_info(&bob.ks, &bob.arena, &alice.address, &i), ERR_NO_SESSION);
    cr_assert_eq(wa_identity_load(&bob.ks, &bob.arena, &pn, &key, &found), OK);
    cr_assert(found);
    alice.address = pn;
    expect_text(&bob, &alice, skipped, "skipped");
    exchange(&bob, &alice, "answer");
    exchange(&alice, &bob, "goes on");

    /* Onto an address that has a session: what is there stays current. */
    struct wa_address lid = {.name = SLICE("777@lid"), .device = 0};
    struct wa_bundle b = party_bundle(&alice, true);
    bool changed;
    cr_assert_eq(wa_session_from_bundle(&bob.ks, &bob.arena, &lid, &b, &changed), OK);
    cr_assert_eq(wa_session_move(&bob.ks, &bob.arena, &pn, &lid), OK);
    alice.address = lid;
    cr_assert(info(&bob, &alice).pending);
    exchange(&alice, &bob, "on the moved one");
    cr_assert_not(info(&bob, &alice).pending);
    part();
}

/* ---- our half of a turn ---- */

static bool is_wiped(const void *p, size_t n)
{
    static const uint8_t zeros[sizeof(struct crypto_pair)];
    return memcmp(p, zeros, n) == 0;
}

static struct wa_session state_of(struct party *p, struct party *peer)
{
    struct wa_session s;
    bool found;

    cr_assert_eq(wa_session_load(&p->ks, &p->arena, &peer->address, &s, &found), OK);
    cr_assert(found);
    return s;
}

Test(session, turns_its_half_of_the_ratchet_when_it_sends)
{
    meet(true);
    exchange(&alice, &bob, "one");
    for (int i = 0; i < 3; i++) {
        struct party *a = i % 2 ? &bob : &alice, *b = i % 2 ? &alice : &bob;
        uint64_t randomness = a->seed;

        exchange(b, a, "a new ratchet key");
        exchange(b, a, "the same one");
        struct wa_session s = state_of(a, b);
        cr_assert_eq(a->seed, randomness, "no key was made");
        cr_assert(!s.can_send && is_wiped(&s.ratchet, sizeof(s.ratchet)));
        cr_assert(is_wiped(&s.sending.key, sizeof(s.sending.key)), "its chain is over");
        say(a, b, "makes the key");
        s = state_of(a, b);
        cr_assert(s.can_send && !is_wiped(&s.ratchet, sizeof(s.ratchet)));
        say(a, b, "uses it");
        cr_assert_arr_eq(state_of(a, b).ratchet.public.bytes, s.ratchet.public.bytes, CRYPTO_KEY);
        exchange(a, b, "reads it");
    }
    part();
}

/* A peer that went back to a backup steps the same ratchet twice; nothing of ours has left since,
 * so nobody can know the key that would fit. */
Test(session, takes_one_new_ratchet_key_until_it_answers)
{
    struct wa_session before;
    struct wa_encrypted answer;

    meet(true);
    exchange(&alice, &bob, "one");
    exchange(&bob, &alice, "two");
    before = state_of(&alice, &bob);
    exchange(&alice, &bob, "turns");
    wa_session_save(&alice.ks, &alice.arena, &bob.address, &before);
    expect_error(&bob, &alice, say(&alice, &bob, "turns again"), ERR_BAD_MAC);
    answer = say(&bob, &alice, "to the key that was lost");
    expect_error(&alice, &bob, answer, ERR_BAD_MAC);
    part();
}

/* ---- no memory ---- */

/* Reads `e` once for each point at which memory may be refused, then without a refusal. */
static void expect_text_after_refusals(struct party *to, struct party *from, struct wa_encrypted e,
                                       const char *text)
{
    unsigned refusals = 0;
    size_t before = to->saves;

    for (;;) {
        AUTO(arena) arena = {0};
        struct wa_decrypted got;

        refuse_memory(refusals + 1);
        err_t is = wa_session_decrypt(&to->ks, &arena, &from->address, e.is_prekey, e.bytes, &got);
        if (!refused_memory()) {
            cr_assert(is == OK && slice_is(got.padded, text), "%s", err_name(is));
            break;
        }
        cr_assert_eq(is, ERR_NO_MEMORY, "%s at refusal %u", err_name(is), refusals + 1);
        cr_assert_eq(to->saves, before, "a failed call saves nothing");
        refusals++;
    }
    cr_assert_geq(refusals, 2, "%u: the protobuf and the text ask for memory", refusals);
}

Test(session, does_not_blame_the_peer_when_there_is_no_memory)
{
    static char text[3000];

    memset(text, 'x', sizeof(text) - 1);
    meet(true);
    expect_text_after_refusals(&bob, &alice, say(&alice, &bob, text), text); /* pkmsg */
    expect_text_after_refusals(&alice, &bob, say(&bob, &alice, text), text); /* turns the ratchet */
    expect_text_after_refusals(&alice, &bob, say(&bob, &alice, text), text);
    part();
}
