#include <criterion/criterion.h>

#include "proto/client/login.h"
#include "proto/schema/handshake.pb-c.h"
#include "proto/schema/unpack.h"
#include "tests/support/fake_server.h"

Test(login, greets_counts_prekeys_and_uploads)
{
    struct world w;
    world_init_paired(&w);

    world_connect(&w);
    world_serve(&w, "<success t=\"1700000000\" lid=\"777:5@lid\"/>");
    world_expect_event(&w, "connected 15550001111:5@s.whatsapp.net 777:5@lid");
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_ONLINE);
    world_expect(&w, "<ib><unified_session id=\"166400000\"/></ib>");
    world_answer(&w, "set", "passive", "");
    world_answer(&w, "get", "privacy", "<privacy/>");
    world_answer(&w, "get", "encrypt", "<count value=\"0\"/>");
    const struct wa_node *upload = world_next_node(&w);
    cr_assert_eq(wa_node_child(upload, "list")->child_count, 3);
    cr_assert_eq(wa_node_child_bytes(upload, "identity").len, 32);
    world_expect_quiet(&w);
    world_done(&w);
}

static const Wa__ClientPayload *payload(struct world *w)
{
    const Wa__ClientPayload *p;

    cr_assert_eq(WA_UNPACK(wa__client_payload, buf_slice(&w->result.payload), &w->arena, &p), OK);
    return p;
}

Test(login, registers_with_keys_and_the_hashed_version)
{
    struct world w;
    uint8_t md5[16];

    world_init(&w);
    WORLD_TURN(&w, wa_client_pair(w.client, w.now));
    w.config.version[2] = 77; /* read at the connect, not before */
    world_connect(&w);

    const Wa__ClientPayload *p = payload(&w);
    cr_assert(!p->has_username && !p->passive && !p->pull);
    cr_assert_eq(p->user_agent->app_version->tertiary, 77);
    const Wa__ClientPayload__DevicePairingRegistrationData *d = p->device_pairing_data;
    cr_assert(d);
    crypto_md5(SLICE("2.3000.77"), md5);
    cr_assert(slice_eq(wa_field(&d->build_hash), SLICE_ARRAY(md5)));
    cr_assert_eq(d->e_regid.len, 4);
    cr_assert_eq(d->e_keytype.len, 1);
    cr_assert_eq(d->e_ident.len, 32);
    cr_assert_eq(d->e_skey_id.len, 3);
    cr_assert_eq(d->e_skey_sig.len, 64);

    struct crypto_key identity;
    uint8_t typed[WA_TYPED_KEY];
    struct crypto_key skey;
    memcpy(identity.bytes, d->e_ident.data, 32);
    memcpy(skey.bytes, d->e_skey_val.data, 32);
    wa_key_typed(&skey, typed);
    cr_assert(crypto_verify(&identity, SLICE_ARRAY(typed), wa_field(&d->e_skey_sig)));
    world_done(&w);
}

Test(login, logs_in_with_number_and_device)
{
    struct world w;

    world_init_paired(&w);
    world_connect(&w);
    const Wa__ClientPayload *p = payload(&w);
    cr_assert_eq(p->username, 15550001111u);
    cr_assert_eq(p->device, 5);
    cr_assert(p->passive && p->pull && !p->device_pairing_data);
    world_done(&w);
}

static void refuse(struct world *w, const char *xml)
{
    world_init_paired(w);
    world_connect(w);
    world_serve(w, xml);
}

/* The token for an appeal is given once. */
Test(login, hands_a_final_refusal_on_as_it_came)
{
    static const char locked[] =
        "<failure reason=\"403\" location=\"atn\" appeal_token=\"only-once\"/>";
    struct world w;
    struct wa_node *node;

    refuse(&w, locked);
    cr_assert_eq(wa_node_decode(buf_slice(&w.h.refusal), &w.arena, &node), OK);
    AUTO(buf) text = {0};
    wa_node_to_text(node, false, &text);
    cr_expect_str_eq(buf_text(&text), locked);
    world_done(&w);
}

