#include "server/tenant/subscriptions.h"
#include "storage/events.h"
#include "tests/unit/server/api/house.h"

TestSuite(event_tools, .init = house_setup, .fini = house_teardown);

static char text_buffer[400];
static const char *args(const char *format, const char *a, const char *b)
{
    snprintf(text_buffer, sizeof(text_buffer), format, a, b);
    return text_buffer;
}

static size_t count(const struct answer *a) { return json_count(json_get(a->json, "events")); }
static bool flag(const struct answer *a, const char *name)
{
    bool b = false;

    cr_assert(json_bool(json_get(a->json, name), &b), "%s", name);
    return b;
}

/* ---- subscriptions ---- */

Test(event_tools, subscribing_twice_to_the_same_is_one)
{
    struct answer a = use(&H.test, "subscribe_events", "{\"events\":[\"message.*\"]}");
    struct answer b = use(&H.test, "subscribe_events", "{\"events\":[\"message.*\"]}");

    cr_assert_eq(a.error, OK);
    cr_assert_str_eq(member(&a, "id"), member(&b, "id"));
    answer_done(&a);
    answer_done(&b);
    a = use(&H.test, "list_subscriptions", "{}");
    cr_assert_eq(json_count(json_get(a.json, "subscriptions")), 1);
    answer_done(&a);
    a = use(&H.live, "list_subscriptions", "{}");
    cr_assert_eq(json_count(json_get(a.json, "subscriptions")), 0);
    answer_done(&a);
}

static size_t heard;
static bool on_heard(struct hub_stream *s, struct hub_event *e, struct hub_match m)
{
    heard += m.key != 0;
    return true;
}

Test(event_tools, subscriptions_reach_the_streams_of_the_key)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct hub_stream s = {.who = H.test, .follows_key = true, .on_event = on_heard};
    struct answer a;
    char id[64];

    heard = 0;
    hub_stream_open(hub_at(H.server.hubs, 0), &s, HUB_FROM_NOW);
    a = use(&H.test, "subscribe_events", "{\"events\":[\"account.connected\"]}");
    snprintf(id, sizeof(id), "%s", member(&a, "id"));
    answer_done(&a);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    log_event(acc, EVENT_MESSAGE_SENT, 0);
    cr_assert_eq(heard, 1);
    a = use(&H.test, "unsubscribe_events", args("{\"subscription_id\":\"%s\"}", id, ""));
    cr_assert_eq(a.error, OK);
    answer_done(&a);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    cr_assert_eq(heard, 1);
    hub_stream_close(&s);
    expect_error(&H.test, "unsubscribe_events", args("{\"subscription_id\":\"%s\"}", id, ""),
                 "not_found");
}

Test(event_tools, subscriptions_are_there_after_a_restart)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct hub_stream s = {.who = H.test, .follows_key = true, .on_event = on_heard};
    struct answer a = use(&H.test, "subscribe_events", "{\"events\":[\"*\"]}");

    heard = 0;
    answer_done(&a);
    house_step();
    hubs_free(H.server.hubs);
    CHECK_OK(hubs_new(&H.server, &H.server.hubs));
    CHECK_OK(tenants_start(&H.server));
    house_step();
    hub_stream_open(hub_at(H.server.hubs, 0), &s, HUB_FROM_NOW);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    cr_assert_eq(heard, 1);
    hub_stream_close(&s);
}

/* ---- two chats become one ---- */

static const char anna[] = "15551110001@s.whatsapp.net", anna_lid[] = "777@lid";

/* Anna wrote from her number, then from her LID: the second chat is the younger. */
static struct account *meet_anna_twice(char *younger)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], older[ID_TEXT_MAX];

    receive(acc, anna, false, 100, "one", m, older);
    receive(acc, anna_lid, false, 101, "two", m, younger);
    return acc;
}

