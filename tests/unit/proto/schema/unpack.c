#include <criterion/criterion.h>

#include "proto/schema/message.pb-c.h"
#include "proto/schema/signal.pb-c.h"
#include "proto/schema/unpack.h"
#include "tests/support/vectors.h"

static struct slice nested(struct arena *arena, unsigned depth)
{
    struct slice in = SLICE("\x0a\x02hi"); /* Message.conversation */

    for (unsigned i = 0; i < depth; i++) {
        struct buf b = {0};
        buf_put_varint(&b, i % 2 ? 40 << 3 | 2 : 1 << 3 | 2); /* ephemeralMessage, its message */
        buf_put_block(&b, in);
        in = arena_dup(arena, buf_slice(&b));
        buf_done(&b);
    }
    return in;
}

Test(unpack, reads_a_message_and_writes_it_back)
{
    AUTO(arena) arena = {0};
    const Wa__Message *m;
    struct slice in = SLICE("\x0a\x05hello\x9a\x3f\x01x"); /* conversation, unknown field 1011 */

    cr_assert_eq(WA_UNPACK(wa__message, in, &arena, &m), OK);
    cr_assert_str_eq(m->conversation, "hello");
    cr_assert(slice_eq(wa_pack_in(&m->base, &arena), in), "unknown fields survive");
}

Test(unpack, reads_the_key_distribution_of_the_vector)
{
    AUTO(arena) arena = {0};
    json_t *v = vectors_open("sender_key.json");
    struct slice in = vector_hex(v, "skdm_message_protobuf", &arena),
                 skdm = vector_hex(v, "skdm", &arena);
    const Wa__SenderKeyDistributionMessage *d;
    const Wa__Message *m;

    cr_assert_eq(WA_UNPACK(wa__message, in, &arena, &m), OK);
    d = m->sender_key_distribution_message;
    cr_assert(d && strstr(d->group_id, "@g.us"));
    cr_assert(slice_eq(slice_of(d->axolotl_sender_key_distribution_message.data,
                                d->axolotl_sender_key_distribution_message.len),
                       skdm));
    cr_assert(slice_eq(wa_pack_in(&m->base, &arena), in));
    json_decref(v);
}

Test(unpack, fails_on_every_cut)
{
    AUTO(arena) arena = {0};
    const Wa__Message *m;
    struct slice in = SLICE("\x32\x0a\x0a\x05hello\x8a\x01\x00"); /* extendedTextMessage */

    cr_assert_eq(WA_UNPACK(wa__message, in, &arena, &m), OK);
    for (size_t n = 1; n < in.len; n++)
        cr_assert_eq(WA_UNPACK(wa__message, slice_sub(in, 0, n), &arena, &m), ERR_BAD_PROTOBUF);
}

Test(unpack, bounds_the_nesting)
{
    AUTO(arena) arena = {0};
    const Wa__Message *m;

    cr_assert_eq(WA_UNPACK(wa__message, nested(&arena, 40), &arena, &m), OK);
    cr_assert_eq(WA_UNPACK(wa__message, nested(&arena, 100), &arena, &m), ERR_BAD_PROTOBUF);
    cr_assert_eq(WA_UNPACK(wa__message, nested(&arena, 2000), &arena, &m), ERR_BAD_PROTOBUF);
}

Test(unpack, bounds_the_memory)
{
    AUTO(arena) arena = {0};
    AUTO(buf) b = {0};
    const Wa__Message *m;

    for (int i = 0; i < 5000; i++)
        buf_put(&b, SLICE("\x12\x00")); /* empty contacts */
    struct slice contacts = arena_dup(&arena, buf_slice(&b));
    buf_reset(&b);
    buf_put_varint(&b, 13 << 3 | 2);
    buf_put_block(&b, contacts);

    err_t e = WA_UNPACK(wa__message, buf_slice(&b), &arena, &m);
    cr_assert(e == OK || e == ERR_BAD_PROTOBUF);
    cr_assert_lt(arena.total, 256 * b.len);
}

/* Two bytes of input make forty of the decoder's own and as many of the message, so a stanza of the
 * largest size could take most of a gigabyte. */
Test(unpack, bounds_the_memory_of_a_large_input_too)
{
    enum { LARGE = 16 << 20 };
    AUTO(arena) arena = {0}, input = {0};
    uint8_t *bytes = arena_alloc(&input, LARGE);
    const Wa__SignalMessage *m;

    for (size_t i = 0; i < LARGE; i += 2)
        memcpy(bytes + i, "\x78\x01", 2); /* field 15, which is unknown */
    cr_expect_eq(WA_UNPACK(wa__signal_message, slice_of(bytes, LARGE), &arena, &m),
                 ERR_BAD_PROTOBUF);
    cr_expect_leq(arena.total, (size_t)WA_UNPACK_MEMORY_MAX + WA_UNPACK_MEMORY);

    arena_reset(&arena);
    memcpy(bytes, "\x22\xfa\xff\xff\x07", 5); /* one ciphertext as long as that is read */
    cr_expect_eq(WA_UNPACK(wa__signal_message, slice_of(bytes, LARGE - 1), &arena, &m), OK);
    cr_expect_eq(m->ciphertext.len, LARGE - 6u);
}
