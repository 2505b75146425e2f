/* The life of one frame on the wire: three length bytes, then the payload. In front of the first
 * frame a client writes the intro, and perhaps a routing blob that the server once gave it.
 *
 * Feed bytes as they arrive, in any pieces, then take whole frames until there is none. Owned by
 * one link, so by one thread. Memory grows to the largest frame seen and is given back when all
 * frames are taken. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"

enum {
    WA_FRAME_MAX = (1 << 24) - 1, /* what three bytes can say */
    WA_FRAME_HEAD = 3,
    WA_INTRO_LEN = 4,
    WA_ROUTING_MAX = 64 * 1024, /* of the routing blob; a longer one is not sent */
};

/* 'W' 'A', protocol 6, dictionary 3. Also the prologue of the handshake. */
extern const uint8_t wa_intro[WA_INTRO_LEN];

/* ---- reading ---- */

struct wa_frames {
    struct buf pending;
    size_t taken;       /* bytes of pending already handed out */
    size_t head_at;     /* where the next length that was not looked at begins */
    size_t max;         /* largest payload accepted */
    bool awaits_intro;  /* server: the preamble has not come yet */
    struct buf routing; /* server: what the client gave back to us */
};

void wa_frames_init(struct wa_frames *f);
/* The server's end: takes the preamble off first. */
void wa_frames_init_server(struct wa_frames *f);
void wa_frames_done(struct wa_frames *f);
/* Frames whose length was not read yet may be at most `max`; WA_FRAME_MAX at first. A peer that
 * has not logged in needs no more than WA_HANDSHAKE_MAX. */
void wa_frames_limit(struct wa_frames *f, size_t max);

/* Adds bytes from the socket. FRAME_TOO_LARGE as soon as a frame declares more than the limit,
 * BAD_HANDSHAKE for a wrong preamble; the stream cannot be resynchronised, so the caller closes
 * it. */
err_t wa_frames_feed(struct wa_frames *f, struct slice bytes) MUST_CHECK;

/* Takes the next whole frame; false when more bytes are needed.
 * `out` is borrowed until the next call of either function. */
bool wa_frames_next(struct wa_frames *f, struct slice *out);

/* ---- writing ---- */

/* What a client sends once, in front of its first frame. `routing` may be empty. */
void wa_frame_put_intro(struct slice routing, struct buf *out);
/* The three bytes before a payload of `n`; FRAME_TOO_LARGE above WA_FRAME_MAX. */
err_t wa_frame_put_head(size_t n, struct buf *out) MUST_CHECK;
err_t wa_frame_put(struct slice payload, struct buf *out) MUST_CHECK;
