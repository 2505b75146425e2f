#include <criterion/criterion.h>

#include "proto/base/text.h"
#include "proto/client/account.h"
#include "proto/client/pair_qr.h"
#include "proto/signal/adv.h"
#include "tests/support/fake_server.h"
#include "tests/support/refusal.h"

#define PAIR_DEVICE                                                                                \
    "<iq from=\"@s.whatsapp.net\" type=\"set\" id=\"1\" xmlns=\"md\"><pair-device>"                \
    "<ref>one</ref><ref>two</ref><ref>three</ref></pair-device></iq>"

static void start(struct world *w)
{
    world_init(w);
    WORLD_TURN(w, wa_client_pair(w->client, w->now));
    world_connect(w);
    world_serve(w, PAIR_DEVICE);
    world_expect(w, "<iq type=\"result\" to=\"@s.whatsapp.net\" id=\"1\"/>");
}

static void read_account(struct world *w, struct wa_account *out)
{
    const struct buf *row = fake_row(&w->h, WA_NS_ACCOUNT, "", "");
    cr_assert(row);
    cr_assert_eq(wa_account_decode(buf_slice(row), out), OK);
}

/* The text of pair-success as a phone would have it made; `spoil` flips one bit of it. */
static char *success(struct world *w, const uint8_t secret[32], size_t spoil)
{
    AUTO(wa_account) account = {0};
    AUTO(buf) hex = {0};
    struct party phone;
    struct wa_adv_grant grant = {.raw_id = 9, .key_index = 4, .timestamp = 1700000000};

    read_account(w, &account);
    party_init(&phone, "777@lid", 0, 7);
    struct slice identity =
        wa_adv_issue(&phone.ks, &w->arena, secret ? secret : account.adv_secret.bytes,
                     &account.identity.public, &grant);
    AUTO(buf) bytes = {0};
    buf_put(&bytes, identity);
    if (spoil) bytes.data[spoil] ^= 1;
    text_hex(buf_slice(&bytes), &hex);
    party_done(&phone);
    return arena_text(
        &w->arena,
        arena_printf(
            &w->arena,
            "<iq from=\"@s.whatsapp.net\" type=\"set\" id=\"2\" xmlns=\"md\"><pair-success>"
            "<device-identity>[" SLICE_FMT "]</device-identity>"
            "<device jid=\"15550001111:5@s.whatsapp.net\" lid=\"777:5@lid\"/>"
            "<platform name=\"android\"/></pair-success></iq>",
            SLICE_ARG(buf_slice(&hex))));
}

Test(pair_qr, shows_a_code_of_five_fields_with_our_keys)
{
    struct world w;
    AUTO(wa_account) a = {0};
    AUTO(buf) expected = {0};

    start(&w);
    read_account(&w, &a);
    buf_put_text(&expected, "qr one,");
    text_base64(SLICE_ARRAY(a.noise.public.bytes), &expected);
    buf_put_u8(&expected, ',');
    text_base64(SLICE_ARRAY(a.identity.public.bytes), &expected);
    buf_put_u8(&expected, ',');
    text_base64(SLICE_ARRAY(a.adv_secret.bytes), &expected);
    buf_put_text(&expected, ",9 left 2");
    world_expect_event(&w, buf_text(&expected));
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_PAIRING);
    world_done(&w);
}

Test(pair_qr, shows_no_more_codes_than_its_limit)
{
    AUTO(buf) iq = {0};
    struct world w;

    world_init(&w);
    WORLD_TURN(&w, wa_client_pair(w.client, w.now));
    world_connect(&w);
    buf_put_text(&iq, "<iq from=\"@s.whatsapp.net\" type=\"set\" id=\"1\" xmlns=\"md\">"
                      "<pair-device>");
    for (int i = 0; i < WA_REFS_MAX + 3; i++)
        buf_printf(&iq, "<ref>code%d</ref>", i);
    buf_put_text(&iq, "</pair-device></iq>");
    world_serve(&w, buf_text(&iq));
    buf_reset(&iq);
    buf_printf(&iq, "left %d", WA_REFS_MAX - 1);
    const char *event = fake_event(&w.h);
    cr_assert(strstr(event, buf_text(&iq)), "%s", event);
    world_done(&w);
}

Test(pair_qr, rotates_after_60_then_20_seconds_and_expires)
{
    struct world w;
    int64_t at;

    start(&w);
    fake_events_skip(&w.h);
    world_sleep(&w, 59999);
    world_expect_no_event(&w);
    world_sleep(&w, 1);
    cr_assert(strstr(fake_event(&w.h), "qr two,"));
    world_sleep(&w, 20000);
    cr_assert(strstr(fake_event(&w.h), "qr three,"));
    world_sleep(&w, 20000);
    world_expect_event(&w, "pair_failed expired");
    cr_assert(!w.is_up);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_NONE);
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_NEW);
    world_done(&w);
}

