#include "proto/wire/frame.h"

const uint8_t wa_intro[WA_INTRO_LEN] = {'W', 'A', 6, 3};

/* 'E' 'D', 0, 1; then three bytes of length and the routing blob. */
static const uint8_t routing_intro[4] = {'E', 'D', 0, 1};

enum {
    ROUTING_HEAD = sizeof(routing_intro) + WA_FRAME_HEAD,
    KEEP_MAX = 1024, /* of memory while nothing waits: thousands of links are idle */
};

void wa_frames_init(struct wa_frames *f) { *f = (struct wa_frames){.max = WA_FRAME_MAX}; }

void wa_frames_init_server(struct wa_frames *f)
{
    *f = (struct wa_frames){.max = WA_FRAME_MAX, .awaits_intro = true};
}

void wa_frames_done(struct wa_frames *f)
{
    buf_done(&f->pending);
    buf_done(&f->routing);
    *f = (struct wa_frames){0};
}

void wa_frames_limit(struct wa_frames *f, size_t max) { f->max = max; }

static size_t be24(const uint8_t *p) { return (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2]; }

/* Whether `in` begins with `expected`, as far as it goes. */
static bool begins(struct slice in, const uint8_t expected[4])
{
    return memcmp(in.data, expected, in.len < 4 ? in.len : 4) == 0;
}

static err_t take_routing(struct wa_frames *f, struct slice in)
{
    if (in.len < ROUTING_HEAD) return OK;
    size_t n = be24(in.data + sizeof(routing_intro));

    ENSURE(n <= WA_ROUTING_MAX, TOO_LARGE);
    if (in.len < ROUTING_HEAD + n) return OK;
    buf_put(&f->routing, slice_sub(in, ROUTING_HEAD, ROUTING_HEAD + n));
    f->taken += ROUTING_HEAD + n;
    return OK;
}

/* Takes the preamble as far as it is there: a routing blob at most once, then the intro. */
static err_t take_preamble(struct wa_frames *f)
{
    struct slice in = slice_from(buf_slice(&f->pending), f->taken);

    if (f->taken == 0 && in.len && begins(in, routing_intro)) {
        TRY(take_routing(f, in));
        if (f->taken == 0) return OK;
        in = slice_from(buf_slice(&f->pending), f->taken);
    }
    if (in.len == 0) return OK;
    ENSURE(begins(in, wa_intro), BAD_HANDSHAKE);
    if (in.len < WA_INTRO_LEN) return OK;
    f->taken += WA_INTRO_LEN;
    f->head_at = f->taken;
    f->awaits_intro = false;
    return OK;
}

/* Looks at every length that has arrived, so that a hostile one is refused before its payload is
 * waited for. */
static err_t check_heads(struct wa_frames *f)
{
    while (f->pending.len >= f->head_at + WA_FRAME_HEAD) {
        size_t n = be24(f->pending.data + f->head_at);

        ENSURE(n <= f->max, FRAME_TOO_LARGE);
        f->head_at += WA_FRAME_HEAD + n;
    }
    return OK;
}

/* Drops what was handed out. During the preamble nothing moves: its end is found by position. */
static void forget_taken(struct wa_frames *f)
{
    if (f->awaits_intro || f->taken == 0) return;
    buf_drop_front(&f->pending, f->taken);
    f->head_at -= f->taken;
    f->taken = 0;
    if (f->pending.len == 0 && f->pending.cap > KEEP_MAX) buf_done(&f->pending);
}

err_t wa_frames_feed(struct wa_frames *f, struct slice bytes)
{
    forget_taken(f);
    TRY(buf_try_reserve(&f->pending, bytes.len));
    buf_put(&f->pending, bytes);
    if (f->awaits_intro) TRY(take_preamble(f));
    return f->awaits_intro ? OK : check_heads(f);
}

bool wa_frames_next(struct wa_frames *f, struct slice *out)
{
    struct slice in = slice_from(buf_slice(&f->pending), f->taken);
    size_t n = in.len < WA_FRAME_HEAD ? 0 : be24(in.data);

    if (f->awaits_intro || in.len < WA_FRAME_HEAD + n) {
        forget_taken(f);
        return false;
    }
    *out = slice_sub(in, WA_FRAME_HEAD, WA_FRAME_HEAD + n);
    f->taken += WA_FRAME_HEAD + n;
    return true;
}

void wa_frame_put_intro(struct slice routing, struct buf *out)
{
    if (routing.len && routing.len <= WA_ROUTING_MAX) {
        buf_put(out, SLICE_ARRAY(routing_intro));
        buf_put_be24(out, (uint32_t)routing.len);
        buf_put(out, routing);
    }
    buf_put(out, SLICE_ARRAY(wa_intro));
}

err_t wa_frame_put_head(size_t n, struct buf *out)
{
    ENSURE(n <= WA_FRAME_MAX, FRAME_TOO_LARGE);
    buf_put_be24(out, (uint32_t)n);
    return OK;
}

err_t wa_frame_put(struct slice payload, struct buf *out)
{
    TRY(wa_frame_put_head(payload.len, out));
    buf_put(out, payload);
    return OK;
}
