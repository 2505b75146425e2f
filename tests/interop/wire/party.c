/* Decodes stanzas and encodes them again on our own codec, asked line by line by tests/interop.
 *
 *   plain|deflated HEX     a frame as it comes out of Noise; the answer is "ok HEX": the same
 * stanza encoded by us; or "error" and the name of the error */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"
#include "proto/wire/node.h"

enum { LINE_BYTES_MAX = 4 << 20 };

static err_t again(struct slice hex, bool deflated, struct arena *arena, struct buf *out)
{
    struct buf frame = {0};
    struct wa_node *node;
    err_t e = text_unhex(hex, &frame);

    if (e == OK) e = wa_node_decode(buf_slice(&frame), arena, &node);
    if (e == OK) (deflated ? wa_node_encode_compressed : wa_node_encode)(node, out);
    buf_done(&frame);
    return e;
}

static void answer(err_t e, struct slice bytes)
{
    struct buf hex = {0};

    if (e != OK) {
        printf("error %s\n", err_trail());
        return;
    }
    text_hex(bytes, &hex);
    printf("ok " SLICE_FMT "\n", SLICE_ARG(buf_slice(&hex)));
    buf_done(&hex);
}

int main(void)
{
    char *line = malloc(LINE_BYTES_MAX);

    while (line && fgets(line, LINE_BYTES_MAX, stdin)) {
        struct slice rest = slice_text(line), how, hex;
        struct arena arena = {0};
        struct buf out = {0};
        err_t e = slice_split(&rest, ' ', &how) && slice_split(&rest, '\n', &hex)
                      ? again(hex, slice_is(how, "deflated"), &arena, &out)
                      : fail(BAD_ARGUMENT, "want a word and hex");
        answer(e, buf_slice(&out));
        fflush(stdout);
        buf_done(&out);
        arena_done(&arena);
    }
    free(line);
    return 0;
}
