/* Wire types 0, 1, 2 and 5 of protobuf; groups (3, 4) are refused, nothing here uses them. */
#include "proto/client/pb.h"

#include "proto/base/text.h"

enum { TYPE_VARINT = 0, TYPE_FIXED64 = 1, TYPE_BYTES = 2, TYPE_FIXED32 = 5 };

static uint64_t little_endian(struct slice s)
{
    uint64_t v = 0;
    for (size_t i = s.len; i > 0; i--)
        v = v << 8 | s.data[i - 1];
    return v;
}

bool wa_pb_next(struct reader *r, struct wa_pb_field *out)
{
    if (r->error != OK || reader_left(r) == 0) return false;

    uint64_t tag = reader_varint(r);
    *out = (struct wa_pb_field){.number = (uint32_t)(tag >> 3)};
    switch (tag & 7) {
    case TYPE_VARINT: out->value = reader_varint(r); break;
    case TYPE_FIXED64: out->value = little_endian(reader_bytes(r, 8)); break;
    case TYPE_FIXED32: out->value = little_endian(reader_bytes(r, 4)); break;
    case TYPE_BYTES:
        out->is_bytes = true;
        out->bytes = reader_block(r);
        break;
    default: r->error = fail(BAD_PROTOBUF, "wire type %u", (unsigned)(tag & 7)); break;
    }
    if (r->error == OK && (out->number == 0 || tag >> 3 > UINT32_MAX >> 3))
        r->error = fail(BAD_PROTOBUF, "field number");
    return r->error == OK;
}

struct slice wa_pb_bytes(struct slice message, uint32_t number)
{
    struct reader r = reader_of(message);
    struct slice found = SLICE_NONE;
    struct wa_pb_field f;

    while (wa_pb_next(&r, &f))
        if (f.number == number && f.is_bytes) found = f.bytes;
    return found;
}

uint64_t wa_pb_int_or(struct slice message, uint32_t number, uint64_t absent)
{
    struct reader r = reader_of(message);
    struct wa_pb_field f;

    while (wa_pb_next(&r, &f))
        if (f.number == number && !f.is_bytes) absent = f.value;
    return absent;
}

struct slice wa_pb_text(struct slice message, uint32_t number)
{
    struct slice s = wa_pb_bytes(message, number);
    return text_is_utf8(s) ? s : SLICE_NONE;
}

bool wa_pb_is_whole(struct slice message)
{
    struct reader r = reader_of(message);
    struct wa_pb_field f;

    while (wa_pb_next(&r, &f)) {
    }
    return r.error == OK;
}

void wa_pb_put_int(struct buf *out, uint32_t number, uint64_t value)
{
    buf_put_varint(out, (uint64_t)number << 3 | TYPE_VARINT);
    buf_put_varint(out, value);
}

void wa_pb_put_bytes(struct buf *out, uint32_t number, struct slice bytes)
{
    if (slice_is_none(bytes)) return;
    buf_put_varint(out, (uint64_t)number << 3 | TYPE_BYTES);
    buf_put_block(out, bytes);
}