Test(login, keeps_no_words_of_a_server_that_only_asks_to_come_back)
{
    struct world w;
    AUTO(buf) long_one = {0};

    refuse(&w, "<failure reason=\"503\" location=\"atn\"/>");
    cr_expect_eq(w.h.refusal.len, 0u);
    world_done(&w);
    buf_put_text(&long_one, "<failure reason=\"403\" message=\"");
    for (int i = 0; i < WA_REFUSAL_MAX; i++)
        buf_put_u8(&long_one, 'x');
    buf_put_text(&long_one, "\"/>");
    refuse(&w, buf_text(&long_one));
    cr_expect_eq(w.h.refusal.len, 0u, "too long");
    world_expect_event(&w, "unpaired logged_out 403");
    world_done(&w);
}

static const struct refusal {
    const char *stanza, *event;
    int64_t wait_s; /* -1: no link wished; else about so many seconds */
    enum wa_client_state state;
} refusals[] = {
    {"<failure reason=\"400\"/>", "disconnected refused 400", -1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"401\" location=\"atn\"/>", "unpaired logged_out 401", -1,
     WA_CLIENT_LOGGED_OUT},
    {"<failure reason=\"402\" code=\"101\" expire=\"3600\"/>", "disconnected banned 101 retries",
     3600, WA_CLIENT_OFFLINE},
    {"<failure reason=\"403\"/>", "unpaired logged_out 403", -1, WA_CLIENT_LOGGED_OUT},
    {"<failure reason=\"405\"/>", "disconnected client_outdated 405 retries", 3600,
     WA_CLIENT_OFFLINE},
    {"<failure reason=\"406\"/>", "unpaired logged_out 406", -1, WA_CLIENT_LOGGED_OUT},
    {"<failure reason=\"409\"/>", "disconnected refused 409", -1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"413\"/>", "disconnected refused 413", -1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"414\"/>", "disconnected refused 414", -1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"418\"/>", "disconnected refused 418", -1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"429\"/>", "disconnected rate_limited 429 retries", 8, WA_CLIENT_OFFLINE},
    {"<failure reason=\"530\"/>", "disconnected server 530 retries", 1, WA_CLIENT_OFFLINE},
    {"<failure/>", "disconnected refused", -1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"415\"/>", "disconnected refused 415", -1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"500\"/>", "disconnected server 500 retries", 1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"501\"/>", "disconnected refused 501", -1, WA_CLIENT_OFFLINE},
    {"<failure reason=\"503\"/>", "disconnected server 503 retries", 1, WA_CLIENT_OFFLINE},
    {"<stream:error code=\"401\"><conflict type=\"device_removed\"/></stream:error>",
     "unpaired logged_out 401", -1, WA_CLIENT_LOGGED_OUT},
    {"<stream:error><conflict type=\"replaced\"/></stream:error>", "disconnected replaced 409", -1,
     WA_CLIENT_OFFLINE},
    {"<stream:error><conflict type=\"device_removed\"/></stream:error>", "unpaired logged_out 401",
     -1, WA_CLIENT_LOGGED_OUT},
    {"<stream:error code=\"403\"/>", "unpaired logged_out 403", -1, WA_CLIENT_LOGGED_OUT},
    {"<stream:error code=\"502\"/>", "disconnected server 502 retries", 1, WA_CLIENT_OFFLINE},
    {"<stream:error code=\"409\"/>", "disconnected replaced 409", -1, WA_CLIENT_OFFLINE},
    {"<stream:error code=\"429\"/>", "disconnected rate_limited 429 retries", 8, WA_CLIENT_OFFLINE},
    {"<stream:error code=\"500\"/>", "disconnected server 500 retries", 1, WA_CLIENT_OFFLINE},
    {"<stream:error code=\"503\"/>", "disconnected server 503 retries", 1, WA_CLIENT_OFFLINE},
    {"<stream:error code=\"515\"/>", NULL, 0, WA_CLIENT_OFFLINE},
    {"<stream:error code=\"516\"/>", "unpaired logged_out 516", -1, WA_CLIENT_LOGGED_OUT},
    {"<stream:error><ack class=\"message\" id=\"X\"/></stream:error>",
     "disconnected protocol retries", 1, WA_CLIENT_OFFLINE},
    {"<stream:error><xml-not-well-formed/></stream:error>", "disconnected protocol retries", 1,
     WA_CLIENT_OFFLINE},
    {"<xmlstreamend/>", "disconnected server retries", 1, WA_CLIENT_OFFLINE},
};

