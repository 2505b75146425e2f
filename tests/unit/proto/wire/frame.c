#include "proto/wire/frame.h"

#include <criterion/criterion.h>

#include "tests/support/vectors.h"

/* Three frames of 0, 1 and 300 bytes. */
static void put_three(struct buf *out)
{
    uint8_t large[300];

    memset(large, 7, sizeof(large));
    cr_assert_eq(wa_frame_put(SLICE_NONE, out), OK);
    cr_assert_eq(wa_frame_put(SLICE("x"), out), OK);
    cr_assert_eq(wa_frame_put(SLICE_ARRAY(large), out), OK);
}

static size_t take_all(struct wa_frames *f)
{
    struct slice frame;
    size_t n = 0;

    while (wa_frames_next(f, &frame)) {
        n++;
        for (size_t i = 0; i < frame.len; i++)
            cr_assert(frame.data[i] == 7 || frame.data[i] == 'x');
    }
    return n;
}

Test(frames, begin_as_in_the_vectors)
{
    AUTO(arena) a = {0};
    AUTO(buf) plain = {0}, routed = {0};
    json_t *v = vectors_open("noise.json");

    wa_frame_put_intro(SLICE_NONE, &plain);
    cr_expect(slice_eq(buf_slice(&plain), vector_hex(v, "intro", &a)));
    wa_frame_put_intro(vector_hex(v, "edge_routing_preintro_example.routing_info", &a), &routed);
    cr_expect(
        slice_eq(buf_slice(&routed), vector_hex(v, "edge_routing_preintro_example.bytes", &a)));
    json_decref(v);
}

Test(frames, come_out_whole_whatever_the_pieces)
{
    AUTO(buf) wire = {0};

    put_three(&wire);
    for (size_t piece = 1; piece <= wire.len; piece++) {
        struct wa_frames f;
        size_t n = 0;

        wa_frames_init(&f);
        for (size_t at = 0; at < wire.len; at += piece) {
            cr_assert_eq(wa_frames_feed(&f, slice_sub(buf_slice(&wire), at, at + piece)), OK);
            n += take_all(&f);
        }
        cr_assert_eq(n, 3, "pieces of %zu", piece);
        wa_frames_done(&f);
    }
}

Test(frames, waits_for_the_last_byte)
{
    struct wa_frames f;
    struct slice frame;

    wa_frames_init(&f);
    cr_assert_eq(wa_frames_feed(&f, slice_of("\0\0\2a", 4)), OK);
    cr_assert(!wa_frames_next(&f, &frame));
    cr_assert_eq(wa_frames_feed(&f, slice_of("b\0\0", 3)), OK);
    cr_assert(wa_frames_next(&f, &frame));
    cr_assert(slice_is(frame, "ab"));
    cr_assert(!wa_frames_next(&f, &frame));
    cr_assert_eq(f.pending.len, 2, "what was taken is forgotten");
    wa_frames_done(&f);
}

Test(frames, refuses_a_large_one_before_it_arrives)
{
    struct wa_frames f;
    struct slice frame;

    wa_frames_init(&f);
    wa_frames_limit(&f, 10);
    cr_assert_eq(wa_frames_feed(&f, slice_of("\0\0\1a\0\0", 6)), OK);
    cr_assert_eq(wa_frames_feed(&f, slice_of("\13", 1)), ERR_FRAME_TOO_LARGE);
    wa_frames_done(&f);

    wa_frames_init(&f);
    wa_frames_limit(&f, 10);
    cr_assert_eq(wa_frames_feed(&f, slice_of("\0\0\12abc", 6)), OK);
    cr_assert_eq(wa_frames_feed(&f, slice_of("0123456", 7)), OK);
    cr_assert(wa_frames_next(&f, &frame));
    wa_frames_limit(&f, WA_FRAME_MAX);
    cr_assert_eq(wa_frames_feed(&f, slice_of("\0\1\0", 3)), OK);
    wa_frames_done(&f);
}

