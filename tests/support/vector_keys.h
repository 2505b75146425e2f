/* Key pairs of the vectors of tests/vectors, and a value held against its hex. */
#pragma once
#include <criterion/criterion.h>

#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "tests/support/vectors.h"

static inline struct crypto_pair vector_pair(json_t *v, const char *name)
{
    char path[96];
    struct crypto_pair pair;

    snprintf(path, sizeof(path), "keys.%s.priv", name);
    vector_bytes(v, path, pair.secret.bytes, CRYPTO_KEY);
    snprintf(path, sizeof(path), "keys.%s.pub", name);
    vector_bytes(v, path, pair.public.bytes, CRYPTO_KEY);
    return pair;
}

static inline void vector_expect(json_t *v, const char *path, const void *got, size_t n)
{
    AUTO(buf) hex = {0};
    text_hex(slice_of(got, n), &hex);
    cr_assert_str_eq(buf_text(&hex), vector_text(v, path), "%s", path);
}