static void check_refusal(const struct refusal *r)
{
    struct world w;
    int64_t at;

    world_init_paired(&w);
    world_connect(&w);
    world_serve(&w, r->stanza);
    if (r->event) world_expect_event(&w, r->event);
    world_expect_no_event(&w);
    cr_expect(!w.is_up, "%s", r->stanza);
    cr_expect_eq(wa_client_state_of(w.client), r->state, "%s", r->stanza);
    enum wa_wish wish = wa_client_wish(w.client, &at);
    cr_expect_eq(wish, r->wait_s < 0 ? WA_WISH_NONE : WA_WISH_LINK, "%s", r->stanza);
    if (r->wait_s >= 0) {
        int64_t wait = at - w.now, ideal = r->wait_s * 1000;
        cr_expect(wait >= ideal * 9 / 10 && wait <= ideal * 11 / 10, "%s: %lld ms", r->stanza,
                  (long long)wait);
    }
    if (r->state == WA_CLIENT_LOGGED_OUT)
        cr_expect(!fake_row(&w.h, WA_NS_ACCOUNT, "", ""), "%s", r->stanza);
    world_done(&w);
}

Test(login, does_what_every_refusal_asks_for)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        check_refusal(&refusals[i]);
}

Test(login, comes_back_when_the_version_is_new)
{
    struct world w;
    int64_t at;

    world_init_paired(&w);
    world_connect(&w);
    world_serve(&w, "<failure reason=\"405\"/>");
    world_sleep(&w, 10 * 60 * 1000);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    cr_assert_gt(at, w.now + 45 * 60 * 1000, "no loop");
    w.config.version[2]++;
    world_sleep(&w, 61 * 1000);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    cr_assert_lt(at, w.now + 2000);
    world_done(&w);
}

Test(login, never_loops_on_replaced_until_asked)
{
    struct world w;
    int64_t at;

    world_init_paired(&w);
    world_login(&w);
    world_serve(&w, "<stream:error><conflict type=\"replaced\"/></stream:error>");
    world_expect_event(&w, "disconnected replaced 409");
    world_sleep(&w, 24 * 3600 * 1000LL);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_NONE);
    WORLD_TURN(&w, wa_client_reconnect(w.client, w.now));
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    world_login(&w);
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_ONLINE);
    world_done(&w);
}

Test(login, a_restart_waits_for_the_end_of_a_ban)
{
    struct world w;
    struct wa_down down;
    int64_t at, end;

    world_init_paired(&w);
    world_connect(&w);
    world_serve(&w, "<failure reason=\"402\" code=\"101\" expire=\"3600\"/>");
    end = w.now + 3600 * 1000;
    world_sleep(&w, 60 * 1000);
    world_restart(&w);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    cr_assert(at > end - 1000 && at <= end + 1000, "%lld", (long long)(at - end));
    cr_assert(wa_client_held_off(w.client, &down));
    cr_assert_eq(down.reason, WA_REASON_BANNED);
    cr_assert_eq(down.code, 101);
    cr_assert_eq(down.until_s * 1000, at);
    cr_assert_eq(down.retry_at, at);

    world_sleep(&w, 3600 * 1000);
    world_login(&w);
    cr_assert(!wa_client_held_off(w.client, &down), "a login forgets it");
    world_restart(&w);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    cr_assert_leq(at, w.now);
    world_done(&w);
}

