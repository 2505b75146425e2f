/* Owned bytes that grow at the end. {0} is an empty one; buf_done frees. One owner, any thread. */
#pragma once
#include "proto/base/err.h"
#include "proto/base/slice.h"
#include "proto/base/xalloc.h"

struct buf {
    uint8_t *data;
    size_t len, cap;
};

void buf_done(struct buf *b);
/* Empties, keeps the memory. */
static inline void buf_reset(struct buf *b) { b->len = 0; }
static inline struct slice buf_slice(const struct buf *b) { return slice_of(b->data, b->len); }
/* Makes room for `more` bytes behind the end; the length stays. */
void buf_reserve(struct buf *b, size_t more);
/* The same for bytes from outside: NO_MEMORY, and the buf is as it was. */
err_t buf_try_reserve(struct buf *b, size_t more) MUST_CHECK;
/* Lengthens by `n` bytes, which the caller writes; valid until the next growth. */
uint8_t *buf_extend(struct buf *b, size_t n);
void buf_put(struct buf *b, struct slice s);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_be16(struct buf *b, uint16_t v);
void buf_put_be24(struct buf *b, uint32_t v);
void buf_put_be32(struct buf *b, uint32_t v);
void buf_put_be64(struct buf *b, uint64_t v);
void buf_put_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* LEB128, as in protobuf. */
void buf_put_varint(struct buf *b, uint64_t v);
/* Length as varint, then the bytes; reader_bytes_varint reads it. */
void buf_put_block(struct buf *b, struct slice s);
/* Drops `n` bytes from the front (moves the rest). */
void buf_drop_front(struct buf *b, size_t n);
/* The bytes with a NUL behind them, which is not counted. */
const char *buf_text(struct buf *b);
/* Hands the memory over; the buf is empty afterwards. */
struct buf buf_take(struct buf *b);
