/* A cursor over borrowed bytes that remembers its first error and hands out zeros afterwards, so
 * that a parser reads like its layout and checks once, at the end. */
#pragma once
#include "proto/base/err.h"
#include "proto/base/slice.h"

struct reader {
    struct slice in;
    size_t at;
    err_t error; /* OK until the first read that went wrong */
};

static inline struct reader reader_of(struct slice in) { return (struct reader){.in = in}; }
static inline size_t reader_left(const struct reader *r) { return r->in.len - r->at; }

uint8_t reader_u8(struct reader *r);
uint16_t reader_be16(struct reader *r);
uint32_t reader_be24(struct reader *r);
uint32_t reader_be32(struct reader *r);
uint64_t reader_be64(struct reader *r);
/* Exactly `n` bytes, borrowed from the input. */
struct slice reader_bytes(struct reader *r, size_t n);
uint64_t reader_varint(struct reader *r);
/* What buf_put_block wrote. */
struct slice reader_block(struct reader *r);
/* Everything left. */
struct slice reader_rest(struct reader *r);
/* The first error, or TRAILING_BYTES when bytes are left. */
err_t reader_end(struct reader *r) MUST_CHECK;
/* The first error alone. */
err_t reader_check(struct reader *r) MUST_CHECK;