Test(pair_qr, saves_credentials_before_the_answer_and_restarts)
{
    struct world w;
    AUTO(wa_account) a = {0};
    int64_t at;

    start(&w);
    fake_events_skip(&w.h);
    w.hold = true;
    world_serve(&w, success(&w, NULL, 0));
    read_account(&w, &a);
    cr_assert(!a.paired, "nothing is durable yet");
    world_expect_quiet(&w);
    w.hold = false;
    world_settle(&w);
    wa_account_done(&a);
    read_account(&w, &a);
    cr_assert(a.paired);
    cr_assert_eq(a.device, 5);

    world_expect_event(&w, "mapping 15550001111@s.whatsapp.net 777@lid");
    world_expect_event(&w, "paired 15550001111:5@s.whatsapp.net 777:5@lid android");
    const char *answer = world_next(&w);
    cr_assert(strstr(answer, "<iq type=\"result\" to=\"@s.whatsapp.net\" id=\"2\">"
                             "<pair-device-sign><device-identity key-index=\"4\">["));

    world_serve(&w, "<stream:error code=\"515\"/>");
    cr_assert(!w.is_up);
    world_expect_no_event(&w);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    cr_assert_eq(at, w.now);
    cr_assert(fake_row(&w.h, WA_NS_IDENTITY, "777@lid", "0"), "the phone's key is trusted");
    world_done(&w);
}

Test(pair_qr, gives_an_answer_that_the_phone_accepts)
{
    struct world w;
    AUTO(wa_account) a = {0};
    struct party phone;
    struct slice identity;

    start(&w);
    read_account(&w, &a);
    world_serve(&w, success(&w, NULL, 0));
    const struct wa_node *iq = world_next_node(&w);
    struct slice answer =
        wa_node_child_bytes(wa_node_child(iq, "pair-device-sign"), "device-identity");
    party_init(&phone, "777@lid", 0, 7);
    cr_assert_eq(wa_adv_finish(&phone.ks, &w.arena, answer, &a.identity.public, &identity), OK);
    party_done(&phone);
    world_done(&w);
}

Test(pair_qr, goes_on_without_a_515)
{
    struct world w;
    int64_t at;

    start(&w);
    world_serve(&w, success(&w, NULL, 0));
    world_sleep(&w, 20000);
    cr_assert(!w.is_up);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    world_login(&w);
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_ONLINE);
    world_done(&w);
}

Test(pair_qr, refuses_a_forged_answer)
{
    static const struct {
        size_t spoil;
        bool other_secret;
        const char *error;
        const char *event;
    } rows[] = {
        {0, true, "<error code=\"401\" text=\"hmac-mismatch\"/>", "pair_failed signature 401"},
        {1, false, "<error code=\"500\" text=\"internal-error\"/>", "pair_failed signature 500"},
        {20, false, "<error code=\"401\" text=\"hmac-mismatch\"/>", "pair_failed signature 401"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        uint8_t other[32] = {1};

        start(&w);
        fake_events_skip(&w.h);
        world_serve(&w, success(&w, rows[i].other_secret ? other : NULL, rows[i].spoil));
        const char *answer = world_next(&w);
        cr_assert(strstr(answer, rows[i].error), "%s", answer);
        world_expect_event(&w, rows[i].event);
        cr_assert(!w.is_up);
        cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_NEW);
        cr_assert(!fake_row(&w.h, WA_NS_ACCOUNT, "", ""));
        world_done(&w);
    }
}

/* The secret is right, but the phone signed another companion's key. */
/* It is kept, and goes out with every first message. */
Test(pair_qr, refuses_an_identity_that_is_too_long)
{
    struct world w;

    start(&w);
    world_next(&w);
    char *xml = success(&w, NULL, 0);
    const char *end = strstr(xml, "]</device-identity>");
    AUTO(buf) longer = {0};
    buf_put(&longer, slice_of(xml, (size_t)(end - xml)));
    buf_put_text(&longer, "7a8040"); /* a field that nobody knows, 8192 bytes long */
    for (int i = 0; i < 8192; i++)
        buf_put_text(&longer, "00");
    buf_put_text(&longer, end);
    world_serve(&w, buf_text(&longer));
    cr_assert(strstr(world_next(&w), "internal-error"));
    cr_assert_neq(wa_client_state_of(w.client), WA_CLIENT_OFFLINE);
    world_done(&w);
}

