/* The walk over the nesting, and the two ends of protobuf-c. */
#include "proto/schema/unpack.h"

#include "proto/base/reader.h"

struct budget {
    struct arena *arena;
    size_t left;
    err_t error; /* why it gave nothing */
};

static void *budget_alloc(void *ctx, size_t size)
{
    struct budget *b = ctx;

    b->error = size > b->left ? ERR_BAD_PROTOBUF : arena_try_reserve(b->arena, size);
    if (b->error != OK) return NULL;
    b->left -= size;
    return arena_alloc(b->arena, size);
}

static void budget_free(void *ctx, void *p) {}

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static const ProtobufCMessageDescriptor *nested_type(const ProtobufCMessageDescriptor *type,
                                                     uint32_t tag)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(type, tag);
    return f && f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
}

/* Our own recursion is bounded by `depth`. Only what the decoder would descend into counts. */
static err_t check_depth(const ProtobufCMessageDescriptor *type, struct slice in, unsigned depth)
{
    struct reader r = reader_of(in);

    ENSURE(depth < WA_UNPACK_DEPTH, BAD_PROTOBUF);
    while (reader_left(&r) && !r.error) {
        uint64_t key = reader_varint(&r);
        const ProtobufCMessageDescriptor *inner = NULL;
        struct slice bytes;

        switch ((enum wire_type)(key & 7)) {
        case WIRE_VARINT: reader_varint(&r); break;
        case WIRE_FIXED64: reader_bytes(&r, 8); break;
        case WIRE_FIXED32: reader_bytes(&r, 4); break;
        case WIRE_BYTES:
            bytes = reader_block(&r);
            if (!r.error) inner = nested_type(type, (uint32_t)(key >> 3));
            if (inner) TRY(check_depth(inner, bytes, depth + 1));
            break;
        default: return fail(BAD_PROTOBUF, "wire type %u", (unsigned)(key & 7));
        }
    }
    ENSURE(r.error == OK, BAD_PROTOBUF);
    return OK;
}

static size_t memory_for(size_t n)
{
    size_t wanted = WA_UNPACK_MEMORY + n * WA_UNPACK_MEMORY_PER_BYTE;
    return wanted < WA_UNPACK_MEMORY_MAX ? wanted : WA_UNPACK_MEMORY_MAX;
}

err_t wa_unpack(const ProtobufCMessageDescriptor *type, struct slice in, struct arena *arena,
                const ProtobufCMessage **out)
{
    struct budget budget = {.arena = arena, .left = memory_for(in.len)};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *m;

    TRY(check_depth(type, in, 0));
    m = protobuf_c_message_unpack(type, &allocator, in.len, in.data);
    if (!m && budget.error == ERR_NO_MEMORY) return budget.error;
    if (!m) return fail(BAD_PROTOBUF, "%s, %zu bytes", type->name, in.len);
    *out = m;
    return OK;
}

void wa_pack(const ProtobufCMessage *message, struct buf *out)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, buf_extend(out, n));
}

struct slice wa_pack_in(const ProtobufCMessage *message, struct arena *arena)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t *data = arena_alloc(arena, n ? n : 1);

    protobuf_c_message_pack(message, data);
    return slice_of(data, n);
}
