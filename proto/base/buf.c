#include "proto/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

/* 0: it has room already. */
static size_t grown(const struct buf *b, size_t more)
{
    size_t need = b->len + more, cap = b->cap ? b->cap : 64;

    if (need <= b->cap) return 0;
    while (cap < need)
        cap += cap / 2 + 32;
    return cap;
}

void buf_reserve(struct buf *b, size_t more)
{
    size_t cap = grown(b, more);

    if (!cap) return;
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
}

err_t buf_try_reserve(struct buf *b, size_t more)
{
    size_t cap = grown(b, more);
    uint8_t *data;

    if (!cap) return OK;
    data = xtry(b->data, cap);
    if (!data) return fail(NO_MEMORY, "%zu bytes", cap);
    b->data = data;
    b->cap = cap;
    return OK;
}

uint8_t *buf_extend(struct buf *b, size_t n)
{
    if (n > b->cap - b->len) buf_reserve(b, n);
    uint8_t *at = b->data + b->len;
    b->len += n;
    return at;
}

void buf_put(struct buf *b, struct slice s)
{
    if (s.len) memcpy(buf_extend(b, s.len), s.data, s.len);
}

void buf_put_u8(struct buf *b, uint8_t v) { *buf_extend(b, 1) = v; }

static void put_be(struct buf *b, uint64_t v, size_t n)
{
    uint8_t *at = buf_extend(b, n);
    for (; n; v >>= 8)
        at[--n] = (uint8_t)v;
}

void buf_put_be16(struct buf *b, uint16_t v) { put_be(b, v, 2); }
void buf_put_be24(struct buf *b, uint32_t v) { put_be(b, v, 3); }
void buf_put_be32(struct buf *b, uint32_t v) { put_be(b, v, 4); }
void buf_put_be64(struct buf *b, uint64_t v) { put_be(b, v, 8); }
void buf_put_text(struct buf *b, const char *text) { buf_put(b, slice_text(text)); }

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);

    if (n > 0) {
        buf_reserve(b, (size_t)n + 1);
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_put_varint(struct buf *b, uint64_t v)
{
    while (v >= 0x80) {
        buf_put_u8(b, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buf_put_u8(b, (uint8_t)v);
}

void buf_put_block(struct buf *b, struct slice s)
{
    buf_put_varint(b, s.len);
    buf_put(b, s);
}

void buf_drop_front(struct buf *b, size_t n)
{
    if (n > b->len) n = b->len;
    if (n) memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

const char *buf_text(struct buf *b)
{
    buf_reserve(b, 1);
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

struct buf buf_take(struct buf *b)
{
    struct buf out = *b;
    *b = (struct buf){0};
    return out;
}
