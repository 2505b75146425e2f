#include "tests/unit/server/api/house.h"

TestSuite(accounts, .init = house_setup, .fini = house_teardown);

static char args_of[200];
static const char *with_account(const struct account *a)
{
    snprintf(args_of, sizeof(args_of), "{\"account_id\":\"%s\"}", a->status.id);
    return args_of;
}

Test(accounts, pairing_answers_code_picture_and_link)
{
    struct answer a = use(&H.test, "pair_account", "{}");
    int64_t left;

    cr_assert_eq(a.error, OK);
    cr_assert_str_eq(member(&a, "status"), "pairing");
    cr_assert(json_int(json_get(a.json, "codes_left"), &left) && left == 5);
    cr_assert_str_eq(member(&a, "code"), "2@abc,def,ghi,jkl,1");
    cr_assert_str_eq(member(&a, "url"), "http://127.0.0.1:8790/qr/unguessable");
    cr_assert_str_eq(member(&a, "expires_at"), "2025-11-20T09:52:30.000Z");
    cr_assert_gt(a.image.len, 100);
    cr_assert(slice_starts_with(buf_slice(&a.image), SLICE("iVBORw0KGgo"))); /* PNG */
    cr_assert(H.accounts[0].status.sandbox);
    answer_done(&a);
}

Test(accounts, the_link_leads_to_where_the_server_is_reached)
{
    static const struct {
        const char *listen, *public_url, *want;
    } rows[] = {
        {"127.0.0.1:8790", "https://parley.example", "https://parley.example/qr/unguessable"},
        {"127.0.0.1:8790", "https://parley.example:1/", "https://parley.example:1/qr/unguessable"},
        {"0.0.0.0:8790", "", "http://localhost:8790/qr/unguessable"},
        {"[::]:8790", "", "http://localhost:8790/qr/unguessable"},
        {"[::1]:8790", "", "http://[::1]:8790/qr/unguessable"},
        {"10.0.0.3:8790", "", "http://10.0.0.3:8790/qr/unguessable"},
    };
    struct answer a = use(&H.test, "pair_account", "{}");

    answer_done(&a);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        H.config.listen = rows[i].listen;
        H.config.public_url = rows[i].public_url;
        a = use(&H.test, "pair_account", with_account(&H.accounts[0]));
        cr_expect_str_eq(member(&a, "url"), rows[i].want);
        answer_done(&a);
    }
}

Test(accounts, pairing_again_shows_the_code_and_starts_no_second_one)
{
    struct answer a = use(&H.test, "pair_account", "{}"), b;
    size_t turns = H.turns;

    strcpy(H.accounts[0].status.code, "2@next,d,g,j,1");
    directory_update(H.server.directory, &H.accounts[0].status);
    b = use(&H.test, "pair_account", with_account(&H.accounts[0]));
    cr_assert_str_eq(member(&b, "code"), "2@next,d,g,j,1");
    cr_assert_eq(H.account_count, 1);
    cr_assert_eq(H.turns, turns);
    answer_done(&a);
    answer_done(&b);
}

Test(accounts, the_status_tells_the_code_and_then_that_there_is_none)
{
    struct answer a = use(&H.test, "pair_account", "{}");
    struct account *acc = &H.accounts[0];
    const struct json *pairing;
    int64_t left;

    answer_done(&a);
    a = use(&H.test, "get_account_status", with_account(acc));
    pairing = json_get(a.json, "pairing");
    cr_assert_str_eq(member(&a, "status"), "pairing");
    cr_assert(slice_is(json_get_text(pairing, "code"), "2@abc,def,ghi,jkl,1"));
    cr_assert(slice_is(json_get_text(pairing, "url"), "http://127.0.0.1:8790/qr/unguessable"));
    cr_assert(slice_is(json_get_text(pairing, "expires_at"), "2025-11-20T09:52:30.000Z"));
    cr_assert(json_int(json_get(pairing, "codes_left"), &left) && left == 5);
    answer_done(&a);

    acc->status.state = ACCOUNT_EXPIRED;
    acc->status.code[0] = '\0';
    acc->status.codes_left = 0;
    directory_update(H.server.directory, &acc->status);
    a = use(&H.test, "get_account_status", with_account(acc));
    cr_assert_str_eq(member(&a, "status"), "expired");
    cr_assert_eq(json_kind(json_get(a.json, "pairing")), JSON_NIL);
    answer_done(&a);
}

Test(accounts, a_repeated_pairing_call_stays_with_its_account)
{
    struct answer a = use(&H.test, "pair_account", "{\"idempotency_key\":\"p\"}");
    struct answer b = use(&H.test, "pair_account", "{\"idempotency_key\":\"p\"}");

    cr_assert_str_eq(member(&a, "account_id"), member(&b, "account_id"));
    cr_assert_eq(H.account_count, 1);
    answer_done(&a);
    answer_done(&b);
}

Test(accounts, a_connected_one_needs_no_code)
{
    struct account *a = add_account(true, ACCOUNT_CONNECTED);
    struct answer r = use(&H.test, "pair_account", with_account(a));

    cr_assert_str_eq(member(&r, "status"), "connected");
    cr_assert_eq(json_kind(json_get(r.json, "code")), JSON_NIL);
    cr_assert_eq(r.image.len, 0);
    answer_done(&r);
}

