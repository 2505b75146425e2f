#include "proto/base/reader.h"

static inline const uint8_t *take(struct reader *r, size_t n)
{
    if (r->error != OK) return NULL;
    if (n > reader_left(r)) {
        r->error = ERR_TRUNCATED;
        return NULL;
    }
    r->at += n;
    return r->in.data + r->at - n;
}

static inline uint64_t be(struct reader *r, size_t n)
{
    const uint8_t *p = take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v = v << 8 | p[i];
    return v;
}

uint8_t reader_u8(struct reader *r) { return (uint8_t)be(r, 1); }
uint16_t reader_be16(struct reader *r) { return (uint16_t)be(r, 2); }
uint32_t reader_be24(struct reader *r) { return (uint32_t)be(r, 3); }
uint32_t reader_be32(struct reader *r) { return (uint32_t)be(r, 4); }
uint64_t reader_be64(struct reader *r) { return be(r, 8); }

struct slice reader_bytes(struct reader *r, size_t n)
{
    const uint8_t *p = take(r, n);
    return p ? slice_of(p, n) : SLICE_NONE;
}

uint64_t reader_varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = reader_u8(r);
        if (shift == 63 && byte > 1) break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return r->error == OK ? v : 0;
    }
    if (r->error == OK) r->error = ERR_TOO_LARGE;
    return 0;
}

struct slice reader_block(struct reader *r)
{
    uint64_t n = reader_varint(r);
    if (r->error == OK && n > reader_left(r)) r->error = ERR_TRUNCATED;
    return reader_bytes(r, r->error == OK ? (size_t)n : 0);
}

struct slice reader_rest(struct reader *r) { return reader_bytes(r, reader_left(r)); }

err_t reader_check(struct reader *r)
{
    if (r->error == OK) return OK;
    return err_fail(r->error, __FILE__, __LINE__, "byte %zu of %zu", r->at, r->in.len);
}

err_t reader_end(struct reader *r)
{
    if (r->error == OK && reader_left(r)) r->error = ERR_TRAILING_BYTES;
    return reader_check(r);
}
