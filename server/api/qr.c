/* One grid of modules, three painters. */
#include "server/api/qr.h"

#include <png.h>
#include <qrencode.h>
#include <stdlib.h>

enum { QUIET = 4 };

struct qr {
    QRcode *code;
    unsigned size; /* with the quiet zone */
};

static void qr_done(struct qr *q) { QRcode_free(q->code); }

static err_t encode(struct slice text, struct qr *out)
{
    if (text.len == 0 || text.len > QR_TEXT_MAX)
        return fail(BAD_ARGUMENT, "a QR code holds 1 to %d bytes", QR_TEXT_MAX);
    out->code = QRcode_encodeData((int)text.len, text.data, 0, QR_ECLEVEL_L);
    if (!out->code) return fail(SYSTEM, "libqrencode refused %zu bytes", text.len);
    out->size = (unsigned)out->code->width + 2 * QUIET;
    return OK;
}

static bool is_dark(const struct qr *q, unsigned x, unsigned y)
{
    unsigned width = (unsigned)q->code->width;

    if (x < QUIET || y < QUIET || x >= QUIET + width || y >= QUIET + width) return false;
    return q->code->data[(y - QUIET) * width + (x - QUIET)] & 1;
}

/* ---- PNG ---- */

static void on_bytes(png_structp png, png_bytep bytes, png_size_t n)
{
    buf_put(png_get_io_ptr(png), slice_of(bytes, n));
}

static void on_flush(png_structp png) { (void)png; }

/* One bit per pixel, 1 is white. */
static void paint_row(const struct qr *q, unsigned y, unsigned scale, uint8_t *row, size_t len)
{
    memset(row, 0xff, len);
    for (unsigned x = 0; x < q->size * scale; x++)
        if (is_dark(q, x / scale, y)) row[x / 8] &= (uint8_t) ~(0x80 >> x % 8);
}

static void write_rows(png_structp png, const struct qr *q, unsigned scale, uint8_t *row,
                       size_t len)
{
    for (unsigned y = 0; y < q->size; y++) {
        paint_row(q, y, scale, row, len);
        for (unsigned i = 0; i < scale; i++)
            png_write_row(png, row);
    }
}

static bool write_png(const struct qr *q, unsigned scale, uint8_t *row, size_t len, struct buf *out)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    unsigned side = q->size * scale;

    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return false;
    }
    png_set_write_fn(png, out, on_bytes, on_flush);
    png_set_IHDR(png, info, side, side, 1, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    write_rows(png, q, scale, row, len);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return true;
}

err_t qr_png(struct slice text, unsigned scale, struct buf *out)
{
    AUTO(qr) q = {0};
    size_t len;
    uint8_t *row;
    bool written;

    if (scale < 1 || scale > 16) return fail(BAD_ARGUMENT, "scale %u", scale);
    TRY(encode(text, &q));
    len = (q.size * scale + 7) / 8;
    row = xalloc(len);
    written = write_png(&q, scale, row, len, out);
    free(row);
    return written ? OK : fail(SYSTEM, "libpng refused");
}

/* ---- SVG ---- */

/* A rectangle per run of dark modules. */
static void paint_runs(const struct qr *q, unsigned y, struct buf *out)
{
    for (unsigned x = 0, end; x < q->size; x = end) {
        for (end = x + 1; end < q->size && is_dark(q, end, y) == is_dark(q, x, y);)
            end++;
        if (is_dark(q, x, y)) buf_printf(out, "M%u %uh%uv1h-%uz", x, y, end - x, end - x);
    }
}

err_t qr_svg(struct slice text, struct buf *out)
{
    AUTO(qr) q = {0};

    TRY(encode(text, &q));
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" "
               "shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"QR code\">"
               "<rect width=\"%u\" height=\"%u\" fill=\"#fff\"/><path fill=\"#000\" d=\"",
               q.size, q.size, q.size, q.size);
    for (unsigned y = 0; y < q.size; y++)
        paint_runs(&q, y, out);
    buf_put_text(out, "\"/></svg>");
    return OK;
}

/* ---- terminal ---- */

err_t qr_terminal(struct slice text, struct buf *out)
{
    /* By (upper is light, lower is light). */
    static const char *const blocks[] = {" ", "\xe2\x96\x84", "\xe2\x96\x80", "\xe2\x96\x88"};
    AUTO(qr) q = {0};

    TRY(encode(text, &q));
    for (unsigned y = 0; y < q.size; y += 2) {
        for (unsigned x = 0; x < q.size; x++) {
            bool lower = y + 1 < q.size && !is_dark(&q, x, y + 1);
            buf_put_text(out, blocks[2 * !is_dark(&q, x, y) + lower]);
        }
        buf_put_u8(out, '\n');
    }
    return OK;
}
