#include <criterion/criterion.h>

#include "proto/signal/record.h"
#include "tests/support/signal_party.h"

static struct party p;
static const struct wa_address peer = {.name = {(const uint8_t *)"777@lid", 7}, .device = 4};

/* A state with every part filled; `base` tells it apart. */
static struct wa_session state_of(uint32_t base)
{
    struct wa_session s = {.their_registration_id = 9,
                           .can_send = true,
                           .pending = true,
                           .has_prekey = true,
                           .prekey_id = 5,
                           .signed_prekey_id = 6,
                           .previous_counter = 7,
                           .receiving_count = WA_CHAINS_MAX};

    memcpy(s.base.bytes, &base, sizeof(base));
    for (uint32_t i = 0; i < WA_CHAINS_MAX; i++) {
        uint32_t name = base * 100 + i;
        memcpy(s.receiving[i].ratchet.bytes, &name, sizeof(name));
        s.receiving[i].chain.index = i + 50;
    }
    return s;
}

/* Gives a chain one skipped key, so that it has a row. */
static void skip_one(struct wa_receiving *chain)
{
    struct wa_skipped skipped = wa_receiving_skipped(&p.ks, &p.arena, &peer, chain);
    struct crypto_key seed = {{1}};

    cr_assert_eq(wa_skipped_add(&skipped, 3, &seed, 1), OK);
}

Test(record, reads_back_what_it_wrote)
{
    struct wa_session s = state_of(1), again;
    AUTO(buf) bytes = {0};

    s.receiving[2].slots = 0x8000000000000001u;
    wa_session_put(&s, &bytes);
    cr_assert_eq(wa_session_parse(buf_slice(&bytes), &again), OK);
    cr_assert_eq(memcmp(&s, &again, sizeof(s)), 0);
    cr_assert_leq(bytes.len, 680, "%zu", bytes.len);
}

Test(record, parses_exactly)
{
    struct wa_session s = state_of(1), again;
    AUTO(buf) bytes = {0};

    wa_session_put(&s, &bytes);
    for (size_t n = 0; n < bytes.len; n++)
        cr_assert_eq(wa_session_parse(slice_sub(buf_slice(&bytes), 0, n), &again),
                     ERR_STORE_DAMAGED);
    buf_put_u8(&bytes, 0);
    cr_assert_eq(wa_session_parse(buf_slice(&bytes), &again), ERR_STORE_DAMAGED);
    bytes.data[1] |= 0x80;
    cr_assert_eq(wa_session_parse(buf_slice(&bytes), &again), ERR_STORE_DAMAGED);
    bytes.data[0] = 2;
    cr_assert_eq(wa_session_parse(buf_slice(&bytes), &again), ERR_STORE_VERSION);
}

Test(record, bounds_the_archive_and_its_skipped_keys)
{
    struct wa_archive archive = {0}, again;

    party_init(&p, "x", 0, 1);
    size_t rows = p.rows.count;
    for (uint32_t i = 0; i < 25; i++) {
        struct wa_session s = state_of(i);

        for (unsigned c = 0; c < s.receiving_count; c++)
            skip_one(&s.receiving[c]);
        wa_archive_push(&p.ks, &p.arena, &peer, &archive, &s);
    }
    cr_assert_eq(archive.count, WA_ARCHIVED_MAX);
    cr_assert_eq(archive.states[0].base.bytes[0], 24);
    cr_assert_eq(archive.states[WA_ARCHIVED_MAX - 1].base.bytes[0], 15);
    cr_assert_eq(p.rows.count - rows,
                 WA_ARCHIVED_WHOLE * WA_CHAINS_MAX +
                     (WA_ARCHIVED_MAX - WA_ARCHIVED_WHOLE) * WA_ARCHIVED_CHAINS_MAX);

    wa_archive_save(&p.ks, &p.arena, &peer, &archive);
    cr_assert_eq(wa_archive_load(&p.ks, &p.arena, &peer, &again), OK);
    cr_assert_eq(again.count, archive.count);
    wa_archive_take(&again, 0);
    cr_assert_eq(again.states[0].base.bytes[0], 23);
    for (unsigned i = 0; i < archive.count; i++)
        wa_session_forget(&p.ks, &p.arena, &peer, &archive.states[i]);
    archive.count = 0;
    wa_archive_save(&p.ks, &p.arena, &peer, &archive);
    cr_assert_eq(p.rows.count, rows);
    party_done(&p);
}

Test(record, refuses_a_damaged_archive)
{
    struct wa_archive archive = {0};
    struct wa_session s = state_of(1);
    struct wa_row row = {WA_SIGNAL_SESSION, peer.name, SLICE("4.old")};
    struct slice good;

    party_init(&p, "x", 0, 1);
    wa_archive_push(&p.ks, &p.arena, &peer, &archive, &s);
    wa_archive_push(&p.ks, &p.arena, &peer, &archive, &s);
    wa_archive_save(&p.ks, &p.arena, &peer, &archive);
    cr_assert_eq(party_load(&p, row, &p.arena, &good), OK);
    for (size_t n = 1; n < good.len; n++) {
        party_save(&p, row, slice_sub(good, 0, n));
        cr_assert_neq(wa_archive_load(&p.ks, &p.arena, &peer, &archive), OK);
        cr_assert_eq(archive.count, 0);
    }
    party_done(&p);
}
