#include <criterion/criterion.h>

#include "storage/record.h"
#include "storage/store.h"

struct thing {
    uint8_t small;
    bool flag;
    uint32_t number;
    uint64_t big;
    int64_t moment;
    struct slice text, blob;
    int kept; /* has no row */
};

static const struct field fields[] = {
    FIELD_UINT(1, struct thing, small),   FIELD_UINT(2, struct thing, flag),
    FIELD_UINT(3, struct thing, number),  FIELD_UINT(4, struct thing, big),
    FIELD_INT(5, struct thing, moment),   FIELD_BYTES(6, struct thing, text),
    FIELD_BYTES(200, struct thing, blob),
};
enum { COUNT = sizeof(fields) / sizeof(fields[0]) };

static const struct thing full = {
    .small = 255,
    .flag = true,
    .number = 0xffffffff,
    .big = UINT64_MAX,
    .moment = -1,
    .text = {(const uint8_t *)"hello", 5},
    .blob = {(const uint8_t *)"", 0},
};

Test(record, crc32c_is_castagnoli)
{
    cr_assert_eq(crc32c(0, SLICE("123456789")), 0xe3069283);
    cr_assert_eq(crc32c(crc32c(0, SLICE("1234")), SLICE("56789")), 0xe3069283);
}

Test(record, comes_back_as_it_was)
{
    AUTO(buf) out = {0};
    struct thing t = {.kept = 7};
    record_encode(fields, COUNT, &full, &out);
    cr_assert_eq(record_decode(fields, COUNT, buf_slice(&out), &t), OK);
    cr_assert_eq(t.small, 255);
    cr_assert(t.flag);
    cr_assert_eq(t.number, 0xffffffff);
    cr_assert_eq(t.big, UINT64_MAX);
    cr_assert_eq(t.moment, -1);
    cr_assert(slice_is(t.text, "hello"));
    cr_assert(!slice_is_none(t.blob));
    cr_assert_eq(t.kept, 7);
}

Test(record, of_zeros_is_empty)
{
    AUTO(buf) out = {0};
    struct thing t = {.big = 5, .text = SLICE("x")};
    record_encode(fields, COUNT, &(struct thing){0}, &out);
    cr_assert_eq(out.len, 0);
    cr_assert_eq(record_decode(fields, COUNT, buf_slice(&out), &t), OK);
    cr_assert_eq(t.big, 0);
    cr_assert(slice_is_none(t.text));
}

Test(record, skips_fields_it_does_not_know)
{
    AUTO(buf) out = {0};
    struct thing t;
    record_encode(fields, COUNT, &full, &out);
    cr_assert_eq(record_decode(&fields[2], 1, buf_slice(&out), &t), OK);
    cr_assert_eq(t.number, 0xffffffff);
}

Test(record, refuses_what_ends_inside_a_field)
{
    AUTO(buf) out = {0};
    struct thing t;
    record_encode(fields, COUNT, &(struct thing){.text = SLICE("hello"), .number = 300}, &out);
    for (size_t n = 0; n < out.len; n++) {
        err_t e = record_decode(fields, COUNT, slice_of(out.data, n), &t);
        cr_assert(e == OK ? n == 0 || n == 3 : e == ERR_STORE_DAMAGED, "%zu bytes", n);
    }
}

Test(record, envelope_finds_every_flipped_bit)
{
    uint8_t key[] = "a key of some length", value[RECORD_HEAD + 60];
    struct slice k = slice_of(key, sizeof(key)), payload;

    for (size_t i = 0; i < 60; i++)
        value[RECORD_HEAD + i] = (uint8_t)(i * 7);
    record_head(value, DB_data, k, slice_of(value + RECORD_HEAD, 60));
    cr_assert_eq(record_open(DB_data, k, SLICE_ARRAY(value), &payload), OK);
    cr_assert_eq(payload.len, 60);

    for (size_t bit = 0; bit < sizeof(value) * 8; bit++) {
        value[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(record_open(DB_data, k, SLICE_ARRAY(value), &payload), OK);
        value[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < sizeof(key) * 8; bit++) {
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(record_open(DB_data, k, SLICE_ARRAY(value), &payload), ERR_STORE_DAMAGED);
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_assert_eq(record_open(DB_events, k, SLICE_ARRAY(value), &payload), ERR_STORE_DAMAGED);
    for (size_t n = 0; n < sizeof(value); n++)
        cr_assert_eq(record_open(DB_data, k, slice_of(value, n), &payload), ERR_STORE_DAMAGED);
}

/* Who reads it finds the row: ids hold these numbers. */
Test(record, a_damaged_one_says_whose_it_is)
{
    struct key message = key_of_kind((struct scope){3, 200}, 70000, KIND_message);
    struct key event = key_of_tenant(3), login = {0};
    static const char *const words[] = {"(data, tenant 3, account 200, peer 70000, message)",
                                        "(events, tenant 3, event 9)", "(logins)"};
    enum db dbs[] = {DB_data, DB_events, DB_logins};
    uint8_t value[RECORD_HEAD + 4] = {RECORD_VERSION};
    struct slice payload;

    key_be64(&event, 9);
    key_be64(&login, 12345);
    struct key *keys[] = {&message, &event, &login};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(record_open(dbs[i], key_slice(keys[i]), SLICE_ARRAY(value), &payload),
                     ERR_STORE_DAMAGED);
        cr_expect(strstr(err_words(), words[i]), "%s", err_words());
    }
}