Test(accounts, a_key_sees_its_own_world_only)
{
    struct account *live = add_account(false, ACCOUNT_CONNECTED);
    struct account *test = add_account(true, ACCOUNT_CONNECTED);
    struct principal stranger = H.live;
    struct answer a;

    stranger.tenant = 2;
    expect_error(&H.test, "get_account", with_account(live), "not_found");
    expect_error(&H.live, "get_account", with_account(test), "not_found");
    expect_error(&stranger, "get_account", with_account(live), "not_found");
    expect_error(&H.test, "logout_account", with_account(live), "not_found");
    expect_error(&H.test, "list_events", with_account(live), "not_found");
    expect_error(&H.test, "subscribe_events", "{\"events\":[\"*\"],\"account_id\":\"acc_0\"}",
                 "invalid_request");
    a = use(&H.live, "list_accounts", "{}");
    cr_assert_eq(json_count(json_get(a.json, "accounts")), 1);
    answer_done(&a);
}

Test(accounts, lists_page_by_cursor)
{
    struct answer a;
    char args[200];
    size_t seen = 0, pages = 0;

    for (int i = 0; i < 5; i++)
        add_account(true, ACCOUNT_CONNECTED);
    add_account(false, ACCOUNT_CONNECTED);
    strcpy(args, "{\"limit\":2}");
    for (bool more = true; more; pages++) {
        a = use(&H.test, "list_accounts", args);
        cr_assert_eq(a.error, OK);
        seen += json_count(json_get(a.json, "accounts"));
        more = json_kind(json_get(a.json, "next_cursor")) == JSON_STR;
        snprintf(args, sizeof(args), "{\"limit\":2,\"cursor\":\"%s\"}", member(&a, "next_cursor"));
        answer_done(&a);
    }
    cr_assert_eq(seen, 5);
    cr_assert_eq(pages, 3);
    expect_error(&H.test, "list_accounts", "{\"cursor\":\"made up\"}", "invalid_request");
    expect_error(&H.test, "list_accounts", "{\"cursor\":\"\"}", "invalid_request");
}

Test(accounts, the_operator_sees_both_worlds)
{
    struct principal operator= H.live;
    struct answer a;

    operator.all_worlds = true;
    add_account(true, ACCOUNT_CONNECTED);
    add_account(false, ACCOUNT_CONNECTED);
    a = use(&operator, "list_accounts", "{\"limit\":1}");
    cr_assert_eq(json_kind(json_get(a.json, "next_cursor")), JSON_STR);
    answer_done(&a);
    a = use(&operator, "list_accounts", "{}");
    cr_assert_eq(json_count(json_get(a.json, "accounts")), 2);
    answer_done(&a);
}

Test(accounts, metadata_and_status_say_what_is_known)
{
    struct account *acc = add_account(true, ACCOUNT_DISCONNECTED);
    struct answer a;

    acc->status.reason = WA_REASON_BANNED;
    acc->status.reason_code = 402;
    acc->status.until_s = 1763632350;
    directory_update(H.server.directory, &acc->status);
    a = use(&H.test, "get_account", with_account(acc));
    cr_assert_str_eq(member(&a, "phone"), "+15550000001");
    cr_assert_str_eq(member(&a, "status"), "disconnected");
    answer_done(&a);
    a = use(&H.test, "get_account_status", with_account(acc));
    cr_assert_str_eq(member(&a, "reason"), wa_reason_text(WA_REASON_BANNED));
    cr_assert_str_eq(member(&a, "banned_until"), "2025-11-20T09:52:30.000Z");
    cr_assert_eq(json_kind(json_get(a.json, "pairing")), JSON_NIL);
    answer_done(&a);
}

Test(accounts, verbs_answer_the_new_state)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer a = use(&H.test, "reconnect_account", with_account(acc));

    cr_assert_str_eq(member(&a, "status"), "disconnected");
    answer_done(&a);
    a = use(&H.test, "logout_account", with_account(acc));
    cr_assert_str_eq(member(&a, "status"), "logged_out");
    answer_done(&a);
    expect_error(&H.test, "reconnect_account", with_account(acc), "account_not_paired");
    a = use(&H.test, "delete_account", with_account(acc));
    cr_assert_eq(a.error, OK);
    answer_done(&a);
    expect_error(&H.test, "get_account", with_account(acc), "not_found");
}

/* Also when the first has changed what the second would find. */
Test(accounts, verbs_answer_the_same_under_their_key)
{
    static const char *const verbs[] = {"reconnect_account", "logout_account", "delete_account"};
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer first[ARRAY_LEN(verbs)];
    char args[200];

    snprintf(args, sizeof args, "{\"account_id\":\"%s\",\"idempotency_key\":\"k\"}",
             acc->status.id);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        first[i] = use(&H.test, verbs[i], args);
        cr_assert_eq(first[i].error, OK, "%s", verbs[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        struct answer again = use(&H.test, verbs[i], args);
        AUTO(buf) then = {0};
        AUTO(buf) now = {0};

        cr_assert_eq(again.error, OK, "%s again", verbs[i]);
        json_write(&then, first[i].json);
        json_write(&now, again.json);
        cr_assert_str_eq(buf_text(&then), buf_text(&now), "%s again", verbs[i]);
        answer_done(&first[i]);
        answer_done(&again);
    }
}
