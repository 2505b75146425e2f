#include "proto/signal/padding.h"

#include <stdlib.h>

#include "proto/base/text.h"

enum { PAD_MAX = 16, PHASH_BYTES = 6 };

struct slice wa_pad(const struct wa_keystore *ks, struct arena *arena, struct slice plain)
{
    uint8_t n;

    ks->random(ks->ctx, &n, 1);
    n = (uint8_t)(n % PAD_MAX + 1);
    uint8_t *out = arena_alloc(arena, plain.len + n);
    if (plain.len) memcpy(out, plain.data, plain.len);
    memset(out + plain.len, n, n);
    return slice_of(out, plain.len + n);
}

err_t wa_unpad(struct slice padded, struct slice *out)
{
    ENSURE(padded.len > 0, BAD_PADDING);
    uint8_t n = padded.data[padded.len - 1];

    ENSURE(n > 0 && n < padded.len, BAD_PADDING);
    for (size_t i = padded.len - n; i < padded.len; i++)
        ENSURE(padded.data[i] == n, BAD_PADDING);
    *out = slice_sub(padded, 0, padded.len - n);
    return OK;
}

static int by_bytes(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

struct slice wa_phash_name(const struct wa_jid *device, unsigned agent, struct arena *arena)
{
    return arena_printf(arena, SLICE_FMT ".%u:%u@%s", SLICE_ARG(device->user), agent,
                        device->device, wa_server_text(device->server));
}

const char *wa_phash_names(struct slice *names, size_t n, char out[WA_PHASH_MAX])
{
    uint8_t hash[CRYPTO_SHA256];
    AUTO(buf) text = {0};

    qsort(names, n, sizeof(*names), by_bytes);
    crypto_sha256_v(names, n, hash);

    buf_put_text(&text, "2:");
    text_base64(slice_of(hash, PHASH_BYTES), &text);
    memcpy(out, buf_text(&text), text.len + 1);
    return out;
}

const char *wa_phash(const struct wa_jid *devices, size_t n, struct arena *arena,
                     char out[WA_PHASH_MAX])
{
    struct slice *names = arena_array(arena, struct slice, n + 1);

    for (size_t i = 0; i < n; i++)
        names[i] = wa_phash_name(&devices[i], 0, arena);
    return wa_phash_names(names, n, out);
}
