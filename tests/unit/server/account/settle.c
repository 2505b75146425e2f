/* What happens between inputs: the keys of a pairing that ended go in slices, whatever stops them.
 */
#include "storage/keys.h"
#include "tests/unit/server/account/house.h"

TestSuite(settle, .init = house_start, .fini = house_stop, .timeout = 120);

enum { SESSIONS = 20000, WA_SESSION_NS = 2 };

/* As host.c would save them, but a row of a person each without the work of sealing. */
static void pair_with_sessions(void)
{
    uint8_t value[300] = {7};
    char name[32];

    for (uint32_t peer = 1; peer <= SESSIONS;) {
        struct turn *t = turn_open(house.account);
        for (int i = 0; i < 1000; i++, peer++) {
            snprintf(name, sizeof name, "%u@lid%c1", peer, 0);
            db_key_put(&t->batch, house.account->scope, peer, WA_SESSION_NS, slice_text(name),
                       SLICE_ARRAY(value));
        }
        turn_close(t, OK);
        house_settle();
    }
}

static size_t keys_left(void)
{
    struct key prefix = key_of_scope(house.account->scope);
    size_t n = 0;
    AUTO(range) r = {0};

    range_prefix(&r, house_view(), DB_data, key_slice(&prefix), RANGE_FORWARDS);
    while (range_next(&r)) {
        uint32_t peer;
        uint8_t kind;
        key_read_peer(r.key, &peer, &kind);
        n += kind == KIND_keys;
    }
    cr_assert_eq(range_error(&r), OK);
    range_done(&r);
    house_view_end();
    return n;
}

static void unpair(void)
{
    struct wa_event e = {.kind = WA_EVENT_UNPAIRED, .down = {.reason = WA_REASON_LOGGED_OUT}};

    house_emit(&e);
}

Test(settle, twenty_thousand_sessions_go_in_slices)
{
    unsigned commits = 0;

    pair_with_sessions();
    cr_assert_eq(keys_left(), SESSIONS);
    unpair();
    for (; house.account->forgetting; commits++) {
        cr_assert_leq(house.account->undurable, 2u, "the event's turn and one slice");
        cr_assert_leq(house.account->undurable_bytes, 2u * BATCH_SLICE);
        cr_assert_gt(house_commit(), 0u);
    }
    cr_expect_gt(commits, SESSIONS / KEYS_LOOK_MAX - 1u);
    house_settle();
    cr_expect_eq(keys_left(), 0u);
    cr_expect_eq(house_events("account.unpaired"), 1);
}

/* The folder as a crash would leave it: after some slices, with others under way. */
static void crash_after(unsigned commits)
{
    char command[512], copy[80];

    for (unsigned i = 0; i < commits; i++)
        cr_assert_gt(house_commit(), 0u);
    snprintf(copy, sizeof copy, "%s.crash", house.folder);
    snprintf(command, sizeof command, "cp -r %s %s", house.folder, copy);
    cr_assert_eq(system(command), 0);
    house_settle();
    house_close_server();
    snprintf(command, sizeof command, "rm -rf %s && mv %s %s", house.folder, copy, house.folder);
    cr_assert_eq(system(command), 0);
}

/* Nobody asks for the account: the start finds it by itself. */
Test(settle, a_crash_in_the_middle_is_gone_on_with_at_the_start)
{
    uint32_t number = house.account->scope.account;
    size_t left;

    pair_with_sessions();
    unpair();
    crash_after(2);
    house.account = NULL;
    house_open_server();
    accounts_start(house.server.accounts);
    fake_run(house.worker);
    for (int i = 0; i < 5 && !(house.account = accounts_find(house.aw, number)); i++)
        house_pass(ACCOUNTS_CONNECTS_MS);
    cr_assert(house.account, "not opened");
    left = keys_left();
    cr_expect(left > 0 && left < SESSIONS, "%zu", left);
    cr_expect(house.account->forgetting);
    house_settle();
    cr_expect_not(house.account->forgetting);
    cr_expect_eq(keys_left(), 0u);
    cr_expect_eq(house_events("account.unpaired"), 1);
}

static err_t pair(struct account *a, struct turn *t, struct account_call *c)
{
    return account_pair(a, t, c);
}

/* A new pairing must not lose its keys to the end of the last. */
Test(settle, who_pairs_meanwhile_waits_for_the_last_key)
{
    struct errand first = {.act = pair}, second = {.act = pair};
    int64_t at;

    pair_with_sessions();
    unpair();
    house_commit();
    errand_start(&first);
    errand_start(&second);
    cr_expect_eq(first.done, 0u);
    cr_expect_eq(wa_client_wish(house.account->client, &at), WA_WISH_NONE, "too early");
    while (house.account->forgetting)
        cr_assert_gt(house_commit(), 0u);
    house_settle();
    cr_expect_eq(wa_client_state_of(house.account->client), WA_CLIENT_PAIRING);
    cr_expect_eq(wa_client_wish(house.account->client, &at), WA_WISH_LINK);
    cr_expect_gt(keys_left(), 0u, "those of the new pairing");
    cr_expect_eq(first.done, 0u, "it waits for the code");
    house_pass(ACCOUNT_PAIR_MS + 1);
    house_settle();
    cr_expect_eq(first.done, 1u);
    cr_expect_eq(second.done, 1u);
}