Test(pair_qr, refuses_a_signature_over_another_key)
{
    struct world w;
    AUTO(wa_account) account = {0};
    AUTO(buf) hex = {0};
    struct party phone, other;
    struct wa_adv_grant grant = {.raw_id = 9, .key_index = 4, .timestamp = 1700000000};

    start(&w);
    fake_events_skip(&w.h);
    read_account(&w, &account);
    party_init(&phone, "777@lid", 0, 7);
    party_init(&other, "999@lid", 3, 8);
    text_hex(
        wa_adv_issue(&phone.ks, &w.arena, account.adv_secret.bytes, &other.identity.public, &grant),
        &hex);
    world_serve(
        &w, arena_text(
                &w.arena,
                arena_printf(
                    &w.arena,
                    "<iq from=\"@s.whatsapp.net\" type=\"set\" id=\"2\" xmlns=\"md\"><pair-success>"
                    "<device-identity>[" SLICE_FMT "]</device-identity>"
                    "<device jid=\"15550001111:5@s.whatsapp.net\" "
                    "lid=\"777:5@lid\"/></pair-success></iq>",
                    SLICE_ARG(buf_slice(&hex)))));
    cr_assert(strstr(world_next(&w), "<error code=\"401\" text=\"signature-mismatch\"/>"));
    world_expect_event(&w, "pair_failed signature 401");
    party_done(&phone);
    party_done(&other);
    world_done(&w);
}

Test(pair_qr, takes_a_new_secret_when_the_phone_asks)
{
    struct world w;
    AUTO(wa_account) before = {0};
    AUTO(wa_account) after = {0};

    start(&w);
    read_account(&w, &before);
    fake_events_skip(&w.h);
    world_serve(&w, "<notification type=\"companion_reg_refresh\" from=\"@s.whatsapp.net\" "
                    "id=\"n1\"><companion_reg_refresh/></notification>");
    world_expect(&w, "<ack class=\"notification\" id=\"n1\" to=\"@s.whatsapp.net\" "
                     "type=\"companion_reg_refresh\"/>");
    read_account(&w, &after);
    cr_assert(memcmp(&before.adv_secret, &after.adv_secret, 32));
    cr_assert(strstr(fake_event(&w.h), "qr one,"));
    world_done(&w);
}

Test(pair_qr, starts_over_with_new_keys_and_never_over_a_paired_account)
{
    struct world w;
    AUTO(wa_account) before = {0};
    AUTO(wa_account) after = {0};

    start(&w);
    read_account(&w, &before);
    WORLD_TURN(&w, wa_client_pair(w.client, w.now));
    read_account(&w, &after);
    cr_assert(memcmp(&before.identity, &after.identity, sizeof(before.identity)));
    cr_assert(!w.is_up, "the old code is worth nothing");
    world_done(&w);

    world_init_paired(&w);
    wa_account_done(&before);
    wa_account_done(&after);
    read_account(&w, &before);
    WORLD_TURN(&w, wa_client_pair(w.client, w.now));
    read_account(&w, &after);
    cr_assert(!memcmp(&before.identity, &after.identity, sizeof(before.identity)));
    world_done(&w);
}

Test(pair_qr, forgets_a_half_pairing_at_a_crash)
{
    struct world w;

    start(&w);
    w.hold = true;
    world_serve(&w, success(&w, NULL, 0));
    world_restart(&w); /* the answer never left: the phone did not link us */
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_NEW);
    WORLD_TURN(&w, wa_client_pair(w.client, w.now));
    world_connect(&w);
    world_serve(&w, PAIR_DEVICE);
    world_serve(&w, success(&w, NULL, 0));
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_OFFLINE);
    world_done(&w);
}

/* ---- no memory ---- */

/* success() with client-props so long that they need memory of their own. */
static char *success_with_props(struct world *w)
{
    char *xml = success(w, NULL, 0);
    const char *at = strstr(xml, "<platform");
    AUTO(buf) longer = {0};

    buf_put(&longer, slice_of(xml, (size_t)(at - xml)));
    buf_put_text(&longer, "<client-props>[08017a8040"); /* migrated; an unknown field of 8192 */
    for (int i = 0; i < 8192; i++)
        buf_put_text(&longer, "00");
    buf_put_text(&longer, "]</client-props>");
    buf_put_text(&longer, at);
    return arena_text(&w->arena, buf_slice(&longer));
}

Test(pair_qr, does_not_refuse_the_phone_because_there_was_no_memory)
{
    bool refused = true;
    unsigned nth;

    for (nth = 1; refused; nth++) {
        struct world w;
        AUTO(buf) plain = {0};
        AUTO(buf) frame = {0};
        AUTO(wa_account) a = {0};

        start(&w);
        wa_node_encode(world_parse(&w, success_with_props(&w)), &plain);
        cr_assert_eq(wa_transport_seal(&w.result.transport, buf_slice(&plain), &frame), OK);
        fake_turn_open(&w.h);
        refuse_memory(nth);
        err_t e = wa_client_recv(w.client, buf_slice(&frame), w.now);
        refused = refused_memory();
        cr_assert_eq(e, refused ? ERR_NO_MEMORY : OK, "%s at refusal %u", err_name(e), nth);
        if (!refused) {
            fake_turn_close(&w.h);
            world_settle(&w);
            read_account(&w, &a);
            cr_assert(a.paired && a.lid_migrated);
        }
        world_done(&w);
    }
    cr_assert_gt(nth, 4);
}
