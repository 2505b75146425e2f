/* Signed identities: what the phone makes, what the server accepts. */
#include <criterion/criterion.h>

#include "tools/sim/adv.h"

#include "proto/base/xalloc.h"

struct made {
    struct crypto_pair phone, companion;
    uint8_t secret[32];
    struct buf container, details;
    uint8_t account_key[32];
    uint32_t key_index;
    bool hosted;
};

static struct made make(bool hosted)
{
    struct made m = {0};
    struct sim_adv adv = {.raw_id = 7, .key_index = 3, .timestamp = 1800000000, .hosted = hosted};

    crypto_start();
    crypto_pair_new(&m.phone);
    crypto_pair_new(&m.companion);
    sim_adv_make(&adv, &m.phone, m.companion.public.bytes, SLICE_ARRAY(m.secret), &m.container);
    return m;
}

static bool open_made(struct made *m, struct slice container)
{
    buf_reset(&m->details);
    return sim_adv_open_container(container, &m->details, m->account_key, &m->key_index, &m->hosted);
}

static void drop(struct made *m)
{
    buf_done(&m->container);
    buf_done(&m->details);
}

Test(adv, the_container_opens)
{
    for (int hosted = 0; hosted < 2; hosted++) {
        struct made m = make(hosted);

        cr_assert(open_made(&m, buf_slice(&m.container)));
        cr_expect_eq(m.key_index, 3);
        cr_expect_eq(m.hosted, hosted);
        cr_expect_eq(memcmp(m.account_key, m.phone.public.bytes, 32), 0);
        drop(&m);
    }
}

Test(adv, a_cut_container_does_not)
{
    struct made m = make(false);

    for (size_t n = 0; n < m.container.len; n++) {
        /* Without its last field, the MAC, the container still decodes: the companion's business. */
        bool opens = open_made(&m, slice_of(m.container.data, n));

        if (n + 34 != m.container.len) cr_expect_not(opens, "%zu of %zu", n, m.container.len);
    }
    drop(&m);
}

Test(adv, junk_is_no_identity)
{
    cr_expect_not(sim_adv_decodes(SLICE_NONE));
    cr_expect_not(sim_adv_decodes(SLICE("")));
    cr_expect_not(sim_adv_decodes(SLICE("\xff\xff\xff")));
    cr_expect_not(sim_adv_has_details(SLICE("x"), SLICE("x")));
    cr_expect_not(sim_adv_signed_by_device(SLICE("x"), (uint8_t[32]){0}, (uint8_t[32]){0}, false));
}
