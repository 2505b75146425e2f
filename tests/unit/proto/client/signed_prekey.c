#include "proto/client/signed_prekey.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/support/fake_server.h"

#define DAYS(n) ((int64_t)(n)*24 * 60 * 60 * 1000)

static void log_in(struct world *w)
{
    world_login_to_count(w);
    world_answer(w, "get", "encrypt", "<count value=\"100\"/>");
    fake_events_skip(&w->h);
}

/* The next stanza is the rotation: its id, key and whether the signature is ours. */
struct rotation {
    uint32_t id;
    uint8_t key[32];
};
static struct rotation expect_rotation(struct world *w, const char *answer)
{
    struct rotation r = {0};
    struct crypto_key key;
    AUTO(wa_account) account = {0};
    const struct wa_node *iq = world_next_node(w);
    const struct wa_node *rotate = iq ? wa_node_child(iq, "rotate") : NULL;

    cr_assert(rotate && slice_is(wa_node_text(iq, "xmlns"), "encrypt"), "no rotation");
    const struct wa_node *skey = wa_node_child(rotate, "skey");
    struct slice id = wa_node_child_bytes(skey, "id"), value = wa_node_child_bytes(skey, "value");
    cr_assert(id.len == 3 && value.len == 32);
    r.id = (uint32_t)(id.data[0] << 16 | id.data[1] << 8 | id.data[2]);
    memcpy(r.key, value.data, 32);
    memcpy(key.bytes, value.data, 32);
    uint8_t typed[WA_TYPED_KEY];
    wa_key_typed(&key, typed);
    cr_assert_eq(wa_account_decode(buf_slice(fake_row(&w->h, WA_NS_ACCOUNT, "", "")), &account),
                 OK);
    cr_assert(crypto_verify(&account.identity.public, SLICE_ARRAY(typed),
                            wa_node_child_bytes(skey, "signature")));
    if (answer) {
        struct slice xml = arena_printf(&w->arena,
                                        "<iq from=\"@s.whatsapp.net\" type=\"%s\" id=\"" SLICE_FMT
                                        "\"><error code=\"503\"/></iq>",
                                        answer, SLICE_ARG(wa_node_text(iq, "id")));
        world_serve(w, arena_text(&w->arena, xml));
    }
    return r;
}

/* A login so many days after the pairing. */
static void after(struct world *w, int64_t ms)
{
    world_init_paired(w);
    w->now += ms;
    log_in(w);
    world_sleep(w, 1);
}

static bool has_key(struct world *w, uint32_t id)
{
    char name[16];

    snprintf(name, sizeof name, "%u", id);
    return fake_row(&w->h, WA_NS_SIGNED_PREKEY, "", name) != NULL;
}

Test(signed_prekey, is_replaced_after_27_days)
{
    struct world w;

    after(&w, DAYS(27) - 10000);
    world_expect_quiet(&w);
    world_cut(&w);
    w.now += 20000;
    log_in(&w);
    world_sleep(&w, 1);
    cr_expect_eq(expect_rotation(&w, "result").id, 2u);
    world_sleep(&w, 1000);
    world_expect_quiet(&w);
    world_done(&w);
}

/* A machine that starts in 2036, and learns the time later. */
Test(signed_prekey, made_by_a_clock_that_was_ahead_is_replaced_all_the_same)
{
    struct world w;

    after(&w, DAYS(3650));
    cr_expect_eq(expect_rotation(&w, "result").id, 2u);
    world_cut(&w);
    w.now -= DAYS(3650);
    wa_client_clock(w.client, w.now);
    log_in(&w);
    world_sleep(&w, 1);
    world_expect_quiet(&w);
    world_cut(&w);
    w.now += DAYS(28);
    log_in(&w);
    world_sleep(&w, 1);
    cr_expect_eq(expect_rotation(&w, "result").id, 3u);
    world_done(&w);
}

Test(signed_prekey, three_generations_are_kept)
{
    struct world w;

    world_init_paired(&w);
    for (uint32_t id = 2; id <= 5; id++) {
        w.now += DAYS(27) + 1;
        log_in(&w);
        world_sleep(&w, 1);
        cr_expect_eq(expect_rotation(&w, "result").id, id);
        world_cut(&w);
        world_sleep(&w, 1);
    }
    cr_expect(!has_key(&w, 1) && !has_key(&w, 2));
    cr_expect(has_key(&w, 3) && has_key(&w, 4) && has_key(&w, 5));
    world_done(&w);
}

/* The server may have taken it: another key under its number would undo those who fetched it. */
Test(signed_prekey, an_answer_that_was_lost_repeats_the_same_key)
{
    struct world w;

    after(&w, DAYS(28));
    struct rotation first = expect_rotation(&w, NULL);
    world_restart(&w);
    log_in(&w);
    world_sleep(&w, 1);
    struct rotation again = expect_rotation(&w, "result");
    cr_expect_eq(first.id, again.id);
    cr_expect_eq(memcmp(first.key, again.key, 32), 0);
    world_done(&w);
}

Test(signed_prekey, a_refusal_is_left_alone_for_a_day)
{
    struct world w;

    after(&w, DAYS(28));
    struct rotation first = expect_rotation(&w, "error");
    world_cut(&w);
    w.now += DAYS(1) - 60000;
    log_in(&w);
    world_sleep(&w, 1);
    world_expect_quiet(&w);
    world_cut(&w);
    w.now += 120000;
    log_in(&w);
    world_sleep(&w, 1);
    cr_expect_eq(expect_rotation(&w, "result").id, first.id);
    world_done(&w);
}
