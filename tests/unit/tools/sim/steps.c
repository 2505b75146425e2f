/* A step may be seen again only as the resend it is. */
#include "tools/sim/steps.h"

#include <criterion/criterion.h>

#include "proto/schema/signal.pb-c.h"
#include "proto/schema/unpack.h"

static struct arena arena;
static struct sim_steps steps;

static void begin(void) { sim_steps_init(&steps); }

static void end(void)
{
    sim_steps_done(&steps);
    arena_done(&arena);
}

TestSuite(steps, .init = begin, .fini = end);

/* Version byte, protobuf, MAC or signature. */
static struct slice framed(const ProtobufCMessage *m, size_t tail)
{
    static const uint8_t zeros[64];
    struct buf out = {0};
    struct slice kept;

    buf_put(&out, SLICE("\x33"));
    wa_pack(m, &out);
    buf_put(&out, slice_of(zeros, tail));
    kept = arena_dup(&arena, buf_slice(&out));
    buf_done(&out);
    return kept;
}

static struct slice pairwise(uint32_t counter, const char *cipher)
{
    Wa__SignalMessage m = WA__SIGNAL_MESSAGE__INIT;

    m.has_ratchet_key = m.has_counter = m.has_ciphertext = true;
    m.ratchet_key = wa_binary(SLICE("\x05"
                                    "a ratchet key of thirty-two bytes"));
    m.counter = counter;
    m.ciphertext = wa_binary(slice_text(cipher));
    return framed(&m.base, 8);
}

static struct slice first(struct slice inner)
{
    Wa__SignalPrekeyMessage m = WA__SIGNAL_PREKEY_MESSAGE__INIT;

    m.has_message = true;
    m.message = wa_binary(inner);
    return framed(&m.base, 0);
}

static struct slice shared(uint32_t iteration, const char *cipher)
{
    Wa__SenderKeyMessage m = WA__SENDER_KEY_MESSAGE__INIT;

    m.has_id = m.has_iteration = m.has_ciphertext = true;
    m.id = 7;
    m.iteration = iteration;
    m.ciphertext = wa_binary(slice_text(cipher));
    return framed(&m.base, 64);
}

static bool note_of(const char *author, const char *id, const char *type, struct slice bytes)
{
    struct wa_node *enc = wa_node_new(&arena, "enc");

    wa_node_set(enc, &arena, "type", slice_text(type));
    wa_node_set_bytes(enc, bytes);
    return sim_step_note(&steps, &arena, slice_text(author), slice_text(id), enc);
}

static bool note(const char *id, const char *type, struct slice bytes)
{
    return note_of("15550001111:5", id, type, bytes);
}

Test(steps, a_resend_is_allowed)
{
    cr_expect(note("M1", "msg", pairwise(1, "hello")));
    cr_expect(note("M1", "msg", pairwise(1, "hello")));
    cr_expect(note("M2", "msg", pairwise(2, "hello")));
}

Test(steps, other_bytes_or_another_id_are_not)
{
    cr_expect(note("M1", "msg", pairwise(1, "hello")));
    cr_expect_not(note("M1", "msg", pairwise(1, "other")));
    cr_expect_not(note("M2", "msg", pairwise(1, "hello")));
}

Test(steps, a_first_message_uses_the_step_inside)
{
    cr_expect(note("M1", "pkmsg", first(pairwise(0, "hello"))));
    cr_expect_not(note("M2", "msg", pairwise(0, "other")));
}

Test(steps, a_sender_key_belongs_to_its_author)
{
    cr_expect(note("M1", "skmsg", shared(0, "hello")));
    cr_expect(note_of("15550002222:1", "M2", "skmsg", shared(0, "other")));
    cr_expect_not(note("M2", "skmsg", shared(0, "other")));
}

Test(steps, what_is_no_message_has_no_step)
{
    struct slice whole = pairwise(1, "hello");

    for (size_t n = 0; n < 12; n++)
        cr_expect(note("M1", n % 2 ? "msg" : "pkmsg", slice_sub(whole, 0, n)));
    cr_expect(note("M1", "msmsg", SLICE("x")));
    cr_expect_eq(steps.count, 0);
}

Test(steps, the_oldest_are_forgotten)
{
    for (uint32_t n = 0; n <= SIM_STEPS_MAX; n++) {
        cr_assert(note("M1", "skmsg", shared(n, "x")));
        arena_reset(&arena);
    }
    cr_expect_eq(steps.count, SIM_STEPS_MAX);
    cr_expect(note("M2", "skmsg", shared(0, "forgotten")));
    cr_expect_not(note("M2", "skmsg", shared(SIM_STEPS_MAX, "known")));
}
