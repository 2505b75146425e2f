/* Signed identities as the server checks them. */
#include "tests/unit/tools/sim/world.h"

#include "proto/signal/adv.h"
#include "tools/sim/adv.h"

struct made {
    struct crypto_pair companion;
    struct sim_phone *phone;
    struct world *w;
    struct slice container;
    struct arena arena;
    struct buf details;
    uint8_t account_key[32];
    uint32_t key_index;
    bool hosted;
};

static struct made make(bool hosted)
{
    static const uint8_t secret[32] = {1};
    struct wa_adv_grant grant = {
        .raw_id = 7, .key_index = 3, .timestamp = WORLD_NOW, .hosted = hosted};
    struct made m = {.w = world_new()};

    m.phone = world_phone(m.w, "15550001111");
    crypto_pair_new(&m.companion);
    m.container = wa_adv_issue(&m.phone->keystore, &m.arena, secret, &m.companion.public, &grant);
    return m;
}

static bool open_made(struct made *m, struct slice container)
{
    buf_reset(&m->details);
    return sim_adv_open_container(container, &m->details, m->account_key, &m->key_index,
                                  &m->hosted);
}

static void drop(struct made *m)
{
    arena_done(&m->arena);
    buf_done(&m->details);
    world_free(m->w);
}

Test(adv, the_container_opens)
{
    for (int hosted = 0; hosted < 2; hosted++) {
        struct made m = make(hosted);

        cr_assert(open_made(&m, m.container));
        cr_expect_eq(m.key_index, 3);
        cr_expect_eq(m.hosted, hosted);
        cr_expect_eq(memcmp(m.account_key, m.phone->identity.public.bytes, 32), 0);
        drop(&m);
    }
}

Test(adv, a_cut_container_does_not)
{
    struct made m = make(false);

    for (size_t n = 0; n < m.container.len; n++) {
        /* Without its last field, the MAC, the container still decodes: the companion's business.
         */
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