Test(frames, gives_its_memory_back)
{
    AUTO(buf) wire = {0};
    AUTO(buf) large = {0};
    struct wa_frames f;
    struct slice frame;

    buf_extend(&large, 1 << 20);
    memset(large.data, 7, large.len);
    cr_assert_eq(wa_frame_put(buf_slice(&large), &wire), OK);
    wa_frames_init(&f);
    cr_assert_eq(wa_frames_feed(&f, buf_slice(&wire)), OK);
    cr_assert(wa_frames_next(&f, &frame));
    cr_assert_eq(frame.len, large.len);
    cr_assert(!wa_frames_next(&f, &frame));
    cr_assert_leq(f.pending.cap, 1024);
    wa_frames_done(&f);
}

Test(frames, cannot_be_longer_than_three_bytes_say)
{
    AUTO(buf) out = {0};

    cr_assert_eq(wa_frame_put_head(WA_FRAME_MAX, &out), OK);
    cr_assert_eq(wa_frame_put_head(WA_FRAME_MAX + 1, &out), ERR_FRAME_TOO_LARGE);
    cr_assert_eq(out.len, 3);
}

/* ---- the preamble ---- */

Test(preamble, is_what_the_official_client_sends)
{
    AUTO(buf) out = {0};

    wa_frame_put_intro(SLICE("\x08\x02\x08\x05"), &out);
    cr_assert(slice_eq(buf_slice(&out), slice_of("ED\0\1\0\0\4\10\2\10\5WA\6\3", 15)));
    buf_reset(&out);
    wa_frame_put_intro(SLICE_NONE, &out);
    cr_assert(slice_eq(buf_slice(&out), slice_of("WA\6\3", 4)));
}

Test(preamble, a_blob_beyond_the_limit_is_not_sent)
{
    AUTO(buf) blob = {0};
    AUTO(buf) out = {0};

    buf_extend(&blob, WA_ROUTING_MAX + 1);
    wa_frame_put_intro(buf_slice(&blob), &out);
    cr_assert_eq(out.len, WA_INTRO_LEN);
}

Test(preamble, a_server_reads_it_in_any_pieces)
{
    for (int routed = 0; routed < 2; routed++) {
        AUTO(buf) wire = {0};

        wa_frame_put_intro(routed ? SLICE("blob") : SLICE_NONE, &wire);
        put_three(&wire);
        for (size_t piece = 1; piece <= wire.len; piece++) {
            struct wa_frames f;
            size_t n = 0;

            wa_frames_init_server(&f);
            for (size_t at = 0; at < wire.len; at += piece) {
                cr_assert_eq(wa_frames_feed(&f, slice_sub(buf_slice(&wire), at, at + piece)), OK);
                n += take_all(&f);
            }
            cr_assert_eq(n, 3);
            cr_assert(slice_is(buf_slice(&f.routing), routed ? "blob" : ""));
            wa_frames_done(&f);
        }
    }
}

Test(preamble, a_server_refuses_every_other_beginning)
{
    static const char good[] = "ED\0\1\0\0\2xyWA\6\3";

    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        struct wa_frames f;
        char bad[sizeof(good)];

        if (i >= 4 && i < 9) continue; /* length and blob */
        memcpy(bad, good, sizeof(good));
        bad[i] ^= 0x20;
        wa_frames_init_server(&f);
        cr_assert_eq(wa_frames_feed(&f, slice_of(bad, sizeof(bad) - 1)), ERR_BAD_HANDSHAKE, "%zu",
                     i);
        wa_frames_done(&f);
    }
    struct wa_frames f;
    wa_frames_init_server(&f);
    cr_assert_eq(wa_frames_feed(&f, slice_of("ED\0\1\xff\xff\xff", 7)), ERR_TOO_LARGE);
    wa_frames_done(&f);
    wa_frames_init_server(&f);
    cr_assert_eq(wa_frames_feed(&f, slice_of("ED\0\1\0\0\0ED\0\1\0\0\0WA\6\3", 18)),
                 ERR_BAD_HANDSHAKE, "one blob only");
    wa_frames_done(&f);
}
