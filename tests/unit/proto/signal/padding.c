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

/* "777.0:5@lid": the agent stands behind the dot. */
static struct wa_jid device_of(const char *text, struct arena *arena)
{
    char user[32], server[32];
    unsigned device;

    cr_assert_eq(sscanf(text, "%31[0-9].0:%u@%31s", user, &device, server), 3, "%s", text);
    return wa_jid_of(wa_server_find(slice_text(server)), arena_dup(arena, slice_text(user)),
                     (uint16_t)device);
}

/* The order in which the devices are given does not count. */
Test(phash, agrees_with_the_vectors)
{
    json_t *v = vectors_open("misc.json"), *row;
    AUTO(arena) arena = {0};
    char out[WA_PHASH_MAX];
    struct wa_jid one = wa_jid_of(WA_SERVER_USER, SLICE("5511999999999"), 3);
    size_t i;

    json_array_foreach(vector_at(v, "phash"), i, row)
    {
        json_t *names = vector_at(row, "devices");
        struct wa_jid devices[8];
        size_t n = json_array_size(names);

        cr_assert_leq(n, ARRAY_LEN(devices));
        for (size_t k = 0; k < n; k++)
            devices[n - 1 - k] = device_of(json_string_value(json_array_get(names, k)), &arena);
        cr_assert_str_eq(wa_phash(devices, n, &arena, out), vector_text(row, "phash"));
    }
    cr_assert_eq(i, 3u);
    cr_assert_str_eq(wa_phash(&one, 1, &arena, out), "2:5s+YxCff");
    json_decref(v);
}