static void key_asks_for(const char *chat)
{
    struct answer a = use(&H.test, "subscribe_events",
                          args("{\"events\":[\"message.received\"],\"chat_id\":\"%s\"}", chat, ""));

    cr_assert_eq(a.error, OK);
    answer_done(&a);
    heard = 0;
}

Test(event_tools, a_key_subscribed_to_the_younger_chat_hears_the_one_it_became)
{
    struct hub_stream s = {.who = H.test, .follows_key = true, .on_event = on_heard};
    char younger[ID_TEXT_MAX];
    struct account *acc = meet_anna_twice(younger);
    uint32_t person;

    key_asks_for(younger);
    hub_stream_open(hub_at(H.server.hubs, 0), &s, HUB_FROM_NOW);
    house_step();
    person = merge_people(acc, anna_lid, anna);
    cr_expect_eq(heard, 1, "the first one comes with the merge");
    log_event(acc, EVENT_MESSAGE_RECEIVED, person);
    log_event(acc, EVENT_MESSAGE_SENT, person);
    log_event(acc, EVENT_MESSAGE_RECEIVED, person + 7);
    cr_expect_eq(heard, 2);
    hub_stream_close(&s);
}

Test(event_tools, a_key_hears_of_a_merge_while_nobody_listens)
{
    struct hub_stream s = {.who = H.test, .follows_key = true, .on_event = on_heard};
    char younger[ID_TEXT_MAX];
    struct account *acc = meet_anna_twice(younger);
    uint32_t person;

    key_asks_for(younger);
    person = merge_people(acc, anna_lid, anna);
    hub_stream_open(hub_at(H.server.hubs, 0), &s, HUB_FROM_NOW);
    log_event(acc, EVENT_MESSAGE_RECEIVED, person);
    cr_expect_eq(heard, 1);
    hub_stream_close(&s);
}

Test(event_tools, a_key_hears_a_merged_chat_after_a_restart)
{
    struct hub_stream s = {.who = H.test, .follows_key = true, .on_event = on_heard};
    char younger[ID_TEXT_MAX];
    struct account *acc = meet_anna_twice(younger);
    uint32_t person;

    key_asks_for(younger);
    person = merge_people(acc, anna_lid, anna);
    hubs_free(H.server.hubs);
    CHECK_OK(hubs_new(&H.server, &H.server.hubs));
    CHECK_OK(tenants_start(&H.server));
    house_step();
    hub_stream_open(hub_at(H.server.hubs, 0), &s, HUB_FROM_NOW);
    log_event(acc, EVENT_MESSAGE_RECEIVED, person);
    cr_expect_eq(heard, 1);
    hub_stream_close(&s);
}

Test(event_tools, a_merge_leaves_no_hole_in_the_numbers)
{
    char younger[ID_TEXT_MAX];
    struct account *acc = meet_anna_twice(younger);
    struct answer a;

    merge_people(acc, anna_lid, anna);
    a = use(&H.test, "list_events", "{}");
    cr_expect_eq(count(&a), 1);
    cr_expect_str_eq(member(&a, "next_cursor"), "1");
    answer_done(&a);
}

Test(event_tools, there_is_a_limit_of_subscriptions)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], jid[64];
    size_t taken = 0;

    for (unsigned i = 0; i < SUBSCRIPTIONS_MAX + 2; i++) {
        struct answer a;
        snprintf(jid, sizeof(jid), "1555000777%u@s.whatsapp.net", i);
        receive(acc, jid, false, 100, "x", m, c);
        a = use(&H.test, "subscribe_events",
                args("{\"events\":[\"*\"],\"chat_id\":\"%s\"}", c, ""));
        taken += a.error == OK;
        answer_done(&a);
    }
    cr_assert_eq(taken, SUBSCRIPTIONS_MAX);
}

static struct call *subscribe_to(char chat[][ID_TEXT_MAX], size_t i, struct answer *a)
{
    return start(&H.test, "subscribe_events",
                 args("{\"events\":[\"*\"],\"chat_id\":\"%s\"}", chat[i], ""), a);
}

