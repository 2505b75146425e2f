#include <criterion/criterion.h>
#include <png.h>

#include "server/api/qr.h"

Test(qr, png_has_the_size_of_its_modules_and_is_readable)
{
    AUTO(buf) out = {0};
    png_image image = {.version = PNG_IMAGE_VERSION};

    cr_assert_eq(qr_png(SLICE("2@abc,def,ghi,jkl,1"), 6, &out), OK);
    cr_assert(png_image_begin_read_from_memory(&image, out.data, out.len));
    cr_assert_eq(image.width, image.height);
    cr_assert_eq(image.width % 6, 0);
    png_image_free(&image);
}

Test(qr, a_long_pairing_code_fits)
{
    char text[QR_TEXT_MAX + 2];
    AUTO(buf) out = {0};

    memset(text, 'a', sizeof(text));
    cr_assert_eq(qr_png(slice_of(text, QR_TEXT_MAX), 2, &out), OK);
    cr_assert_eq(qr_png(slice_of(text, QR_TEXT_MAX + 1), 2, &out), ERR_BAD_ARGUMENT);
    cr_assert_eq(qr_png(SLICE(""), 2, &out), ERR_BAD_ARGUMENT);
    cr_assert_eq(qr_png(SLICE("a"), 0, &out), ERR_BAD_ARGUMENT);
}

Test(qr, svg_and_terminal_draw_the_same_grid)
{
    AUTO(buf) svg = {0}, text = {0};
    size_t lines = 0, side = 21 + 8; /* version 1 and the quiet zone */
    char want[64];

    cr_assert_eq(qr_svg(SLICE("hello"), &svg), OK);
    snprintf(want, sizeof(want), "viewBox=\"0 0 %zu %zu\"", side, side);
    cr_assert(strstr(buf_text(&svg), want));
    cr_assert_eq(qr_terminal(SLICE("hello"), &text), OK);
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    cr_assert_eq(lines, (side + 1) / 2);
}
