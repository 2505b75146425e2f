/* Protobuf read and written field by field, without schema or allocation.
 *
 * Messages of peers are kept as the bytes that came (unknown fields must survive a retry or a
 * forward), and few of their fields matter here. What has a fixed shape of its own (pairing,
 * login) goes through the schemas. Pure functions over borrowed bytes. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/reader.h"

struct wa_pb_field {
    uint32_t number;
    bool is_bytes;
    uint64_t value;     /* varint and fixed */
    struct slice bytes; /* length-delimited */
};

/* The next field; false at the end and at the first malformed byte (reader_check tells). */
bool wa_pb_next(struct reader *r, struct wa_pb_field *out);
/* The last length-delimited field with this number; SLICE_NONE when there is none. */
struct slice wa_pb_bytes(struct slice message, uint32_t number);
/* The last varint or fixed field with this number. */
uint64_t wa_pb_int_or(struct slice message, uint32_t number, uint64_t absent);
/* A string: SLICE_NONE when absent or not UTF-8. */
struct slice wa_pb_text(struct slice message, uint32_t number);
/* Whether every field of the outermost level can be walked. */
bool wa_pb_is_whole(struct slice message);

void wa_pb_put_int(struct buf *out, uint32_t number, uint64_t value);
/* SLICE_NONE writes nothing. */
void wa_pb_put_bytes(struct buf *out, uint32_t number, struct slice bytes);