/* None of them sees the others in the database yet. */
Test(event_tools, who_subscribe_at_once_keep_the_limit_together)
{
    enum { MANY = 2 * SUBSCRIPTIONS_MAX };
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer answers[MANY] = {0}, again = {0}, a;
    char chat[MANY][ID_TEXT_MAX], m[ID_TEXT_MAX], jid[64];
    size_t taken = 0;

    for (size_t i = 0; i < MANY; i++) {
        snprintf(jid, sizeof(jid), "1555000%04zu@s.whatsapp.net", i);
        receive(acc, jid, false, 100, "x", m, chat[i]);
    }
    for (size_t i = 0; i < MANY; i++)
        subscribe_to(chat, i, &answers[i]);
    subscribe_to(chat, 0, &again); /* the same as the first: no place of its own */
    house_step();
    for (size_t i = 0; i < MANY; i++) {
        cr_expect_eq(answers[i].error, i < SUBSCRIPTIONS_MAX ? OK : ERR_BAD_ARGUMENT, "%zu", i);
        taken += answers[i].error == OK;
        answer_done(&answers[i]);
    }
    cr_assert_eq(taken, SUBSCRIPTIONS_MAX);
    cr_assert_eq(again.error, OK);
    answer_done(&again);
    a = use(&H.test, "list_subscriptions", "{}");
    cr_assert_eq(json_count(json_get(a.json, "subscriptions")), SUBSCRIPTIONS_MAX);
    answer_done(&a);
}

/* A commit that fails gives its place back. */
Test(event_tools, a_subscription_that_failed_takes_no_place)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char chat[SUBSCRIPTIONS_MAX][ID_TEXT_MAX], m[ID_TEXT_MAX], jid[64];
    struct answer a = {0};

    for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++) {
        snprintf(jid, sizeof(jid), "1555000%04zu@s.whatsapp.net", i);
        receive(acc, jid, false, 100, "x", m, chat[i]);
    }
    CHECK_OK(faults_parse(writer_faults(H.f.writer), SLICE("fail_put=1")));
    a = use(&H.test, "subscribe_events", "{\"events\":[\"*\"]}");
    cr_assert_neq(a.error, OK);
    answer_done(&a);
    for (size_t i = 0; i < SUBSCRIPTIONS_MAX; i++) {
        subscribe_to(chat, i, &a);
        house_step();
        cr_expect_eq(a.error, OK, "%zu", i);
        answer_done(&a);
    }
}

/* ---- list_events ---- */

Test(event_tools, the_log_is_read_in_pages)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer a;
    char next[32];

    for (int i = 0; i < 5; i++)
        log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    a = use(&H.test, "list_events", "{\"limit\":2}");
    cr_assert_eq(count(&a), 2);
    cr_assert_str_eq(member(&a, "next_cursor"), "2");
    cr_assert(flag(&a, "has_more") && !flag(&a, "truncated"));
    snprintf(next, sizeof(next), "%s", member(&a, "next_cursor"));
    answer_done(&a);
    a = use(&H.test, "list_events", args("{\"cursor\":\"%s\"}", next, ""));
    cr_assert_eq(count(&a), 3);
    cr_assert(!flag(&a, "has_more"));
    answer_done(&a);
    a = use(&H.test, "list_events", "{\"cursor\":5}");
    cr_assert_eq(count(&a), 0);
    cr_assert_str_eq(member(&a, "next_cursor"), "5");
    answer_done(&a);
}

