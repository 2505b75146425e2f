/* The envelope's checksum and the table-driven codec of typed records. */
#include "storage/record.h"

#include "proto/base/reader.h"
#include "storage/store.h"

/* Bit by bit, for machines without the instruction. */
static uint32_t crc32c_plain(uint32_t crc, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= bytes.data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78 & -(crc & 1));
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_fast(uint32_t crc, struct slice bytes)
{
    const uint8_t *p = bytes.data;
    uint64_t sum = crc, word;

    for (; bytes.len >= 8; bytes.len -= 8, p += 8) {
        memcpy(&word, p, 8);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    for (; bytes.len; bytes.len--)
        sum = __builtin_ia32_crc32qi((uint32_t)sum, *p++);
    return (uint32_t)sum;
}
#define HAS_FAST __builtin_cpu_supports("sse4.2")
#else
#define crc32c_fast crc32c_plain
#define HAS_FAST 0
#endif

uint32_t crc32c(uint32_t crc, struct slice bytes)
{
    return ~(HAS_FAST ? crc32c_fast(~crc, bytes) : crc32c_plain(~crc, bytes));
}

static uint32_t sum_of(uint8_t version, unsigned db, struct slice key, struct slice payload)
{
    /* The key's length is summed too, so that no byte can move between key and payload. */
    uint8_t head[4] = {version, (uint8_t)db, (uint8_t)(key.len >> 8), (uint8_t)key.len};
    uint32_t crc = crc32c(0, slice_of(head, sizeof(head)));
    return crc32c(crc32c(crc, key), payload);
}

void record_head(uint8_t out[RECORD_HEAD], unsigned db, struct slice key, struct slice payload)
{
    uint32_t crc = sum_of(RECORD_VERSION, db, key, payload);
    out[0] = RECORD_VERSION;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(crc >> (24 - 8 * i));
}

static const char *kind_name(unsigned kind)
{
    switch (kind) {
#define KIND(name, number, rest, value, why)                                                       \
    case number:                                                                                   \
        return #name;
#include "storage/kinds.def"
#undef KIND
    default: return "?";
    }
}

/* Whose row it is, as far as its key says: the numbers that ids hold. What follows them may be a
 * name, and the key itself may be what is damaged. */
static void name_row(enum db db, struct slice key, struct buf *out)
{
    struct reader r = reader_of(key);

    buf_put_text(out, store_db_name(db));
    if (db == DB_meta || db == DB_logins) return;
    buf_printf(out, ", tenant %u", key_read_int(&r));
    if (db == DB_events) buf_printf(out, ", event %llu", (unsigned long long)reader_be64(&r));
    if (db == DB_accounts || db == DB_data) buf_printf(out, ", account %u", key_read_int(&r));
    if (db != DB_data) return;
    buf_printf(out, ", peer %u", key_read_int(&r));
    buf_printf(out, ", %s", kind_name(reader_u8(&r)));
}

static err_t refuse_sum(enum db db, struct slice key)
{
    AUTO(buf) name = {0};

    name_row(db, key, &name);
    return fail(STORE_DAMAGED, "checksum of a record does not match (%s)", buf_text(&name));
}

err_t record_open(unsigned db, struct slice key, struct slice value, struct slice *out_payload)
{
    struct reader r = reader_of(value);
    uint8_t version = reader_u8(&r);
    uint32_t crc = reader_be32(&r);
    struct slice payload = reader_rest(&r);

    if (r.error != OK)
        return fail(STORE_DAMAGED, "a record of %s has %zu bytes", store_db_name((enum db)db),
                    value.len);
    if (crc != sum_of(version, db, key, payload)) return refuse_sum((enum db)db, key);
    if (version > RECORD_VERSION) return fail(STORE_VERSION, "record of version %u", version);
    *out_payload = payload;
    return OK;
}

static uint64_t load(const void *at, size_t size)
{
    switch (size) {
    case 1: return *(const uint8_t *)at;
    case 2: return *(const uint16_t *)at;
    case 4: return *(const uint32_t *)at;
    default: return *(const uint64_t *)at;
    }
}

static void store(void *at, size_t size, uint64_t v)
{
    switch (size) {
    case 1: *(uint8_t *)at = (uint8_t)v; break;
    case 2: *(uint16_t *)at = (uint16_t)v; break;
    case 4: *(uint32_t *)at = (uint32_t)v; break;
    default: *(uint64_t *)at = v;
    }
}

/* Sign in the lowest bit, so that small negative numbers are short. */
static uint64_t zigzag(const void *at, size_t size)
{
    int64_t v = size == 4 ? *(const int32_t *)at : *(const int64_t *)at;
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t v) { return v >> 1 ^ -(v & 1); }

/* The tag on disk says whether a length follows, so that unknown fields can be skipped. */
enum { TAG_NUMBER = 0, TAG_BYTES = 1 };

static void encode_field(const struct field *f, const void *at, struct buf *out)
{
    if (f->type == FIELD_TYPE_BYTES) {
        const struct slice *s = at;
        if (slice_is_none(*s)) return;
        buf_put_varint(out, (uint64_t)f->tag << 1 | TAG_BYTES);
        buf_put_block(out, *s);
        return;
    }
    uint64_t v = f->type == FIELD_TYPE_INT ? zigzag(at, f->size) : load(at, f->size);
    if (v == 0) return;
    buf_put_varint(out, (uint64_t)f->tag << 1 | TAG_NUMBER);
    buf_put_varint(out, v);
}

void record_encode(const struct field *fields, size_t count, const void *object, struct buf *out)
{
    for (size_t i = 0; i < count; i++)
        encode_field(&fields[i], (const char *)object + fields[i].offset, out);
}

static const struct field *field_of(const struct field *fields, size_t count, uint64_t tag)
{
    for (size_t i = 0; i < count; i++)
        if (fields[i].tag == tag) return &fields[i];
    return NULL;
}

static err_t decode_field(const struct field *f, uint64_t head, struct reader *r, void *object)
{
    bool is_bytes = head & TAG_BYTES;
    struct slice s = is_bytes ? reader_block(r) : SLICE_NONE;
    uint64_t v = is_bytes ? 0 : reader_varint(r);

    if (!f) return OK;
    if (is_bytes != (f->type == FIELD_TYPE_BYTES))
        return fail(STORE_DAMAGED, "field %u has the other type", f->tag);
    void *at = (char *)object + f->offset;
    if (is_bytes)
        *(struct slice *)at = s.data ? s : slice_of("", 0);
    else
        store(at, f->size, f->type == FIELD_TYPE_INT ? unzigzag(v) : v);
    return OK;
}

err_t record_decode(const struct field *fields, size_t count, struct slice payload, void *object)
{
    struct reader r = reader_of(payload);

    for (size_t i = 0; i < count; i++) {
        void *at = (char *)object + fields[i].offset;
        memset(at, 0, fields[i].type == FIELD_TYPE_BYTES ? sizeof(struct slice) : fields[i].size);
    }
    while (reader_left(&r) && r.error == OK) {
        uint64_t head = reader_varint(&r);
        TRY(decode_field(field_of(fields, count, head >> 1), head, &r, object));
    }
    if (r.error != OK) return fail(STORE_DAMAGED, "a record ends at byte %zu", r.at);
    return OK;
}
