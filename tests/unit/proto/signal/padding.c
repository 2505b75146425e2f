#include <criterion/criterion.h>

#include "tests/support/signal_party.h"
#include "tests/support/vectors.h"

Test(padding, goes_on_and_off)
{
    struct party p;
    bool seen[17] = {false};

    party_init(&p, "x", 0, 3);
    for (int i = 0; i < 500; i++) {
        struct slice padded = wa_pad(&p.ks, &p.arena, SLICE("hello")), plain;

        cr_assert_eq(wa_unpad(padded, &plain), OK);
        cr_assert(slice_is(plain, "hello"));
        seen[padded.len - 5] = true;
    }
    cr_assert_not(seen[0]);
    for (int n = 1; n <= 16; n++)
        cr_assert(seen[n], "%d", n);
    party_done(&p);
}

Test(padding, agrees_with_the_vectors)
{
    json_t *v = vectors_open("misc.json"), *row;
    AUTO(arena) arena = {0};
    struct slice plain;
    size_t i;

    json_array_foreach(vector_at(v, "padding"), i, row)
    {
        cr_assert_eq(wa_unpad(vector_hex(row, "padded", &arena), &plain), OK);
        cr_assert(slice_eq(plain, vector_hex(row, "plaintext", &arena)));
    }
    json_array_foreach(vector_at(v, "padding_reject"), i, row)
        cr_assert_eq(wa_unpad(vector_hex_of(row, &arena), &plain), ERR_BAD_PADDING, "%zu", i);
    json_decref(v);
}

Test(phash, agrees_with_the_vectors)
{
    AUTO(arena) arena = {0};
    char out[WA_PHASH_MAX];
    struct wa_jid lids[] = {wa_jid_of(WA_SERVER_LID, SLICE("888"), 0),
                            wa_jid_of(WA_SERVER_LID, SLICE("777"), 5),
                            wa_jid_of(WA_SERVER_LID, SLICE("777"), 0)};
    struct wa_jid users[] = {wa_jid_of(WA_SERVER_USER, SLICE("7469250125917"), 21),
                             wa_jid_of(WA_SERVER_USER, SLICE("5511988887777"), 14)};
    struct wa_jid one = wa_jid_of(WA_SERVER_USER, SLICE("5511999999999"), 3);

    cr_assert_str_eq(wa_phash(NULL, 0, &arena, out), "2:47DEQpj8");
    cr_assert_str_eq(wa_phash(lids, 3, &arena, out), "2:fkEC9SZr");
    cr_assert_str_eq(wa_phash(users, 2, &arena, out), "2:AAv/hwhn");
    cr_assert_str_eq(wa_phash(&one, 1, &arena, out), "2:5s+YxCff");
}
