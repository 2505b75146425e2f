#include "proto/client/account.h"

#include <criterion/criterion.h>

#include "proto/client/events.h"

static void count_up(void *ctx, void *out, size_t n)
{
    uint8_t *next = ctx, *at = out;
    for (size_t i = 0; i < n; i++)
        at[i] = (*next)++;
}

static void make(struct wa_account *a)
{
    uint8_t next = 1;

    crypto_start();
    wa_account_make(a, count_up, &next);
    a->paired = a->lid_migrated = true;
    a->device = 5;
    a->signed_prekey_id = 1;
    a->next_prekey = 813;
    a->upload_from = 1;
    a->upload_count = 812;
    strcpy(a->pn_user, "15550001111");
    strcpy(a->lid_user, "777");
    buf_put_text(&a->device_identity, "signed");
    buf_put_text(&a->routing, "route");
    a->held_off = (struct wa_held_off){WA_REASON_BANNED, 101, 1700003600};
}

Test(account, comes_back_from_its_row)
{
    AUTO(wa_account) a = {0};
    AUTO(wa_account) b = {0};
    AUTO(buf) row = {0};

    make(&a);
    wa_account_encode(&a, &row);
    cr_assert_eq(wa_account_decode(buf_slice(&row), &b), OK);
    cr_assert(!memcmp(&a.noise, &b.noise, sizeof(a.noise)));
    cr_assert(!memcmp(&a.identity, &b.identity, sizeof(a.identity)));
    cr_assert(!memcmp(&a.adv_secret, &b.adv_secret, sizeof(a.adv_secret)));
    cr_assert_eq(b.registration_id, a.registration_id);
    cr_assert(b.paired && b.lid_migrated);
    cr_assert_eq(b.next_prekey, 813);
    cr_assert_eq(b.upload_count, 812);
    cr_assert(slice_is(buf_slice(&b.device_identity), "signed"));
    cr_assert(slice_is(buf_slice(&b.routing), "route"));
    cr_assert_eq(b.held_off.reason, WA_REASON_BANNED);
    cr_assert_eq(b.held_off.code, 101);
    cr_assert_eq(b.held_off.until_s, 1700003600);
    struct wa_jid pn = wa_account_pn(&b), lid = wa_account_lid(&b);
    cr_assert(slice_is(pn.user, "15550001111") && pn.device == 5);
    cr_assert(slice_is(lid.user, "777") && lid.server == WA_SERVER_LID);
}

Test(account, reads_rows_of_the_first_version)
{
    enum { HELD_OFF = 1 + 4 + 8, SIGNED_AT = 8 };
    AUTO(wa_account) a = {0};
    AUTO(wa_account) b = {0};
    AUTO(buf) row = {0};

    make(&a);
    wa_account_encode(&a, &row);
    row.data[0] = 1;
    cr_assert_eq(wa_account_decode(slice_of(row.data, row.len - HELD_OFF - SIGNED_AT), &b), OK);
    cr_assert(slice_is(buf_slice(&b.routing), "route"));
    cr_assert_eq(b.held_off.reason, WA_REASON_NONE);
}

Test(account, reads_rows_that_do_not_know_the_age_of_the_signed_prekey)
{
    enum { SIGNED_AT = 8 };
    AUTO(wa_account) a = {0};
    AUTO(wa_account) b = {0};
    AUTO(wa_account) c = {0};
    AUTO(buf) row = {0};

    make(&a);
    a.signed_prekey_at_s = 1700000000;
    a.held_off.until_s = 9;
    wa_account_encode(&a, &row);
    cr_assert_eq(wa_account_decode(buf_slice(&row), &b), OK);
    cr_assert_eq(b.signed_prekey_at_s, 1700000000);
    row.data[0] = 2;
    cr_assert_eq(wa_account_decode(slice_of(row.data, row.len - SIGNED_AT), &c), OK);
    cr_assert_eq(c.signed_prekey_at_s, 0);
    cr_assert_eq(c.held_off.until_s, 9);
}

Test(account, refuses_an_end_of_a_ban_beyond_all_time)
{
    AUTO(wa_account) a = {0};
    AUTO(wa_account) b = {0};
    AUTO(buf) row = {0};

    make(&a);
    a.held_off.until_s = INT64_MAX;
    wa_account_encode(&a, &row);
    cr_assert_eq(wa_account_decode(buf_slice(&row), &b), ERR_STORE_DAMAGED);
}

Test(account, knows_itself_by_either_address)
{
    AUTO(wa_account) a = {0};
    struct wa_jid jid;
    static const struct {
        const char *jid;
        bool self;
    } rows[] = {
        {"15550001111@s.whatsapp.net", true},
        {"15550001111:9@s.whatsapp.net", true},
        {"15550001111@c.us", true},
        {"777:3@lid", true},
        {"777@s.whatsapp.net", false},
        {"15550001111@lid", false},
        {"777@g.us", false},
    };

    make(&a);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert_eq(wa_jid_parse(slice_text(rows[i].jid), &jid), OK);
        cr_expect_eq(wa_account_is_self(&a, &jid), rows[i].self, "%s", rows[i].jid);
    }
}

Test(account, refuses_a_cut_longer_or_newer_row)
{
    AUTO(wa_account) a = {0};
    AUTO(buf) row = {0};

    make(&a);
    wa_account_encode(&a, &row);
    for (size_t n = 0; n < row.len; n++) {
        AUTO(wa_account) b = {0};
        cr_assert_eq(wa_account_decode(slice_of(row.data, n), &b), ERR_STORE_DAMAGED);
    }
    AUTO(wa_account) longer = {0};
    buf_put_u8(&row, 0);
    cr_assert_eq(wa_account_decode(buf_slice(&row), &longer), ERR_STORE_DAMAGED);
    AUTO(wa_account) newer = {0};
    row.data[0] = 4;
    cr_assert_eq(wa_account_decode(buf_slice(&row), &newer), ERR_STORE_VERSION);
}