Test(event_tools, the_log_shows_the_keys_world_and_selection)
{
    struct account *test = add_account(true, ACCOUNT_CONNECTED);
    struct account *live = add_account(false, ACCOUNT_CONNECTED);
    struct answer a;

    log_event(test, EVENT_ACCOUNT_CONNECTED, 0);
    log_event(live, EVENT_ACCOUNT_CONNECTED, 0);
    log_event(test, EVENT_ACCOUNT_DISCONNECTED, 0);
    a = use(&H.test, "list_events", "{}");
    cr_assert_eq(count(&a), 2);
    answer_done(&a);
    a = use(&H.live, "list_events", "{}");
    cr_assert_eq(count(&a), 1);
    answer_done(&a);
    a = use(&H.test, "list_events", "{\"events\":[\"account.disconnected\"]}");
    cr_assert_eq(count(&a), 1);
    cr_assert_str_eq(member(&a, "next_cursor"), "3");
    answer_done(&a);
    a = use(&H.test, "list_events", args("{\"account_id\":\"%s\"}", test->status.id, ""));
    cr_assert_eq(count(&a), 2);
    answer_done(&a);
}

Test(event_tools, a_lost_position_is_told)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer a;

    for (int i = 0; i < 5; i++)
        log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    trim_log(3);
    a = use(&H.test, "list_events", "{\"cursor\":1}");
    cr_assert(flag(&a, "truncated"));
    cr_assert_eq(count(&a), 2);
    answer_done(&a);
    a = use(&H.test, "list_events", "{\"cursor\":3}");
    cr_assert(!flag(&a, "truncated"));
    answer_done(&a);
    a = use(&H.test, "list_events", "{\"cursor\":99}");
    cr_assert(flag(&a, "truncated"));
    cr_assert_str_eq(member(&a, "next_cursor"), "5");
    answer_done(&a);
    a = use(&H.test, "wait_for_event", "{\"cursor\":1}");
    cr_assert(flag(&a, "truncated"));
    cr_assert_eq(count(&a), 2);
    answer_done(&a);
    a = use(&H.test, "wait_for_event", "{\"cursor\":99}"); /* at once: it has something to tell */
    cr_assert(flag(&a, "truncated") && !flag(&a, "timed_out"));
    cr_assert_eq(count(&a), 0);
    cr_assert_str_eq(member(&a, "next_cursor"), "5");
    answer_done(&a);
}

/* The event's row, wherever the file holds it; "seq" of what is left is told by the answer. */
static void spoil_event(struct account *acc, const char *word)
{
    struct event_head head = {
        .account = acc->scope.account, .type = 1, .world = acc->status.sandbox, .at_ms = 1};
    AUTO(buf) bytes = {0};
    struct batch b;

    buf_printf(&bytes, "{\"event\":\"%s\"}", word);
    batch_init(&b);
    batch_event(&b, 1, &head, buf_slice(&bytes));
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
    fixture_flip(&H.f, word);
}

static int64_t seq_of(const struct answer *a, size_t i)
{
    int64_t seq = 0;

    json_int(json_get(json_at(json_get(a->json, "events"), i), "seq"), &seq);
    return seq;
}

/* The log is the tenant's: who asks for one account has no loss by the damage of another's event
 * but hears that something is missing. */
Test(event_tools, a_damaged_event_is_told_and_hides_no_other)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct account *other = add_account(true, ACCOUNT_CONNECTED);
    struct answer a;

    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    spoil_event(other, "spoiled");
    log_event(acc, EVENT_ACCOUNT_DISCONNECTED, 0);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    a = use(&H.test, "list_events", args("{\"account_id\":\"%s\"}", acc->status.id, ""));
    cr_assert_eq(a.error, OK);
    cr_expect(flag(&a, "truncated") && !flag(&a, "has_more"));
    cr_expect(count(&a) == 3 && seq_of(&a, 0) == 1 && seq_of(&a, 1) == 3 && seq_of(&a, 2) == 4);
    cr_expect_str_eq(member(&a, "next_cursor"), "4");
    answer_done(&a);
    a = use(&H.test, "list_events", "{\"limit\":1}"); /* the page ends in front of it */
    cr_expect(!flag(&a, "truncated") && count(&a) == 1);
    cr_expect_str_eq(member(&a, "next_cursor"), "1");
    answer_done(&a);
    a = use(&H.test, "list_events", "{\"limit\":1,\"cursor\":1}");
    cr_expect(flag(&a, "truncated") && flag(&a, "has_more") && seq_of(&a, 0) == 3);
    answer_done(&a);
    a = use(&H.test, "list_events", "{\"cursor\":2}"); /* it stands before the cursor */
    cr_expect(!flag(&a, "truncated") && count(&a) == 2);
    answer_done(&a);
    a = use(&H.test, "wait_for_event", "{\"cursor\":1}"); /* the streams' way says the same */
    cr_expect(flag(&a, "truncated") && seq_of(&a, 0) == 3);
    answer_done(&a);
}

