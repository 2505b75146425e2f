/* Frames: the same bytes must give the same frames and the same verdict however they are cut. The
 * first byte chooses the end and the cuts. */
#include <stdlib.h>

#include "proto/wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t frames, bytes;
    uint32_t sum;
    err_t end;
};

static void take(struct wa_frames *f, struct seen *seen)
{
    struct slice frame;

    while (wa_frames_next(f, &frame)) {
        seen->frames++;
        seen->bytes += frame.len;
        for (size_t i = 0; i < frame.len; i++)
            seen->sum = seen->sum * 31 + frame.data[i];
    }
}

static struct seen read_in_pieces(struct slice in, size_t piece, bool is_server, size_t max)
{
    struct wa_frames f;
    struct seen seen = {0};

    if (is_server)
        wa_frames_init_server(&f);
    else
        wa_frames_init(&f);
    wa_frames_limit(&f, max);
    while (in.len && seen.end == OK) {
        size_t n = piece < in.len ? piece : in.len;
        seen.end = wa_frames_feed(&f, slice_sub(in, 0, n));
        take(&f, &seen);
        in = slice_from(in, n);
    }
    wa_frames_done(&f);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;

    struct slice in = slice_of(data + 1, size - 1);
    bool is_server = data[0] & 1;
    size_t max = data[0] & 2 ? 1000 : WA_FRAME_MAX;
    struct seen whole = read_in_pieces(in, SIZE_MAX, is_server, max);
    struct seen cut = read_in_pieces(in, 1u + (data[0] >> 2), is_server, max);

    if (whole.end != cut.end) abort();
    /* Refused as a whole, what came before the bad length need not have been handed out. */
    if (whole.end == OK && (whole.frames != cut.frames || whole.sum != cut.sum)) abort();
    return 0;
}