Test(login, a_second_ban_is_told_with_its_end)
{
    struct world w;

    world_init_paired(&w);
    for (int i = 0; i < 2; i++) {
        world_connect(&w);
        world_serve(&w, "<failure reason=\"402\" code=\"101\" expire=\"3600\"/>");
        world_expect_event(&w, "disconnected banned 101 retries");
        world_sleep(&w, 3601 * 1000);
    }
    world_done(&w);
}

Test(login, a_restart_tries_once_after_a_replacement_or_a_refusal)
{
    static const struct {
        const char *stanza, *event;
        enum wa_reason reason;
    } rows[] = {
        {"<stream:error code=\"409\"/>", "disconnected replaced 409", WA_REASON_REPLACED},
        {"<failure reason=\"400\"/>", "disconnected refused 400", WA_REASON_REFUSED},
    };
    struct wa_down down;
    int64_t at;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        world_init_paired(&w);
        world_connect(&w);
        world_serve(&w, rows[i].stanza);
        world_expect_event(&w, rows[i].event);
        world_restart(&w);
        cr_assert(wa_client_held_off(w.client, &down));
        cr_assert_eq(down.reason, rows[i].reason);
        cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
        world_connect(&w);
        world_serve(&w, rows[i].stanza);
        world_expect_event(&w, rows[i].event);
        world_sleep(&w, 24 * 3600 * 1000LL);
        cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_NONE);
        WORLD_TURN(&w, wa_client_reconnect(w.client, w.now));
        cr_assert(!wa_client_held_off(w.client, &down));
        world_done(&w);
    }
}

Test(login, backs_off_and_forgets_only_after_thirty_seconds_up)
{
    static const int64_t ideal[] = {1000, 1000, 2000, 3000, 5000, 8000};
    struct world w;
    int64_t at;

    world_init_paired(&w);
    for (size_t i = 0; i < ARRAY_LEN(ideal); i++) {
        world_login(&w);
        world_sleep(&w, 10 * 1000); /* up, but not long enough */
        world_cut(&w);
        cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
        cr_expect(at - w.now >= ideal[i] * 9 / 10 && at - w.now <= ideal[i] * 11 / 10, "%zu: %lld",
                  i, (long long)(at - w.now));
    }
    world_login(&w);
    world_sleep(&w, 19 * 1000);
    world_serve(&w, "<ib/>");
    world_sleep(&w, 12 * 1000);
    world_cut(&w);
    wa_client_wish(w.client, &at);
    cr_assert_leq(at - w.now, 1100);
    world_done(&w);
}

Test(login, comes_back_ever_later_to_a_server_that_limits_long_links)
{
    static const int64_t ideal[] = {8000, 144000, 900000};
    struct world w;
    int64_t at;

    world_init_paired(&w);
    for (size_t i = 0; i < ARRAY_LEN(ideal); i++) {
        world_login(&w);
        for (int s = 0; s < 4; s++) {
            world_serve(&w, "<ib/>");
            world_sleep(&w, 10 * 1000);
        }
        world_serve(&w, "<stream:error code=\"429\"/>");
        cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
        cr_expect(at - w.now >= ideal[i] * 9 / 10 && at - w.now <= ideal[i] * 11 / 10, "%zu: %lld",
                  i, (long long)(at - w.now));
    }
    world_login(&w);
    for (int s = 0; s < 4; s++) {
        world_serve(&w, "<ib/>");
        world_sleep(&w, 10 * 1000);
    }
    world_cut(&w);
    wa_client_wish(w.client, &at);
    cr_assert_leq(at - w.now, 1100);
    world_done(&w);
}

