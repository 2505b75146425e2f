/* QR codes: a text as a PNG picture, as SVG and as blocks for a terminal. Pure functions over
 * libqrencode and libpng, any thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"

enum { QR_TEXT_MAX = 1024 };

/* Black on white with a quiet zone of four modules, `scale` pixels per module (1..16).
 * BAD_ARGUMENT when the text is empty or longer than QR_TEXT_MAX. */
err_t qr_png(struct slice text, unsigned scale, struct buf *out) MUST_CHECK;
err_t qr_svg(struct slice text, struct buf *out) MUST_CHECK;
/* Two modules per character cell (upper and lower half blocks), each line ended by a line feed;
 * for terminals with light text on dark ground. */
err_t qr_terminal(struct slice text, struct buf *out) MUST_CHECK;
