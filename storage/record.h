/* Records: the envelope around every value, and the codec of the typed ones.
 *
 * Envelope, in front of every value that LMDB holds:
 *     version (1)  CRC-32C (4)  payload
 * The sum covers sub-database, key, version and payload, so a flipped bit in either, or a value
 * under another key, is found when it is read. batch_put() and view_find() write and check it;
 * nobody else sees it. (LMDB 0.9 has no checksums of its own.)
 *
 * Payload of a typed record: fields as tag (1), then a varint, or a length as varint and bytes.
 * A field that is zero or absent takes no room; a tag that is not known is skipped, so a field can
 * be added without a migration. Layouts are tables, one row per field:
 *
 *     static const struct field fields[] = {
 *         FIELD_UINT(1, struct db_chat, next_seq),
 *         FIELD_BYTES(2, struct db_chat, name),
 *     };
 */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "storage/key.h"

enum { RECORD_VERSION = 1, RECORD_HEAD = 5 };

/* CRC-32C (Castagnoli), started from `crc` (0 first). Uses the processor's instruction. */
uint32_t crc32c(uint32_t crc, struct slice bytes);

void record_head(uint8_t out[RECORD_HEAD], unsigned db, struct slice key, struct slice payload);
/* STORE_DAMAGED when the sum does not match, with words that say whose row it is; STORE_VERSION
 * when a newer program wrote it. */
err_t record_open(unsigned db, struct slice key, struct slice value,
                  struct slice *out_payload) MUST_CHECK;

enum field_type { FIELD_TYPE_UINT, FIELD_TYPE_INT, FIELD_TYPE_BYTES };

struct field {
    uint8_t tag; /* 1..255, never used again for something else */
    uint8_t type;
    uint8_t size; /* of the number in the struct: 1, 2, 4, 8 */
    uint16_t offset;
};

#define FIELD_ROW_(number, kind, record, member)                                                   \
    {                                                                                              \
        .tag = (number), .type = (kind), .size = sizeof(((record *)0)->member),                    \
        .offset = offsetof(record, member)                                                         \
    }
/* Unsigned number, bool or enum. */
#define FIELD_UINT(tag_, record, member) FIELD_ROW_(tag_, FIELD_TYPE_UINT, record, member)
/* Signed number. */
#define FIELD_INT(tag_, record, member) FIELD_ROW_(tag_, FIELD_TYPE_INT, record, member)
/* struct slice. */
#define FIELD_BYTES(tag_, record, member) FIELD_ROW_(tag_, FIELD_TYPE_BYTES, record, member)

void record_encode(const struct field *fields, size_t count, const void *object, struct buf *out);
/* Slices of the object borrow from `payload`; fields that are missing become zero, members that
 * have no row stay. STORE_DAMAGED when malformed. */
err_t record_decode(const struct field *fields, size_t count, struct slice payload,
                    void *object) MUST_CHECK;