Test(login, tells_a_lasting_failure_once)
{
    struct world w;

    world_init_paired(&w);
    for (int i = 0; i < 5; i++) {
        world_connect(&w);
        world_serve(&w, "<failure reason=\"503\"/>");
    }
    world_expect_event(&w, "disconnected server 503 retries");
    world_expect_no_event(&w);
    world_login(&w);
    world_cut(&w);
    world_expect_event(&w, "disconnected link retries");
    world_done(&w);
}

Test(login, logs_out_with_a_query_and_deletes_credentials)
{
    struct world w;
    int64_t at;

    world_init_paired(&w);
    world_login(&w);
    WORLD_TURN(&w, wa_client_logout(w.client, w.now));
    const struct wa_node *iq = world_next_node(&w);
    cr_assert(slice_is(wa_node_text(iq, "xmlns"), "md"));
    cr_assert(slice_is(wa_node_text(wa_node_child(iq, "remove-companion-device"), "jid"),
                       "15550001111:5@s.whatsapp.net"));
    world_serve(&w, "<stream:error code=\"401\"><conflict type=\"device_removed\"/>"
                    "</stream:error>");
    world_expect_event(&w, "unpaired by_user 401");
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_LOGGED_OUT);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_NONE);
    cr_assert(!fake_row(&w.h, WA_NS_ACCOUNT, "", ""));
    world_done(&w);
}

Test(login, logs_out_without_a_link_a_server_or_an_answer)
{
    struct world w;

    world_init_paired(&w);
    WORLD_TURN(&w, wa_client_logout(w.client, w.now));
    world_expect_event(&w, "unpaired by_user");
    world_done(&w);

    world_init_paired(&w);
    world_login(&w);
    WORLD_TURN(&w, wa_client_logout(w.client, w.now));
    world_sleep(&w, 10 * 1000);
    world_expect_event(&w, "unpaired by_user");
    world_done(&w);

    world_init_paired(&w);
    world_login(&w);
    WORLD_TURN(&w, wa_client_logout(w.client, w.now));
    world_cut(&w);
    world_expect_event(&w, "unpaired by_user");
    world_expect_no_event(&w);
    world_done(&w);
}

Test(login, learns_its_lid_from_success)
{
    struct world w;

    world_init_paired(&w);
    world_connect(&w);
    world_serve(&w, "<success t=\"1700000000\" lid=\"778:5@lid\"/>");
    world_expect_event(&w, "mapping 15550001111@s.whatsapp.net 778@lid");
    world_expect_event(&w, "connected 15550001111:5@s.whatsapp.net 778:5@lid");
    world_done(&w);
}

Test(login, can_be_paired_again_after_a_logout)
{
    struct world w;
    int64_t at;

    world_init_paired(&w);
    WORLD_TURN(&w, wa_client_logout(w.client, w.now));
    WORLD_TURN(&w, wa_client_pair(w.client, w.now));
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_PAIRING);
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    world_done(&w);
}

/* The first comes after pairing and is obeyed at once; one after the other would be a storm. */
Test(login, a_server_that_only_says_restart_is_asked_ever_more_rarely)
{
    static const int64_t waits_s[] = {0, 1, 1, 2, 3, 5};
    struct world w;
    int64_t at;

    world_init_paired(&w);
    for (size_t i = 0; i < ARRAY_LEN(waits_s); i++) {
        world_connect(&w);
        world_serve(&w, "<stream:error code=\"515\"/>");
        cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
        cr_expect(at - w.now >= waits_s[i] * 900 && at - w.now <= waits_s[i] * 1100, "%zu: %lld ms",
                  i, (long long)(at - w.now));
    }
    world_login(&w); /* once a link has held, a restart is a restart again */
    world_sleep(&w, WA_BACKOFF_STABLE_MS);
    world_serve(&w, "<stream:error code=\"515\"/>");
    cr_assert_eq(wa_client_wish(w.client, &at), WA_WISH_LINK);
    cr_expect_eq(at, w.now);
    world_done(&w);
}