Test(event_tools, a_log_that_ends_with_damage_is_read_to_its_end)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct key hidden = event_key(1, 3);
    struct batch b;
    struct answer a;

    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    spoil_event(acc, "spoiled");
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    batch_init(&b);
    batch_delete(&b, DB_events, key_slice(&hidden));
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
    a = use(&H.test, "list_events", "{\"cursor\":1}");
    cr_expect(flag(&a, "truncated") && !flag(&a, "has_more") && count(&a) == 0);
    cr_expect_str_eq(member(&a, "next_cursor"), "3");
    answer_done(&a);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    a = use(&H.test, "list_events", "{\"cursor\":3}");
    cr_expect(!flag(&a, "truncated") && seq_of(&a, 0) == 4);
    answer_done(&a);
}

/* ---- wait_for_event ---- */

Test(event_tools, waiting_ends_with_what_comes)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer a = {0};

    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    start(&H.test, "wait_for_event", "{\"events\":[\"account.connected\"]}", &a);
    house_step();
    log_event(acc, EVENT_ACCOUNT_DISCONNECTED, 0);
    cr_assert(!a.done);
    log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    cr_assert(a.done);
    cr_assert_eq(count(&a), 1);
    cr_assert_str_eq(member(&a, "next_cursor"), "3");
    cr_assert(!flag(&a, "timed_out"));
    answer_done(&a);
}

Test(event_tools, waiting_with_a_cursor_answers_at_once)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer a;

    for (int i = 0; i < 3; i++)
        log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    a = use(&H.test, "wait_for_event", "{\"cursor\":\"1\"}");
    cr_assert_eq(count(&a), 2);
    cr_assert_str_eq(member(&a, "next_cursor"), "3");
    answer_done(&a);
}

Test(event_tools, waiting_ends_when_its_time_is_up)
{
    struct answer a;

    add_account(true, ACCOUNT_CONNECTED);
    a = use(&H.test, "wait_for_event", "{\"timeout_ms\":0}");
    cr_assert(flag(&a, "timed_out"));
    cr_assert_eq(count(&a), 0);
    answer_done(&a);
}

Test(event_tools, waiting_for_no_time_reads_the_log_all_the_same)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer a;

    for (int i = 0; i < 3; i++)
        log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    a = use(&H.test, "wait_for_event", "{\"cursor\":\"1\",\"timeout_ms\":0}");
    cr_assert(a.done);
    cr_expect(!flag(&a, "timed_out"));
    cr_expect_eq(count(&a), 2);
    cr_expect_str_eq(member(&a, "next_cursor"), "3");
    answer_done(&a);
}

Test(event_tools, waiting_hands_out_at_most_a_hundred)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer a;

    for (int i = 0; i < 130; i++)
        log_event(acc, EVENT_ACCOUNT_CONNECTED, 0);
    a = use(&H.test, "wait_for_event", "{\"cursor\":0}");
    cr_assert_eq(count(&a), 100);
    cr_assert_str_eq(member(&a, "next_cursor"), "100");
    answer_done(&a);
    a = use(&H.test, "wait_for_event", "{\"cursor\":100}");
    cr_assert_eq(count(&a), 30);
    answer_done(&a);
}
