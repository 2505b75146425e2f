#include "proto/client/pb.h"

#include <criterion/criterion.h>

Test(pb, reads_back_what_it_wrote_and_the_last_wins)
{
    AUTO(buf) m = {0};

    wa_pb_put_int(&m, 1, 300);
    wa_pb_put_bytes(&m, 2, SLICE("first"));
    wa_pb_put_bytes(&m, 2, SLICE("last"));
    wa_pb_put_bytes(&m, 3, SLICE_NONE);
    wa_pb_put_bytes(&m, 4, SLICE(""));
    cr_assert_eq(wa_pb_int_or(buf_slice(&m), 1, 7), 300);
    cr_assert_eq(wa_pb_int_or(buf_slice(&m), 9, 7), 7);
    cr_assert(slice_is(wa_pb_bytes(buf_slice(&m), 2), "last"));
    cr_assert(slice_is_none(wa_pb_bytes(buf_slice(&m), 3)));
    cr_assert(!slice_is_none(wa_pb_bytes(buf_slice(&m), 4)));
}

Test(pb, walks_every_wire_type_but_groups)
{
    static const uint8_t fixed[] = {0x09, 1, 0, 0, 0, 0, 0, 0, 0x80, 0x15, 2, 0, 0, 0};
    static const uint8_t group[] = {0x0b, 0x0c};
    static const uint8_t zero[] = {0x00, 0x01};
    static const uint8_t huge[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x01};

    cr_assert_eq(wa_pb_int_or(SLICE_ARRAY(fixed), 1, 0), 0x8000000000000001u);
    cr_assert_eq(wa_pb_int_or(SLICE_ARRAY(fixed), 2, 0), 2);
    cr_assert(!wa_pb_is_whole(SLICE_ARRAY(group)));
    cr_assert(!wa_pb_is_whole(SLICE_ARRAY(zero)), "field number 0");
    cr_assert(!wa_pb_is_whole(SLICE_ARRAY(huge)), "a field number of more than 29 bits");
}

Test(pb, stops_at_every_cut)
{
    AUTO(buf) m = {0};

    wa_pb_put_bytes(&m, 2, SLICE("hello"));
    for (size_t n = 1; n < m.len; n++)
        cr_assert(!wa_pb_is_whole(slice_of(m.data, n)));
    cr_assert(wa_pb_is_whole(buf_slice(&m)));
}
