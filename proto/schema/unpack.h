/* Protobuf from outside, decoded into an arena within a budget.
 *
 * The decoder of protobuf-c recurses once per nested message and makes a struct of up to a
 * kilobyte from two bytes of input, so that a small message could end the process. wa_unpack first
 * walks the nesting, then decodes with memory bounded by the input's length. Nothing is freed
 * alone: the message lives as long as its arena, and must not be given to ..._free_unpacked.
 * Any thread. */
#pragma once
#include <protobuf-c/protobuf-c.h>

#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"

enum {
    WA_UNPACK_DEPTH = 48,            /* messages inside messages; quotes and wrappers need 12 */
    WA_UNPACK_MEMORY = 64 * 1024,    /* for every message, and … */
    WA_UNPACK_MEMORY_PER_BYTE = 128, /* … for each byte of input, … */
    WA_UNPACK_MEMORY_MAX = 64 << 20, /* … but no more than this */
};

/* BAD_PROTOBUF when it does not decode or goes over the budget. Bytes and texts in the message are
 * copies. Use it through WA_UNPACK. */
err_t wa_unpack(const ProtobufCMessageDescriptor *type, struct slice in, struct arena *arena,
                const ProtobufCMessage **out) MUST_CHECK;
/* const Wa__Message *m; TRY(WA_UNPACK(wa__message, in, arena, &m)); */
#define WA_UNPACK(type, in, arena, out)                                                            \
    wa_unpack(&type##__descriptor, in, arena, (const ProtobufCMessage **)(out))

/* Appends the encoded message: wa_pack(&m.base, &out). */
void wa_pack(const ProtobufCMessage *message, struct buf *out);
/* The encoded message in the arena. */
struct slice wa_pack_in(const ProtobufCMessage *message, struct arena *arena);

/* A bytes field as a slice and back; the message borrows. */
static inline struct slice wa_field(const ProtobufCBinaryData *field)
{
    return slice_of(field->data, field->len);
}
static inline ProtobufCBinaryData wa_binary(struct slice s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.data};
}
